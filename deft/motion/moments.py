"""Onset, apex and offset of a clip nobody annotated, found from its motion energy.

The energy of a frame is how far the three most moving regions lie from the straight line between their places a quarter
of a second before and after, less the same of the regions that should be still; frames within 15 ms are averaged first,
because one noisy frame must not decide. A difference over a fixed lag to both sides is that of Moilanen et al. (2014),
"Spotting rapid facial movements"; a quarter of a second is the longest onset of a micro-expression (Yan et al. 2013). A
movement goes out and comes back; what only goes on, as the error of the flow does on skin that a head carries along, is
a straight line and counts nothing. Onset and offset are judged along the directions in which the regions lie off that
line. The share of 85 % is our choice: a smaller one cuts off the beginning of the movement; with a larger one noise
decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deft.motion import flow as flows
from deft.motion import rigid

RISE, FALL, SHARE, REGIONS_USED, STEADY = 0.25, 0.35, 0.85, 3, 0.015  # s, s, of the farthest frame, of 36 regions, s
RULE = (
    f"Rule. Energy of a frame: how far the {REGIONS_USED} most moving regions lie, on average, from the straight line"
    f" between their places {RISE:g} s before and {RISE:g} s after, minus the same of the regions that should be still."
    f" Apex: the frame with the largest energy. Onset: walking back from the apex for at most {RISE:g} s, the nearest"
    f" frame that is already {SHARE:.0%} as far from the apex as the farthest, off that line and along its directions."
    f" Offset: the same, forwards, within {FALL:g} s."
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

    def motion(self, a: int, b: int) -> np.ndarray:
        """(36, 2) px: mean motion of each region from frame a to frame b, the head's removed; its noise cancels."""
        if a == b:
            return np.zeros((len(self.weights), 2))
        if (a, b) not in self.known:
            moved, _ = self.head.remove(flows.estimate(self.frames[a], self.frames[b], method=self.method))
            self.known[a, b] = self.weights @ moved.reshape(-1, 2)
        return self.known[a, b]

    def bump(self, at: int) -> tuple[np.ndarray, np.ndarray]:
        """(36, 2) px: how far each region lies in frame `at` from the straight line between its places RISE before and
        after, and (36, 2) px a frame, that line's slope. At the ends of the clip the line is as short as they allow."""
        lag, last = max(2, round(RISE * self.fps)), len(self.frames) - 1
        before, after = max(0, at - lag), min(last, at + lag)
        out, back = self.motion(before, at), self.motion(at, after)
        slope = (out + back) / max(1, after - before)
        return out - slope * (at - before), slope

    def largest(self, vectors: np.ndarray) -> tuple[np.ndarray, float]:
        """(36, 2) px -> the rows of the most moving regions, and their mean length less that of the stable ones."""
        length = np.linalg.norm(vectors, axis=1)
        rows = np.flatnonzero(~self.stable)
        rows = rows[np.argsort(length[rows])[-REGIONS_USED:]]
        return rows, float(length[rows].mean() - length[self.stable].mean())

    def out_and_back(self) -> np.ndarray:
        """(T,) px: the energy of each frame; its largest value is the apex."""
        return np.array([self.largest(self.bump(at)[0])[1] for at in range(len(self.frames))])

    def edge(self, apex: int, frames: Sequence[int]) -> int:
        """The frame nearest to the apex that is already SHARE as far from it as the farthest of `frames`."""
        if not len(frames):
            return apex
        top, slope = self.bump(apex)
        rows, _ = self.largest(top)
        away = np.array(
            [
                (top * (np.sign(apex - t) * self.motion(min(t, apex), max(t, apex)) - slope * (apex - t)))[rows].sum()
                for t in frames
            ]
        )
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
