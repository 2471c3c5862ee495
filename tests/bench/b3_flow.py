"""B3: flow pairs per second over clips: a plain loop with OpenCV's own threads against threads over clips (what
03_motion does).

Both arms compute the same fields of the same simulated clips at 224 px, alternating inside one run; a third arm, one
thread, gives the limit (cores x its rate). Reported: ratios per round, with their spread."""

import os
import time

import cv2
import joblib
import numpy as np

from deft import runtime
from deft.clips import simulator
from deft.motion import flow
from tests.bench import row

ROUNDS, CLIPS, FRAMES, SIDE = 5, 6, 9, 224
METHODS = ("dis", "dis-finest", "farneback")


def _clips() -> list[np.ndarray]:
    """CLIPS x (FRAMES, 224, 224) uint8."""
    return [
        np.stack(
            [
                flow.gray(frame)
                for frame in simulator.render(
                    person, {"12": 0.3, "4": 0.2}, size=SIDE, frames=FRAMES, seed=person
                ).frames
            ]
        )
        for person in range(CLIPS)
    ]


def _one(clip: np.ndarray, method: str) -> float:
    return float(sum(np.abs(flow.estimate(clip[0], frame, method)).sum() for frame in clip[1:]))


def _rate(run, pairs: int) -> tuple[float, list[float]]:
    began = time.perf_counter()
    sums = run()
    return pairs / (time.perf_counter() - began), sums


def measure() -> list[dict]:
    clips, cores, rows = _clips(), runtime.jobs(), []
    pairs = CLIPS * (FRAMES - 1)
    pool = joblib.Parallel(n_jobs=cores, prefer="threads")
    for method in METHODS:
        _one(clips[0], method)  # engines are built before the clock starts
        rates = {"plain": [], "threads": [], "one": []}
        for _ in range(ROUNDS):
            answers = {}
            for name, threads, run in (
                ("plain", os.cpu_count() or 1, lambda method=method: [_one(c, method) for c in clips]),
                ("threads", 1, lambda method=method: pool(joblib.delayed(_one)(c, method) for c in clips)),
                ("one", 1, lambda method=method: [_one(c, method) for c in clips]),
            ):
                cv2.setNumThreads(threads)
                rate, answers[name] = _rate(run, pairs)
                rates[name].append(rate)
            if not np.allclose(answers["plain"], answers["threads"], rtol=1e-3) or answers["threads"] != answers["one"]:
                raise RuntimeError(f"the arms of {method} do not compute the same flow: {answers}")
        cv2.setNumThreads(1)
        for what, values, unit, limit in (
            (f"{method}: threads over clips", rates["threads"], "pairs/s", "-"),
            (
                f"{method}: threads over clips / plain loop",
                [a / b for a, b in zip(rates["threads"], rates["plain"])],
                "ratio",
                "-",
            ),
            (
                f"{method}: threads over clips / ({cores} cores x one thread)",
                [a / (cores * b) for a, b in zip(rates["threads"], rates["one"])],
                "ratio",
                "0.9",
            ),
        ):
            rows.append(row("B3", what, values, unit, limit))
    return rows
