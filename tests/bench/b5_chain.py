"""B5: what the driver costs. Status and a rerun with nothing to do, as times and as shares of one smoke run of all
notebooks.

The first run is timed once (minutes); status and the rerun alternate five times, and medians are reported with their
spread."""

import tempfile
import time

from tests.bench import child, rows

ROUNDS = 5


def _seconds(environment: dict, argument: str) -> float:
    began = time.perf_counter()
    child("-m", "deft", argument, "--profile", "smoke", **environment)
    return time.perf_counter() - began


def measure() -> list[dict]:
    """Rows of bench.csv. Uses temporary work and figures folders: nothing of the reader's is touched."""
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        environment = {"DEFT_WORK": f"{folder}/work", "DEFT_FIGURES": f"{folder}/figures"}
        first = [_seconds(environment, "run")]
        pairs = [(_seconds(environment, "status"), _seconds(environment, "run")) for _ in range(ROUNDS)]
    arms = {"first run": first, "status": [a for a, _ in pairs], "second run, nothing changed": [b for _, b in pairs]}
    bounds = {arm: f"median <= {seconds}" for arm, seconds in zip(arms, (240, 2, 10))}
    return rows("B5", "time of the driver, all notebooks of smoke (s)", arms, bounds)
