"""A face that talks: jaw and lips open and close by the syllable. FACS scores no unit for that: speech has a code of
its own (50), and lips that part (25) or a jaw that drops (26) while somebody speaks are not written
down (Ekman, Friesen and Hager, FACS Investigator's Guide, 2002)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deft.clips.facs import UNIT_INDEX
from deft.clips.simulator.motion import Timing
from deft.runtime import rng

RATE = (
    3.0,
    6.0,
)  # syllables per second: the mouth of a speaker moves at 2 to 7 Hz (Chandrasekaran et al., PLoS CB 2009)
OPEN = {25: (0.15, 0.60), 26: (0.10, 0.50)}  # how far lips part and the jaw drops at most, shares of a full movement


@dataclass(frozen=True)
class Speech(Timing):
    """The course of a mouth that talks. rate: 1/s; phase: rad, of the jaw at 0 ms; lag: rad by which the lips are
    ahead; stress: (rate, phase) of the slower course by which syllables differ. The durations of `Timing` only place
    apex and offset of the clip."""

    rate: float = 4.5
    phase: float = 0.0
    lag: float = 0.5
    stress: tuple[float, float] = (1.3, 0.0)

    def envelope(self, times_ms: np.ndarray, delay: float = 0.0) -> np.ndarray:
        """(T,) in 0..1: how far the jaw is open; delay: rad by which it is ahead."""
        t = 2 * np.pi * np.asarray(times_ms, np.float64) / 1000.0
        syllable = 0.5 - 0.5 * np.cos(self.rate * t + self.phase + delay)
        return (syllable * (0.7 + 0.3 * np.sin(self.stress[0] * t + self.stress[1]))).astype(np.float32)

    def intensities(self, peak: np.ndarray, times_ms: np.ndarray) -> np.ndarray:
        """Peak (17, 2) -> (T, 17, 2) float32: lips that part lead the jaw."""
        out = self.envelope(times_ms)[:, None, None] * peak[None]
        out[:, UNIT_INDEX[25]] = self.envelope(times_ms, self.lag)[:, None] * peak[UNIT_INDEX[25]]
        return out


def speech(seed: int, timing: tuple[float, float, float]) -> tuple[dict[str, float], Speech]:
    """(actions, course) of somebody who talks while a clip with the durations `timing` (ms) is taken; own numbers."""
    draw = rng(seed, "simulator/speech")
    actions = {str(unit): float(draw.uniform(*bounds)) for unit, bounds in OPEN.items()}
    turns = draw.uniform(0, 2 * np.pi, 2)
    course = Speech(
        *timing,
        rate=float(draw.uniform(*RATE)),
        phase=float(turns[0]),
        lag=float(draw.uniform(0.2, 1.0)),
        stress=(float(draw.uniform(0.8, 1.8)), float(turns[1])),
    )
    return actions, course
