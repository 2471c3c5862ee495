"""`python -m deft reference`: complete runs with other draws and under other limits, kept as the runs of the reference.
Hours; resumable.

Each run is the chain with another `draw` in a work folder of its own (work/<profile>-reference/run<r>). What does not
depend on the draw is taken over from work/<profile> (hard links and records), which is brought up to date first; the
run that work/<profile> is itself (draw 0, no limit, the usual threads) is taken over whole where it is finished.
`--fresh` takes nothing over."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from deft import cache, config, paths, runtime
from deft.closure import Closure
from deft.run import RunError, book, driver, execute, lock, stale
from deft.run.chain import Chain
from deft.verify import reference

LIMITS = {
    "none": {},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "openblas-haswell": {"OPENBLAS_CORETYPE": "Haswell"},  # matrix products of NumPy and SciPy as without AVX-512
}
APART = 100  # run r begins with draw 100 r, so that no two runs share a draw


@dataclass(frozen=True)
class Plan:
    """Which runs there shall be. Run r takes its limit and its number of threads in turn."""

    profile: str
    notebooks: Path = paths.NOTEBOOKS
    runs: int = 5
    limits: tuple[str, ...] = ("none", "avx2")
    threads: tuple[str, ...] = (execute.THREADS, "1")
    name: str = ""
    trial: bool = False
    fresh: bool = False

    def __post_init__(self):
        config.check_profile(self.profile, paths.NOTEBOOKS)
        if unknown := [limit for limit in self.limits if limit not in LIMITS]:
            raise RunError(f"--limits: {unknown[0]!r} is unknown; choose of {', '.join(LIMITS)}")
        if wrong := [threads for threads in self.threads if not threads.isdigit() or int(threads) < 1]:
            raise RunError(f"--threads: {wrong[0]!r} is not a number of threads")
        if self.runs < 1:
            raise RunError(f"--runs: {self.runs} is no number of runs")

    def run(self, number: int) -> dict:
        """Name, draw, limit and threads of run `number` (from 0). Both limits meet both numbers of threads within
        four runs.
        """
        limit = self.limits[number % len(self.limits)]
        threads = self.threads[number // len(self.limits) % len(self.threads)]
        first = 50 if self.trial else 0
        return {
            "name": f"{self.name}{'trial' if self.trial else 'run'}{number}",
            "draw": APART * (first + number),
            "limits": limit,
            "threads": int(threads),
        }


def with_draw(profile: str, notebooks: Path, draw: int) -> Chain:
    """The chain whose notebooks that have the parameter `draw` get this one."""
    chain = Chain(profile, notebooks)
    drawing = [stage.name for stage in chain.stages if "draw" in stage.defaults]
    if not drawing:
        raise RunError(f"no notebook under {notebooks} has the parameter `draw`; without it every run is the same draw")
    object.__setattr__(
        chain,
        "changes",
        {name: {**changes, **({"draw": draw} if name in drawing else {})} for name, changes in chain.changes.items()},
    )
    return chain


def drawn(chain: Chain) -> set[str]:
    """Stages whose products depend on the draw: those that have it, and those that read from them."""
    found: list = []
    for stage in chain.stages:
        if "draw" in stage.defaults or any(
            name == "status" or book.overlap(name, w)
            for name in stage.reads
            for earlier in found
            for w in earlier.writes
        ):
            found.append(stage)
    return {stage.name for stage in found}


def needed(chain: Chain) -> list:
    """The stages that tables and verdicts need, in order."""
    wanted: list = []
    for stage in reversed(chain.stages):
        makes = any(w.startswith(("figures:tables", "figures:claims")) for w in stage.writes)
        if makes or any(book.overlap(name, w) for later in wanted for name in later.reads for w in stage.writes):
            wanted.append(stage)
    return wanted[::-1]


def linked(path: str | Path, copy: str | Path) -> None:
    """The file `path` again as `copy`: a hard link, or a copy where the file system allows none."""
    copy = Path(copy)
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        copy.unlink(missing_ok=True)
        os.link(path, copy)
    except OSError:
        shutil.copy2(path, copy)


def share(source: Chain, target: Chain, whole: bool = False) -> list[str]:
    """Take over finished stages that do not depend on the draw (whole: all of them), by hard links where the file
    system allows them; returns their names."""
    taken, depends = [], drawn(target)
    for stage in needed(target):
        finished = (source.record(stage) or {}).get("state") == stale.DONE
        if target.record(stage) is not None or not finished or (stage.name in depends and not whole):
            continue
        for promise in stage.writes:
            place, mine = source.place(promise), target.place(promise)
            for path in [p for p in place.rglob("*") if p.is_file()] if place.is_dir() else [place]:
                copy = mine / path.relative_to(place) if place.is_dir() else mine
                linked(path, copy)
        target.write_record(stage, source.record(stage))  # the last thing: a killed run takes the stage over again
        taken.append(stage.name)
    return taken


def code_key(chain: Chain) -> str:
    """Hash of everything that decides the numbers but the draw: code cells, modules, parameters, the lock file."""
    closure = Closure(chain.root)
    parts = [
        [
            stage.name,
            stage.cells,
            closure.files([source for _, source in stage.cells], stage.modules),
            {k: repr(v) for k, v in chain.parameters(stage).items() if k != "draw"},
        ]
        for stage in needed(chain)
    ]
    return cache.hash_of([parts, chain.lock_hash()])[:16]


def _work(plan: Plan, name: str) -> Path:
    return paths.work(f"{plan.profile}-reference") / name


def environment(plan: Plan, about: dict) -> dict[str, str]:
    """The environment of one run: its folders, its limits and no other, its threads."""
    place = _work(plan, about["name"])
    given = {name: value for name, value in os.environ.items() if name not in execute.LIMIT_VARIABLES}
    return {
        **given,
        "DEFT_WORK": str(place),
        "DEFT_FIGURES": str(place / "figures"),
        **LIMITS[about["limits"]],
        **{name: str(about["threads"]) for name in execute.THREAD_VARIABLES},
    }


def made_alike(chain: Chain, wanted: dict[str, str]) -> bool:
    """Whether every stage with something trained was made under these threads and limits (`execute.computing`).
    A record that does not say so does not count."""
    trained = drawn(chain)
    return all(
        (chain.record(stage) or {}).get("computing") == wanted for stage in needed(chain) if stage.name in trained
    )


def _shared_stages(plan: Plan) -> None:
    """Bring work/<profile> up to date in what the runs share."""
    chain = Chain(plan.profile, plan.notebooks)
    depends = drawn(chain)
    for stage in needed(chain):
        if stage.name not in depends and driver.run(chain, only=stage.name):
            raise RunError(f"{stage.name} failed in {chain.work}; mend the cause and run the same command again")


def one(plan: Plan, about: dict) -> None:
    """Make one run and keep it. What is finished of it stays when it fails."""
    place, began = _work(plan, about["name"]), time.monotonic()
    log = place / "log.txt"
    place.mkdir(parents=True, exist_ok=True)
    same = (
        not plan.trial
        and about["draw"] == 0
        and made_alike(Chain(plan.profile, plan.notebooks), execute.computing(environment(plan, about)))
    )
    command = [
        sys.executable,
        "-m",
        "deft.verify.produce",
        json.dumps(
            {
                "profile": plan.profile,
                "notebooks": str(Path(plan.notebooks).absolute()),
                "draw": about["draw"],
                "source": "" if plan.fresh else str(paths.work(plan.profile).parent),
                "figures": str(paths.figures(plan.profile).parent),
                "whole": same,
            }
        ),
    ]
    with open(log, "a", encoding="utf-8") as file:
        done = subprocess.run(
            command, env=environment(plan, about), cwd=paths.ROOT, stdout=file, stderr=subprocess.STDOUT
        )
    if done.returncode:
        raise RunError(
            f"{about['name']} failed (exit {done.returncode}), see {log}; what is finished stays, the same command goes"
            " on from there"
        )
    figures = place / "figures" / plan.profile
    chain = with_draw(plan.profile, plan.notebooks, about["draw"])
    seconds = sum(
        (runtime.read_json(p).get("seconds") or 0) for p in sorted((place / plan.profile / "status").glob("*.json"))
    )
    if not plan.trial and about["draw"] == 0:  # before the run is told of, or a kill between the two would lose it
        reference.keep(
            plan.profile, figures, about["name"], place / plan.profile, paths.figures(plan.profile) if same else None
        )
    reference.write_run(
        plan.profile,
        about["name"],
        {
            **about,
            "role": "trial" if plan.trial else "complete",
            "code": code_key(chain),
            **runtime.provenance(),
            "minutes": round(seconds / 60, 1),
            "minutes_of_this_call": round((time.monotonic() - began) / 60, 1),
        },
        figures,
    )


def reference_runs(plan: Plan) -> int:
    """Make the runs that are missing, then the spread; returns the exit code. 2 where runs of another state of the
    code lie beside them.
    """
    where, wanted = paths.figures(plan.profile) / "reference", [plan.run(number) for number in range(plan.runs)]
    if old := of_other_code(
        where, code_key(with_draw(plan.profile, plan.notebooks, 0)), {about["name"] for about in wanted}
    ):
        print(
            f"{', '.join(old)} under {where / 'runs'}: made by another state of the code, parameters or lock file."
            " `--carry` keeps complete runs for the spread alone and makes new ones; else remove their folders"
        )
        return 2
    missing = [about for about in wanted if not (where / "runs" / about["name"] / reference.RUN).is_file()]
    print(
        f"reference of profile {plan.profile}: {len(wanted) - len(missing)} of {len(wanted)} runs are there", flush=True
    )
    if missing and not plan.fresh:
        _shared_stages(plan)
    for about in missing:
        print(
            f"{about['name']}: draw {about['draw']}, limits {about['limits']}, {about['threads']} thread(s); log at"
            f" {_work(plan, about['name']) / 'log.txt'}",
            flush=True,
        )
        began = time.monotonic()
        one(plan, about)
        print(f"{about['name']}: kept after {driver.duration(time.monotonic() - began)}", flush=True)
    return spread_only(plan.profile)


def of_other_code(where: Path, key: str, wanted: set[str]) -> list[str]:
    """Names of the kept runs that count (complete ones, and those asked for) and were not made with this `code_key`."""
    kept = {path.parent.name: runtime.read_json(path) for path in sorted(where.glob(f"runs/*/{reference.RUN}"))}
    return [
        name
        for name, about in kept.items()
        if (about.get("role", "complete") == "complete" or name in wanted) and about.get("code") != key
    ]


def spread_only(profile: str) -> int:
    """Compute the spread from the runs that are there and say what was measured."""
    where = paths.figures(profile) / "reference"
    found, runs = reference.write_spread(profile), reference.read_runs(where)
    if found is None:
        print(f"{len(reference.counted(runs))} run(s): no spread yet, at least 2 are needed")
        return 0
    if len(codes := {run[0].get("code") for run in reference.counted(runs).values()}) > 1:
        print(
            f"note: the runs were made by {len(codes)} states of the code; --carry counts older ones for the spread"
            " alone"
        )
    print(
        f"{found['cells']} trained numbers, {found['runs']} runs: critical |t| {found['critical']} times a table's"
        f" reach ({', '.join(f'{k} {v:.1f}' for k, v in found['reach'].items())}), drift {found['critical_drift']};"
        f" false alarm {found['simulated']['false_alarm']:.2%} of simulated runs, {found['left_out_beyond_simulated']}"
        f" of {len(found['left_out'])} runs judged by the others"
    )
    return 0


def alone(profile: str) -> AbstractContextManager[None]:
    """Hold the lock of a profile's reference while runs are carried, made and counted: see `lock.held`."""
    return lock.held(paths.work(f"{profile}-reference"), f"another reference of profile {profile!r}")


def carry(profile: str) -> int:
    """Mark every complete run as carried: it counts for the spread, no longer for the means. A name that an older
    carried run has gets a number.
    """
    for path in sorted((paths.figures(profile) / "reference").glob(f"runs/*/{reference.RUN}")):
        about = runtime.read_json(path)
        if about.get("role", "complete") != "complete":
            continue
        names = (f"carried{number or ''}-{about['name']}" for number in itertools.count())
        name = next(name for name in names if not path.parent.with_name(name).exists())
        os.replace(path.parent, path.parent.with_name(name))  # first: a run under its old name is still to be carried
        moved = path.parent.with_name(name) / path.name
        runtime.write_json(moved, {**about, "role": "carried", "name": name})
        reference.rename_kept(path.parent.parent.parent, about["name"], name)
    return 0


def main(given: dict) -> int:
    """In the process of one run: take over what does not depend on the draw, then run the needed stages."""
    chain = with_draw(given["profile"], Path(given["notebooks"]), given["draw"])
    chain.prepare()
    if given["source"]:
        with runtime.environment(DEFT_WORK=given["source"], DEFT_FIGURES=given["figures"]):
            source = Chain(given["profile"], Path(given["notebooks"]))
        share(source, chain, given["whole"])
    for stage in needed(chain):
        if code := driver.run(chain, only=stage.name):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
