"""A notebook that somebody opened: which profile it shows, with which parameters, and when that was made.

The driver injects the parameters of its profile. Without the driver they are taken from the same files, so that what is read in JupyterLab is
what was run; a value that somebody typed into the parameters cell stands above both.
"""

import os
from dataclasses import dataclass
from datetime import datetime

from deft import config, paths
from deft.run import RunError, stale
from deft.run.chain import Chain

DRIVEN = "DEFT_DRIVEN"  # set in the kernels of the driver
PROFILE = "DEFT_PROFILE"  # the profile that notebooks show when they are opened by hand
LITERALS = "smoke"  # the profile whose file holds every literal of the parameters cells: what differs from it was typed


@dataclass(frozen=True)
class Opened:
    """values: of all parameters. typed: those of them that somebody typed and the profile has otherwise. line: what is shown, in words."""

    profile: str
    values: dict
    typed: dict
    line: str


def driven() -> bool:
    """Whether this kernel was started by the driver."""
    return bool(os.environ.get(DRIVEN))


def _when(record: dict) -> datetime:
    return datetime.strptime(record["finished"], "%Y-%m-%dT%H:%M:%S%z")


def _said(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def finished(chain: Chain) -> datetime | None:
    """When the last stage of a complete run ended; None when a stage is missing."""
    records = [chain.record(stage) or {} for stage in chain.stages]
    return max(map(_when, records)) if all(record.get("state") == stale.DONE for record in records) else None


def profile_of(typed: str, notebooks=paths.NOTEBOOKS) -> str:
    """The profile that is typed, else `$DEFT_PROFILE`, else the newest complete one, else smoke. Raises ConfigError for an unknown one."""
    if wanted := typed or os.environ.get(PROFILE, ""):
        config.check_profile(wanted, notebooks)
        return wanted
    complete = {name: when for name in config.profiles(notebooks) if (when := finished(Chain(name, notebooks)))}
    return max(complete, key=complete.get) if complete else LITERALS


def open_(notebook: str, given: dict, notebooks=paths.NOTEBOOKS) -> Opened:
    """What notebook `notebook` shows; given: {name: value} as its parameters cell left them.

    Raises RunError for a notebook that does not exist, ConfigError for a profile that does not, or a value of another type.
    """
    profile = profile_of(given.get("profile", ""), notebooks)
    chain = Chain(profile, notebooks)
    stage = next((s for s in chain.stages if s.name == notebook), None)
    if stage is None:
        raise RunError(f"no notebook {notebook!r}; {config.nearest(notebook, [s.name for s in chain.stages])}")
    committed = {**stage.defaults, **Chain(LITERALS, notebooks).changes[notebook]}
    values = {**committed, **chain.changes[notebook]}
    wished = {name: config.checked(given[name], committed[name], name) for name in committed
              if name != "profile" and name in given and given[name] != committed[name]}
    typed = {name: value for name, value in wished.items() if value != values[name]}
    return Opened(profile, {**values, **typed}, typed, _line(chain, stage, {**values, **typed}, typed))


def _named(values: dict) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in values.items())


def _line(chain: Chain, stage, values: dict, typed: dict) -> str:
    record = chain.record(stage) or {}
    if record.get("state") != stale.DONE:
        return f"profile {chain.profile}, not made yet" + (f"; you typed {_named(typed)}" if typed else "")
    known = record["parameters"]
    others = {name: value for name, value in values.items() if known.get(name) != value}
    made = f"profile {chain.profile}, made {_said(_when(record))}"
    return made + (f" with {_named({name: known.get(name) for name in others})}; here it is {_named(others)}" if others else "")
