"""Does a better flow make better evidence, and better recognition? The estimator is exchanged, everything after it
stays.

Evidence is judged on the corpus' validation subjects, recognition by the yardstick's linear reader on a benchmark drawn
from a seed of its own: an estimator is never chosen on clips that a table reports. Constants of the evidence (noise
prior, spread per region) were measured with `dis-finest`; another estimator is judged with another's constants, which
can only hide a gain. MEFlow's weights are found as `deft.motion.meflow` says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from deft import paths, runtime
from deft.clips import benchmark
from deft.clips.store import ClipStore
from deft.evaluation.flow_study import NAMED
from deft.evaluation.peers import linear
from deft.evaluation.tables.present import Column, Page, Part, highest, said
from deft.faces import regions
from deft.faces.stage import align_set
from deft.motion import courses, evidence, meflow

METHODS = ("dis", "dis-finest", "farneback", "meflow")
# Of a benchmark of sim-v1's kind. sim-v2's held-back set was given it later: the same people, mostly their movements.
SEED = 20281114


def described(
    gray: np.ndarray, landmarks: np.ndarray, rows: Iterable[int], method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Courses (N, T-1, 36, 5) and noise floors (N,) px of the clips `rows` of gray (M, T, S, S) uint8 and landmarks
    (M, 68, 2) px.
    """
    with threadpool_limits(1):
        found = joblib.Parallel(n_jobs=runtime.jobs(), prefer="threads")(
            joblib.delayed(courses.measure_clip)(np.asarray(gray[row]), landmarks[row], method) for row in rows
        )
    return np.stack([one["courses"] for one in found]), np.array([one["noise"] for one in found])


def on_evidence(
    profile: str, methods: Sequence[str] = METHODS, clips: int | None = None, weights: Path | None = None
) -> pd.DataFrame:
    """AUROC of the evidence by intensity, and how region vectors compare with the truth, on corpus validation subjects.

    slope, correlation: of measured on true region motion; floor: RMS px per axis of regions that lie still; gain: slope
    / floor, the signal-to-noise ratio of the evidence. clips: at most so many. weights: folder of a trained MEFlow."""
    work = paths.work(profile)
    store = ClipStore(work / "clips" / "corpus")
    rows = np.flatnonzero(store.index["split"].to_numpy() == "validation")[:clips]
    gray, landmarks, matrix = (
        runtime.load_array(work / "faces" / "corpus", name) for name in ("gray", "landmarks", "matrix")
    )
    intensity, true = store.array("units_true")[rows], store.array("flow_true")
    truth = np.stack(
        [
            courses.region_truth(
                true[row].astype(np.float32), matrix[row], regions.masks(landmarks[row], gray.shape[2])
            )
            for row in rows
        ]
    )
    still, table = np.hypot(*np.moveaxis(truth, -1, 0)) < 0.03, []
    for method in runtime.bar(methods, len(methods), "evidence", "estimator"):
        with meflow.using(weights):
            measured, noise = described(gray, landmarks, rows, method)
        apex = measured[:, 0, :, :2]  # the truth is that of the apex
        slope, floor = float((apex * truth).sum() / (truth**2).sum()), float(np.sqrt((apex[still] ** 2).mean()))
        row = {
            "method": method,
            "slope": slope,
            "correlation": float(np.corrcoef(apex.ravel(), truth.ravel())[0, 1]),
            "floor": floor,
            "gain": slope / floor,
        }
        for name, score in (("score", evidence.score), ("plain", evidence.plain)):
            for size, value in evidence.separation(score(measured, noise), intensity).items():
                row[f"{name} {size if isinstance(size, str) else f'{size[0]:g}-{size[1]:g}'}"] = value
        table.append(row)
    return pd.DataFrame(table).round(3)


def on_recognition(
    folder: Path, methods: Sequence[str] = METHODS, subjects: int = 12, clips: int = 14, weights: Path | None = None
) -> pd.DataFrame:
    """UF1 of the linear reader of apex and hold, tie kept and broken, on a benchmark of the frozen rules but of
    another seed, rendered into `folder`.
    """
    spec = dataclasses.replace(benchmark.BenchmarkSpec(), seed=SEED)
    whole = benchmark.plan_bench(spec, subjects_per_dataset=subjects, clips_per_subject=clips)
    plans = [
        dataclasses.replace(plan, key_frames=tuple(plan.key_frames[t] for t in spec.corpus_frames), apex=1)
        for plan in whole
    ]
    benchmark.render_set(plans, folder / "clips")
    align_set(folder / "clips", folder / "faces")
    store, split = ClipStore(folder / "clips"), benchmark.folds_of(plans, 3, 7)
    gray, landmarks = (runtime.load_array(folder / "faces", name) for name in ("gray", "landmarks"))
    table = []
    for method in runtime.bar(methods, len(methods), "recognition", "estimator"):
        with meflow.using(weights):
            measured, _ = described(gray, landmarks, range(len(store)), method)
        found = linear.scores(linear.fit_predict(linear.features("peak", {"courses": measured}), store.index, split))
        table.append(
            {"method": method, **{f"uf1 {condition}": found[condition]["uf1"] for condition in ("broken", "kept")}}
        )
    return pd.DataFrame(table).round(3)


def t8b(profile: str, clips: int | None = None, subjects: int = 12, clips_per_subject: int = 14) -> pd.DataFrame:
    """Both halves in one table, one row per estimator, with the MEFlow that this profile trained; clips of the
    benchmark stay in work/<profile>/meflow_effect.
    """
    weights = paths.work(profile) / meflow.NAME
    evidence_of = on_evidence(profile, METHODS, clips, weights)
    return evidence_of.merge(
        on_recognition(paths.work(profile) / "meflow_effect", METHODS, subjects, clips_per_subject, weights=weights),
        on="method",
    )


def _effect(part: pd.DataFrame) -> list[str]:
    return [
        said("The evidence is best with {}, by AUROC.", highest(part, "score all", "method", NAMED)),
        said("Recognition with the tie broken is best with {}, by UF1.", highest(part, "uf1 broken", "method", NAMED)),
    ]


def _weak(part: pd.DataFrame) -> list[str]:
    return [
        said(
            "The weakest motions are told best by {}.",
            highest(part, next((name for name in part if name.startswith("score 0")), ""), "method", NAMED),
        )
    ]


ESTIMATOR = (Column("Estimator", "method", spoken=NAMED),)
PAGE = Page(
    (
        Part(
            "measured against true region motion, and what follows",
            ESTIMATOR,
            (
                Column("Slope", "slope"),
                Column("Correlation", "correlation", best=max),
                Column("Floor, px", "floor", best=min),
                Column("AUROC of the evidence", "score all", best=max),
                Column("UF1, tie kept", "uf1 kept", best=max),
                Column("UF1, tie broken", "uf1 broken", best=max),
            ),
            _effect,
        ),
        Part(
            "AUROC of the evidence by true intensity",
            ESTIMATOR,
            (
                *(
                    Column(f"{low} to {high}".replace("0.", "."), f"score {low}-{high}", best=max)
                    for low, high in (("0.02", "0.08"), ("0.08", "0.15"), ("0.15", "0.25"), ("0.25", "0.5"))
                ),
                Column("all", "score all", best=max),
                Column("all, plain projection", "plain all", best=max),
            ),
            _weak,
        ),
    ),
    "Slope, correlation: region motion against truth; floor: root mean square of regions that lie still. Recognition:"
    " the linear reader of apex and hold on a benchmark drawn from a seed of its own.",
)
