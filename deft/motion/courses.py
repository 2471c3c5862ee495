"""Motion of the 36 regions from onset to offset, as time series ("courses") in numbers that a reader can check.

Flow onset -> every frame, the head's motion removed, then per region and frame the mean vector, magnitude, coherence
and strain. The same pass keeps the peak flow (estimated from all flows, `envelope.at_peak`, which carries less noise
than one) and the residual that the flow does not explain, for the two dynamic experts. The steps and their reasons:
docs/method.md#from-frames-to-motion.

All vectors are aligned px, +x right, +y down, onset -> t.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from deft import runtime
from deft.clips import keyframes
from deft.clips.facs import REGIONS
from deft.clips.store import ClipStore
from deft.faces import align, regions
from deft.motion import envelope, meflow, rigid
from deft.motion import flow as optical

METHOD = (  # flow of the pipeline: twice the signal of the medium preset at the same noise, see `flow._build`
    "dis-finest"
)
COURSE = ("u", "v", "magnitude", "coherence", "strain")  # last axis of `courses`
HALF = 64  # side of the peak and residual maps, px
PRIOR_NOISE, PRIOR_WEIGHT = 0.08, 8.0  # px, and how many stable-region vectors this prior counts for


def flows(
    gray: np.ndarray, landmarks: np.ndarray, method: str = METHOD, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Flow onset -> t with the head's motion removed -> (flow, rigid part), both (T-1, S, S, 2) float32 px.

    gray: (T, S, S) uint8, aligned. landmarks: (68, 2) px of the onset. weights: region masks (36, S, S) if already
    known. Flow is measured on the whole frame: cropping to the face saves a third of the time, but the estimator's
    coarse levels and borders then cost the linear reader of region flow .05 UF1 on `sim-v1`."""
    head = rigid.Fitter(landmarks, gray.shape[1], weights)
    parts = [head.remove(optical.estimate(gray[0], frame, method)) for frame in gray[1:]]
    return np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])


def courses_of(field: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Region statistics. field: (T-1, S, S, 2) px, weights: (36, S, S) each summing to 1 -> (T-1, 36, 5) float32, see
    COURSE.

    u, v and magnitude are px, strain px per px, coherence a share of 1.
    """
    count = len(field)
    magnitude = np.hypot(field[..., 0], field[..., 1])
    stack = np.stack([field[..., 0], field[..., 1], magnitude, optical.strain(field)], 1).reshape(count * 4, -1)
    u, v, length, strain = np.moveaxis((stack @ weights.reshape(len(REGIONS), -1).T).reshape(count, 4, -1), 1, 0)
    coherence = np.hypot(u, v) / np.maximum(length, 1e-6)  # 1: the whole region moves one way; 0: directions cancel
    return np.stack([u, v, length, coherence, strain], -1).astype(np.float32)


def noise_floor(courses: np.ndarray) -> float:
    """Length in px that a region's mean vector has when nothing moves: RMS per axis over the stable regions and all
    frames.

    courses: (T-1, 36, 5).

    A clip gives only 4 stable regions x (T - 1) correlated frames, so the estimate is shrunk to PRIOR_NOISE, the usual
    value on the simulated camera; without it a lucky clip would make every twitch significant.
    """
    still = courses[:, rigid.STABLE_ROWS, :2].astype(np.float64)
    weight = len(rigid.STABLE_ROWS) * min(len(courses), 4)
    return float(np.sqrt((weight * (still**2).mean() + PRIOR_WEIGHT * PRIOR_NOISE**2) / (weight + PRIOR_WEIGHT)))


def peak_map(field: np.ndarray) -> np.ndarray:
    """Mean flow (S, S, 2) px -> (64, 64, 4) float16 [u, v, strain, magnitude], still in aligned px."""
    small = cv2.resize(np.dstack([field, optical.strain(field)]), (HALF, HALF), interpolation=cv2.INTER_AREA)
    return np.dstack([small, np.hypot(small[..., 0], small[..., 1])]).astype(np.float16)


def local_contrast(image: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """Standard deviation of the grey level around each pixel: (H, W) float32 -> (H, W). sigma: px of the Gaussian
    window.
    """
    mean = cv2.GaussianBlur(image, (0, 0), sigma)
    return np.sqrt(np.maximum(cv2.GaussianBlur(image * image, (0, 0), sigma) - mean * mean, 0))


def residual(frames: np.ndarray, fields: np.ndarray, face: np.ndarray | None = None) -> np.ndarray:
    """What motion does not explain at the peak, estimated from all frames.

    frames: (T, S, S) grey levels, frame 0 the onset. fields: (T-1, S, S, 2) px, onset -> t. face: (S, S) bool; what
    lies outside is 0: hair and background, and where the picture ends the rows that alignment repeats.
    Returns (2, 64, 64) float16, grey levels / 255: [change of shading left after warping, change of local contrast].
    Like motion, both are weighed over the frames by the course that a movement is expected to have
    (`envelope.at_peak`). An imperfect flow leaves displacement behind as edges (docs/method.md#traps). A second, local
    registration removes most of it: in windows of 9 px the remaining shift is solved from the residual itself (Lucas
    and Kanade 1981) and its first-order effect is subtracted. Broad changes of light are removed by subtracting the
    residual's own wide blur."""
    frames = np.asarray(frames, np.float32)
    carried = np.stack([optical.warp(frames[0], field) for field in fields])
    for moved, frame in zip(carried, frames[1:]):
        moved += cv2.GaussianBlur(frame - moved, (0, 0), 16)  # flicker and head shadow: broad, not a furrow
    difference, _ = envelope.at_peak(frames[1:] - carried)
    moved = keyframes.peak_mean(carried)
    if len(fields) == len(envelope.ENVELOPE):
        change = [local_contrast(frame) - local_contrast(one) for frame, one in zip(frames[1:], carried)]
        contrast, _ = envelope.at_peak(np.stack(change))
    else:  # noise adds contrast: of two frames the mean picture shows a furrow better than each
        contrast = local_contrast(keyframes.peak_mean(frames[1:])) - local_contrast(moved)
    gx, gy = cv2.Sobel(moved, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(moved, cv2.CV_32F, 0, 1, scale=0.125)

    def window(image):
        return cv2.GaussianBlur(image, (0, 0), 3.0)

    xx, yy, xy = (
        window(gx * gx) + 4.0,
        window(gy * gy) + 4.0,
        window(gx * gy),
    )  # 4: flat skin gives no shift, only noise
    bx, by = window(gx * difference), window(gy * difference)
    area = xx * yy - xy * xy
    difference = difference - gx * (yy * bx - xy * by) / area - gy * (xx * by - xy * bx) / area
    both = np.dstack([difference, contrast]) * (1.0 if face is None else face[..., None].astype(np.float32))
    small = cv2.resize(both, (HALF, HALF), interpolation=cv2.INTER_AREA)
    return (np.moveaxis(small, -1, 0) / 255).astype(np.float16)


def measure_clip(gray: np.ndarray, landmarks: np.ndarray, method: str = METHOD) -> dict[str, np.ndarray]:
    """Measure one aligned clip: everything that the later stages read of its motion.

    gray: (T, S, S) uint8, frame 0 the onset, frames as in `deft.clips.keyframes`. landmarks: (68, 2) px in the
    aligned frame. Returns a dict: courses (T-1, 36, 5), peak (64, 64, 4), residual (2, 64, 64), noise (float32, px).
    Raises ValueError for frames of another shape or type."""
    gray = np.asarray(gray)
    if gray.ndim != 3 or gray.dtype != np.uint8 or gray.shape[1] != gray.shape[2]:
        raise ValueError(f"gray must be (T, S, S) uint8 aligned frames, got {gray.dtype} {gray.shape}")
    weights = regions.masks(landmarks, gray.shape[1])
    field, head = flows(gray, landmarks, method, weights)
    courses = courses_of(field, weights)
    return {
        "courses": courses,
        "peak": peak_map(envelope.at_peak(field)[0]),
        "residual": residual(gray, field + head, regions.face_mask(landmarks, gray.shape[1])),  # it follows the head
        "noise": np.float32(noise_floor(courses)),
    }


def region_truth(flow_true: np.ndarray, matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """True mean vector per region (36, 2) float32 in aligned px, from the store's flow (H, W, 2) in original px.

    matrix: (2, 3) alignment of the clip. weights: region masks (36, S, S).
    """
    field = align.flow(flow_true, matrix, weights.shape[1])
    return (weights.reshape(len(weights), -1) @ field.reshape(-1, 2)).astype(np.float32)


def measure_set(
    clips: Path, faces: Path, out: Path, method: str = METHOD, jobs: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Describe every clip of a set and write the arrays of `motion/<set>/`; returns {name: shape}.

    clips: folder of the store (for the true flow). faces: folder of stage 02 (gray, landmarks, matrix). out: folder to
    write. jobs: threads. Clips are memory-mapped and spread over threads (OpenCV and numpy release the lock); the bytes
    do not depend on `jobs`. Raises FileNotFoundError when "meflow" has no weights, ValueError when a clip cannot be
    measured or the stages hold different numbers of clips."""
    if method == optical.LEARNED and meflow.folder() is None:
        raise FileNotFoundError(
            f"method {method!r} needs trained weights, and no profile has any: run 13_meflow first, or name a folder by"
            f" ${meflow.VARIABLE}"
        )
    gray, landmarks, matrix = (runtime.load_array(faces, name) for name in ("gray", "landmarks", "matrix"))
    count, frames, side = gray.shape[:3]
    store = ClipStore(clips)
    if len(store) != count:
        raise ValueError(
            f"{faces} holds {count} clips and the store {len(store)}: the stages are out of step; run 02_faces again"
        )
    arrays = {
        "courses": np.zeros((count, frames - 1, len(REGIONS), len(COURSE)), np.float32),
        "peak": np.zeros((count, HALF, HALF, 4), np.float16),
        "residual": np.zeros((count, 2, HALF, HALF), np.float16),
        "noise": np.zeros(count, np.float32),
        "region_true": np.zeros((count, len(REGIONS), 2), np.float32),
    }

    def one(row):
        try:
            return row, measure_clip(np.asarray(gray[row]), landmarks[row], method)
        except ValueError as error:
            raise ValueError(f"clip {row} of {faces}: {error}") from error

    threads = joblib.Parallel(n_jobs=jobs or runtime.jobs(), prefer="threads", return_as="generator_unordered")
    with threadpool_limits(1):  # threads of the matrix library inside threads over clips fight for the same cores
        done = threads(joblib.delayed(one)(row) for row in range(count))
        for row, found in runtime.bar(done, count, f"{out.name} motion", "clip"):
            for name, value in found.items():
                arrays[name][row] = value
        for rows, (fields,) in store.stream("flow_true"):
            for row, field in zip(range(rows.start, rows.stop), fields):
                arrays["region_true"][row] = region_truth(field, matrix[row], regions.masks(landmarks[row], side))
    for name, array in arrays.items():
        runtime.save_array(out, name, array)
    return {name: array.shape for name, array in arrays.items()}
