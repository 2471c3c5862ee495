"""Subject-disjoint folds, stratified by dataset and look, with validation subjects inside every training part.

Stratifying by look matters: a look that is missing from training turns the "tie kept" condition upside down.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from deft import runtime


def make_folds(subjects: pd.DataFrame, folds: int, seed: int, validation: int = 4) -> pd.DataFrame:
    """Deal subjects into folds.

    subjects: columns subject, dataset, look; one row per subject.
    Returns columns subject, dataset, look, fold (the fold in which the subject is tested) and validation_of (the fold
    for whose training part the subject is held out for validation, -1 for none). A subject serves as validation at most
    once."""
    if len(subjects) < folds:
        raise ValueError(
            f"{len(subjects)} subjects cannot be dealt into {folds} folds; use fewer folds or more subjects"
        )
    if subjects["subject"].duplicated().any():
        raise ValueError("a subject occurs twice; pass one row per subject")
    parts = []
    for position, (_, part) in enumerate(subjects.groupby("dataset", sort=True)):
        shuffled = part.sample(
            frac=1.0, random_state=np.random.RandomState(runtime.seed_of(seed, "folds", position) % 2**32)
        )
        ordered = shuffled.sort_values("look", kind="stable").reset_index(drop=True)
        # Dealing goes on where the previous dataset stopped, so that small looks do not pile up in fold 0.
        ordered["fold"] = (np.arange(len(ordered)) + position) % folds
        parts.append(ordered)
    table = pd.concat(parts, ignore_index=True)
    table["validation_of"] = -1
    for fold in range(folds):
        free = table[(table.fold != fold) & (table.validation_of == -1)]
        sizes = free.look.map(table.look.value_counts())
        # Frequent looks give up subjects first: training must keep every look.
        order = free.assign(size=sizes).sort_values(["size", "subject"], ascending=[False, True], kind="stable")
        rank = order.groupby("look").cumcount()
        spare = rank < order.groupby("look")["look"].transform("size") - 1  # one of each stays
        order, rank = order[spare], rank[spare]
        wanted = min(validation, max(1, len(free) // 4)) if len(free) > 1 else 0
        chosen = (
            order.assign(rank=rank).sort_values(["rank", "size"], ascending=[True, False], kind="stable").index[:wanted]
        )
        table.loc[chosen, "validation_of"] = fold
    return table.sort_values("subject").reset_index(drop=True)


def roles(folds: pd.DataFrame, fold: int) -> dict[str, str]:
    """subject -> 'train' | 'validation' | 'test' for one fold of `make_folds`."""
    if fold not in set(folds.fold):
        raise ValueError(f"no fold {fold}; this table has folds {sorted(set(folds.fold))}")
    return {
        row.subject: "test" if row.fold == fold else "validation" if row.validation_of == fold else "train"
        for row in folds.itertuples()
    }
