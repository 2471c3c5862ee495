"""One similarity per clip: every frame of a clip is moved by the same matrix.

A warp fitted frame by frame follows the landmarks' jitter and the expression itself, and so erases micro-motion or
invents it (docs/method.md#from-frames-to-motion). The matrix therefore comes from the onset frames only, and a
subject's clips may share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SIZE = 128
# Eye centres in the canonical frame, px. 30 px between the eyes puts the hair line near y = 14 and the chin near y =
# 108,
# so that forehead, jaw and some background are inside; it is also the scale at which the simulator renders, so that
# alignment shifts and turns a clip but hardly resamples it.
EYES = np.array([[49.0, 50.0], [79.0, 50.0]])  # the person's right eye, the person's left eye


def eye_centres(landmarks: np.ndarray) -> np.ndarray:
    """(..., 68, 2) px -> (..., 2, 2) px: the person's right eye (smaller x), then the left."""
    points = np.asarray(landmarks, np.float64)
    return np.stack([points[..., 36:42, :].mean(-2), points[..., 42:48, :].mean(-2)], -2)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least-squares similarity (2, 3) that moves source (K, 2) to target (K, 2); Umeyama, PAMI 13(4), 1991, without
    reflection.

    Raises ValueError when all source points coincide.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    a, b = source - source.mean(0), target - target.mean(0)
    spread = (a**2).sum()
    if spread < 1e-9:
        raise ValueError("all source points coincide: no similarity can be fitted")
    c, s = (a * b).sum() / spread, (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    linear = np.array([[c, -s], [s, c]])
    return np.hstack([linear, (target.mean(0) - linear @ source.mean(0))[:, None]])


def subject_similarity(landmarks: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The alignment matrix (2, 3), original px -> canonical px, of one clip or of one subject.

    landmarks: (68, 2), or (M, 68, 2) onset landmarks of M clips filmed with the same camera; their median is aligned.
    Only the eyes are used, because jaw and mouth move. size: side of the canonical frame, px. Raises ValueError for
    other shapes, for numbers that are not finite, and for eyes less than 4 px apart."""
    points = np.asarray(landmarks, np.float64)
    if points.shape[-2:] != (68, 2) or points.ndim not in (2, 3) or points.size == 0:
        raise ValueError(f"landmarks must be (68, 2) or (clips, 68, 2), got {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("landmarks contain NaN or infinity: drop the clip or find the landmarks again")
    eyes = eye_centres(points if points.ndim == 2 else np.median(points, 0))
    if np.linalg.norm(eyes[1] - eyes[0]) < 4:
        raise ValueError("the eye centres are less than 4 px apart: are the landmarks in pixels?")
    return similarity(eyes, EYES * size / SIZE)


def apply(frames: np.ndarray, matrix: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Warp every frame by the same matrix (2, 3). frames: (T, H, W) or (T, H, W, 3) uint8 -> (T, size, size[, 3])
    uint8.
    """
    frames = np.asarray(frames)
    if frames.ndim not in (3, 4):
        raise ValueError(f"frames must be (T, H, W) or (T, H, W, 3), got {frames.shape}")
    matrix = np.asarray(matrix, np.float64)
    return np.stack(
        [
            cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for frame in frames
        ]
    )


def gray(image: np.ndarray, name: str = "image") -> np.ndarray:
    """(H, W) or (H, W, 3) RGB uint8 -> (H, W) uint8 luma. Raises ValueError, calling the array `name`, for any
    other.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise ValueError(f"{name} must be uint8 (H, W) or (H, W, 3) RGB, got {image.dtype} {image.shape}")
    return (
        np.ascontiguousarray(image)
        if image.ndim == 2
        else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    )


@dataclass(frozen=True)
class Aligned:
    """One clip in the canonical frame. rgb: (T, S, S[, 3]) uint8, as it was filmed; gray: (T, S, S) uint8; landmarks:
    (68, 2) px of the canonical frame; matrix: (2, 3), original px -> canonical px."""

    rgb: np.ndarray
    gray: np.ndarray
    landmarks: np.ndarray
    matrix: np.ndarray


def align_clip(frames: Sequence[np.ndarray], landmarks: np.ndarray, size: int = SIZE) -> Aligned:
    """A clip and the landmarks (68, 2) px of its onset -> every frame moved by their one matrix. frames: (H, W) or (H,
    W, 3) uint8 each, an array or a `deft.clips.footage.Footage`: they are taken one by one. ValueError for landmarks
    that fix no similarity."""
    matrix, rgb = subject_similarity(landmarks, size), None
    for number, frame in enumerate(frames):
        moved = apply(frame[None], matrix, size)[0]
        rgb = np.empty((len(frames), *moved.shape), np.uint8) if rgb is None else rgb
        rgb[number] = moved
    return Aligned(rgb, np.stack([gray(frame) for frame in rgb]), points(landmarks, matrix), matrix)


def points(landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Move points (..., 2) px by the matrix (2, 3) -> (..., 2) float64."""
    matrix = np.asarray(matrix, np.float64)
    return np.asarray(landmarks, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def flow(field: np.ndarray, matrix: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Move a flow field (H, W, 2) px of the original frame into the canonical frame (size, size, 2), turning and
    scaling its vectors too.
    """
    matrix = np.asarray(matrix, np.float64)
    moved = cv2.warpAffine(np.asarray(field, np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    return moved @ matrix[:, :2].T.astype(np.float32)
