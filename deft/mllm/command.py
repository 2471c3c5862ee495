"""`python -m deft tune`: one run of joint tuning into a folder of one's own, with any base, on one process or several.

    python -m deft tune --profile demo --system deft --fold 0 --out runs/fold0
    accelerate launch --config_file docs/accelerate/8-gpus.yaml -m deft tune --profile demo --fold 0 --out runs/fold0

While it trains, the folder holds the checkpoints; it ends with model.safetensors, config, tokenizer, history.json and,
written last, MANIFEST.json (`deft.restart`)."""

from __future__ import annotations

import os
import warnings
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from accelerate import PartialState

from deft import cache, restart, runtime, systems
from deft.mllm import hub, school, tune
from deft.mllm.examples import TuneSettings
from deft.mllm.runs import Job


class TuneError(ValueError):
    """The run cannot be made as it was asked for; the message says what to do."""


@dataclass(frozen=True)
class Request:
    """What is asked for. work: folder of the profile's data. out: where the run goes. base: folder or hub id
    (owner/name@revision) of a language model in place of the profile's own. resume: go on from a checkpoint in `out`.
    """

    job: Job
    work: Path
    settings: TuneSettings
    out: Path
    base: str | None = None
    resume: bool = False


def request(work: Path, given: Namespace, parameters: Mapping[str, Any]) -> Request:
    """What a command line asks for (`deft.__main__`); parameters: of the profile's joint tuning, whose base is taken
    when none is given. A step has one group per process unless `given` says how many."""
    if given.groups < 0 or given.draw < 0 or (given.school or 0) < 0:
        raise TuneError(f"--groups {given.groups} --draw {given.draw} --school {given.school}: whole numbers from 0")
    named = "@".join(part for part in (parameters["base"], parameters["base_revision"]) if part)
    base = given.base or named or None
    settings = TuneSettings(
        **{name: parameters[name] for name in ("epochs", "batch", "seed", "draw")},
        chat=given.chat or parameters["chat"],
        unit_tokens=given.unit_tokens or parameters["unit_tokens"],
        school=0 if not base else parameters["school_steps"] if given.school is None else given.school,
        instruct=0 if given.base else parameters["instruct"],  # another base was instructed by nobody
        groups=given.groups or _processes(),
    )
    job = Job(given.system, given.draw, given.fold)
    return Request(job, work, settings, given.out.absolute(), base, given.resume)


def _processes() -> int:
    """How many processes the launcher has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def run(asked: Request) -> str:
    """Tune, and write the folder; -> what was done, in words. Raises TuneError for a folder that holds something else
    and for a job that the profile does not have, BaseError for a base, `restart.Stopped` after SIGTERM."""
    device, processes = hub.where().type, _processes()
    PartialState(cpu=device == "cpu")  # each process has its own GPU from here on
    _check(asked)
    folder = asked.base and hub.found(asked.base)[0]
    if asked.settings.school:
        _schooled(asked, folder, processes)
    state = tune.state_of(asked.job, asked.work, asked.settings, folder, asked.out)
    key = cache.hash_of([state.key, device, processes])
    if _finished(asked, key):
        return f"{asked.out} was finished before: {asked.job}"
    if not asked.resume and any(asked.out.glob("checkpoint-*")):
        raise TuneError(f"{asked.out} holds checkpoints: say --resume to go on, or remove them to start over")
    place = restart.Place(asked.out, key, strict=True)
    tokenizer, model, history = tune.learn(asked.job, asked.work, asked.settings, place, base=asked.base)
    if PartialState().is_main_process:
        restart.sweep(asked.out.parent)
        with runtime.atomic(asked.out) as fresh:
            tune.write(fresh, tokenizer, model, history)
            about = {"system": asked.job.system, "draw": asked.job.seed, "fold": asked.job.fold}
            restart.seal(fresh, key=key, steps=history["steps"], **about)
    PartialState().wait_for_everyone()
    return (
        f"{asked.out}: {asked.job}, {history['steps']} steps of {asked.settings.groups} x {asked.settings.batch}"
        f" examples on {processes} process{'es' * (processes > 1)} ({device}), {history['trained_parameters']:,} of"
        f" {history['parameters']:,} numbers learned"
    )


def _schooled(asked: Request, folder: Path, processes: int) -> None:
    """School the base under the profile's folder unless that is done; TuneError on several processes."""
    if processes == 1:
        school.school(asked.work, asked.job.seed, asked.settings, asked.base)
    elif not (state := school.state_of(asked.work, asked.job.seed, asked.settings, folder)):
        raise TuneError(
            f"the base is schooled on one process ({state.why}): give the same command without `accelerate launch`"
            " first, until its first checkpoint; or tune with --school 0"
        )


def _check(asked: Request) -> None:
    """Raise TuneError for a profile without data and for a fold that it does not have, ValueError for a system."""
    systems.model(asked.job.system)
    table = asked.work / "clips" / "folds.csv"
    if not table.is_file():
        raise TuneError(f"{table} is missing: run `python -m deft run` for this profile first, up to 07_joint_tuning")
    folds = sorted(pd.read_csv(table).fold.unique())
    if asked.job.fold not in folds:
        raise TuneError(f"--fold {asked.job.fold}: the profile has the folds {', '.join(map(str, folds))}")


def _finished(asked: Request, key: str) -> bool:
    """Whether `out` holds this run, whole; one that was damaged is made again. Raises TuneError when it holds another
    run, or anything that is no part of one."""
    if asked.out.exists() and not asked.out.is_dir():
        raise TuneError(f"--out {asked.out} is a file")
    if not (asked.out / restart.MANIFEST).is_file():
        names = [path.name for path in asked.out.iterdir()] if asked.out.is_dir() else []
        if strange := [name for name in names if not name.startswith((".", "checkpoint-"))]:
            raise TuneError(f"--out {asked.out} holds {strange[0]} and no {restart.MANIFEST}: name a new folder")
        return False
    manifest, wrong = restart.read(asked.out)
    if manifest.get("key") != key:
        wrong = wrong or f"{asked.out} holds another run: other data, base, settings, code, versions or processes"
        raise TuneError(f"{wrong}; name another folder, or remove this one")
    if wrong:
        warnings.warn(f"{wrong}; it is made again", RuntimeWarning, stacklevel=2)
    return not wrong
