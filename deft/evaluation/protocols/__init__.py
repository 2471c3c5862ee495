"""Who is trained on and who is tested: the folds of the embedded benchmark, and the field's protocols by name.

    protocol = protocols.get("composite")  # names() has all: casme2-5, cube-7, cross:casme2>samm, units, vqa, ...
    plan = protocol.plan(clips)            # every check that can be made before anything is trained
    plan.splits                            # [(training, validation, test), ...] clip ids, subjects disjoint
    plan.score(rows)                       # one row per part of the protocol, each with "n of N published clips"

clips: what `deft.clips.read` returns, of one or several data sets in one list, or the index of simulated clips: then
each simulated data set plays the part that `stand_ins` names. A subject is the pair (dataset, subject): subject 1 of
two data sets is two people. Which clip of a licensed set has which class is said in `deft.clips.labels`; here is who
is tested when, and what is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# By name, so that a change to a protocol makes no stage of the embedded benchmark stale: those use the folds below.
NEVER = -2  # column `fold` of a subject who is never tested, one of a training set; -1 is `validation_of` nobody
REGISTRY = "deft.evaluation.protocols.registry"


def get(name: str) -> Any:
    """The protocol of this name, a `deft.evaluation.protocols.base.Protocol` or (units, vqa) what has its methods.

    ProtocolError with the nearest name otherwise.
    """
    return import_module(REGISTRY).get(name)


def names() -> tuple[str, ...]:
    """Every name that `get` knows; cross-dataset and unit protocols of other sets are written as the last ones are."""
    return import_module(REGISTRY).NAMES


def grid(datasets: Sequence[str]) -> list[str]:
    """Names of all pairs of a cross-dataset table, row by row: "cross:a>b"; "cross:a>a" leaves one subject of a out."""
    return [f"cross:{train}>{test}" for train in datasets for test in datasets]


def stand_ins(name: str) -> dict[str, tuple[str, ...]]:
    """Which simulated data sets play which part of a protocol: {"casme2": ("sim-a",), ...}; of DFME its three parts."""
    return dict(get(name).stands)


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
