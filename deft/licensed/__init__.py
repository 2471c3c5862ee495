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
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from deft import paths
from deft.evaluation import reproduced
from deft.evaluation.tables import readable
from deft.licensed.material import REPORT, folds_of, left_out, odd, prepared, take, uses
from deft.licensed.recipe import LOSO, LicensedError, Recipe, borrow, recipe_of
from deft.licensed.stages import answer, describe, verdicts
from deft.run import lock

__all__ = ["LicensedError", "Recipe", "answer", "borrow", "describe", "left_out", "prepared", "recipe_of", "run", "save", "score", "take", "uses", "verdicts"]


def score(recipe: Recipe, rows: list[dict]) -> pd.DataFrame:
    """T2 of the set from the rows of its predictions.jsonl: see `deft.evaluation.reproduced.t2`.

    Raises LicensedError when a system has no answer to a clip that another one answered: then the rows are not all there.
    """
    answered: dict[tuple, set] = {}
    for row in rows:
        answered.setdefault((row["system"], row["seed"]), set()).add(row["clip"])
    asked = set().union(*answered.values())
    for (system, number), clips in answered.items():
        if clips != asked:
            raise LicensedError(f"{recipe.work / 'predictions.jsonl'}: {system}, seed {number}, answered {len(clips)} of {len(asked)} clips; "
                                "remove the file and run the same command again")
    trained = any(row["system"] in recipe.systems for row in rows)
    protocol = recipe.protocol if trained else "nothing trained on this set"
    return reproduced.t2(rows, f"{recipe.dataset}, {protocol}", recipe.simulated, recipe.seed)


def save(recipe: Recipe, result: pd.DataFrame, counted: pd.DataFrame) -> Path:
    """Write T2 and the labels, with where they come from and what was odd about the data, to figures/<set>/tables; -> the folder."""
    folder = paths.figures(recipe.set) / "tables"
    aside = " Under leave one subject out the linear peers set one training subject aside to choose by; deft trains on it." if recipe.folds == LOSO else ""
    reproduced.save(folder, recipe.dataset, f"{recipe.words}. Data report: {odd(recipe)}.{aside}".removesuffix("."), result, counted)
    return folder


def run(recipe: Recipe, log: Callable[[str], None] = print) -> pd.DataFrame:
    """All of it, in order; a second call does only what is missing. -> T2, also written to figures/<set>/tables.

    One run at a time: RunError while another one of this set and profile goes on, under whatever folds.
    """
    with ExitStack() as locks:
        for folder in dict.fromkeys((recipe.home, recipe.work)):
            locks.enter_context(lock.held(folder, f"another run on {recipe.dataset} with {recipe.profile}'s models"))
        return _run(recipe, log)


def _run(recipe: Recipe, log: Callable[[str], None]) -> pd.DataFrame:
    clips, table = take(recipe)
    folds_of(table[[bool(clip.numbers) for clip in clips]], recipe.dataset, recipe.folds, recipe.seed)  # refused now, not after an hour of preparing
    borrowed = borrow(recipe)
    log(f"{recipe.dataset}: {len(clips)} clips of {table['subject'].nunique()} subjects · {recipe.words}")
    log(f"data report: {odd(recipe)}, in {recipe.work / REPORT}")
    ready = prepared(recipe, clips, log)
    counted = uses(table, ready)
    log("\n".join([*left_out(ready), counted.to_string(index=False)]))
    described = describe(recipe, clips, table, ready, borrowed)
    log(f"evidence, Uni-MER, features: {recipe.work}\n{verdicts(recipe).to_string()}")
    result = score(recipe, answer(recipe, described, log))
    folder = save(recipe, result, counted)
    log(f"{readable(result).to_string(index=False)}\n{recipe.words}\nwritten: {folder}")
    return result
