"""Soft blobs in face units, of which form, colour and cues are put together."""

from __future__ import annotations

import cv2
import numpy as np


def blob(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float | None = None) -> np.ndarray:
    """Gaussian of height 1 at (cx, cy), widths sx and sy (default sx), read at (x, y); all in face units."""
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / (sx if sy is None else sy)) ** 2))


def pair(x: np.ndarray, y: np.ndarray, cx: float, cy: float, sx: float, sy: float | None = None) -> np.ndarray:
    """The same blob on both sides."""
    return blob(np.abs(x), y, cx, cy, sx, sy)


def box_of(cover: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the smallest box that holds all of `cover` (n, m) that is not 0."""
    left, top, wide, high = cv2.boundingRect((cover != 0).view(np.uint8))
    return slice(top, top + high), slice(left, left + wide)
