"""The runs of joint tuning: one system, one draw, one fold each, and where they and their bases lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deft import paths, runtime


@dataclass(frozen=True)
class Job:
    """One run: a system, the number of its draw (0, 1, ...; `seed` in predictions.jsonl), and the fold whose
    subjects it never meets.
    """

    system: str
    seed: int
    fold: int

    def __str__(self) -> str:
        return f"{self.system} draw {self.seed} fold {self.fold}"

    def folder(self, work: Path) -> Path:
        """Where the finished run lies under work/<profile>."""
        return Path(work) / "mllm" / "runs" / self.system / f"seed{self.seed}" / f"fold{self.fold}"


def base_of(work: Path, name: str, draw: int) -> Path:
    """Where base `name` (`base`, or `base-flat`, the control) of a draw lies: `mllm/<name>` for draw 0, else
    `mllm/draw<d>/<name>`.
    """
    return paths.of_draw(Path(work) / "mllm", draw) / name


def instructed_of(work: Path, name: str, draw: int) -> Path:
    """Where base `name` of a draw lies after instruction tuning on the corpus (`deft.mllm.instruct`)."""
    return base_of(work, name.replace("base", "instructed"), draw)


def jobs_of(systems: Iterable[str], draws: int, folds: Iterable[int]) -> list[Job]:
    """All runs: every system in every fold with the same draws, because rows that are compared must differ in nothing
    else.

    Draw by draw, so that a run which is stopped has finished whole draws first.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least 1 is needed")
    return [Job(system, draw, int(fold)) for draw in range(draws) for system in systems for fold in folds]


def jobs_asked(work: Path) -> list[Job]:
    """The runs that `tune_all` was last asked for; runs of earlier settings that still lie there are not among them."""
    path = Path(work) / "mllm" / "runs" / "jobs.json"
    if not path.exists():
        raise FileNotFoundError(f"no {path.name} under mllm/runs: run 07_joint_tuning first")
    return [Job(**row) for row in runtime.read_json(path)]
