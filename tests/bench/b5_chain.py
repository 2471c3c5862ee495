"""B5: what the driver costs. Status and a rerun with nothing to do, as times and as shares of one smoke run of all
notebooks.

The first run is timed once (minutes); status and the rerun alternate five times, and medians are reported with their
spread."""

import os
import subprocess
import sys
import tempfile
import time

from deft import paths
from tests.bench import row

ROUNDS = 5


def _seconds(environment: dict, *arguments: str) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "deft", *arguments, "--profile", "smoke"],
        cwd=paths.ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"deft {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began


def measure() -> list[dict]:
    """Rows of bench.csv. Uses temporary work and figures folders: nothing of the reader's is touched."""
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        environment = {**os.environ, "DEFT_WORK": f"{folder}/work", "DEFT_FIGURES": f"{folder}/figures"}
        first = _seconds(environment, "run")
        status, again = [], []
        for _ in range(ROUNDS):
            status.append(_seconds(environment, "status"))
            again.append(_seconds(environment, "run"))
    return [
        row("B5", "first run of all notebooks, smoke", [first], "s", "240 s"),
        row("B5", "status", status, "s", "2 s"),
        row("B5", "second run, nothing changed", again, "s", "10 s"),
        row("B5", "second run as a share of the first", [a / first for a in again], "ratio", "-"),
    ]
