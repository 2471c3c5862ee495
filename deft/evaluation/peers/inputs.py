"""What every peer reads of a clip, prepared once: frames, flow of the rise and of the fall, region motion.

Two kinds of flow image are offered, because published systems differ in it: at a *fixed scale* (px of the aligned face
over a constant) and *stretched* per image to 0 .. 255, which moves the zero level and hides the amplitude. A comparison
that uses only one of them measures the preprocessing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from deft.clips.keyframes import APEX

FULL = 4.0  # px of the aligned face (128 px) that count as 1 in a flow image of fixed scale


@dataclass(frozen=True)
class Inputs:
    """N clips. gray: (N, T, 128, 128) uint8 aligned frames, onset first, apex at `deft.clips.keyframes.APEX`, offset
    last.

    landmarks: (N, 68, 2) px in the aligned onset frame. courses: (N, T-1, 36, 5) region motion [u, v, magnitude,
    coherence, strain], px, onset -> t. rise, fall: (N, 128, 128, 2) flow onset -> apex and apex -> offset, px, +x
    right, +y down. may_choose: (N,) the validation part of the training subjects, by which early stopping or a strength
    may be chosen; never fitted on."""

    gray: np.ndarray
    landmarks: np.ndarray
    courses: np.ndarray
    rise: np.ndarray
    fall: np.ndarray
    may_choose: np.ndarray

    def __len__(self) -> int:
        return len(self.gray)

    def take(self, rows: np.ndarray) -> Inputs:
        """The clips at `rows` (numbers or a mask)."""
        return Inputs(**{field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)})

    @property
    def onset(self) -> np.ndarray:
        """(N, 128, 128) uint8."""
        return self.gray[:, 0]

    @property
    def apex(self) -> np.ndarray:
        """(N, 128, 128) uint8."""
        return self.gray[:, APEX]

    @property
    def offset(self) -> np.ndarray:
        """(N, 128, 128) uint8."""
        return self.gray[:, -1]


class Peer(Protocol):
    """A system that is compared. Same inputs, same folds, same freedom for all; `parameters` counts what it trains."""

    parameters: int

    def fit(self, inputs: Inputs, labels: np.ndarray) -> Peer:
        """Learn from labelled clips, labels (N,) class names; rows with `inputs.may_choose` only choose. Returns
        itself.
        """

    def scores(self, inputs: Inputs) -> np.ndarray:
        """(N, C) probabilities in the order of the classes; rows sum to 1."""


def strain(flow: np.ndarray) -> np.ndarray:
    """Optical strain (..., H, W) of flow (..., H, W, 2): sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), central
    differences.
    """
    u, v = np.asarray(flow[..., 0], np.float32), np.asarray(flow[..., 1], np.float32)
    u_y, u_x = np.gradient(u, axis=(-2, -1))
    v_y, v_x = np.gradient(v, axis=(-2, -1))
    return np.sqrt(u_x**2 + v_y**2 + 0.5 * (u_y + v_x) ** 2)


def flow_images(flow: np.ndarray, side: int = 28, stretched: bool = False) -> np.ndarray:
    """Flow (N, H, W, 2) px -> (N, 3, side, side) float32 [u, v, strain], averaged to `side` px.

    Fixed scale: u and v over FULL, strain times 10. stretched: each channel of each image to 0 .. 1 between its own
    minimum and maximum, as 8-bit images are fed; a constant channel is 0."""
    planes = np.stack([flow[..., 0], flow[..., 1], strain(flow)], axis=1).astype(np.float32)
    small = np.stack(
        [np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in clip]) for clip in planes]
    )
    if not stretched:
        return small * np.array([1 / FULL, 1 / FULL, 10.0], np.float32)[:, None, None]
    low, high = small.min(axis=(2, 3), keepdims=True), small.max(axis=(2, 3), keepdims=True)
    return np.where(high > low, (small - low) / np.maximum(high - low, 1e-12), 0.0).astype(np.float32)
