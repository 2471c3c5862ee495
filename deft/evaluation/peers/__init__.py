"""The other systems, under the same folds and the same selection rule (DESIGN.md section 6).

majority · lr-pixels (apex, 32 px) · lr-flow (the strongest linear reader of DIS region flow, the frozen yardstick) ·
lr-experts (linear reader of what the language model is given) · bayes-experts (textbook prototypes on the motion
expert's unit probabilities).  The last two are the fair opponents: they say what the language model itself adds.
template (those probabilities read out in words) is the opponent of its texts.
"""
from __future__ import annotations

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.experts import draws

PEERS = ("majority", "lr-pixels", "lr-flow", "lr-experts", "bayes-experts", "template")
ON_EXPERTS = ("lr-experts", "bayes-experts", "template")  # they read what one draw of the experts says


def predict_all(profile: str, seed: int, part: str = "bench", systems: tuple[str, ...] = PEERS, folds: pd.DataFrame | None = None) -> list[dict]:
    """Rows of predictions.jsonl for every peer, kept and broken clips.

    part: 'bench' (each subject answered by the fold that never saw it) or 'heldback' (fitted on the bench, answered by
    the mean over folds).  Reads clips/, faces/, motion/ and features/ under work/<profile>.
    folds: with the validation subjects by which the linear peers choose (default: clips/folds.csv).
    The solvers are convex and unseeded: another seed gives the same answers. Peers that read the experts answer once per draw of
    the experts, the others once; column `seed` is the draw's number.
    """
    if unknown := set(systems) - set(PEERS):
        raise ValueError(f"unknown peer {sorted(unknown)}; choose from {', '.join(PEERS)}")
    if part not in ("bench", "heldback"):
        raise ValueError(f"part is {part!r}; choose 'bench' or 'heldback'")
    from deft.clips.store import ClipStore
    from deft.evaluation.protocols import read_folds

    work = paths.work(profile)
    index = ClipStore(work / "clips" / "bench").index
    folds = read_folds(work / "clips" / "folds.csv") if folds is None else folds
    target = None if part == "bench" else ClipStore(work / "clips" / part).index
    rows: list[dict] = []
    for system in systems:
        for draw in range(draws.count(work) if system in ON_EXPERTS else 1):
            frame = _answer(system, profile, seed, index, folds, target, draw)
            rows += frame.assign(system=system, text=frame["text"] if "text" in frame else "", seed=draw, set=part).to_dict("records")
    return rows


def _answer(system: str, profile: str, seed: int, index: pd.DataFrame, folds: pd.DataFrame,
            target: pd.DataFrame | None, draw: int = 0) -> pd.DataFrame:
    from deft.clips.facs import EMOTIONS
    from deft.clips.store import ClipStore
    from deft.evaluation.peers import bayes, linear, majority, template
    from deft.evaluation.protocols import roles_of

    asked, part = (index, "bench") if target is None else (target, "heldback")
    if system == "majority":
        probability, fold = majority.probabilities(index, folds, target)
        return linear.answers(asked, probability, EMOTIONS, fold)
    if system == "template":
        said = _answer("bayes-experts", profile, seed, index, folds, target, draw)
        corpus = ClipStore(paths.work(profile) / "clips" / "corpus")
        choosing = (corpus.index["split"] == "validation").to_numpy()
        cut = template.threshold(_features(profile, "corpus", "motion_units", draw)[choosing], corpus.array("units_true")[choosing] > 0)
        motion = (runtime.load_array(paths.work(profile) / "motion" / part, name) for name in ("courses", "noise"))
        written = template.texts(said["prediction"].tolist(), _features(profile, part, "motion_units", draw), *motion, cut)
        return said.assign(text=written, text_class=said["prediction"])
    if system == "bayes-experts":
        probability = bayes.probabilities(bayes.clip_units(_features(profile, part, "motion_units", draw)),
                                          _base_rate(profile))
        fold = np.full(len(asked), -1)
        if target is None:  # nothing is fitted; the fold is where the other systems test the clip
            for number in folds["fold"].unique():
                fold[roles_of(index, folds, number) == "test"] = number
        return linear.answers(asked, probability, EMOTIONS, fold)
    views = _views(system, profile, "bench", draw)
    fitted = {name: linear.fit(x, index, folds, seed) for name, x in views.items()}
    if target is not None:
        views = _views(system, profile, part, draw)
    return linear.predict_chosen(fitted, views, asked, None if target is not None else folds)


def _views(system: str, profile: str, part: str, draw: int = 0) -> dict[str, np.ndarray]:
    """The feature sets a linear peer may read; validation subjects decide between them where there are several."""
    from deft.clips.benchmark import APEX, LINEAR_YARDSTICK
    from deft.evaluation.peers import linear

    work = paths.work(profile)
    if system == "lr-pixels":
        return {"pixels": linear.pixels(runtime.load_array(work / "faces" / part, "gray")[:, APEX])}
    if system == "lr-flow":
        courses = runtime.load_array(work / "motion" / part, "courses")
        return {LINEAR_YARDSTICK: linear.features(LINEAR_YARDSTICK, {"courses": courses})}
    motion, texture = (linear.logits(_features(profile, part, f"{name}_units", draw)) for name in ("motion", "texture"))
    tokens = np.asarray(_features(profile, part, "motion", draw), np.float32).reshape(len(motion), -1)
    return {"motion units": motion, "motion and texture units": np.hstack([motion, texture]),
            "motion units and tokens": np.hstack([motion, tokens])}


def _features(profile: str, part: str, name: str, draw: int = 0) -> np.ndarray:
    return runtime.load_array(draws.features(paths.work(profile), part, draw), name)


def _base_rate(profile: str) -> np.ndarray:
    """(17,) how often a unit shows in the corpus that the expert's probabilities were calibrated on (other people, no emotions)."""
    from deft.clips.store import ClipStore

    return (ClipStore(paths.work(profile) / "clips" / "corpus").array("units_true") > 0).any(axis=-1).mean(axis=0)
