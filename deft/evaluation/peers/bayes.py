"""Prototype Bayes: emotions from the motion expert's unit probabilities and the literature's prototypes, by Bayes'
rule.

P(emotion | clip) is proportional to  sum_k w_k  prod_u [ q_ku L_u + (1 - q_ku) ]  over the prototypes k of the emotion,
where L_u is the likelihood ratio "unit u is there" that the calibrated probability implies once its base rate is
divided out, and q_ku the chance that the unit shows when prototype k does.  Labels set five numbers only: a
temperature, because units that go together are counted as independent evidence, and the shares of the classes, both
fitted on the training people whom the language model learns from (`fit`). Compared with it, a score shows what the
language model adds to its experts and to a textbook."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

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


def fit(probability: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """probability (N, 5) of `probabilities`, truth (N,) positions in EMOTIONS -> (temperature > 0, log shares (5,) that
    sum to 0) with the least mean log loss; what `adjusted` applies.

    The shares are held to 0 as by one clip of each class, so that a class without a training clip keeps a chance.
    ValueError without clips."""
    if not len(truth):
        raise ValueError("no training clip to fit temperature and class shares on")
    logit, classes = np.log(np.clip(probability, 1e-12, 1)), len(EMOTIONS)

    def loss(x: np.ndarray) -> float:
        shares = x[1:] - x[1:].mean()
        z = logit * np.exp(-x[0]) + shares
        return float(
            (np.logaddexp.reduce(z, axis=1) - z[np.arange(len(z)), truth]).sum()
            + np.logaddexp.reduce(shares) * classes
            - shares.sum()
        ) / len(z)

    found = minimize(
        loss, np.zeros(1 + classes), method="L-BFGS-B", bounds=[(np.log(0.05), np.log(20))] + [(-5, 5)] * classes
    )
    return float(np.exp(found.x[0])), found.x[1:] - found.x[1:].mean()


def adjusted(probability: np.ndarray, temperature: float, shares: np.ndarray) -> np.ndarray:
    """probability (N, 5) at `temperature` and with log `shares` (5,) -> (N, 5)."""
    z = np.log(np.clip(probability, 1e-12, 1)) / temperature + shares
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
