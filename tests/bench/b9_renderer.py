"""B9: the simulator's renderer: a face and a frame against the renderer at commit BEFORE; minutes of the clips stage.

Each arm renders the same clips in a process of its own, with one thread, in turn; CPU seconds are compared round by
round, and both arms must store the same bytes. Without the project's history (a download instead of a clone) the
present renderer is measured alone. The minutes of the stage are this time extended to all clips of the demo profile
over the cores; nothing of that size is run.
"""

import json
import subprocess
import tempfile

from deft import paths, runtime
from tests.bench import ONE_THREAD, child, rows

BEFORE = "94f6187"  # draws every layer in every pixel of every frame
ROUNDS = 5
# The demo profile: people and clips of the benchmark and its held-back twin, people and clips of the corpus.
STAGE = (72, 2016, 250, 3250)
CHILD = """
import dataclasses, hashlib, json, time
import cv2
from deft.clips import benchmark
from deft.clips.simulator.appearance import face_of
cv2.setNumThreads(1)
spec = benchmark.BenchmarkSpec()
nine = dataclasses.replace(spec, corpus_frames=tuple(range(spec.frames)))
clips = {"bench": benchmark.plan_bench(spec)[:6], "corpus": benchmark.plan_corpus(spec, 1, 6),
         "corpus, all frames": [dataclasses.replace(p, apex=spec.apex) for p in benchmark.plan_corpus(nine, 1, 6)]}
benchmark.render_plan(benchmark.plan_bench(spec)[-1])  # libraries are loaded before the clock starts
found, stored = {}, hashlib.sha256()
for name, plans in clips.items():
    began = time.process_time()
    face_of(benchmark.identity_of(plans[0]))
    painted = time.process_time()
    for plan in plans:
        for array in benchmark.render_plan(plan)[1].values():
            stored.update(array.tobytes())
    found[name] = (time.process_time() - painted) / len(plans)
    if name != "corpus, all frames":  # the corpus again: its face is kept
        found[f"face, {name}"] = painted - began
print(json.dumps({"seconds": found, "bytes": stored.hexdigest()}))
"""


def _run(checkout: str) -> dict:
    """CPU seconds of one face and of one clip of each kind, and the hash of what a shard stores, in `checkout`."""
    return json.loads(child("-c", CHILD, cwd=checkout, **ONE_THREAD, PYTHONPATH=checkout).splitlines()[-1])


def _minutes(seconds: dict[str, float], corpus: str) -> float:
    """Minutes of the clips stage of the demo profile; `corpus`: the measured clips that the corpus is like."""
    people, bench, subjects, clips = STAGE
    total = (
        people * seconds["face, bench"]
        + bench * seconds["bench"]
        + subjects * seconds["face, corpus"]
        + clips * seconds[corpus]
    )
    return total / runtime.jobs() / 60


def measure() -> list[dict]:
    """Time of a face, a clip of nine and a clip of three frames, before / now, and the minutes of the clips stage."""
    archive = subprocess.run(["git", "archive", BEFORE, "deft"], cwd=paths.ROOT, capture_output=True)
    now, before = [], []
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        if archive.returncode == 0:
            subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        for _ in range(ROUNDS):
            now.append(_run(str(paths.ROOT)))
            if archive.returncode == 0:
                before.append(_run(folder))
    if len({one["bytes"] for one in now + before}) != 1:
        raise RuntimeError(f"the renderer of {BEFORE} and the present one do not store the same clips")
    arms, found = {"now": now, f"before {BEFORE}": before}, []
    for part, words, limit in (
        ("face, bench", "one face", "-"),
        ("bench", "a clip of nine frames", "ratio_to_first >= 2"),
        ("corpus", "a clip of three frames", "ratio_to_first >= 2"),
    ):
        times = {arm: [1e3 * one["seconds"][part] for one in runs] for arm, runs in arms.items()}
        found += rows("B9", f"CPU time of {words} (ms)", times, {f"before {BEFORE}": limit})
    for corpus, words in (("corpus", "three"), ("corpus, all frames", "nine")):
        minutes = {arm: [_minutes(one["seconds"], corpus) for one in runs] for arm, runs in arms.items()}
        found += rows("B9", f"clips stage, {words} frames a clip of the corpus (min)", minutes)
    return found
