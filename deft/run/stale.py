"""What must run and why, decided by content: code cells, parameters, files read, modules imported, the lock file.

Editing Markdown, a comment or a docstring, or touching a file changes nothing. Outputs are checked by existence, size
and time; only a file whose size or time differs is read again (`deep`: every one)."""

from __future__ import annotations

import hashlib
import importlib
from typing import TYPE_CHECKING

from deft import cache, runtime
from deft.closure import Closure, cell_hash
from deft.run import RunError, book
from deft.run.syntax import KeptClosure

if TYPE_CHECKING:
    from deft.run.chain import Chain

DONE, STALE, NEVER, FAILED, RUNNING, INTERRUPTED = "done", "stale", "never run", "failed", "running", "interrupted"
BY_HAND = "by hand"  # its cells were run in JupyterLab; the driver runs it again and keeps what is finished
MADE_BY_HAND = (BY_HAND, "run in JupyterLab, not by the driver")  # and nothing changed since then


class Hashes:
    """sha256 of files, remembered by (size, time): what a record already knows is not read again."""

    def __init__(self, chain: Chain, deep: bool = False):
        self.chain = chain
        self._known: dict[str, tuple[int, int, str]] = {}
        for stage in () if deep else chain.stages:
            self.learn((chain.record(stage) or {}).get("outputs", {}))

    def learn(self, outputs: dict) -> None:
        """Take over the (size, time, hash) of a record's outputs."""
        self._known.update({name: tuple(entry) for name, entry in outputs.items()})

    def entry(self, name: str) -> tuple[int, int, str]:
        """(size, mtime in ns, sha256) of a promised file as it is now."""
        stat = self.chain.place(name).stat()
        known = self._known.get(name)
        if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
            self._known[name] = known = (stat.st_size, stat.st_mtime_ns, runtime.sha256(self.chain.place(name)))
        return known

    def files(self, name: str) -> list[str]:
        """The files behind a promised path: itself, or everything in the folder; hidden and half-written files do
        not count.
        """
        place = self.chain.place(name)
        if place.is_dir():
            return [f"{name}/{p.relative_to(place).as_posix()}" for p in cache.visible(place)]
        return [name] if place.is_file() else []


def inputs_of(chain: Chain, stage: book.Stage) -> dict[str, list[str]]:
    """The paths a stage reads and what stands for them: reading `status` means the records of the stages before it."""
    before = [s for s in chain.stages if s.name < stage.name]
    return {name: [f"status/{s.name}.json" for s in before] if name == "status" else [name] for name in stage.reads}


def outside_of(chain: Chain, stage: book.Stage) -> dict[str, str | None]:
    """{parameter: hash} of what its value makes the stage read from outside the earlier stages; None when it is not
    there.
    """
    given, found = chain.parameters(stage), {}
    for name, asked in stage.outside.items():
        if dotted := asked.get(str(given[name])):
            module, _, function = dotted.rpartition(".")
            try:
                digest = getattr(importlib.import_module(module), function)
            except (ImportError, AttributeError, ValueError) as error:
                raise RunError(
                    f"{stage.path}: metadata deft.outside names {dotted!r}, which is no function ({error})"
                ) from error
            found[name] = digest(chain.work)
    return found


def fingerprint(chain: Chain, stage: book.Stage, hashes: Hashes, closure: Closure) -> dict:
    """Everything a stage's result depends on, as hashes that can be compared one by one."""
    read = {}
    for name, places in inputs_of(chain, stage).items():
        files = [f for place in places for f in hashes.files(place)]
        own = [f for f in files if any(book.overlap(f, w) for w in stage.writes)]
        total = hashlib.sha256("".join(f"{f} {hashes.entry(f)[2]}\n" for f in files if f not in own).encode())
        read[name] = total.hexdigest() if files else None
    return {
        "cells": {identity: cell_hash(source) for identity, source in stage.cells},
        "order": [identity for identity, _ in stage.cells],
        "parameters": {name: repr(value) for name, value in chain.parameters(stage).items()},
        "reads": read,
        "outside": outside_of(chain, stage),
        "writes": list(stage.writes),
        "modules": closure.files([source for _, source in stage.cells], stage.modules),
        "lock": chain.lock_hash(),
    }


def difference(stage: book.Stage, old: dict, new: dict) -> str:
    """The first difference between two fingerprints in words, with the number of further ones; empty when equal."""
    found = []
    for name in sorted(old["parameters"].keys() | new["parameters"].keys()):
        before, after = old["parameters"].get(name), new["parameters"].get(name)
        if before != after:
            found.append(
                f"parameter {name} "
                + (
                    f"added ({after})"
                    if before is None
                    else "removed"
                    if after is None
                    else f"changed {before} -> {after}"
                )
            )
    found += [f"code cell in {stage.name} {what} ({name})" for name, what in cache.changes(old["cells"], new["cells"])]
    if not found and old["order"] != new["order"]:
        found.append(f"code cells in {stage.name} in another order")
    found += [
        f"module {name} {'no longer used' if what == 'removed' else what}"
        for name, what in cache.changes(old["modules"], new["modules"])
    ]
    found += [
        f"input {name} {'missing' if new['reads'].get(name) is None else 'changed'}"
        for name, _ in cache.changes(old["reads"], new["reads"])
    ]
    found += [
        f"input of {name} = {new['parameters'].get(name)}"
        f" {'missing' if new['outside'].get(name) is None else 'changed'}"
        for name, what in cache.changes(old.get("outside", {}), new["outside"])
    ]
    if old["writes"] != new["writes"]:
        found.append("what it promises to write changed")
    if old["lock"] != new["lock"]:
        found.append("the lock file (constraints.txt) or the Python version changed")
    if not found:
        return ""
    return found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")


def outputs_wrong(chain: Chain, record: dict, hashes: Hashes) -> str:
    """The first recorded output that is missing or altered, in words; empty when all are as they were written."""
    for name, (_, _, known) in record.get("outputs", {}).items():
        if not chain.place(name).is_file():
            return f"output {name} missing"
        if hashes.entry(name)[2] != known:
            return f"output {name} altered since it was written"
    return ""


def state_of(chain: Chain, stage: book.Stage, hashes: Hashes, closure: Closure, running: bool) -> tuple[str, str]:
    """(state, reason) of one stage, looking at its own record only."""
    record = chain.record(stage)
    if record is None:
        return NEVER, "never run"
    if record["state"] == "broken":
        return STALE, "its record in status/ cannot be read"
    if record["state"] == RUNNING:
        return (RUNNING, "a run is going on") if running else (INTERRUPTED, "the last run stopped in the middle of it")
    if record["state"] == FAILED:
        return FAILED, record.get("error", "the last run failed")
    words = difference(stage, record["fingerprint"], fingerprint(chain, stage, hashes, closure)) or outputs_wrong(
        chain, record, hashes
    )
    if record["state"] == BY_HAND:
        return (BY_HAND, words) if words else MADE_BY_HAND
    return (STALE, words) if words else (DONE, "nothing changed")


def altered_inputs(chain: Chain, stage: book.Stage, hashes: Hashes) -> str:
    """The first file the stage reads that is not as the stage before it left it, and the remedy, in words; empty
    when there is none.
    """
    for writer in (s for s in chain.stages if s.name < stage.name):
        outputs = (chain.record(writer) or {}).get("outputs", {})
        read = {
            name: entry for name, entry in outputs.items() if any(book.overlap(name, wanted) for wanted in stage.reads)
        }
        if words := outputs_wrong(chain, {"outputs": read}, hashes):
            return f"{words}; run {writer.name} first, which makes it again"
    return ""


def states(chain: Chain, deep: bool = False) -> list[dict]:
    """[{stage, state, reason}] for the whole chain; what reads from a stage that must run is stale too.

    deep: hash every output anew, whatever its size and time say.
    """
    hashes, closure, running = Hashes(chain, deep), KeptClosure(chain.root), chain.is_locked()
    result, ahead = [], []
    for stage in chain.stages:
        state, reason = state_of(chain, stage, hashes, closure, running)
        if state == DONE:
            for name in stage.reads:
                writer = next(
                    (s for s in ahead if name == "status" or any(book.overlap(name, w) for w in s.writes)), None
                )
                if writer is not None:
                    state, reason = STALE, f"reads {name}, and {writer.name} will run before it"
                    break
        if state != DONE:
            ahead.append(stage)
        result.append({"stage": stage.name, "state": state, "reason": reason})
    closure.keep()
    return result
