"""The geometry of the resting face bends and scales what a unit does to the skin.

A corner that hangs is pulled more steeply, a full cheek sends it outwards, a wide mouth has longer muscles; arched
brows and a heavy fold of the lid tilt the brow's path, a broad nose that of its sides. Angles stay within
15 degrees, and lengths within a third (docs/method.md#sim-v2).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

from deft.clips.simulator.person import Identity

LARGEST = 15.0  # degrees


def draw(attributes: Mapping[str, object], stream: Callable[[str], np.random.Generator]) -> dict[str, object]:
    """How far the lid's fold hangs over the lid, and a wider spread of the mouth's angle than sim-v1 has."""
    return {
        "lid_fold": float(stream("pull/lid_fold").beta(1.5, 1.5)),
        "mouth_tilt": float(stream("pull/mouth_tilt").normal(0.003, 0.013)),
    }


def bend(identity: Identity, unit: int | str) -> tuple[float, float]:
    """(angle in degrees, factor of the length) for a unit's displacement; a positive angle turns outward into down."""
    hang = np.clip((0.003 - identity.mouth_tilt) / 0.013, -2, 2)  # > 0: the corners hang
    full, arch = 2 * identity.fat - 1, 2 * identity.brow_arch - 1
    fold, nose = 2 * identity.lid_fold - 1, np.clip((identity.nose_width - 1) / 0.12, -2, 2)
    wide = 1 + 1.8 * (identity.mouth_width - 1)
    angle, length = {
        1: (-9 * arch - 5 * fold, 1.0),
        2: (9 * arch + 5 * fold, 1 - 0.12 * fold),
        4: (10 * arch - 4 * fold, 1.0),
        5: (0.0, 1 - 0.30 * fold),
        6: (6 * full, 1.0),
        7: (0.0, 1 + 0.15 * fold),
        9: (5 * nose, 1.0),
        10: (5 * nose, 1.0),
        12: (-6 * hang + 6 * full, wide),
        14: (5 * hang, wide),
        15: (6 * hang, 1.0),
        20: (5 * hang - 4 * full, wide),
    }.get(unit, (0.0, 1.0))
    return float(np.clip(angle, -LARGEST, LARGEST)), float(length)


def anchors(identity: Identity, unit: int | str, table: tuple) -> tuple:
    """The anchors of `unit` as this person's skin follows them; `table` itself without the device."""
    if "pull" not in identity.devices:
        return table
    angle, length = bend(identity, unit)
    c, s = length * math.cos(math.radians(angle)), length * math.sin(math.radians(angle))
    return tuple(
        dataclasses.replace(a, outward=c * a.outward - s * a.down, down=s * a.outward + c * a.down) for a in table
    )
