"""Run the chain: each notebook that needs it, in order, with a line of progress per stage and per cell."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from deft import artifacts, runtime
from deft.closure import Closure
from deft.run import RunError, book, execute, stale
from deft.run.chain import Chain
from deft.run.syntax import KeptClosure


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def duration(seconds: float) -> str:
    """Seconds as words: "12.3 s" or "4.5 min"."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _progress(cell: int, cells: int, identity: str, seconds: float | None) -> None:
    """One line per cell; on a terminal the line of a running cell is shown and then overwritten."""
    line = f"          cell {cell:2d}/{cells}  {identity}"
    if seconds is not None:
        say(f"\r{line}  {duration(seconds)}" if sys.stdout.isatty() else f"{line}  {duration(seconds)}")
    elif sys.stdout.isatty():
        print(line, end="", flush=True)


def chosen(stages: Sequence[book.Stage], only: str | None, start: str | None) -> list[book.Stage]:
    """The stages a command asks for: one, or one and everything after it, or all. RunError for both at once or an
    unknown name.
    """
    if only and start:
        raise RunError("--only and --from exclude each other")
    if only:
        return [book.find(stages, only)]
    first = book.find(stages, start).name if start else ""
    return [s for s in stages if s.name >= first]


def _require_inputs(chain, stage, hashes) -> None:
    for name in stage.reads:
        if name != "status" and not hashes.files(name):
            writers = [s.name for s in chain.stages if any(book.overlap(name, w) for w in s.writes)]
            remedy = f"run {writers[0]} first" if writers else "no notebook writes it: correct the notebook's metadata"
            raise RunError(f"{stage.name} reads {name}, which does not exist at {chain.place(name)}; {remedy}")
    if words := stale.altered_inputs(chain, stage, hashes):
        raise RunError(f"{stage.name} cannot run: {words}")


def _outputs(stage, hashes) -> tuple[dict, str]:
    """({file: (size, time, hash)}, problem): every promised path must exist. Stages that resume may leave finished
    files as they are.
    """
    outputs = {}
    for promise in stage.writes:
        files = hashes.files(promise)
        if not files:
            return outputs, f"promised to write {promise} but did not"
        outputs.update({name: hashes.entry(name) for name in files})
    return outputs, ""


def run_stage(chain: Chain, stage: book.Stage, hashes: stale.Hashes, closure: Closure) -> str:
    """Execute one stage and keep its record; returns the error in words, empty on success."""
    _require_inputs(chain, stage, hashes)
    before = (chain.record(stage) or {}).get("outputs", {})
    record = {
        "stage": stage.name,
        "state": stale.RUNNING,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "outputs": before,
        "parameters": chain.parameters(stage),
        "seed": chain.parameters(stage).get("seed"),
        "computing": execute.computing({**os.environ, **execute.kernel_environment(chain)}),
        **runtime.provenance(),
    }
    mark = stale.fingerprint(chain, stage, hashes, closure)
    chain.write_record(stage, record)
    outcome = execute.run(chain, stage, _progress)
    error = outcome.error
    if not error:
        record["outputs"], error = _outputs(stage, hashes)
    record.update(
        state=stale.FAILED if error else stale.DONE,
        seconds=round(outcome.seconds, 2),
        peak_memory_gib=round(outcome.peak_memory_gib, 3),
        finished=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        fingerprint=mark,
    )
    if error:
        record["error"] = error
    else:
        record["executed_sha256"] = runtime.sha256(chain.executed / f"{stage.name}.ipynb")
    chain.write_record(stage, record)
    return error


def run(chain: Chain, only: str | None = None, start: str | None = None, force: bool = False) -> int:
    """Run what must run; returns the exit code. Stops at the first failure and leaves finished stages as they are."""
    wanted = chosen(chain.stages, only, start)
    chain.prepare()
    with chain.locked():
        say(f"deft run · profile {chain.profile} · {len(wanted)} of {len(chain.stages)} stages · {chain.work}")
        hashes, closure, began, ran, peak = stale.Hashes(chain), KeptClosure(chain.root), time.monotonic(), 0, 0.0
        for stage in wanted:
            label = f"[{chain.stages.index(stage) + 1:2d}/{len(chain.stages)}] {stage.name:<18}"
            state, reason = stale.state_of(chain, stage, hashes, closure, running=False)
            if state == stale.DONE and not force:
                say(f"{label} done before, nothing changed")
                continue
            say(f"{label} runs: {reason if state != stale.DONE else 'asked for by --force'}")
            error = run_stage(chain, stage, hashes, closure)
            closure = KeptClosure(chain.root)  # read anew: a module may have been edited while the stage was running
            record = chain.record(stage)
            if error:
                say(f"{label} FAILED after {duration(record['seconds'])}: {error}")
                say(
                    f"  executed copy with the traceback: {chain.executed / stage.name}.ipynb.failed"
                    "\n  finished stages are intact; mend the cause and run the same command again"
                )
                return 1
            ran, peak = ran + 1, max(peak, record["peak_memory_gib"])
            if any(
                name.startswith("figures:") for name in stage.writes
            ):  # no stage knows what the ones after it will make
                artifacts.write_manifest(chain.profile, record["seed"])
            say(f"{label} done in {duration(record['seconds'])}, peak memory {record['peak_memory_gib']:.2f} GiB")
        closure.keep()
        say(
            f"{ran} run, {len(wanted) - ran} unchanged, {duration(time.monotonic() - began)}"
            + (f", peak memory {peak:.2f} GiB" if ran else "")
        )
    return 0
