"""Calibration: from unit logits to probabilities that match observed frequencies. One slope and offset per unit, sides
pooled.

Platt (1999) scaling with a weak prior towards slope 1, offset 0, so that a rare unit is not bent by three examples;
fitted on validation subjects of the corpus, never on the benchmark. Calibration error: Guo et al. (2017), equal-width
bins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deft import runtime
from deft.clips.facs import UNITS


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Logits of any shape -> probabilities float64; stable for large |x|."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64)))


def platt(logits: np.ndarray, labels: np.ndarray, prior: float = 1.0, steps: int = 50) -> tuple[float, float]:
    """Slope and offset (a, b) of sigmoid(a * logit + b), by Newton's method on the penalised likelihood.

    logits, labels: (M,). prior: weight of ((a-1)^2 + b^2) / 2, in units of one observation.
    """
    x, y = np.asarray(logits, np.float64).ravel(), np.asarray(labels, np.float64).ravel()
    design = np.stack([x, np.ones_like(x)], axis=1)
    centre = np.array([1.0, 0.0])

    def cost(w):
        z = design @ w
        return np.logaddexp(0, z).sum() - y @ z + 0.5 * prior * ((w - centre) ** 2).sum()

    w = centre.copy()
    for _ in range(steps):
        p = sigmoid(design @ w)
        gradient = design.T @ (p - y) + prior * (w - centre)
        hessian = (design * (p * (1 - p))[:, None]).T @ design + prior * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while cost(w - step) > cost(w) + 1e-12 and np.abs(step).max() > 1e-9:
            step = step / 2  # Newton may overshoot where the sigmoid is flat
        w = w - step
        if np.abs(step).max() < 1e-8:
            break
    return float(max(w[0], 0.0)), float(w[1])  # a negative slope would make a larger logit less probable


def expected_calibration_error(probability: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Mean |frequency - probability| over equal-width bins, weighted by their counts; any shapes, pooled."""
    p, y = np.asarray(probability, np.float64).ravel(), np.asarray(label, np.float64).ravel()
    place = np.minimum((p * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=p - y, minlength=bins)
    return float(np.abs(gaps).sum() / max(len(p), 1))


def reliability(probability: np.ndarray, label: np.ndarray, bins: int = 10) -> np.ndarray:
    """(bins, 3): mean probability, observed frequency, count; rows of empty bins are NaN, NaN, 0."""
    p, y = np.asarray(probability, np.float64).ravel(), np.asarray(label, np.float64).ravel()
    place = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return np.stack([np.bincount(place, p, bins) / count, np.bincount(place, y, bins) / count, count], axis=1)


@dataclass(frozen=True)
class Calibration:
    """slope, offset: (17,) in the order of facs.UNITS; report: ECE before, after, and after when fitted on other
    subjects.
    """

    slope: tuple[float, ...]
    offset: tuple[float, ...]
    report: dict

    @classmethod
    def fit(cls, logits: np.ndarray, active: np.ndarray, subject: np.ndarray) -> Calibration:
        """logits (M, 17, 2), active (M, 17, 2) bool, subject (M,): the validation clips."""

        def parameters(rows):
            return np.array([platt(logits[rows, unit], active[rows, unit]) for unit in range(len(UNITS))])  # (17, 2)

        def probability(rows, w):
            return sigmoid(logits[rows] * w[None, :, None, 0] + w[None, :, None, 1])

        whole = parameters(np.arange(len(logits)))
        half = np.isin(subject, np.unique(subject)[::2])
        held = np.empty(logits.shape, np.float64)
        for inside in (
            half,
            ~half,
        ):  # cross-validated error: each half of the subjects calibrated by the fit on the other half
            held[inside] = probability(
                np.flatnonzero(inside), parameters(np.flatnonzero(~inside)) if (~inside).any() else whole
            )
        report = {
            "ece_raw": expected_calibration_error(sigmoid(logits), active),
            "ece_fitted": expected_calibration_error(probability(np.arange(len(logits)), whole), active),
            "ece_held_out": expected_calibration_error(held, active),
            "clips": len(logits),
        }
        return cls(tuple(whole[:, 0]), tuple(whole[:, 1]), report)

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """(N, 17, 2) logits -> (N, 17, 2) float32 probabilities."""
        return sigmoid(logits * np.array(self.slope)[:, None] + np.array(self.offset)[:, None]).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        runtime.write_json(path, {"units": UNITS, "slope": self.slope, "offset": self.offset, "report": self.report})

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote; ValueError for other units."""
        found = runtime.read_json(path)
        if tuple(found["units"]) != UNITS:
            raise ValueError(
                f"{path} is a calibration of units {found['units']}, not of {list(UNITS)}; pretrain the experts again"
            )
        return cls(tuple(found["slope"]), tuple(found["offset"]), found["report"])
