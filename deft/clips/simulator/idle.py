"""Skin that moves without any of the 17 units: breath, chewing, and a blink that drags the cheek along.

None of it folds skin where a unit would, and none belongs to an emotion. It is skin motion all the same: the true flow
of the skin holds it, the true intensities do not.
"""

from __future__ import annotations

import numpy as np

from deft.runtime import rng

BREATH, CHEW = "breath", "chew"
# Anchors as in motion.py: place, outward, down (thousandths of a face unit at amount 1), widths across, above, below,
# sheet.
ANCHORS = {
    BREATH: (("nose_side", 9, -3, 0.070, 0.080, 0.080, "B"), ("jaw", 0, 6, 0.360, 0.300, 0.300, "L")),
    CHEW: (
        ("jaw", 10, 46, 0.340, 0.360, 0.360, "L"),
        ("cheek_low", 16, 6, 0.120, 0.150, 0.150, "B"),
        ("corner", -10, 8, 0.100, 0.110, 0.110, "B"),
    ),
}
DRAG = (("cheek", -3, -9, 0.130, 0.090, 0.110, "B"), ("outer_canthus", -7, 2, 0.085, 0.085, 0.085, "B"))


def courses(
    identity: int, devices: tuple[str, ...], times_ms: np.ndarray, distractors: tuple[str, ...], seed: int
) -> dict[str, np.ndarray]:
    """Amounts (T, 2) over time for the two sides (L, R), 0 at the onset, by name; empty without the device.

    A breath takes 3 to 5 s, so that a clip sees a slope. Chewing takes .6 to .9 s a cycle, on one side more than on the
    other.
    """
    t, found = np.asarray(times_ms, np.float64), {}
    if "idle" in devices:
        draw = rng(seed, "simulator/breath", identity)
        period, phase, depth = draw.uniform(3000, 5000), draw.uniform(0, 2 * np.pi), draw.uniform(0.4, 1.2)
        wave = depth * (np.sin(2 * np.pi * t / period + phase) - np.sin(phase))
        found[BREATH] = np.stack([wave, wave], 1).astype(np.float32)
    if CHEW in distractors:
        draw = rng(seed, "simulator/chew", identity)
        period, depth = draw.uniform(600, 900), draw.uniform(0.35, 1.0)
        sides = np.array([1.0, draw.uniform(0.3, 0.9)])[:: draw.choice([1, -1])]
        wave = 0.5 * depth * (1 - np.cos(2 * np.pi * t / period))
        found[CHEW] = (wave[:, None] * sides).astype(np.float32)
    return found
