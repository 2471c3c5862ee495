"""What breaks an answer, and what carries it: versions of clips (`deft.evaluation.versions`), answered without any
retraining (F7, T5b).

Every version goes the whole way: alignment, flow, experts, answer. For the counterfactuals a model is then told of the
clip itself, with one stream at a time taken from the counterfactual: what changes the answer is listened to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deft import paths
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.evaluation import peers, versions
from deft.evaluation.peers import linear
from deft.evaluation.protocols import read_folds
from deft.evaluation.versions import AS_FILMED, CLIP, FACE, MOTION
from deft.experts import data, draws, pretrain
from deft.experts.calibrate import Calibration
from deft.mllm import score
from deft.mllm.data import TuningData
from deft.mllm.runs import Job, jobs_asked
from deft.parallel import in_parallel
from deft.systems import BLIND, DEFT, RGB, SYSTEMS

READERS = ("lr-flow", BLIND)
EXCHANGED = {  # system -> streams that are taken from the counterfactual together; the last ones are all
    DEFT: (("structure",), ("texture",), ("motion",), ("texture", "motion"), ("structure", "texture", "motion")),
    RGB: (("rgb",),),
}


def described(experts: dict, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tokens (V, 4, 64) and calibrated unit probabilities (V, 17, 2) of every expert, as 06 extracts them. experts:
    {name: (expert, calibration or None)}.
    """
    index, found = pd.DataFrame({"clip": np.arange(len(arrays["rgb"]))}), {}
    for name, (expert, calibration) in experts.items():
        inputs = expert.shown(lambda key: arrays[key])
        tokens, logits = pretrain.predict(expert, data.Pairs(index, inputs))
        found[name] = tokens.astype(np.float32)
        if logits is not None:
            found[f"{name}_units"] = calibration.apply(logits)
    return found


def experts_of(work: Path, draw: int) -> dict:
    """{name: (expert, its calibration, None for one without a unit head)} of one draw."""
    found = {}
    for name in data.NAMES:
        folder = pretrain.folder_of(work, name, draw)
        path = folder / "calibration.json"
        found[name] = pretrain.load(folder), Calibration.load(path) if path.is_file() else None
    return found


def exchanged(
    features: dict[str, np.ndarray], own: np.ndarray, other: np.ndarray, streams: Sequence[str]
) -> dict[str, np.ndarray]:
    """Features of clips `own`, the named streams (tokens and unit probabilities) taken from clips `other`."""
    taken = {*streams, *(f"{name}_units" for name in streams)}
    return {name: x[other if name in taken else own] for name, x in features.items()}


# ---------------------------------------------------------------- answers
def answers(profile: str, each: int = 2, seed: int = 7) -> list[dict]:
    """What DEFT, the RGB-only model, prototype Bayes and the linear reader of flow answer to every version of `each`
    clips of every subject, in every draw, each by the fold that never met the subject.

    One line per answer: clip, dataset, subject, look, condition, truth, other (emotion of the other motion), nuisance,
    level, streams ("" for the whole version, else what was exchanged), fold, system, seed (draw), prediction, scores.
    """
    work = paths.work(profile)
    index, folds = ClipStore(work / "clips" / "bench").index, read_folds(work / "clips" / "folds.csv")
    rows = versions.chosen(index, each, seed)
    pairs = versions.partners(index, rows, folds, seed)
    known = {draw: experts_of(work, draw) for draw in range(draws.count(work))}
    about, told, moved = [], {draw: [] for draw in known}, []
    for names, arrays in versions.measured(work, rows, pairs, seed):
        about += names
        moved.append(arrays["courses"])
        for draw, experts in known.items():
            told[draw].append(described(experts, arrays))
    table = pd.DataFrame([{"row": row, "nuisance": v.nuisance, "level": v.level} for row, v in about])
    clips = index.loc[table["row"], ["clip", "dataset", "subject", "look", "condition", "emotion"]]
    table = pd.concat([table, clips.rename(columns={"emotion": "truth"}).reset_index(drop=True)], axis=1)
    table["fold"] = table["subject"].map(folds.set_index("subject")["fold"])
    table["other"] = [index["emotion"][pairs[row][1]] for row in table["row"]]
    table["streams"] = ""
    features = {
        draw: {name: np.concatenate([one[name] for one in parts]) for name in parts[0]} for draw, parts in told.items()
    }
    exchange = {system: _exchanges(table, pairs, sets) for system, sets in EXCHANGED.items()}
    jobs = [job for job in jobs_asked(work) if job.system in EXCHANGED]
    given = []
    for job in jobs:
        mine, seen = table[table["fold"] == job.fold], features[draws.read_by(work, job.seed)]
        part = exchange[job.system].query("fold == @job.fold")
        given.append((job, work, mine, part, _streams_of(job.system, seen)))
    lines = [line for part in in_parallel(_of_model, given, what="answers to versions") for line in part]
    return lines + _of_readers(profile, table, np.concatenate(moved), features, folds, seed)


def _exchanges(table: pd.DataFrame, pairs: dict[int, tuple[int, int]], sets: Sequence[Sequence[str]]) -> pd.DataFrame:
    """One row per clip, counterfactual and set of streams; `own`, `from`: positions of the two versions in `table`."""
    at = {(row, nuisance): place for place, (row, nuisance) in enumerate(zip(table["row"], table["nuisance"]))}
    out = []
    for row in table["row"].unique():
        own = at[row, AS_FILMED]
        for nuisance, other in ((FACE, at[row, FACE]), (MOTION, at[row, MOTION]), (CLIP, at[pairs[row][1], AS_FILMED])):
            for streams in sets:
                names = {"nuisance": nuisance, "level": 0.0, "streams": " + ".join(streams), "own": own, "from": other}
                out.append(table.loc[own].to_dict() | names)
    return pd.DataFrame(out)


def _streams_of(system: str, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    streams = SYSTEMS[system].parts.split(" + ")
    return {name: x for name, x in features.items() if name.removesuffix("_units") in streams}


def _of_model(job: Job, work: Path, whole: pd.DataFrame, parts: pd.DataFrame, features: dict) -> list[dict]:
    """Answers of one tuned model. whole: versions (positions in `features` are its index); parts: exchanges."""
    tokenizer, model = score.load(job.folder(work))
    lines = []
    for streams, asked in [("", whole), *parts.groupby("streams", sort=False)]:
        if streams:
            taken = exchanged(features, asked["own"].to_numpy(), asked["from"].to_numpy(), streams.split(" + "))
        else:
            taken = {name: x[asked.index] for name, x in features.items()}
        clips = TuningData(asked, taken, [None] * len(asked), None, [False] * len(asked))
        lines += _lines(
            asked, score.emotion_scores(model, tokenizer, clips, np.arange(len(asked))), job.system, job.seed
        )
    return lines


def _of_readers(
    profile: str, table: pd.DataFrame, moved: np.ndarray, features: dict[int, dict], folds: pd.DataFrame, seed: int
) -> list[dict]:
    """Prototype Bayes on every draw of the experts, and the linear reader of flow, as T2 has them."""
    (flow, blind), lines = READERS, []
    index = ClipStore(paths.work(profile) / "clips" / "bench").index
    readers, view = peers.fitted(flow, profile, folds, seed)
    found, _ = linear.probabilities(readers, linear.features(view, {"courses": moved}), table, folds)
    lines += _lines(table, found, flow, 0)
    for draw, seen in features.items():
        said = peers.textbook(profile, index, folds, seen["motion_units"], draw)
        lines += _lines(table, np.stack([said[fold][i] for i, fold in enumerate(table["fold"])]), blind, draw)
    return lines


def _lines(asked: pd.DataFrame, probability: np.ndarray, system: str, draw: int) -> list[dict]:
    keep = ["clip", "dataset", "subject", "look", "condition", "truth", "other", "nuisance", "level", "streams", "fold"]
    return [
        {
            **row,
            "system": system,
            "seed": draw,
            "prediction": EMOTIONS[int(p.argmax())],
            "scores": {emotion: round(float(x), 5) for emotion, x in zip(EMOTIONS, p)},
        }
        for row, p in zip(asked[keep].to_dict("records"), probability)
    ]
