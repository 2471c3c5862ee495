"""The stages after preparation, on work/<set>: describe (evidence, Uni-MER, features), answer (joint tuning,
answers, peers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from deft import cache, paths, runtime
from deft.clips import store
from deft.clips.facs import unit_sides
from deft.clips.readers import RecordedClip
from deft.evaluation import peers
from deft.experts import pretrain
from deft.experts.data import NAMES as EXPERTS
from deft.licensed.material import folds_of, index_of
from deft.licensed.recipe import LicensedError, Recipe, Step
from deft.mllm import score, tune
from deft.mllm.data import cached_bench
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
    folds = folds_of(mine, recipe.dataset, recipe.folds, recipe.seed)
    rows = index_of(mine, recipe.dataset, [clip.fps for clip, usable in zip(clips, good) if usable])
    constraint = "both" if (mine["units"] != "").any() else "flow"
    settings = {
        "clips and labels": cache.hash_of(rows),
        "prepared pictures": cache.hash_of(list(ready["file"][good])),
        "folds": cache.hash_of(folds.to_dict("records")),
        "constraint": constraint,
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
        records = build.build_records(
            pd.DataFrame(rows), probability, courses, noise, constraint, recipe.seed, rate=calibration.rate
        )
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
    jobs = tune.jobs_of(recipe.systems, recipe.seeds, sorted(folds.unique())) if trained else []
    return jobs, tune.TuneSettings(epochs=recipe.epochs, instruct=recipe.instruct, batch=recipe.batch, seed=recipe.seed)


def answering(recipe: Recipe, described: str, log: Callable[[str], None] = print) -> Step:
    """Ask every test clip, the peers and `ELSEWHERE`, and write predictions.jsonl. A set without emotions:
    `ELSEWHERE` and the textbook alone.
    """
    work, (jobs, settings) = recipe.work, runs_of(recipe)
    others = sorted((paths.work(recipe.profile) / "mllm" / "runs" / DEFT / "seed0").glob("fold*/model.safetensors"))
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
        rows = score.predict_all(jobs, work, recipe.workers, log) if jobs else []
        rows += in_parallel(
            score.predict_together, [(ELSEWHERE, 0, [path.parent for path in others], work, "bench")], 1, log
        )[0]
        rows += peers.predict_all(recipe.set, recipe.seed, systems=LISTED["licensed"] if jobs else (BLIND,))
        index = store.ClipStore(work / "clips" / "bench").index
        coarse = dict(zip(index["clip"], index["coarse"]))
        runtime.write_jsonl(work / "predictions.jsonl", [{**row, "coarse": coarse[row["clip"]]} for row in rows])

    return Step(state, make)


def answer(recipe: Recipe, described: str, log: Callable[[str], None] = print) -> list[dict]:
    """Tune every system, seed and fold that is not finished, and do `answering` unless it is done; -> rows of
    predictions.jsonl.
    """
    cached_bench.cache_clear()  # of this process; the set may have been described anew since
    jobs, settings = runs_of(recipe)
    if not all([tune.state_of(job, recipe.work, settings) for job in jobs]):
        tune.tune_all(jobs, recipe.work, settings, recipe.workers, log)
    answering(recipe, described, log).do()
    return runtime.read_jsonl(recipe.work / "predictions.jsonl")
