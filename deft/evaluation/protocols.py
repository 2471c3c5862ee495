"""Who is trained on and who is tested: leave-one-subject-out, composite, hold-out, cross-dataset, three folds.

A subject is the pair (dataset, subject): subject 1 of two datasets is two people.  Which clip has which class in which
protocol, and how many there must be, is said in `deft.clips.labels`.  Sources: MEGC 2019, CAS(ME)^3, DFME and CD6ME.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

@dataclass(frozen=True)
class Split:
    """One train/test division; positions into the table of clips."""

    name: str
    train: np.ndarray
    test: np.ndarray


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
