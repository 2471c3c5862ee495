"""The stages after preparation, on work/<set>: describe (evidence, Uni-MER, features), answer (joint tuning,
answers, peers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deft import cache, paths, runtime
from deft.clips import store
from deft.clips.facs import unit_sides
from deft.clips.readers import RecordedClip
from deft.evaluation import peers
from deft.evaluation.protocols import NEVER
from deft.experts import pretrain
from deft.experts.data import NAMES as EXPERTS
from deft.licensed import agreed
from deft.licensed.material import folds_of, index_of
from deft.licensed.recipe import LicensedError, Recipe, Step
from deft.mllm import score, tune
from deft.motion import evidence, prepare
from deft.parallel import in_parallel
from deft.systems import BLIND, DEFT, ELSEWHERE, LISTED
from deft.unimer import build, schema

DESCRIBED = (
    "clips/bench",
    "clips/folds.csv",
    "faces/bench",
    "motion/bench",
    "evidence/bench",
    "unimer/bench.jsonl",
    "features/bench",
)


def describing(
    recipe: Recipe, clips: Sequence[RecordedClip], table: pd.DataFrame, ready: pd.DataFrame, borrowed: str
) -> Step:
    """Write clips/bench, folds.csv, faces/, motion/, evidence/, unimer/ and features/ of the prepared clips.

    Annotated units enter as the reader parsed them, and the evidence posterior weighs them against the flow as in
    notebooks 04 and
    05. Where a data set annotates no unit at all (SMIC) its silence says nothing, and the flow speaks alone.
    """
    work, good = recipe.work, (ready["error"] == "").to_numpy()
    if not good.any():
        raise LicensedError(
            f"no clip of {recipe.dataset} could be prepared; of the first, {ready['clip'][0]}: {ready['error'][0]}"
        )
    mine = table[good].reset_index(drop=True)
    usable = [clip for clip, whole in zip(clips, good) if whole]
    folds = (
        agreed.folds_of(agreed.plan_of(recipe, usable))
        if recipe.protocol
        else folds_of(mine, recipe.dataset, recipe.folds, recipe.seed)
    )
    rows = index_of(mine, [clip.fps for clip in usable])
    annotated = mine["units"].ne("").groupby(mine["dataset"]).transform("any").to_numpy()
    constraints = np.where(annotated, "both", "flow")
    settings = {
        "clips and labels": cache.hash_of(rows),
        "prepared pictures": cache.hash_of(list(ready["file"][good])),
        "folds": cache.hash_of(folds.to_dict("records")),
        "constraint": cache.hash_of(constraints.tolist()),
        "emotions of texts": cache.hash_of(list(mine["own"])),
        "what was taken over": borrowed,
        "seed": recipe.seed,
    }
    state = cache.fresh(work, settings=settings, code="deft.licensed.stages", name="described", files=DESCRIBED)

    def make() -> None:
        prepare.gather(ready, recipe.prepared, work / "faces" / "bench", work / "motion" / "bench")
        store.write_shard(work / "clips" / "bench" / "clips.npz", rows, state.key)
        with runtime.atomic(work / "clips" / "folds.csv") as fresh:
            folds.to_csv(fresh, index=False)
        courses, noise = (
            np.asarray(runtime.load_array(work / "motion" / "bench", name)) for name in ("courses", "noise")
        )
        calibration = evidence.Calibration.load(work / "evidence" / "calibration.json")
        probability = calibration.judge(work / "evidence" / "bench", evidence.score(courses, noise))
        told, records = pd.DataFrame(rows).assign(emotion=mine["own"].where(mine["scored"], "")), {}
        for constraint in dict.fromkeys(constraints):
            part = constraints == constraint
            for record in build.build_records(
                told[part],
                probability[part],
                courses[part],
                noise[part],
                constraint,
                recipe.seed,
                rate=calibration.rate,
            ):
                records.setdefault(record["clip"], []).append(record)
        records = [record for name in told["clip"] for record in records.get(name, ())]
        schema.write_records(work / "unimer" / "bench.jsonl", records)
        for name in EXPERTS:
            pretrain.extract(name, "bench", work)

    return Step(state, make)


def verdicts(recipe: Recipe) -> pd.Series:
    """How many units, side by side, got which verdict over all prepared clips; and how many clips have no certain
    unit written down.
    """
    records = {
        record["clip"]: record["verdicts"] for record in schema.read_records(recipe.work / "unimer" / "bench.jsonl")
    }
    counts = pd.Series([row["verdict"] for rows in records.values() for row in rows], dtype=object).value_counts()
    silent = sum(not unit_sides(cell) for cell in store.ClipStore(recipe.work / "clips" / "bench").index["units"])
    return pd.concat([counts, pd.Series({"clips without a certain unit": silent})])


def runs_of(recipe: Recipe) -> tuple[list[tune.Job], tune.TuneSettings]:
    """What is tuned: every system, seed and fold; nothing on a set without emotions."""
    folds = pd.read_csv(recipe.work / "clips" / "folds.csv")["fold"]
    trained = bool((store.ClipStore(recipe.work / "clips" / "bench").index["emotion"] != "").any())
    jobs = tune.jobs_of(recipe.systems, recipe.seeds, sorted(set(folds) - {NEVER})) if trained else []
    names = ("epochs", "instruct", "school", "chat", "unit_tokens", "batch", "seed")
    chosen = {name: getattr(recipe, name) for name in names}
    return jobs, tune.TuneSettings(**chosen, classes=agreed.classes_of(recipe))


def elsewhere(profile: str) -> list[Path]:
    """Weights of the profile's own DEFT, draw 0, of every fold that 07 was asked for last (where there is no list of
    that, of every one that lies there). LicensedError where one of them is not finished: a mean over the others would
    be another system.
    """
    work, found = paths.work(profile), []
    if not (work / "mllm" / "runs" / "jobs.json").is_file():
        return sorted((work / "mllm" / "runs" / DEFT / "seed0").glob("fold*/model.safetensors"))
    for job in tune.jobs_asked(work):
        if (job.system, job.seed) == (DEFT, 0):
            found.append(job.folder(work) / "model.safetensors")
            if not found[-1].is_file():
                raise LicensedError(
                    f"{job} of profile {profile} is not finished: run `make reproduce PROFILE={profile}`"
                )
    return found


def answering(
    recipe: Recipe, described: str, log: Callable[[str], None] = print, clips: Sequence[RecordedClip] = ()
) -> Step:
    """Ask every test clip, the peers and `ELSEWHERE`, and write predictions.jsonl. A set without emotions:
    `ELSEWHERE` and the textbook alone. clips: of a protocol, which says who is tested.
    """
    work, (jobs, settings) = recipe.work, runs_of(recipe)
    others = elsewhere(recipe.profile)
    runs = cache.hash_of([tune.state_of(job, work, settings).key for job in jobs])
    state = cache.fresh(
        work,
        others,
        {"described": described, "tuned": runs},
        "deft.licensed.stages",
        name="answered",
        files=["predictions.jsonl"],
    )

    def make() -> None:
        index = store.ClipStore(work / "clips" / "bench").index
        if recipe.protocol:
            rows = unit_answers() if agreed.by_units(recipe) else class_answers()
            usable = [clip for clip in clips if clip.id in set(index["clip"])]
            rows = agreed.told(recipe, rows, usable, agreed.plan_of(recipe, usable))
            runtime.write_jsonl(work / "predictions.jsonl", rows)
            return
        rows = class_answers()
        coarse = dict(zip(index["clip"], index["coarse"]))
        runtime.write_jsonl(work / "predictions.jsonl", [{**row, "coarse": coarse[row["clip"]]} for row in rows])

    def unit_answers() -> list[dict]:
        parts = in_parallel(agreed.units_by, [(job, work) for job in jobs], recipe.workers, log, "units")
        return [*(row for part in parts for row in part), *agreed.unit_readers(recipe)]

    def class_answers() -> list[dict]:
        names = agreed.classes_of(recipe)
        blind = {BLIND} if agreed.nameable(names) else set()  # who answers the five emotions, whatever the list
        rows = score.predict_all(jobs, work, recipe.workers, log) if jobs else []
        if blind:
            asked = (ELSEWHERE, 0, [path.parent for path in others], work, "bench")
            rows += in_parallel(score.predict_together, [asked], 1, log)[0]
        readers = tuple(name for name in LISTED["licensed"] if name in blind or (jobs and name != BLIND))
        return rows + peers.predict_all(recipe.set, recipe.seed, systems=readers, classes=names)

    return Step(state, make)


def answer(
    recipe: Recipe, described: str, log: Callable[[str], None] = print, clips: Sequence[RecordedClip] = ()
) -> list[dict]:
    """Tune every system, seed and fold that is not finished, and do `answering` unless it is done; -> rows of
    predictions.jsonl.
    """
    jobs, settings = runs_of(recipe)
    if not all([tune.state_of(job, recipe.work, settings) for job in jobs]):
        tune.tune_all(jobs, recipe.work, settings, recipe.workers, log)
    answering(recipe, described, log, clips).do()
    return runtime.read_jsonl(recipe.work / "predictions.jsonl")
