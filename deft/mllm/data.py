"""What the language model is given of a set of clips: the experts' features, and the facts that its answers are made
of.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deft import runtime
from deft.clips.facs import COARSE, EMOTIONS, SIDES, UNITS
from deft.clips.splits import roles
from deft.clips.store import ClipStore
from deft.experts import draws
from deft.mllm import detectors, prompt
from deft.mllm.detectors import Detectors
from deft.unimer import lessons
from deft.unimer.build import facts_of
from deft.unimer.facts import Facts


@dataclass(frozen=True)
class TuningData:
    """The data of tuning and scoring for one set: its index, the experts' features, the facts of its records (None
    without one), and the simulated detectors that rehearsal hears.

    complete: whether the record confirms every annotated unit. A unit that was annotated but not confirmed may well
    have moved below the noise: that the record does not list it must not be learned as "absent".
    still: row numbers of clips on which nothing moves (`with_still`)."""

    index: pd.DataFrame
    features: dict[str, np.ndarray]
    facts: list[Facts | None]
    folds: pd.DataFrame | None
    complete: list[bool]
    detectors: Detectors | None = None
    textbook: np.ndarray | None = None  # (N, 5): emotions are drawn anew from it each time; rows of zeros have none
    still: np.ndarray | None = None

    def told(self, row: int, rng: np.random.Generator) -> Facts | None:
        """The facts of a clip; where emotions come from the textbook, with one drawn for this telling, or none."""
        if self.textbook is None:
            return self.facts[row]
        chance = self.textbook[row]
        emotion = EMOTIONS[rng.choice(len(EMOTIONS), p=chance)] if chance.any() else ""
        return replace(self.facts[row], emotion=emotion, coarse=COARSE.get(emotion, ""))

    def rows(self, fold: int, role: str, condition: str | None = None) -> np.ndarray:
        """Row numbers of the clips whose subject plays `role` (train, validation, test) in `fold`."""
        part = self.index.subject.map(roles(self.folds, fold)) == role
        return np.flatnonzero(part & ((self.index.condition == condition) if condition else True))


def read_bench(
    work: Path, which: str = "bench", letters: str = "stmr", facts: bool = True, draw: int = 0
) -> TuningData:
    """Read index, features of a draw and (training needs them) Uni-MER facts of set `which` under work/<profile>."""
    work = Path(work)
    index = ClipStore(work / "clips" / which).index
    features = features_at(draws.features(work, which, draw), letters, len(index))
    records = runtime.read_jsonl(work / "unimer" / f"{which}.jsonl") if facts else []
    found, open_ended = facts_of(records), unconfirmed(records)
    folds = pd.read_csv(work / "clips" / "folds.csv", dtype={"subject": str}) if which == "bench" else None
    return TuningData(
        index,
        features,
        [found.get(clip) for clip in index["clip"]],
        folds,
        [clip not in open_ended for clip in index["clip"]],
        Detectors.load(detectors.path_of(work, draw)) if facts else None,
    )


def features_at(folder: Path, letters: str, clips: int) -> dict[str, np.ndarray]:
    """Tokens and unit probabilities of the streams `letters` of a set of `clips`; ValueError for another number of
    clips, or what is not finite.
    """
    features = {}
    for name in prompt.streams_of(letters):
        for key in (name, f"{name}_units") if name in prompt.UNIT_STREAMS else (name,):
            array = np.asarray(runtime.load_array(folder, key, mmap=False), np.float32)
            if len(array) != clips or not np.isfinite(array).all():
                raise ValueError(
                    f"{folder / key}.npy: {array.shape} for {clips} clips, or not finite; rerun 06_experts"
                )
            features[key] = array
    return features


def taught(bench: TuningData, work: Path, construction: str) -> TuningData:
    """The same bench, its facts those of another construction of Uni-MER (`deft.unimer.lessons`)."""
    found = lessons.read(Path(work) / "unimer", construction)
    told = [found.get(clip, (None, False)) for clip in bench.index["clip"]]
    return replace(bench, facts=[facts for facts, _ in told], complete=[complete for _, complete in told])


def with_still(bench: TuningData, work: Path, letters: str, draw: int = 0) -> TuningData:
    """The same bench and, behind its rows, the corpus clips of training people on which no unit moves. They belong to
    no fold."""
    corpus = read_bench(work, "corpus", letters, facts=False, draw=draw)
    moved = ClipStore(Path(work) / "clips" / "corpus").array("units_true").any((1, 2))
    rows = np.flatnonzero(~moved & (corpus.index["split"] == "train").to_numpy())
    if not len(rows):
        raise ValueError("the corpus has no clip without a unit: render more corpus clips in 01_clips, or tune without")
    return replace(
        bench,
        index=pd.concat([bench.index, corpus.index.iloc[rows]], ignore_index=True),
        features={
            name: np.concatenate([bench.features[name], corpus.features[name][rows]]) for name in corpus.features
        },
        facts=[*bench.facts, *(Facts() for _ in rows)],
        complete=[*bench.complete, *(True for _ in rows)],
        still=len(bench.index) + np.arange(len(rows)),
    )


def cached_bench(work: Path, expert_draw: int = 0) -> TuningData:
    """The bench as one draw of the experts describes it, read once per process while its files stand: a process may
    outlive them.
    """
    work = Path(work)
    files = [
        *sorted((work / "clips" / "bench").glob("*.npz")),
        *sorted(draws.features(work, "bench", expert_draw).glob("*.npy")),
        work / "clips" / "folds.csv",
        work / "unimer" / "bench.jsonl",
        detectors.path_of(work, expert_draw),
    ]
    return _bench(work, expert_draw, tuple((path, *runtime.stamp(path)) for path in files if path.is_file()))


@functools.lru_cache(maxsize=1)
def _bench(work: Path, expert_draw: int, _changed: tuple) -> TuningData:
    return read_bench(work, draw=expert_draw)


def heard(clips: TuningData, streams: Sequence[str]) -> np.ndarray:
    """(N, 17, 2) mean calibrated unit probability of the experts in `streams` that name units; NaN where none does."""
    named = [clips.features[f"{name}_units"] for name in streams if name in prompt.UNIT_STREAMS]
    return np.mean(named or [np.full((len(clips.index), len(UNITS), len(SIDES)), np.nan)], axis=0)


def unconfirmed(records: Iterable[dict]) -> set[str]:
    """Clips with an annotated unit that the evidence did not confirm (verdict unsupported or contradicted)."""
    return {
        record["clip"]
        for record in records
        for row in record.get("verdicts", ())
        if row["verdict"] in ("unsupported", "contradicted")
    }


def features_of(
    bench: TuningData, streams: Sequence[str], rows: np.ndarray, structure_rows: np.ndarray | None = None
) -> dict[str, torch.Tensor]:
    """Features of clips `rows` as the model's keyword arguments; structure may come from other clips."""
    taken = {}
    for name in streams:
        source = structure_rows if name == "structure" and structure_rows is not None else rows
        taken[name] = torch.from_numpy(bench.features[name][source])
        if name in prompt.UNIT_STREAMS:
            taken[f"{name}_units"] = torch.from_numpy(bench.features[f"{name}_units"][rows])
    return taken
