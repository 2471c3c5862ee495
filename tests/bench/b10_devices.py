"""B10: what the devices of `sim-v2` cost: the same plans rendered with all of them and with none, in turn, one thread.

CPU seconds of a face and of a clip of nine frames; the limit is 1.3 times a clip without devices.
"""

import time

from deft.clips import benchmark, specs
from deft.clips.simulator.appearance import face_of
from tests.bench import rows

ROUNDS, CLIPS, LIMIT = 5, 6, 1.3
ARMS = "without devices", "all devices"


def _seconds(spec: specs.BenchmarkSpec) -> tuple[float, float]:
    """(one face, one clip)."""
    plans = benchmark.plan_bench(spec, subjects_per_dataset=1, clips_per_subject=CLIPS)[:CLIPS]
    face_of.cache_clear()
    began = time.process_time()
    face_of(benchmark.identity_of(plans[0]))
    painted = time.process_time()
    for plan in plans:
        benchmark.render_plan(plan)
    return painted - began, (time.process_time() - painted) / CLIPS


def measure() -> list[dict]:
    """A face and a clip of nine frames, with all devices, and with all over with none."""
    whole = benchmark.spec("sim-v2")
    bare = specs.without(whole, *whole.devices)
    _seconds(bare)  # libraries are loaded before the clock starts
    pairs = [(_seconds(bare), _seconds(whole)) for _ in range(ROUNDS)]
    found = []
    for place, what, limit in ((0, "one face", "-"), (1, "a clip of nine frames", f"ratio_to_first <= {LIMIT}")):
        times = {arm: [1e3 * pair[of][place] for pair in pairs] for of, arm in enumerate(ARMS)}
        found += rows("B10", f"CPU time of {what} of sim-v2 (ms)", times, {ARMS[1]: limit})
    return found
