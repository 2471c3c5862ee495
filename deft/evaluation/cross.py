"""Trained on one data set, tested on another: 3 x 3 over the benchmark's three sets (T6, claim C5).

Three classes (negative, positive, surprise), as cross-dataset papers have them; the protocol is
`deft.evaluation.protocols.get("cross:a>b")`. A system is fitted once on all of a set and answers the two others; on the
diagonal it is fitted on subject-disjoint folds of the set. Cameras, habits of raters and shares of emotions differ
between the sets. DEFT is tuned anew on each set, by the recipe of the profile and with the experts that all cells
share (they know the corpus, nobody of the benchmark); its five likelihoods are summed by coarse class. Readers and
systems of other papers are fitted on the three classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from deft import cache, paths, runtime, systems
from deft.clips import labels
from deft.clips.facs import COARSE, EMOTIONS
from deft.clips.store import ClipStore
from deft.evaluation import peers, protocols
from deft.evaluation.peers import linear, prepare, runs
from deft.evaluation.protocols.members import SETS
from deft.parallel import in_parallel

if TYPE_CHECKING:
    from deft.mllm.examples import TuneSettings

THREE, WITHIN = labels.COARSE_CLASSES, 3  # classes; folds of the diagonal
READERS = ("lr-flow", "lr-pixels")  # linear readers that need no expert
HERE = "deft/evaluation/cross.py"


@dataclass(frozen=True)
class Fit:
    """A system fitted on the set `train`: whole (fold -1, the two other sets are tested) or without one fold of it."""

    system: str
    train: str
    fold: int = -1
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.system}, {self.train}" + (f" without fold {self.fold}" if self.fold >= 0 else "")

    def folder(self, work: Path) -> Path:
        """Where its answers lie."""
        return (
            Path(work) / "cross" / self.system / f"draw{self.draw}-{self.train}-{'all' if self.fold < 0 else self.fold}"
        )


def fits(names: Sequence[str]) -> list[Fit]:
    """Every fit of these systems. ValueError for one that has no part in this table."""
    known = (systems.DEFT, systems.MAJORITY, *READERS, *systems.FIELD)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{unknown[0]!r} has no part in the cross-dataset table; choose of {', '.join(known)}")
    return [Fit(name, train, fold) for name in names for train in SETS for fold in range(-1, WITHIN)]


def parts(fit: Fit, index: pd.DataFrame) -> dict[str, np.ndarray]:
    """Rows of the index that a fit learns from, may choose by and is tested on: {'train', 'validation', 'test'}. A
    broken clip is tested and never learned from. ProtocolError where the sets do not allow it.
    """
    if fit.fold >= 0:
        found = [protocols.get(f"cross:{fit.train}>{fit.train}").splits(index, folds=WITHIN)[fit.fold]]
    else:
        others = [name for name in SETS if name != fit.train and (index["dataset"] == name).any()]
        found = [protocols.get(f"cross:{fit.train}>{name}").splits(index)[0] for name in others]
    row = dict(zip(index["clip"], range(len(index))))
    told = {"train": found[0][0], "validation": found[0][1], "test": [clip for one in found for clip in one[2]]}
    return {role: np.array([row[clip] for clip in clips], int) for role, clips in told.items()}


def state_of(fit: Fit, work: Path, seed: int) -> cache.State:
    """Whether a fit is finished, over what it reads, its seed and its code."""
    settings = {"fit": str(fit), "seed": seed, "rule": cache.code_of("deft.evaluation.cross")[HERE]}
    inputs, code = [work / "faces" / "bench" / "gray.npy", work / "motion" / "bench" / "courses.npy"], ""
    if fit.system == systems.DEFT:
        inputs = [work / "unimer" / "bench.jsonl", work / "features" / "bench", work / "mllm" / "base"]
        code, settings["recipe"] = "deft.mllm.tune", asdict(recipe(work))
    elif fit.system in READERS:
        code, settings["setting"] = "deft.evaluation.peers.linear", asdict(peers.SETTINGS[fit.system])
    else:
        inputs += [prepare.folder(work, "bench") / f"{name}.npy" for name in ("rise", "fall")]
        code, settings["peer"] = runs.module_of(fit.system), runs.code_of(fit.system)
    return cache.fresh(fit.folder(work), inputs, settings, code, apart=("deft.systems",))


def answer(fit: Fit, work: Path, seed: int) -> None:
    """Fit and answer unless it is finished: rows.npy (n,) of the benchmark and probability.npy (n, 3)."""
    work, state = Path(work), state_of(fit, work, seed)
    if state:
        return
    index, began = ClipStore(work / "clips" / "bench").index, time.perf_counter()
    role = parts(fit, index)
    ask = _deft if fit.system == systems.DEFT else _reader if fit.system in READERS else _peer
    said, parameters = ask(fit, work, seed, index, role)
    with runtime.atomic(fit.folder(work)) as fresh:
        fresh.mkdir()
        runtime.save_array(fresh, "rows", role["test"])
        runtime.save_array(fresh, "probability", np.asarray(said, np.float64))
        runtime.write_json(fresh / "history.json", {"parameters": parameters, "clips": len(role["train"])})
    state.seal(seconds=round(time.perf_counter() - began, 1))


def _peer(fit: Fit, work: Path, seed: int, index: pd.DataFrame, role: dict) -> tuple[np.ndarray, int]:
    learn = np.concatenate([role["train"], role["validation"]])
    truth = index["emotion"].map(COARSE).to_numpy()[learn]
    how = {"base": work / "mllm" / "base"} if systems.SYSTEMS[fit.system].language else {}
    inputs = prepare.read(work, "bench", learn, np.arange(len(learn)) >= len(role["train"]))
    drawn = runtime.seed_of(seed, f"cross/{fit.system}", fit.draw)
    peer, scores = runs.taught(fit.system, THREE, drawn, inputs, truth, **how)
    blocks = np.array_split(role["test"], max(1, len(role["test"]) // 128))
    return np.concatenate([scores(prepare.read(work, "bench", block)) for block in blocks]), peer.parameters


def _reader(fit: Fit, work: Path, seed: int, index: pd.DataFrame, role: dict) -> tuple[np.ndarray, int]:
    setting = peers.SETTINGS[fit.system]
    own = index.iloc[role["train"]].reset_index(drop=True)
    own = own.assign(emotion=own["emotion"].map(COARSE))
    folds = own[["dataset", "subject"]].drop_duplicates().assign(fold=-1, validation_of=-1)  # all of them train
    x = peers.views(fit.system, work, "bench")[setting.view]
    grid = ((setting.C, setting.class_weight),)
    fitted = linear.fit(x[role["train"]], own, folds, seed, THREE, grid, numbers=(0,))
    (reader,) = linear.tempered(fitted, setting.temperature)
    return reader.probabilities(x[role["test"]]), int(reader.coef.size + reader.bias.size)


def _deft(fit: Fit, work: Path, seed: int, index: pd.DataFrame, role: dict) -> tuple[np.ndarray, int]:
    from deft.mllm import score, tune

    settings = recipe(work)
    bench = tune.cached_bench(work, tune.draws.read_by(work, fit.draw))
    rows = np.array([row for row in role["train"] if bench.facts[row] and bench.facts[row].emotion in EMOTIONS], int)
    drawn = runtime.seed_of(settings.seed, f"cross/{fit.train}/{fit.fold}", fit.draw)
    tokenizer, model = tune.build(work, systems.DEFT, settings, drawn, fit.draw)
    tune.train(tokenizer, model, bench, rows, settings, drawn)
    said = score.emotion_scores(model, tokenizer, bench, role["test"])
    coarse = np.array([[COARSE[emotion] == name for name in THREE] for emotion in EMOTIONS], float)
    return said @ coarse, sum(p.numel() for p in model.parameters() if p.requires_grad)


def recipe(work: Path) -> TuneSettings:
    """The settings by which the profile tuned DEFT, as its finished run has them on record."""
    from deft.mllm import tune

    record = next(iter(sorted((Path(work) / "mllm" / "runs" / systems.DEFT).rglob(".made.json"))), None)
    if record is None:
        raise FileNotFoundError(f"no finished run of DEFT in {work}/mllm/runs; run 07_joint_tuning first")
    known = runtime.read_json(record)["parts"]["settings"]
    return tune.TuneSettings(**{one.name: known[one.name] for one in fields(tune.TuneSettings) if one.name in known})


def run_all(profile: str, seed: int, names: Sequence[str], log: Callable[[str], None] | None = None) -> None:
    """Every fit of these systems side by side, finished ones kept, and cross.jsonl: an answer per system, training set
    and tested clip.
    """
    work, wanted = paths.work(profile), fits(names)
    if set(names) - {systems.DEFT}:
        prepare.measure(work, "bench")
    waiting = [fit for fit in wanted if not state_of(fit, work, seed)]
    in_parallel(answer, [(fit, work, seed) for fit in waiting], log=log, what="cross-dataset fits")
    index, rows = ClipStore(work / "clips" / "bench").index, []
    coarse = index.assign(emotion=index["emotion"].map(COARSE))
    for fit in wanted:
        here, said = (runtime.load_array(fit.folder(work), name) for name in ("rows", "probability"))
        told = linear.answers(coarse.iloc[np.asarray(here)], np.asarray(said), THREE, np.full(len(here), fit.fold))
        about = runtime.read_json(fit.folder(work) / "history.json")
        told = told.assign(system=fit.system, train=fit.train, seed=fit.draw, look=index["look"].to_numpy()[here])
        rows += told.assign(parameters=about["parameters"]).to_dict("records")
    runtime.write_jsonl(work / "cross.jsonl", rows)
