"""A protocol of the field on licensed data: whose clips, which classes, who is tested when, what is scored.

`make licensed PROTOCOL=megc2019`: the class list, the folds and the published counts are those of
`deft.evaluation.protocols`; everything that can be checked is checked before anything is prepared or trained. Clips
that are no members are neither measured nor trained. Training is everybody but those who are tested: validation
chooses nothing here, and the published protocols have none. Clips of several sets stand in one bench, a subject being
the pair of data set and subject (one person where two releases show the same people).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deft import runtime
from deft.clips import labels
from deft.clips.facs import COARSE, EMOTIONS, UNITS, ParsedUnits, format_units, unit_sides
from deft.clips.readers import RecordedClip
from deft.clips.store import ClipStore
from deft.evaluation import protocols
from deft.evaluation.protocols.base import Protocol
from deft.evaluation.protocols.plan import Plan
from deft.experts import draws
from deft.licensed.recipe import LOSO, LicensedError, Recipe
from deft.mllm import classes, score
from deft.mllm.runs import Job
from deft.unimer.check import UNIT_THRESHOLD

FOUR = (*labels.COARSE_CLASSES, "others")  # what clips are told apart into while units are scored
ALWAYS, EXPERT = "always yes", "motion expert"  # readers of units: every unit; the expert's own probabilities
UNITS_SAID = "units_said"


def class_of(dataset: str, label: str) -> str:
    """The one of the five emotions that a label of this data set means, by its published classes; "" without one."""
    return next((found for number in (7, 5) if (found := labels.classes(dataset, label, number)) in EMOTIONS), "")


def protocol_of(recipe: Recipe) -> Protocol:
    """The protocol that a recipe names; ProtocolError with the nearest name, LicensedError for one without runs."""
    found = protocols.get(recipe.protocol)
    if not hasattr(found, "plan"):
        raise LicensedError(
            f"{recipe.protocol} scores files of answers and trains nothing: see deft.evaluation.protocols"
        )
    return found


def by_units(recipe: Recipe) -> bool:
    """Whether action units are scored, not classes."""
    return bool(recipe.protocol) and protocol_of(recipe).SAID == UNITS_SAID


def classes_of(recipe: Recipe) -> tuple[str, ...]:
    """What clips are told apart into, in the order of the head."""
    if not recipe.protocol:
        return EMOTIONS
    return FOUR if by_units(recipe) else tuple(protocol_of(recipe).classes)


def plan_of(recipe: Recipe, clips: Sequence[RecordedClip]) -> Plan:
    """The protocol on these clips (`deft.evaluation.protocols.plan.Plan`): members, folds, counts, all checked."""
    folds = None if recipe.folds in ("", LOSO) else int(recipe.folds)
    return protocol_of(recipe).plan(clips, folds=folds, seed=recipe.seed, made_up=recipe.simulated)


def members(recipe: Recipe, clips: Sequence[RecordedClip]) -> tuple[list[RecordedClip], pd.DataFrame]:
    """(clips of the protocol, their table), sorted by person and clip; columns as `material.look_at` has them.

    subject: the person. emotion: the class that is trained; truth: what is scored, in words.
    """
    plan = plan_of(recipe, clips)
    known = plan.members.set_index("clip")
    mine = sorted(
        (clip for clip in clips if clip.id in known.index), key=lambda clip: (known["person"][clip.id], clip.id)
    )
    rows, units = [], by_units(recipe)
    for clip in mine:
        truth = known["truth"][clip.id]
        rows.append(
            {
                "clip": clip.id,
                "subject": known["person"][clip.id],
                "dataset": clip.dataset,
                "label": clip.emotion,
                "own": class_of(clip.dataset, clip.emotion),
                "emotion": labels.classes(clip.dataset, clip.emotion, 4) or "" if units else truth,
                "coarse": clip.coarse,
                "kind": clip.kind,
                "units": format_units(clip.action_units),
                "truth": labels.classes(clip.dataset, clip.emotion, 4) or "" if units else truth,
                "scored": True,
            }
        )
    return mine, pd.DataFrame(rows)


def folds_of(plan: Plan) -> pd.DataFrame:
    """The plan's folds as folds.csv: subject (the person), dataset, look, fold (tested there, `NEVER`: in none),
    validation_of (-1: of none).

    LicensedError for folds that this form cannot say: in each, everybody who is not tested must train.
    """
    who = dict(zip(plan.members["clip"], plan.members["person"]))
    people = plan.members.drop_duplicates(["person", "dataset"])
    tested = {who[clip]: number for number, (_, _, test) in enumerate(plan.splits) for clip in test}
    for number, (train, validation, _) in enumerate(plan.splits):
        learning = {who[clip] for clip in (*train, *validation)}
        if idle := sorted(set(people["person"]) - learning - {name for name, of in tested.items() if of == number}):
            raise LicensedError(f"fold {number} of {plan.protocol.name} neither trains on {idle[0]} nor tests them")
    return (
        pd.DataFrame(
            {
                "subject": people["person"],
                "dataset": people["dataset"],
                "look": -1,
                "fold": [tested.get(name, protocols.NEVER) for name in people["person"]],
                "validation_of": -1,
            }
        )
        .sort_values(["subject", "dataset"])
        .reset_index(drop=True)
    )


# ---------------------------------------------------------------- answers
def told(recipe: Recipe, rows: Sequence[dict], clips: Sequence[RecordedClip], plan: Plan) -> list[dict]:
    """Answers of the clips that are tested, each with its published label and units; those of systems that know the
    five emotions alone as classes of the list.
    """
    names, known = classes_of(recipe), {clip.id: clip for clip in clips}
    asked, out = set(plan.members["clip"][plan.tested]), []
    for row in rows:
        if row["clip"] not in asked:
            continue
        if "scores" in row and set(row["scores"]) != set(names):
            scores = classes.of_emotions(row["scores"], names)
            row = {**row, "scores": scores, "prediction": max(scores, key=scores.get), "head_class": ""}
        clip = known[row["clip"]]
        out.append({**row, "label": clip.emotion, "units_annotated": annotated(clip)})
    return out


def annotated(clip: RecordedClip) -> list[int]:
    """Units of `facs.UNITS` that the sheet gives a clip for certain."""
    return sorted(set(unit_sides(ParsedUnits(tuple(clip.action_units)))) & set(UNITS))


def nameable(names: Sequence[str]) -> bool:
    """Whether a system that knows the five emotions can answer more than one of these classes."""
    return sum(name in (*EMOTIONS, *COARSE.values()) for name in names) > 1


def units_by(job: Job, work: Path) -> list[dict]:
    """Which units the unit head of one run sees on its test clips: at or above one half on either side."""
    tokenizer, model = score.load(job.folder(work))
    bench = score.read_bench(work, "bench", model.config.streams, facts=False, draw=job.seed)
    rows = bench.rows(job.fold, "test")
    seen = score.unit_probability(model, tokenizer, bench, rows) >= UNIT_THRESHOLD
    return unit_lines(bench.index.iloc[rows], seen, job.system, job.seed)


def unit_lines(index: pd.DataFrame, seen: np.ndarray, system: str, seed: int = 0) -> list[dict]:
    """Rows of predictions.jsonl. seen: (N, 17, 2) bool in the order of `index`."""
    return [
        {
            "clip": row.clip,
            "dataset": row.dataset,
            "subject": row.subject,
            "condition": "kept",
            "system": system,
            "seed": seed,
            UNITS_SAID: [unit for unit, sides in zip(UNITS, one) if sides.any()],
        }
        for row, one in zip(index.itertuples(), seen)
    ]


def unit_readers(recipe: Recipe) -> list[dict]:
    """Answers of the readers that no language model is behind: `ALWAYS`, and `EXPERT` once per draw."""
    index = ClipStore(recipe.work / "clips" / "bench").index
    out = unit_lines(index, np.ones((len(index), len(UNITS), 2), bool), ALWAYS)
    for draw in range(draws.count(recipe.work)):
        probability = np.asarray(runtime.load_array(draws.features(recipe.work, "bench", draw), "motion_units"))
        out += unit_lines(index, probability >= UNIT_THRESHOLD, EXPERT, draw)
    return out
