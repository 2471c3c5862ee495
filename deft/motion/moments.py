"""Onset, apex and offset of a clip nobody annotated, found from its motion energy.

The energy of two frames is the mean speed of the three most moving regions minus that of the regions that should be
still; frames within 15 ms are averaged first, because one noisy frame must not decide. The comparison over a fixed lag
is that of Moilanen et al. (2014), "Spotting rapid facial movements"; a quarter of a second is the longest onset of a
micro-expression (Yan et al. 2013). The bonus for coming back and the share of 85 % are our choices. Without the bonus
the return to rest scores as high as the apex. A smaller share cuts off the beginning of the movement; with a larger one
noise decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deft.motion import flow as flows
from deft.motion import rigid

RISE, FALL, SHARE, REGIONS_USED, STEADY = 0.25, 0.35, 0.85, 3, 0.015  # s, s, of the farthest frame, of 36 regions, s
RULE = (
    f"Rule. Energy of two frames: mean speed of the {REGIONS_USED} most moving regions minus that of the regions that"
    f" should be still. Apex: the frame with the largest energy from the frame {RISE:g} s before it, plus what it comes"
    f" back by within {RISE:g} s after it. Onset: walking back from the apex for at most {RISE:g} s, the nearest frame"
    f" that is already {SHARE:.0%} as far from the apex as the farthest. Offset: the same, forwards, within {FALL:g} s."
)


@dataclass(frozen=True)
class Moments:
    """Positions in the clip; energy: (T,) px, what decided the apex; found: names of what was not given."""

    onset: int
    apex: int
    offset: int
    energy: np.ndarray
    found: tuple[str, ...]


class Finder:
    """gray: (T, S, S) uint8, aligned; landmarks: (68, 2) in the same frame; weights: (36, S, S), each summing to 1;
    fps: 1/s.
    """

    def __init__(self, gray: np.ndarray, landmarks: np.ndarray, weights: np.ndarray, fps: float, method: str = "dis"):
        reach = max(1, round(STEADY * fps)) // 2
        self.frames = (
            gray
            if not reach
            else np.stack(
                [gray[max(0, t - reach) : t + reach + 1].mean(0).round().astype(np.uint8) for t in range(len(gray))]
            )
        )
        self.head, self.weights, self.method, self.fps = (
            rigid.Fitter(landmarks, gray.shape[1]),
            weights.reshape(len(weights), -1),
            method,
            fps,
        )
        self.stable = np.isin(np.arange(len(weights)), rigid.STABLE_ROWS)
        self.known = {}

    def energy(self, a: int, b: int) -> float:
        """Motion between frames a and b, px; small and around zero when nothing but the head moved."""
        if a != b and (a, b) not in self.known:
            moved, _ = self.head.remove(flows.estimate(self.frames[a], self.frames[b], method=self.method))
            speed = np.linalg.norm(
                self.weights @ moved.reshape(-1, 2), axis=1
            )  # length of a region's mean vector: noise cancels
            self.known[a, b] = float(np.sort(speed[~self.stable])[-REGIONS_USED:].mean() - speed[self.stable].mean())
        return self.known.get((a, b), 0.0)

    def out_and_back(self) -> np.ndarray:
        """(T,) px: motion up to each frame plus what comes back after it; its largest value is the apex."""
        lag, last = max(2, round(RISE * self.fps)), len(self.frames) - 1
        rows = []
        for t in range(last + 1):
            before, after = max(0, t - lag), min(last, t + lag)
            rows.append(self.energy(before, t) + max(0.0, self.energy(t, after) - self.energy(before, after)))
        return np.array(rows)

    def edge(self, apex: int, frames: Sequence[int]) -> int:
        """The frame nearest to the apex that is already SHARE as far from it as the farthest of `frames`."""
        if not len(frames):
            return apex
        away = np.array([self.energy(min(t, apex), max(t, apex)) for t in frames])
        return frames[int(np.argmax(away >= SHARE * away.max()))]


def find(
    gray: np.ndarray,
    landmarks: np.ndarray,
    weights: np.ndarray,
    fps: float,
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    method: str = "dis",
) -> Moments:
    """The moments of one clip; what is given is kept. Arguments as in `Finder`; positions count from 0."""
    finder, count = Finder(gray, landmarks, weights, fps, method), len(gray)
    found = tuple(name for name, value in (("onset", onset), ("apex", apex), ("offset", offset)) if value is None)
    series = finder.out_and_back()
    if apex is None:
        # Before the offset, if a frame lies between onset and offset; else the offset itself.
        first, last = (0 if onset is None else onset) + 1, count if offset is None else offset
        apex = first + int(np.argmax(series[first : max(last, first + 1)]))
    if onset is None:
        onset = finder.edge(apex, range(apex - 1, max(-1, apex - 1 - round(RISE * fps)), -1))
    if offset is None:
        offset = finder.edge(apex, range(apex + 1, min(count, apex + 1 + round(FALL * fps))))
    return Moments(int(onset), int(apex), int(offset), series, found)
