"""How the linear peers got their settings: every view and strength, measured on a benchmark of a third seed.

`python -m deft.evaluation.peers.choose [--profile demo] [--work FOLDER]` renders that benchmark (1,008 clips of 36
people who are in no other set; about five minutes on two cores), reads it with the experts that the profile trained,
fits every point of the grid on the kept clips of its training people, and writes `frozen/third-seed.csv`: UF1 out of
fold with the tie kept and broken, and the temperature with the least log loss.  The best row of each peer is its
setting in `deft.evaluation.peers.SETTINGS`.  The language model's recipe was chosen on the same benchmark
(docs/decisions.md)."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from deft import paths, runtime
from deft.clips import benchmark
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.evaluation import peers
from deft.evaluation.metrics import recognition_scores
from deft.evaluation.peers import linear

SEED = 20260701
FROZEN = Path(__file__).parent / "frozen" / "third-seed.csv"  # its own folder: a record is no source of any stage
GRID = tuple(
    (strength, weight) for strength in (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0) for weight in (None, "balanced")
)


def prepare(work: Path, experts: Path, seed: int = SEED, names: Sequence[str] = ("motion", "texture")) -> pd.DataFrame:
    """Render, align, measure and read a benchmark of another seed under `work`; -> its folds. experts: folder of
    trained experts; names: of those that read it.
    """
    from deft.experts import pretrain
    from deft.faces.stage import align_set
    from deft.motion import courses

    if not experts.is_dir():
        raise FileNotFoundError(f"{experts} holds no experts: run 06_experts of that profile first")
    plans = benchmark.plan_bench(dataclasses.replace(benchmark.BenchmarkSpec(), seed=seed))
    benchmark.render_set(plans, work / "clips" / "bench")
    align_set(work / "clips" / "bench", work / "faces" / "bench")
    courses.measure_set(work / "clips" / "bench", work / "faces" / "bench", work / "motion" / "bench")
    shutil.copytree(experts, work / "experts", dirs_exist_ok=True)
    for name in names:
        pretrain.extract(name, "bench", work)
    return benchmark.folds_of(plans, 3, 7)


def temperature(probability: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """probability (N, C), truth (N,) positions -> (temperature with the least mean log loss, that loss in nats)."""
    logit = np.log(np.clip(probability, 1e-12, 1))

    def loss(t: float) -> float:
        z = logit / t
        return float((np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), truth]).mean())

    found = minimize_scalar(lambda s: loss(np.exp(s)), bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x)), float(found.fun)


def measure(
    work: Path, folds: pd.DataFrame, systems: tuple[str, ...] = tuple(peers.SETTINGS), grid: tuple = GRID
) -> pd.DataFrame:
    """One row per peer, view and grid point: uf1_kept, uf1_broken, their mean, temperature and log loss, out of
    fold.
    """
    index, rows = ClipStore(work / "clips" / "bench").index, []
    code, broken = index["emotion"].map(EMOTIONS.index).to_numpy(), (index["condition"] == "broken").to_numpy()
    for system in systems:
        for view, x in peers.views(system, work, "bench").items():
            for strength, weight in grid:
                probability, _ = linear.probabilities(
                    linear.fit(x, index, folds, grid=((strength, weight),)), x, index, folds
                )
                kept_uf1, broken_uf1 = (
                    recognition_scores(code[here], probability[here].argmax(axis=1), range(len(EMOTIONS)))["uf1"]
                    for here in (~broken, broken)
                )
                best, loss = temperature(probability, code)
                rows.append(
                    {
                        "system": system,
                        "view": view,
                        "C": strength,
                        "class_weight": weight or "none",
                        "uf1_kept": kept_uf1,
                        "uf1_broken": broken_uf1,
                        "uf1_mean": (kept_uf1 + broken_uf1) / 2,
                        "temperature": best,
                        "log_loss": loss,
                    }
                )
            print(system, view, flush=True)
    return pd.DataFrame(rows).round(4)


def best(table: pd.DataFrame) -> dict[str, peers.Setting]:
    """The setting of every peer: its row with the largest mean UF1, the more regularised one where two are equal."""
    out = {}
    for system, rows in table.groupby("system", sort=False):
        row = rows.sort_values(["uf1_mean", "C"], ascending=[False, True], kind="stable").iloc[0]
        out[system] = peers.Setting(
            row["view"],
            float(row["C"]),
            None if row["class_weight"] == "none" else row["class_weight"],
            float(round(row["temperature"], 3)),
        )
    return out


def main() -> None:
    """Command line: measure the grid and print the settings that it gives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo", help="whose experts read the clips")
    parser.add_argument("--work", type=Path, help="keep the rendering here (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        table = measure(work, prepare(work, paths.work(args.profile) / "experts"))
    with runtime.atomic(FROZEN) as fresh:
        table.to_csv(fresh, index=False)
    for system, setting in best(table).items():
        print(
            system,
            setting,
            (
                ""
                if setting == peers.SETTINGS[system]
                else f"- differs from deft.evaluation.peers.SETTINGS: {peers.SETTINGS[system]}"
            ),
        )


if __name__ == "__main__":
    main()
