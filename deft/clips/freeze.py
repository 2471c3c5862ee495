"""`sim-v1` and `sim-v2` are frozen: hashes of their parameters and plans, and fingerprints of rendered clips, held
against what the code makes now.

The hashes of each stand in `frozen/<version>.json`, the fingerprints (`deft.clips.fingerprint`) in
`frozen/<version>-pictures.npz`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import joblib
import numpy as np

from deft import runtime
from deft.clips import benchmark, fingerprint, specs
from deft.clips.simulator.appearance import face_of

FROZEN = (
    Path(__file__).parent / "frozen" / "sim-v1.json"
)  # of sim-v1; its own folder: a record of the difficulty is no source of any stage
CORPUS_FROZEN = (24, 6)  # people and clips of each whose plans are frozen

# The strongest simple linear reader of DIS region flow when the difficulty was set (a view of
# `deft.evaluation.peers.linear`).
LINEAR_YARDSTICK = "peak"

COVERS = {
    "plan, held_back": "every clip of the benchmark and of its held-back twin at full size",
    "corpus": (
        f"clips 1 to {CORPUS_FROZEN[1]} of the first {CORPUS_FROZEN[0]} people; "
        "a larger corpus continues the same draws"
    ),
    "pictures": "fingerprints of clips of all three sets, in the .npz beside: frames, landmarks as written, truth",
}


def frozen_clips(spec: benchmark.BenchmarkSpec) -> dict[str, list[benchmark.ClipPlan]]:
    """The clips whose pictures are frozen, by set.

    Benchmark: every look under two cameras, kept and broken in turn, with blinks and gazes where there are any.
    Held back: one clip under each camera. Corpus: one clip of each distractor. Chewing is there where people chew.
    """

    def first(plans: list[benchmark.ClipPlan], **wanted) -> benchmark.ClipPlan:
        """The first plan that has the most of what is wanted."""
        return max(plans, key=lambda plan: sum(getattr(plan, name) == value for name, value in wanted.items()))

    cameras, bench = [name for name, _ in spec.cameras], benchmark.plan_bench(spec)
    chosen = []
    for look in range(len(spec.looks)):
        for turn in range(2):
            dataset = cameras[(look + turn) % len(cameras)]
            mine = [plan for plan in bench if plan.look == look and plan.dataset == dataset]
            chosen.append(
                first(
                    mine,
                    condition=("kept", "broken")[(look + turn) % 2],
                    distractor=("", "blink", "", "gaze")[len(chosen) % 4],
                )
            )
    chewing = ("chew",) if spec.chew else ()
    chosen += [first(bench, distractor=name) for name in chewing]
    held_back, corpus = benchmark.plan_bench(spec, held_back=True), benchmark.plan_corpus(spec, *CORPUS_FROZEN)
    return {
        "bench": chosen,
        "heldback": [
            first([plan for plan in held_back if plan.dataset == name], look=number + 1)
            for number, name in enumerate(cameras)
        ],
        "corpus": [first(corpus, distractor=name) for name in ("", "blink", "gaze", "macro", "neutral", *chewing)],
    }


def fingerprints(plans: list[benchmark.ClipPlan]) -> list[dict[str, np.ndarray]]:
    """Render `plans` (in threads of this process) and measure every clip."""
    face_of.cache_clear()  # a face painted before a constant was changed must not answer for the present one

    def one(plan: benchmark.ClipPlan) -> dict[str, np.ndarray]:
        return fingerprint.measure(benchmark.render_plan(plan)[1])

    return joblib.Parallel(n_jobs=runtime.jobs(), prefer="threads")(joblib.delayed(one)(plan) for plan in plans)


def _changes(before, now, name: str = "") -> list[str]:
    """'tie (0.85 -> 0.8)' for every number in which two nested records differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        inner = f"{name}." if name else ""
        return [
            line
            for key in {**before, **now}
            for line in _changes(before.get(key, "absent"), now.get(key, "absent"), f"{inner}{key}")
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [line for place, (a, b) in enumerate(zip(before, now)) for line in _changes(a, b, f"{name}[{place}]")]
    return [] if before == now else [f"{name} ({before} -> {now})"]


def check_frozen(spec: benchmark.BenchmarkSpec) -> dict:
    """Compare `spec`, its plans and the pictures of `frozen_clips` with the frozen record; return
    `freeze_record(spec)`.

    Raises ValueError with what moved: parameters first, then plans, then pictures, landmarks and truth. Takes a few
    seconds: the frozen clips are rendered. A version that was never frozen is a ValueError too.
    """
    frozen, found = runtime.read_json(_record(spec)), {}
    moved = _changes(frozen["parameters"], _parameters(spec))
    if not moved:
        found = freeze_record(spec)
        moved = _changes({key: frozen.get(key) for key in found}, found)
    if not moved:
        moved = _picture_changes(spec)
    if moved:
        raise ValueError(
            f"{spec.version} is frozen, yet it differs from deft/clips/frozen/{_record(spec).name}: "
            f"{'; '.join(moved)}. Restore deft/clips/specs.py, benchmark.py and simulator, or name a new "
            "version; numbers of two benchmarks must never share a name"
        )
    return found


def _record(spec: benchmark.BenchmarkSpec) -> Path:
    path = FROZEN.with_name(f"{spec.version}.json")
    if not path.is_file():
        known = sorted(set(specs.SPECS) & {other.stem for other in path.parent.glob("*.json")})
        raise ValueError(f"{spec.version!r} was never frozen; frozen are {', '.join(known)}")
    return path


def _pictures(spec: benchmark.BenchmarkSpec) -> Path:
    return FROZEN.with_name(f"{spec.version}-pictures.npz")


def frozen_fingerprints(spec: benchmark.BenchmarkSpec, which: str) -> dict[str, dict[str, np.ndarray]]:
    """clip -> its frozen fingerprint, for the set `which`: bench, heldback or corpus."""
    with np.load(_pictures(spec)) as record:
        arrays = {key.partition("/")[2]: record[key] for key in record.files if key.startswith(f"{which}/")}
    names = arrays.pop("clips").tolist()
    return {name: {key: values[row] for key, values in arrays.items()} for row, name in enumerate(names)}


def _picture_changes(spec: benchmark.BenchmarkSpec) -> list[str]:
    """One sentence for everything that differs between the frozen clips as they are rendered now and as they were."""
    moved = []
    for which, plans in frozen_clips(spec).items():
        known = frozen_fingerprints(spec, which)
        unknown = [plan.clip for plan in plans if plan.clip not in known]
        if unknown:
            raise ValueError(
                f"deft/clips/frozen/{_pictures(spec).name} does not hold clip {unknown[0]} of {which}: "
                "restore the file (git checkout)"
            )
        names = [plan.clip for plan in plans]
        found = fingerprint.differences([known[name] for name in names], fingerprints(plans), names)
        moved += [f"{which}: {line}" for line in found]
    return moved


def _parameters(spec: benchmark.BenchmarkSpec) -> dict:
    """The specification as JSON keeps it."""
    return json.loads(json.dumps(dataclasses.asdict(spec)))


def freeze_record(spec: benchmark.BenchmarkSpec) -> dict:
    """Hashes of the parameters and of the full plans; of the corpus, whose size a profile chooses, the first people."""
    return {
        "version": spec.version,
        "spec": spec.hash,
        "plan": benchmark.plan_hash(benchmark.plan_bench(spec)),
        "held_back": benchmark.plan_hash(benchmark.plan_bench(spec, held_back=True)),
        "corpus": benchmark.plan_hash(benchmark.plan_corpus(spec, *CORPUS_FROZEN)),
    }


def freeze(spec: benchmark.BenchmarkSpec, **notes: object) -> None:
    """Write the frozen record and the pictures' fingerprints. notes: what else the record says, e.g. the difficulty."""
    arrays = {}
    for which, plans in frozen_clips(spec).items():
        measured = fingerprints(plans)
        arrays |= {f"{which}/{key}": np.stack([one[key] for one in measured]) for key in measured[0]}
        arrays[f"{which}/clips"] = np.array([plan.clip for plan in plans])
    with runtime.atomic(_pictures(spec)) as temporary:
        np.savez_compressed(temporary, **arrays)
    path = FROZEN.with_name(f"{spec.version}.json")
    runtime.write_json(path, {**freeze_record(spec), "parameters": _parameters(spec), "covers": COVERS, **notes})
