"""The chain on a licensed data set: clips -> evidence -> Uni-MER -> features -> joint tuning -> answers -> one table.

`make licensed DATASET=casme2` (and notebook 12, on a few clips). What was learned on simulated people is taken over from a profile as it
is: landmarks, evidence calibration, experts, language base. What is learned here is the joint tuning, under subject-disjoint folds.
`work/<set>` gets the layout of a simulated profile, so every later stage runs on it unchanged; it has no truth arrays and no broken
condition, and no emotion knowledge is added: classes come from `deft.clips.labels`.

Every stage looks at what it reads and does nothing when that has not changed; preparation keeps every finished clip, tuning every
finished run. `recipe` says what is run and from which profile, `material` which clips, labels and folds, `stages` does it;
`deft.evaluation.reproduced` scores it.
"""
from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from deft import paths
from deft.evaluation import reproduced
from deft.evaluation.tables import readable
from deft.licensed.material import prepared, take, uses
from deft.licensed.recipe import LicensedError, Recipe, borrow, recipe_of
from deft.licensed.stages import answer, describe, verdicts

__all__ = ["LicensedError", "Recipe", "answer", "borrow", "describe", "prepared", "recipe_of", "run", "score", "take", "uses", "verdicts"]


def score(recipe: Recipe, rows: list[dict]) -> pd.DataFrame:
    """T2 of the set from the rows of its predictions.jsonl: see `deft.evaluation.reproduced.t2`."""
    return reproduced.t2(rows, f"{recipe.dataset}, {recipe.protocol}", recipe.simulated, recipe.seed)


def run(recipe: Recipe, log: Callable[[str], None] = print) -> pd.DataFrame:
    """All of it, in order; a second call does only what is missing. -> T2, also written to figures/<set>/tables."""
    clips, table = take(recipe)
    borrowed = borrow(recipe)
    log(f"{recipe.dataset}: {len(clips)} clips of {table['subject'].nunique()} subjects · {recipe.words}")
    ready = prepared(recipe, clips)
    counted = uses(table, ready)
    log(counted.to_string(index=False))
    for row in ready[ready["error"] != ""].itertuples():
        log(f"left out  {row.clip}: {row.error}")
    described = describe(recipe, clips, table, ready, borrowed)
    log(f"evidence, Uni-MER, features: {recipe.work}\n{verdicts(recipe).to_string()}")
    result = score(recipe, answer(recipe, described, log))
    folder = paths.figures(recipe.set) / "tables"
    reproduced.save(folder, recipe.dataset, recipe.words, result, counted)
    log(f"{readable(result).to_string(index=False)}\n{recipe.words}\nwritten: {folder}")
    return result
