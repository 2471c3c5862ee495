"""B3: time of flow over clips: a plain loop with OpenCV's own threads against threads over clips (what
03_motion does).

Both arms compute the same fields of the same simulated clips at 224 px, alternating inside one run; a third arm, one
thread, gives the limit: its time over the cores."""

import os
import time

import cv2
import joblib
import numpy as np

from deft import runtime
from deft.clips import simulator
from deft.motion import flow
from tests.bench import rows

ROUNDS, CLIPS, FRAMES, SIDE = 5, 6, 9, 224
METHODS = ("dis", "dis-finest", "farneback")
OURS, PLAIN, ONE = "threads over clips", "plain loop, OpenCV's threads", "plain loop, one thread"


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


def measure() -> list[dict]:
    clips, cores, found = _clips(), runtime.jobs(), []
    pairs = CLIPS * (FRAMES - 1)
    pool = joblib.Parallel(n_jobs=cores, prefer="threads")
    for method in METHODS:
        _one(clips[0], method)  # engines are built before the clock starts
        arms = {
            OURS: (1, lambda method=method: pool(joblib.delayed(_one)(c, method) for c in clips)),
            PLAIN: (os.cpu_count() or 1, lambda method=method: [_one(c, method) for c in clips]),
            ONE: (1, lambda method=method: [_one(c, method) for c in clips]),
        }
        times = {arm: [] for arm in arms}
        for _ in range(ROUNDS):
            answers = {}
            for arm, (threads, run) in arms.items():
                cv2.setNumThreads(threads)
                began = time.perf_counter()
                answers[arm] = run()
                times[arm].append(1e3 * (time.perf_counter() - began) / pairs)
            if not np.allclose(answers[PLAIN], answers[OURS], rtol=1e-3) or answers[OURS] != answers[ONE]:
                raise RuntimeError(f"the arms of {method} do not compute the same flow: {answers}")
        cv2.setNumThreads(1)
        limits = {ONE: f"ratio_to_first >= {0.9 * cores:g}"}  # 0.9 of what the cores could do
        found += rows("B3", f"time of a pair of {SIDE} px, {method} (ms)", times, limits)
    return found
