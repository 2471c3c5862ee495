"""Who is trained on and who is tested: the folds of the embedded protocol.

A subject is the pair (dataset, subject): subject 1 of two datasets is two people.  Which clip of a licensed data set
has which class in which protocol is said in `deft.clips.labels`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def read_folds(path: Path) -> pd.DataFrame:
    """folds.csv of the embedded protocol: subject, dataset, look, fold (tested there), validation_of (-1: none)."""
    table = pd.read_csv(path, dtype={"subject": str, "dataset": str})
    if absent := {"subject", "dataset", "look", "fold", "validation_of"} - set(table.columns):
        raise ValueError(f"{path.name} lacks column {', '.join(sorted(absent))}; run 01_clips again")
    both = table[table["fold"] == table["validation_of"]]
    if len(both):
        raise ValueError(
            f"{path.name}: subject {both['subject'].iloc[0]} is tested and validated in fold "
            f"{both['fold'].iloc[0]}; run 01_clips again"
        )
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
    return np.where(
        found["fold"].to_numpy() == fold,
        "test",
        np.where(found["validation_of"].to_numpy() == fold, "validation", "train"),
    )
