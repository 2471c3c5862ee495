"""Who is trained on and who is tested: leave-one-subject-out, composite, hold-out, cross-dataset, three folds.

Every protocol fixes its class list before an answer is read, and a subject is the pair (dataset, subject): subject 1 of
two datasets is two people.  Sources: MEGC 2019 composite, CAS(ME)^3, DFME and CD6ME as listed in protocols.md.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

COARSE_CLASSES = ("negative", "positive", "surprise")  # MEGC 2019 numbers them 0, 1, 2
DFME_CLASSES = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")

# Fine label (lower case) -> composite class.  A label that is not listed is not part of the composite.
COMPOSITE = {
    "casme2": {"happiness": "positive", "surprise": "surprise", "disgust": "negative", "repression": "negative"},
    "samm": {"happiness": "positive", "surprise": "surprise", "anger": "negative", "contempt": "negative",
             "disgust": "negative", "fear": "negative", "sadness": "negative"},
    "smic-hs": {"positive": "positive", "surprise": "surprise", "negative": "negative"},
    "casme3": {"happy": "positive", "surprise": "surprise", "disgust": "negative", "fear": "negative",
               "anger": "negative", "sad": "negative"},
}
# MEGC 2019 leaves these two clips of the CASME II 2014 sheet out: (subject, filename).
COMPOSITE_WITHOUT = {"casme2": frozenset({("04", "EP12_01f"), ("05", "EP09_05f")})}
# What a correct reading must count: dataset -> (subjects, negative, positive, surprise).
COMPOSITE_COUNTS = {"casme2": (24, 88, 32, 25), "samm": (28, 92, 26, 15), "smic-hs": (16, 70, 51, 43)}


@dataclass(frozen=True)
class Split:
    """One train/test division; positions into the table of clips."""

    name: str
    train: np.ndarray
    test: np.ndarray


def composite_class(dataset: str, subject: str, filename: str, emotion: str) -> str | None:
    """'negative', 'positive' or 'surprise' under the composite protocol, or None when the clip is no part of it."""
    if dataset not in COMPOSITE:
        raise ValueError(f"no composite map for dataset {dataset!r}; known: {', '.join(COMPOSITE)}")
    if (str(subject).zfill(2), filename) in COMPOSITE_WITHOUT.get(dataset, ()):
        return None
    return COMPOSITE[dataset].get(str(emotion).strip().lower())


def composite_report(table: pd.DataFrame) -> pd.DataFrame:
    """Counts found against the counts MEGC 2019 publishes; columns dataset, part, found, expected, agrees.

    table: one row per clip, columns dataset, subject, coarse (None outside the composite).
    """
    inside, rows = table[table["coarse"].notna()], []
    for dataset, expected in COMPOSITE_COUNTS.items():
        part = inside[inside["dataset"] == dataset]
        found = (part["subject"].nunique(), *(int((part["coarse"] == c).sum()) for c in COARSE_CLASSES))
        rows += [{"dataset": dataset, "part": name, "found": f, "expected": e, "agrees": f == e}
                 for name, f, e in zip(("subjects", *COARSE_CLASSES), found, expected)]
    return pd.DataFrame(rows)


def loso(table: pd.DataFrame) -> Iterator[Split]:
    """Leave one subject out; table has columns dataset and subject.  Splits come in sorted order of the pair."""
    keys = list(zip(table["dataset"].astype(str), table["subject"].astype(str)))
    names = sorted(set(keys))
    if len(names) < 2:
        raise ValueError(f"leave-one-subject-out needs at least 2 subjects, found {len(names)}")
    for name in names:
        held = np.array([key == name for key in keys])
        yield Split("/".join(name), np.flatnonzero(~held), np.flatnonzero(held))


def holdout(table: pd.DataFrame, train: str = "train", tests: Sequence[str] = ("testA", "testB")) -> list[Split]:
    """The published division in column `split` (DFME: train, test A, test B); subjects must not be shared."""
    train_at = np.flatnonzero((table["split"] == train).to_numpy())
    out = []
    for name in tests:
        test_at = np.flatnonzero((table["split"] == name).to_numpy())
        if not len(train_at) or not len(test_at):
            raise ValueError(f"split column has no rows {train if not len(train_at) else name!r}; "
                             f"found {sorted(table['split'].unique())}")
        _disjoint(table, train_at, test_at)
        out.append(Split(name, train_at, test_at))
    return out


def cross_dataset(table: pd.DataFrame, train_on: Sequence[str], test_on: str) -> Split:
    """Train on some datasets, test on another that none of them is."""
    train_on = list(train_on)
    if test_on in train_on:
        raise ValueError(f"{test_on!r} is both trained on and tested; a cross-dataset split keeps them apart")
    found = set(table["dataset"])
    if absent := [name for name in (*train_on, test_on) if name not in found]:
        raise ValueError(f"no clips of {absent}; datasets at hand: {sorted(found)}")
    return Split(f"{'+'.join(train_on)} -> {test_on}", np.flatnonzero(table["dataset"].isin(train_on).to_numpy()),
                 np.flatnonzero((table["dataset"] == test_on).to_numpy()))


def leave_one_dataset_out(table: pd.DataFrame) -> list[Split]:
    """Every dataset tested once by a reader of all others (CD6ME style)."""
    names = sorted(table["dataset"].unique())
    return [cross_dataset(table, [other for other in names if other != name], name) for name in names]


def read_folds(path: Path) -> pd.DataFrame:
    """folds.csv of the embedded protocol: subject, dataset, look, fold (tested there), validation_of (-1: none)."""
    table = pd.read_csv(path, dtype={"subject": str, "dataset": str})
    if absent := {"subject", "dataset", "look", "fold", "validation_of"} - set(table.columns):
        raise ValueError(f"{path.name} lacks column {', '.join(sorted(absent))}; run 01_clips again")
    both = table[table["fold"] == table["validation_of"]]
    if len(both):
        raise ValueError(f"{path.name}: subject {both['subject'].iloc[0]} is tested and validated in fold "
                         f"{both['fold'].iloc[0]}; run 01_clips again")
    return table


def roles_of(index: pd.DataFrame, folds: pd.DataFrame, fold: int) -> np.ndarray:
    """Role of every row of `index` in one fold: (N,) of 'train', 'validation' or 'test'."""
    key = folds.set_index(["dataset", "subject"])
    if key.index.has_duplicates:
        twice = key.index[key.index.duplicated()][0]
        raise ValueError(f"folds.csv names subject {twice} twice; one row per (dataset, subject) is needed")
    rows = pd.MultiIndex.from_frame(index[["dataset", "subject"]])
    absent = rows.difference(key.index)
    if len(absent):
        raise ValueError(f"folds.csv has no row for {list(absent[:3])}; run 01_clips again")
    found = key.reindex(rows)
    return np.where(found["fold"].to_numpy() == fold, "test",
                    np.where(found["validation_of"].to_numpy() == fold, "validation", "train"))


def _disjoint(table: pd.DataFrame, train: np.ndarray, test: np.ndarray) -> None:
    keys = list(zip(table["dataset"].astype(str), table["subject"].astype(str)))
    shared = {keys[i] for i in train} & {keys[i] for i in test}
    if shared:
        raise ValueError(f"subject {sorted(shared)[0]} is both trained on and tested")
