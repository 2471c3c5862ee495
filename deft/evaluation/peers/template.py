"""Template: the motion expert's unit probabilities read out by rule, without any language model.

What the texts of a language model must be compared with (claim C6): units whose calibrated probability reaches a
threshold, then the motions that those units explain and the flow shows, filled into the grammar of Uni-MER; the class
is that of prototype Bayes on the same probabilities.  The threshold is the one number that is chosen, for the best unit
F1 on the corpus' validation people, who are nobody of the benchmark: a template that said less than it could would be
an easy opponent in recall.  Its motions are read off the same flow that later judges them, so only its units are a
rival."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deft.clips.facs import COARSE
from deft.evaluation import metrics
from deft.unimer import build
from deft.unimer.check import UNIT_THRESHOLD
from deft.unimer.facts import Facts, merge_sides
from deft.unimer.kinds import KINDS

THRESHOLDS = tuple(n / 20 for n in range(4, 15))  # .20 .25 ... .70


def threshold(probability: np.ndarray, truth: np.ndarray) -> float:
    """The member of THRESHOLDS with the best macro F1 of units (on either side, units that occur 10 times), as T7
    scores texts; of equals the nearest to one half, the natural cut of a calibrated probability. probability, truth:
    (N, 17, 2)."""
    counts = [metrics.unit_counts(truth.any(axis=2), (probability >= t).any(axis=2)) for t in THRESHOLDS]
    often = counts[0][:, 0] + counts[0][:, 2] >= 10
    if not often.any():
        return UNIT_THRESHOLD
    found = {t: metrics.f1_of_counts(c)[often].mean() for t, c in zip(THRESHOLDS, counts)}
    return max(found, key=lambda t: (found[t], -abs(t - UNIT_THRESHOLD)))


def texts(
    emotions: Sequence[str],
    probability: np.ndarray,
    courses: np.ndarray,
    noise: np.ndarray,
    cut: float = UNIT_THRESHOLD,
) -> list[str]:
    """Emotions (N,), unit probabilities (N, 17, 2), region courses (N, T-1, 36, 5) px, noise (N,) px -> N reasonings.

    cut: least probability of a unit that is named.
    """
    clips = build.measured(probability, courses, noise)
    if len(emotions) != len(clips):
        raise ValueError(f"{len(emotions)} emotions for {len(clips)} clips")
    out = []
    for emotion, clip in zip(emotions, clips):
        units = merge_sides(clip.probability >= cut)
        motions = build.told_motions(units, clip, dual=True)
        out.append(KINDS["reasoning"].answer(Facts(emotion, COARSE[emotion], units, motions)))
    return out
