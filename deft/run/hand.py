"""A notebook that somebody opened: which profile it shows, with which parameters, when that was made, and what it must
not replace.

The driver injects the parameters of its profile. Without the driver they are taken from the same files, so that what is
read in JupyterLab is what was run; a value that somebody typed into the parameters cell stands above both. What is
there is never replaced by hand, unless asked for: the rules for that stand in the environment (`runtime.rule`), so that
worker processes keep to them too."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from deft import config, paths, runtime
from deft.closure import Closure
from deft.run import RunError, book, stale
from deft.run.chain import Chain

PROFILE = "DEFT_PROFILE"  # the profile that notebooks show when they are opened by hand
LITERALS = "smoke"  # the profile whose file holds every literal of the parameters cells: what differs from it was typed
FINISHED = (stale.DONE, stale.BY_HAND)
TIME = "%Y-%m-%dT%H:%M:%S%z"


def driven() -> bool:
    """Whether this kernel was started by the driver."""
    return bool(os.environ.get(runtime.DRIVEN))


def when(record: dict) -> str:
    """Local time at which a recorded run of a notebook ended."""
    return datetime.strptime(record["finished"], TIME).astimezone().strftime("%Y-%m-%d %H:%M")


def _named(values: dict) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in values.items())


def finished(chain: Chain) -> datetime | None:
    """When the last stage of a complete run ended, by the driver or by hand; None when a stage is missing."""
    records = [chain.record(stage) or {} for stage in chain.stages]
    complete = all(record.get("state") in FINISHED for record in records)
    return max(datetime.strptime(record["finished"], TIME) for record in records) if complete else None


def profile_of(typed: str, notebooks: Path = paths.NOTEBOOKS) -> str:
    """The profile that is typed, else `$DEFT_PROFILE`, else the newest complete one, else smoke. Raises ConfigError
    for an unknown one.
    """
    if wanted := typed or os.environ.get(PROFILE, ""):
        config.check_profile(wanted, notebooks)
        return wanted
    complete = {name: when for name in config.profiles(notebooks) if (when := finished(Chain(name, notebooks)))}
    return max(complete, key=complete.get) if complete else LITERALS


@dataclass
class Opened:
    """Notebook `name`, opened by hand with the values that its parameters cell left; `again`: its products may be
    replaced.

    Raises RunError for a notebook that does not exist, ConfigError for an unknown profile or a value of another type.
    """

    name: str
    given: dict
    again: bool = False
    notebooks: object = paths.NOTEBOOKS
    waiting: set = field(default_factory=set)  # promised paths that a cell is making

    def __post_init__(self):
        self.chain = Chain(profile_of(self.given.get("profile", ""), self.notebooks), self.notebooks)
        self.stage = next((s for s in self.chain.stages if s.name == self.name), None)
        if self.stage is None:
            raise RunError(
                f"no notebook {self.name!r}; {config.nearest(self.name, [s.name for s in self.chain.stages])}"
            )
        committed = {**self.stage.defaults, **Chain(LITERALS, self.notebooks).changes[self.name]}
        wished = {
            name: config.checked(self.given[name], value, name)
            for name, value in committed.items()
            if name != "profile" and self.given.get(name, value) != value
        }
        self.values = {**committed, **self.chain.changes[self.name]}
        self.typed = {name: value for name, value in wished.items() if value != self.values[name]}
        self.values |= wished
        self.hashes, self.closure = stale.Hashes(self.chain), Closure(self.chain.root)
        self.record = self.chain.record(self.stage) or {}
        self.unmade = not self.record and not any(map(self.hashes.files, self.stage.writes))
        if self.again:
            self.keep_record()

    @property
    def others(self) -> str:
        """With which other parameters the products of this notebook were made, in words; empty when with these, or
        nobody knows.
        """
        known = self.record.get("parameters", self.values)
        names = [name for name, value in self.values.items() if known.get(name) != value]
        both = [_named({name: values.get(name) for name in names}) for values in (known, self.values)]
        return f"{self.name} was run with {both[0]}, and here it is {both[1]}" if names else ""

    def rules(self, why: str = "") -> dict[str, str]:
        """{place: why its products must not be replaced} for `runtime.rule`."""
        return {
            str(self.chain.place(name)): (why or self.others) if stage is self.stage else why
            for stage in self.chain.stages
            for name in stage.writes
            if not (self.again and stage is self.stage)
        }

    # ------------------------------------------------------------ what is shown

    def before(self) -> list:
        """The notebooks that this one depends on, itself last."""
        wanted = [self.stage]
        for stage in reversed([s for s in self.chain.stages if s.name < self.name]):
            if any(
                name == "status" or book.overlap(name, w)
                for later in wanted
                for name in later.reads
                for w in stage.writes
            ):
                wanted.insert(0, stage)
        return wanted

    def stale(self) -> str:
        """Which notebooks' products are not what code, inputs and parameters would make now, and why the first;
        empty when all are.
        """
        found = {}
        for stage in self.before():
            if self.chain.record(stage) is None or not stage.writes:
                continue
            state, reason = stale.state_of(self.chain, stage, self.hashes, self.closure, self.chain.is_locked())
            if state != stale.DONE and (state, reason) != stale.MADE_BY_HAND:
                found[stage.name] = reason if state in (stale.STALE, stale.BY_HAND) else state
        first, *others = found or [""]
        return f"{first}: {found[first]}" + (f"; also {', '.join(others)}" if others else "") if found else ""

    def line(self) -> str:
        """What is shown and when it was made, in one line."""
        profile, remedy = self.chain.profile, f"`make reproduce PROFILE={self.chain.profile}`"
        absent = [name for name in self.stage.reads if name != "status" and not self.hashes.files(name)]
        if absent:
            writer = next(
                (s.name for s in self.chain.stages if any(book.overlap(absent[0], w) for w in s.writes)), "no notebook"
            )
            return (
                f"profile {profile}: {absent[0]} is not there yet, and this notebook reads it; run {writer} first, or"
                f" {remedy}"
            )
        if not self.record and self.stage.writes:
            return f"profile {profile}, not made yet: the cells below make it ({remedy} makes all of it)"
        record = self.record or next((r for s in reversed(self.before()) if (r := self.chain.record(s))), {})
        made = f"profile {profile}, made {when(record)}" if "finished" in record else f"profile {profile}, unfinished"
        if self.again:
            return f"{made}; again=True: what the cells below make replaces what {self.name} made before"
        if self.others and not self.stage.writes:
            return f"{made}; {self.others}"
        if self.others:
            return f"{made}, but {self.others}: the products stay as they are, a cell that would replace them refuses"
        if words := self.stale():
            return f"{made}, STALE since then ({words}): it is shown as it is, {remedy} makes it anew"
        return f"{made}; nothing below recomputes it" if self.stage.writes else made

    # ------------------------------------------------------------ what is made

    def made(self, names: tuple[str, ...]) -> bool:
        """Whether these promised paths are there, whole and made with these parameters. Raises MadeOtherwise when
        with others.
        """
        finished = self.record.get("state") in FINISHED
        wanted = [
            name for name in self.record.get("outputs", {}) if finished and any(book.overlap(name, w) for w in names)
        ]
        whole = all(any(book.overlap(name, w) for name in wanted) for w in names)
        known = {"outputs": {name: self.record["outputs"][name] for name in wanted}}
        if self.again or not whole or stale.outputs_wrong(self.chain, known, self.hashes):
            self.waiting.update(names)
            return False
        if self.others:
            raise runtime.MadeOtherwise(f"{', '.join(names)}: {self.others}. {runtime.AGAIN}")
        return True

    def keep_record(self, done: bool = False) -> None:
        """Write down that this notebook was run by hand, with these parameters; done: what is waiting is finished."""
        mark = stale.fingerprint(self.chain, self.stage, self.hashes, self.closure)
        files = [file for name in self.waiting if done for file in self.hashes.files(name)]
        self.record = {
            "stage": self.name,
            "state": stale.BY_HAND,
            "parameters": self.values,
            "seed": self.values.get("seed"),
            "fingerprint": {**mark, "parameters": {name: repr(value) for name, value in self.values.items()}},
            "outputs": {
                **(self.record.get("outputs", {}) if self.record.get("state") == stale.BY_HAND else {}),
                **{file: self.hashes.entry(file) for file in files},
            },
            "finished": time.strftime(TIME),
            **runtime.provenance(),
        }
        self.chain.write_record(self.stage, self.record)
        self.unmade = False

    def after(self, success: bool) -> str:
        """To be called after each cell: keeps the record of what it made; returns what it kept as it was, in words."""
        if (
            self.unmade
            and any(map(self.hashes.files, self.stage.writes))
            or self.waiting
            and success
            and self.record.get("state") == stale.BY_HAND
        ):
            self.keep_record(done=success)
        if success:  # what a later cell writes goes on waiting
            self.waiting = {name for name in self.waiting if not self.hashes.files(name)}
        kept, other = sorted(runtime.KEPT), [path.name for path, same in sorted(runtime.KEPT.items()) if not same]
        runtime.KEPT.clear()
        if not kept:
            return ""
        names = ", ".join(path.name for path in kept[:4]) + (f" and {len(kept) - 4} more" if len(kept) > 4 else "")
        return f"kept as {'it was' if len(kept) == 1 else 'they were'}: {names}" + (
            f"; what this cell computed differs from {', '.join(other[:4])} (again=True in the setup cell would"
            " replace it)"
            if other
            else ""
        )
