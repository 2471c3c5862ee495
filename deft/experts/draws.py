"""How many draws of the experts a work folder holds, and which of them a draw of the language model reads.

A *draw* is one complete set of everything random in training. Draw 0 lies in `experts/<name>` and `features/<set>`,
draw d in `experts/draw<d>/<name>` and `features/draw<d>/<set>`. With one draw of the experts, every draw of base and
tuning shares it."""

from __future__ import annotations

import shutil
from pathlib import Path

from deft import paths, runtime


def record(work: Path, count: int) -> None:
    """Write down that 06 trained draws 0 .. count - 1; folders of further draws, left by an earlier run, are
    removed.
    """
    for folder in (Path(work) / "experts", Path(work) / "features"):
        for old in folder.glob("draw[0-9]*"):
            if old.is_dir() and int(old.name.removeprefix("draw")) >= count and runtime.replaceable(old):
                shutil.rmtree(old)
    runtime.write_json(Path(work) / "experts" / "draws.json", {"draws": count})


def count(work: Path) -> int:
    """How many draws of the experts there are; 1 where nothing is written down (experts taken over from another
    profile).
    """
    path = Path(work) / "experts" / "draws.json"
    return int(runtime.read_json(path)["draws"]) if path.is_file() else 1


def read_by(work: Path, draw: int) -> int:
    """The draw of the experts that draw `draw` of the language model reads: its own, or 0 where one draw serves all.
    ValueError: too few.
    """
    there = count(work)
    if there > 1 and draw >= there:
        raise ValueError(
            f"draw {draw} of the language model has no experts of its own: 06_experts made {there}; "
            f"set expert_draws to {draw + 1} or to 1, or draws (07_joint_tuning) to {there}"
        )
    return draw if there > 1 else 0


def features(work: Path, which: str, draw: int = 0) -> Path:
    """Folder of the experts' tokens and probabilities for set `which`, as draw `draw` of the language model reads
    them.
    """
    return paths.of_draw(Path(work) / "features", read_by(work, draw)) / which
