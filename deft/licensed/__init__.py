"""The chain on a licensed data set: clips -> evidence -> Uni-MER -> features -> joint tuning -> answers -> one table.

`make licensed DATASET=casme2` (and notebook 12, on a few clips). What was learned on simulated people is taken over
from a profile as it is: landmarks, evidence calibration, experts, language base. What is learned here is the joint
tuning, under subject-disjoint folds. `work/<set>` gets the layout of a simulated profile, so every later stage runs on
it unchanged; it has no truth arrays and no broken condition, and no emotion knowledge is added: classes come from
`deft.clips.labels`.

Every stage looks at what it reads and does nothing when that has not changed; preparation keeps every finished clip,
tuning every finished run. `recipe` says what is run and from which profile, `material` which clips, labels and folds,
`stages` does it; `deft.evaluation.reproduced` scores it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from deft import cache, paths, runtime
from deft.clips import readers
from deft.clips.readers import RecordedClip
from deft.clips.readers.report import tally
from deft.clips.store import ClipStore
from deft.evaluation import printed, reproduced
from deft.evaluation.tables import present
from deft.licensed import agreed
from deft.licensed.contact import NAME, contact
from deft.licensed.forecast import forecast
from deft.licensed.material import REPORT, folds_of, left_out, look_at, odd, prepared, take, uses, waiting
from deft.licensed.recipe import LicensedError, Recipe, borrowing, recipe_of
from deft.licensed.stages import answer, answering, describing, verdicts
from deft.run import lock

__all__ = [
    "LicensedError",
    "Recipe",
    "answer",
    "borrowing",
    "describing",
    "left_out",
    "prepared",
    "recipe_of",
    "run",
    "save",
    "score",
    "status",
    "take",
    "uses",
    "verdicts",
]


def score(recipe: Recipe, rows: list[dict]) -> pd.DataFrame:
    """T2 of the set from the rows of its predictions.jsonl: see `deft.evaluation.reproduced.t2`.

    Raises LicensedError when a system has no answer to a clip that another one answered: then the rows are not all
    there."""
    answered: dict[tuple, set] = {}
    for row in rows:
        answered.setdefault((row["system"], row["seed"]), set()).add(row["clip"])
    asked = set().union(*answered.values())
    for (system, number), clips in answered.items():
        if clips != asked:
            raise LicensedError(
                f"{recipe.work / 'predictions.jsonl'}: {system}, seed {number}, answered {len(clips)} of {len(asked)}"
                " clips; remove the file and run the same command again"
            )
    trained = any(row["system"] in recipe.systems for row in rows)
    protocol = recipe.how if trained else "nothing trained on this set"
    return reproduced.t2(rows, f"{recipe.dataset}, {protocol}", recipe.simulated, recipe.seed)


def save(recipe: Recipe, result: pd.DataFrame, counted: pd.DataFrame) -> Path:
    """Write T2 and the labels, with where they come from and what was odd about the data, to figures/<set>/tables;
    -> the folder.
    """
    state = tabled(recipe)
    reproduced.save(state.folder, recipe.dataset, f"{recipe.words}. Data report: {odd(recipe)}", result, counted)
    if not state or cache.damage(state.folder):  # the stamp holds the commit: the same numbers may be other bytes
        state.seal()
    return state.folder


def tabled(recipe: Recipe) -> cache.State:
    """Whether figures/<set>/tables holds the tables of these answers as they were written."""
    return cache.fresh(
        paths.figures(recipe.set) / "tables",
        [recipe.work / "predictions.jsonl", recipe.work / REPORT],
        code="deft.evaluation.printed" if recipe.protocol else "deft.evaluation.reproduced",
    )


def status(dataset: str, profile: str) -> list[dict]:
    """What the next `make licensed` would do and why, for all numbers of folds under which this set was begun; nothing
    is written.

    -> rows of stage (the set and data, prepared, borrowed, described, answered or table), state (done, stale, missing,
    never run), reason. ReaderError for a name that no reader has."""
    if dataset not in readers.READERS:
        raise readers.unknown(dataset)
    recipe_of(dataset, paths.work(profile), profile)  # ConfigError for an unknown profile
    notes = {path.parent.name: runtime.read_json(path) for path in sorted(paths.work("").glob("*/set.json"))}
    rows = []
    for name, note in notes.items():
        if dataset in note["dataset"].split("+") and note["profile"] == profile:
            points = note.get("landmarks")
            more = {"protocol": note.get("protocol", ""), "errata": note.get("errata", False)}
            more["landmarks"] = Path(points) if points else None
            recipe = recipe_of(note["dataset"], Path(note["root"]), profile, note["folds"], **more)
            if recipe.set == name:  # else a selection of clips, which notebook 12 makes
                rows += [
                    {"stage": f"{recipe.set} {step}", "state": state, "reason": reason}
                    for step, state, reason in _steps(recipe)
                ]
    return rows or [
        {
            "stage": f"{dataset}-{profile}",
            "state": "never run",
            "reason": f"make licensed DATASET={dataset} PROFILE={profile} begins it",
        }
    ]


def _steps(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """(step, state, reason) up to the first that is not done: those after it read what it makes."""

    def told(step: str, why: str) -> tuple[str, str, str]:
        return step, "stale" if why else "done", why or "nothing changed"

    at = "data"
    try:
        clips, table, report = look_at(recipe)
        yield at, "done", f"{len(clips)} clips, {tally(report)}"
        at = "prepared"
        done, asked, damaged = waiting(recipe, clips)
        yield told(at, damaged[0] if damaged else f"{done} of {asked} clips" if done < asked else "")
        if damaged or done < asked:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # "is made again": here it is only told
            at = "borrowed"
            step = borrowing(recipe)
            yield told(at, step.state.why)
            if step.state:
                at = "described"
                step = describing(recipe, clips, table, prepared(recipe, clips), step.state.key)
                yield told(at, step.state.why)
            if step.state:
                at = "answered"
                step = answering(recipe, step.state.key, clips=clips)
                yield told(at, step.state.why)
            if step.state:
                at = "table"
                yield told(at, tabled(recipe).why)
    except (ValueError, FileNotFoundError) as error:  # no data, no models, no frames: in words with the remedy
        yield at, "missing", str(error)


def run(recipe: Recipe, log: Callable[[str], None] = print) -> pd.DataFrame:
    """All of it, in order; a second call does only what is missing. -> T2, also written to figures/<set>/tables.

    One run at a time: RunError while another one of this set and profile goes on, under whatever folds.
    """
    with ExitStack() as locks:
        for folder in recipe.locked:
            locks.enter_context(lock.held(folder, f"another run on {recipe.dataset} with {recipe.profile}'s models"))
        return _run(recipe, log)


def _run(recipe: Recipe, log: Callable[[str], None]) -> pd.DataFrame:
    clips, table = take(recipe)
    filmed = [clip for clip in clips if clip.numbers]
    here = table[[bool(clip.numbers) for clip in clips]]
    # folds are refused now, not after an hour of preparing
    if recipe.protocol:
        plan = agreed.plan_of(recipe, filmed)
        folds = agreed.folds_of(plan)
        kind, of = plan.standing()
        log(f"{recipe.protocol}: {of}, {kind if kind != 'partial' else 'fewer than 95 %: no reproduction'}")
        differ = plan.counts().query("agrees == False")
        log("counts that differ from the published ones:\n" + differ.to_string(index=False)) if len(differ) else None
    else:
        folds = folds_of(here, recipe.dataset, recipe.folds, recipe.seed)
    borrowed = borrowing(recipe).do()
    log(f"{recipe.dataset}: {len(clips)} clips of {table['subject'].nunique()} subjects · {recipe.words}")
    log(f"data report: {odd(recipe)}, in {recipe.work / REPORT}")
    log(forecast(recipe, clips, folds, here))
    ready = prepared(recipe, clips, log)
    log(f"look at landmarks and regions first: {contact(ready, recipe.prepared, recipe.work / NAME)}")
    counted = uses(table, ready)
    log("\n".join([*left_out(ready), counted.to_string(index=False)]))
    described = describing(recipe, clips, table, ready, borrowed).do()
    log(f"evidence, Uni-MER, features: {recipe.work}\n{verdicts(recipe).to_string()}")
    rows = answer(recipe, described, log, clips)
    if recipe.protocol:
        return _save_agreed(recipe, clips, rows, counted, log)
    result = score(recipe, rows)
    folder = save(recipe, result, counted)
    log(f"{present.markdown(reproduced.shown(result))}\n{recipe.words}\nwritten: {folder}")
    return result


def _save_agreed(
    recipe: Recipe,
    clips: list[RecordedClip],
    rows: list[dict],
    counted: pd.DataFrame,
    log: Callable[[str], None],
) -> pd.DataFrame:
    """T2 of a protocol, from the answers of the clips that were prepared; also written to figures/<set>/tables."""
    there = set(ClipStore(recipe.work / "clips" / "bench").index["clip"])
    plan = agreed.plan_of(recipe, [clip for clip in clips if clip.id in there])
    result, state = printed.t2(plan, rows, recipe.seed), tabled(recipe)
    matrices = None if agreed.by_units(recipe) else printed.confusions(plan, rows)
    words = f"{recipe.words}. Data report: {odd(recipe)}"
    printed.save(
        state.folder, f"{recipe.protocol} on {recipe.dataset}", words, result, plan.counts(), counted, matrices
    )
    if not state or cache.damage(state.folder):
        state.seal()
    log(f"{present.markdown(printed.shown(result))}\n{recipe.words}\nwritten: {state.folder}")
    return result
