"""Spot, then recognise: the interval scores of MEGC, and what a spotter is.

A spotter answers `spot(frames, fps, landmarks)` with intervals of frames, both ends inclusive. An interval is a hit
when its intersection over union (IoU) with a true one is at least .5; each interval of either side is matched at most
once, so that the number of hits is the largest possible (MEGC does not say how ties are broken; where several
matchings have as many hits, the one with the largest sum of IoUs counts). Counts are pooled over all videos before F1
is taken. `STRS = F1 of spotting x F1 of recognition`: recognition is scored on hits alone, and its F1 is the harmonic
mean of macro precision and macro recall (Liong et al., MEAN, Sec. 4; MEGC 2022 on).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from deft.evaluation.metrics import confusion
from deft.faces import align, detect
from deft.faces import landmarks as points

LEAST = 0.5  # IoU of a hit
Interval = tuple[int, int]


class Spotter(Protocol):
    """A system that finds micro-expressions in a long video."""

    def spot(self, frames: np.ndarray, fps: float, landmarks: np.ndarray | None = None) -> list[Interval]:
        """frames: (T, H, W, 3) uint8 RGB. fps: 1/s. landmarks: (68, 2) px of frame 0, found when None. -> (first,
        last) frames, in order of time.
        """


# ---------------------------------------------------------------- scores
def iou(a: Interval, b: Interval) -> float:
    """Frames in both intervals over frames in either; both ends inclusive. ValueError for an interval that ends
    before it begins.
    """
    for first, last in (a, b):
        if last < first:
            raise ValueError(f"interval ({first}, {last}) ends before it begins; give (first, last) frame")
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]) + 1)
    return both / (a[1] - a[0] + b[1] - b[0] + 2 - both)


def match(truth: Sequence[Interval], spotted: Sequence[Interval], least: float = LEAST) -> list[tuple[int, int]]:
    """One-to-one hits of one video: pairs (position in truth, position in spotted), in order of truth."""
    if not len(truth) or not len(spotted):
        return []
    share = np.array([[iou(t[:2], s[:2]) for s in spotted] for t in truth])
    worth = np.where(share >= least, 1 + share / (share.size + 1), 0)  # one more hit outweighs every sum of IoUs
    return [(int(t), int(s)) for t, s in zip(*linear_sum_assignment(worth, maximize=True)) if share[t, s] >= least]


def f1(precision: float, recall: float) -> float:
    """Harmonic mean; 0 when both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def spotting_scores(
    truth: Sequence[Sequence[Interval]], spotted: Sequence[Sequence[Interval]], least: float = LEAST
) -> dict[str, float]:
    """Per video the true and the spotted intervals -> {tp, fp, fn, precision, recall, f1}, counts pooled over videos.
    ValueError for unequal numbers.
    """
    if len(truth) != len(spotted):
        raise ValueError(
            f"{len(truth)} videos of truth, {len(spotted)} of answers; give one list per video, be it empty"
        )
    hits = sum(len(match(t, s, least)) for t, s in zip(truth, spotted))
    said, there = sum(map(len, spotted)), sum(map(len, truth))
    precision, recall = hits / said if said else 0.0, hits / there if there else 0.0
    return {
        "tp": hits,
        "fp": said - hits,
        "fn": there - hits,
        "precision": precision,
        "recall": recall,
        "f1": f1(precision, recall),
    }


def strs(
    truth: Sequence[Sequence[tuple[int, int, str]]],
    spotted: Sequence[Sequence[tuple[int, int, str]]],
    classes: Sequence[str],
    least: float = LEAST,
) -> dict[str, float]:
    """Spot-then-recognise score. truth, spotted: per video (first, last, class) -> `spotting_scores` with f1_spot for
    f1, and f1_recognise, strs.

    Of the hits, precision and recall are averaged over `classes`, the protocol's list; a class that is neither shown
    nor said among the hits counts 0. An answer outside the list is a miss; a true class outside it is an error
    (`metrics.confusion`). No hit: 0.
    """
    out = spotting_scores(truth, spotted, least)
    pairs = [(t[a][2], s[b][2]) for t, s in zip(truth, spotted) for a, b in match(t, s, least)]
    out["f1_spot"], out["f1_recognise"] = out.pop("f1"), 0.0
    if pairs:
        counts = confusion(*zip(*pairs), classes).astype(float)
        right, shown, said = np.diagonal(counts), counts.sum(1), counts[:, :-1].sum(0)
        out["f1_recognise"] = f1(
            float((right / np.maximum(said, 1)).mean()), float((right / np.maximum(shown, 1)).mean())
        )
    return {**out, "strs": out["f1_spot"] * out["f1_recognise"]}


# ---------------------------------------------------------------- spotting
def aligned(frames: np.ndarray, landmarks: np.ndarray | None) -> align.Aligned:
    """Every frame of a video moved by the one similarity of its first; landmarks (68, 2) px of frame 0, placed by the
    face when None (FaceError).
    """
    known = points.from_face(frames[0], detect.find_face(frames[0]), None) if landmarks is None else landmarks
    return align.align_clip(frames, known)
