"""What the peers read, measured once per set of clips: dense flow of the rise and of the fall, head motion removed.

The flow is that of stage 03 (`deft.motion.courses.METHOD`), so that no system reads a better estimator than another.
Stage 03 keeps region courses and a small mean map; networks read whole fields, which lie here as 16-bit numbers.
"""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from deft import cache, runtime
from deft.clips.keyframes import APEX
from deft.evaluation.peers.inputs import Inputs
from deft.motion import courses, flow, rigid


def phases(gray: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One clip, gray (T, S, S) uint8, landmarks (68, 2) px of the onset -> flow onset -> apex and apex -> offset, each
    (S, S, 2) float32 px.
    """
    head = rigid.Fitter(landmarks, gray.shape[1])
    pairs = ((gray[0], gray[APEX]), (gray[APEX], gray[-1]))
    rise, fall = (head.remove(flow.estimate(*pair, courses.METHOD))[0] for pair in pairs)
    return rise, fall


def folder(work: Path, part: str) -> Path:
    """Where rise.npy and fall.npy of a set lie."""
    return Path(work) / "peers" / "flow" / part


def measure(work: Path, part: str, jobs: int | None = None) -> None:
    """Write rise and fall (N, S, S, 2) float16 px of every clip of a set, unless they are there. jobs: threads."""
    faces = Path(work) / "faces" / part
    inputs = [faces / "gray.npy", faces / "landmarks.npy"]
    state = cache.fresh(folder(work, part), inputs, code="deft.evaluation.peers.prepare.phases")
    if state:
        return
    gray, landmarks = (runtime.load_array(faces, name) for name in ("gray", "landmarks"))
    found = {name: np.zeros((*gray.shape[:1], *gray.shape[2:], 2), np.float16) for name in ("rise", "fall")}

    def one(row: int) -> tuple[int, tuple[np.ndarray, np.ndarray]]:
        return row, phases(np.asarray(gray[row]), landmarks[row])

    threads = joblib.Parallel(n_jobs=jobs or runtime.jobs(), prefer="threads", return_as="generator_unordered")
    with threadpool_limits(1):
        done = threads(joblib.delayed(one)(row) for row in range(len(gray)))
        for row, both in runtime.bar(done, len(gray), f"{part} flow of both phases", "clip"):
            found["rise"][row], found["fall"][row] = both
    for name, array in found.items():
        runtime.save_array(folder(work, part), name, array)
    state.seal()


def read(work: Path, part: str, rows: np.ndarray, may_choose: np.ndarray | None = None) -> Inputs:
    """Clips `rows` (numbers) of a set, as every peer reads them. may_choose: (len(rows),), default none may."""
    work, rows = Path(work), np.asarray(rows)
    places = {"gray": "faces", "landmarks": "faces", "courses": "motion"}
    arrays = {name: runtime.load_array(work / stage / part, name) for name, stage in places.items()}
    arrays |= {name: runtime.load_array(folder(work, part), name) for name in ("rise", "fall")}
    if len({len(array) for array in arrays.values()}) > 1:
        counts = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"{part}: the stages hold different numbers of clips ({counts}); run 02_faces again")
    taken = {name: np.asarray(array[rows]) for name, array in arrays.items()}
    taken |= {name: taken[name].astype(np.float32) for name in ("rise", "fall")}
    return Inputs(**taken, may_choose=np.zeros(len(rows), bool) if may_choose is None else np.asarray(may_choose, bool))
