"""Prototype Bayes: emotions from the motion expert's unit probabilities and the literature's prototypes, by Bayes'
rule; nothing is trained.

P(emotion | clip) is proportional to  sum_k w_k  prod_u [ q_ku L_u + (1 - q_ku) ]  over the prototypes k of the emotion,
where L_u is the likelihood ratio "unit u is there" that the calibrated probability implies once its base rate is
divided out, and q_ku the chance that the unit shows when prototype k does.  No emotion label and no clip of the
benchmark sets a number here. Compared with it, a score shows what the language model adds to its experts and to a
textbook."""

from __future__ import annotations

import numpy as np

from deft.clips.facs import EMOTIONS, PROTOTYPES, UNIT_INDEX, UNITS

# The sources give sets, not rates.  We say that a named unit shows nine times in ten and any other one in twenty.
SHOWS, STRAYS = 0.90, 0.05
FLOOR = 1e-3  # a calibrated probability is never taken for certainty


def clip_units(probability: np.ndarray) -> np.ndarray:
    """(N, 17, 2) per side -> (N, 17) that the unit shows on either side.

    The sides are far from independent (most units are two-sided), so the larger one is taken rather than a noisy-or.
    """
    return np.asarray(probability, np.float64).max(axis=-1)


def probabilities(unit: np.ndarray, base_rate: np.ndarray) -> np.ndarray:
    """unit (N, 17) calibrated probabilities, base_rate (17,) the rate they were calibrated at -> (N, 5) per emotion."""
    unit, base_rate = np.asarray(unit, np.float64), np.asarray(base_rate, np.float64)
    if unit.ndim != 2 or unit.shape[1] != len(UNITS) or base_rate.shape != (len(UNITS),):
        raise ValueError(f"unit {unit.shape} and base rate {base_rate.shape} do not fit (clips, {len(UNITS)})")
    p, b = np.clip(unit, FLOOR, 1 - FLOOR), np.clip(base_rate, FLOOR, 1 - FLOOR)
    ratio = p / (1 - p) * (1 - b) / b  # (N, 17)
    score = []
    for emotion in EMOTIONS:
        terms = []
        for weight, units in PROTOTYPES[emotion]:
            q = np.full(len(UNITS), STRAYS)
            q[[UNIT_INDEX[u] for u in units]] = SHOWS
            terms.append(np.log(weight) + np.log(q * ratio + (1 - q)).sum(axis=1))
        score.append(np.logaddexp.reduce(terms, axis=0))
    z = np.stack(score, axis=1)  # a uniform prior over emotions: their shares differ between sets
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
