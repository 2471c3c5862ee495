"""A clip and what is known about it: the two records that every later stage starts from.

Frame of reference, here and everywhere: image px, +x right, +y down, onset -> t; L is the *person's* left (larger x).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deft.clips.notation import ActionUnit


@dataclass(frozen=True)
class Truth:
    """What the simulator knows about a clip of T frames of H x W px.

    Dense arrays have T rows; rows of frames whose truth was not asked for are NaN (`valid`: False), and when none was
    asked for they have 0 rows.
    """

    flow: (
        np.ndarray
    )  # (T, H, W, 2) float32 px, onset -> t: forward field of the layer visible at onset, rigid part included
    valid: (
        np.ndarray
    )  # (T, H, W) bool: the surface seen at onset is seen, unmixed, at t (not covered, not out of the image)
    landmarks: np.ndarray  # (T, 68, 2) float32 px, 68-point (iBUG) order
    skin_flow: (
        np.ndarray
    )  # (T, H, W, 2) float32 px: motion of the skin alone, known under hair and glasses too; 0 off the skin
    rigid: np.ndarray  # (T, H, W, 2) float32 px: head motion alone
    intensities: np.ndarray  # (T, 17, 2) float32 0..1, order of facs.UNITS and facs.SIDES
    envelope: np.ndarray  # (T,) float32 0..1, the common time course; units may lag behind it
    furrows: np.ndarray  # (T, 10) float32 0..1, order of facs.FURROWS
    masks: Mapping[str, np.ndarray] = field(
        default_factory=dict
    )  # name -> (H, W) bool at onset: skin, upper, lower, eyes, front, background
    # (T, 2, 3) float32: similarity from the onset image to frame t; a turn out of the plane is in `rigid` alone
    pose: np.ndarray | None = None


@dataclass(frozen=True)
class Clip:
    """One record for every source of clips. Frame numbers are positions in `frames`.

    What a source does not say stays at its default: a simulated take has no rater, a sheet without frames has no
    pixels. Two clips are equal when everything but their arrays is: comparing pixels would decode them."""

    frames: np.ndarray = field(compare=False)  # (T, H, W, 3) uint8 RGB
    times_ms: np.ndarray = field(compare=False)  # (T,) float64, 0 = onset
    fps: float | None  # None when the frames are single instants
    identity: int | None = None
    seed: int | None = None
    actions: Mapping[str, float] = field(
        default_factory=dict, hash=False
    )  # simulator: unit (+ side) -> peak intensity, as asked for
    truth: Truth | None = field(default=None, compare=False)  # None for a clip of a real camera
    id: str = ""
    dataset: str = ""
    subject: str = ""
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    action_units: tuple[ActionUnit, ...] = ()
    emotion: str = ""
    coarse: str = ""
    notes: tuple[str, ...] = ()
