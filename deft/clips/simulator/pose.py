"""Turns of the head out of the picture plane: yaw and pitch of a degree or two during a clip, with parallax.

A point that lies nearer to the camera than the eyes moves further. To first order, which is exact to a thousandth of a
face unit at two degrees, yaw shifts a point by its height over the eyes times the angle. No similarity of the picture
undoes that: who wants to take it out must know the shape of the face.
"""

from __future__ import annotations

import cv2
import numpy as np

from deft.runtime import rng

DEGREES = 1.3  # standard deviation of yaw and of pitch 300 ms after the onset
NECK = (1.00, 1.25)  # face units below the eyes over which the parallax ends: the neck does not turn with the head


def angles(person: int, devices: tuple[str, ...], times_ms: np.ndarray, seed: int) -> np.ndarray:
    """Yaw and pitch (T, 2) in radians, 0 at the onset: a slow turn that bends, and a small tremor; zeros without the
    device.
    """
    t = np.asarray(times_ms, np.float64)[:, None] / 300.0
    if "pose" not in devices:
        return np.zeros((len(t), 2))
    draw = rng(seed, "simulator/turn", person)
    slow, bend, phase = draw.normal(0, 0.92, 2), draw.normal(0, 0.38, 2), draw.uniform(0, 2 * np.pi, 2)
    tremor = 0.04 * (np.sin(2 * np.pi * draw.uniform(1.5, 3.0, 2) * t + phase) - np.sin(phase))
    return np.radians(DEGREES) * (slow * t + bend * t**2 + tremor)


def relief(height: np.ndarray, y: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Height over the plane of the eyes, face units, smooth and ending at the neck; all (n, n). eyes: mask of them."""
    return ((height - height[eyes].mean()) * np.clip((NECK[1] - y) / (NECK[1] - NECK[0]), 0, 1)).astype(np.float32)


def forward(relief_px: np.ndarray, turn: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Where points (K, 2) or (H, W, 2) px of the canonical pose go when the head turns by `turn` (yaw, pitch).

    relief_px: (H, W) height over the eyes in px.
    """
    if not turn.any():
        return points
    at = points.astype(np.float32)
    at = at if at.ndim == 3 else at[:, None]  # a list of points is a picture one px wide
    height = cv2.remap(relief_px, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return points + height.reshape(*points.shape[:-1], 1) * turn.astype(points.dtype)


def backward(relief_px: np.ndarray, turn: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The inverse: where the points that are seen at (H, W, 2) px lie in the canonical pose, less `seen`.

    Two fixed-point steps: parallax is a pixel at most and smooth.
    """
    turn = turn.astype(np.float32)
    out = np.zeros_like(seen)
    for _ in range(2):
        height = cv2.remap(relief_px, seen + out, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out = -height[..., None] * turn
    return out
