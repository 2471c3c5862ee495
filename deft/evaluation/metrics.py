"""Scores of recognition and of units, with intervals over subjects (protocols.md, "Metrics").

Counts are pooled over all folds first and the class mean is taken last (MEGC 2019); the class list belongs to the
protocol.  Every interval resamples subjects, because clips of one face are not independent draws.  All of it works on
confusion counts per subject, (S, C, C + 1): a resample is then one matrix product, not a loop over clips.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deft import runtime

SCORES = ("uf1", "uar", "accuracy")


# ---------------------------------------------------------------- recognition
def recognition_scores(truth: Sequence, predicted: Sequence, classes: Sequence) -> dict[str, float]:
    """UF1, UAR and accuracy of pooled answers.

    UF1 = mean_c 2 TP_c / (2 TP_c + FP_c + FN_c); UAR = mean_c TP_c / N_c.  An answer outside `classes` (None and ""
    included) is a miss of its true class and no class of its own.  A class of the list that never occurs counts as 0
    in both means: it must not vanish.
    """
    return scores_of_counts(confusion(truth, predicted, classes))


def confusion(truth: Sequence, predicted: Sequence, classes: Sequence) -> np.ndarray:
    """(C, C + 1) int64: rows truth, columns answer; the last column holds answers outside the vocabulary."""
    t, p = _codes(truth, predicted, classes)
    width = len(list(classes)) + 1
    return np.bincount(t * width + p, minlength=(width - 1) * width).reshape(width - 1, width)


def scores_of_counts(counts: np.ndarray) -> dict[str, float]:
    """Confusion counts (C, C + 1) -> {'uf1', 'uar', 'accuracy'}."""
    return {name: float(value) for name, value in zip(SCORES, score_array(counts))}


def score_array(counts: np.ndarray) -> np.ndarray:
    """Confusion counts (..., C, C + 1) -> (..., 3) UF1, UAR, accuracy; 0 where nothing was counted."""
    counts = np.asarray(counts, np.float64)
    hit = np.diagonal(counts, axis1=-2, axis2=-1)  # the out-of-vocabulary column is never on the diagonal
    true_n = counts.sum(axis=-1)
    said_n = counts[..., :-1].sum(axis=-2)
    f1 = _ratio(2 * hit, true_n + said_n)  # 2 TP + FP + FN = N true + N said
    recall = _ratio(hit, true_n)
    accuracy = _ratio(hit.sum(axis=-1), true_n.sum(axis=-1))
    return np.stack([f1.mean(axis=-1), recall.mean(axis=-1), accuracy], axis=-1)


def fold_averaged_scores(truth: Sequence, predicted: Sequence, fold: Sequence, classes: Sequence,
                         vanish: bool = False) -> dict[str, float]:
    """The wrong way, for demonstration only: score each fold, then average the scores.

    vanish False: the class list stays the protocol's, so a fold without a class scores 0 for it.  vanish True: each
    fold is scored on the classes that happen to occur in it (what scikit-learn does without `labels`), so a class
    nobody met in a fold vanishes from its mean.  Both differ from the pooled score; no table uses either.
    """
    t, p = _codes(truth, predicted, classes)
    fold = np.asarray(fold)
    if len(fold) != len(t):
        raise ValueError(f"{len(fold)} fold numbers for {len(t)} answers")
    rows = []
    for one in np.unique(fold):
        here = fold == one
        counts = _bincount(t[here], p[here], len(list(classes)))
        if vanish:
            seen = (counts.sum(axis=1) > 0) | (counts[:, :-1].sum(axis=0) > 0)
            outside = counts[seen][:, np.append(~seen, True)].sum(axis=1, keepdims=True)
            counts = np.hstack([counts[seen][:, np.append(seen, False)], outside])
        rows.append(score_array(counts))
    return dict(zip(SCORES, (float(v) for v in np.mean(rows, axis=0))))


# ---------------------------------------------------------------- units
def unit_counts(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Boolean (N, U) arrays -> (U, 3) int64: TP, FP, FN of each unit, pooled."""
    truth, predicted = np.asarray(truth, bool), np.asarray(predicted, bool)
    if truth.shape != predicted.shape or truth.ndim != 2:
        raise ValueError(f"truth is {truth.shape}, predicted is {predicted.shape}; both must be (clips, units)")
    if not len(truth):
        raise ValueError("no clips to score")
    return np.stack([(truth & predicted).sum(0), (~truth & predicted).sum(0), (truth & ~predicted).sum(0)], axis=1)


def f1_of_counts(counts: np.ndarray) -> np.ndarray:
    """(..., 3) TP, FP, FN -> (...) F1, 0 where nothing was counted."""
    counts = np.asarray(counts, np.float64)
    return _ratio(2 * counts[..., 0], 2 * counts[..., 0] + counts[..., 1] + counts[..., 2])


# ---------------------------------------------------------------- intervals
@dataclass(frozen=True)
class Interval:
    """A statistic of all clips and its 95 % percentile interval over subjects."""

    value: float
    low: float
    high: float

    def columns(self, name: str) -> dict[str, float]:
        """As three cells of a table: name, name_low, name_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def text(self, digits: int = 3) -> str:
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


def resamples(subjects: int, B: int = 1000, seed: int = 7) -> np.ndarray:
    """(B, S) float64: how often each subject occurs in each of B draws with replacement.

    It depends on (subjects, B, seed) only, so two systems scored on the same subjects share their resamples.
    """
    if subjects < 2:
        raise ValueError(f"an interval over subjects needs at least 2 subjects, found {subjects}")
    generator = runtime.rng(seed, "subject-bootstrap", subjects)
    return generator.multinomial(subjects, np.full(subjects, 1.0 / subjects), size=B).astype(np.float64)


def subject_of(rows) -> np.ndarray:
    """DataFrame with dataset and subject -> (N,) text keys; the key of a subject is the pair."""
    return rows["dataset"].astype(str).to_numpy() + "/" + rows["subject"].astype(str).to_numpy()


def counts_per_subject(values: np.ndarray, subject: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Sum values (N, ...) over the clips of each subject -> (S names sorted, (S, ...) sums)."""
    values, subject = np.asarray(values), np.asarray(subject)
    if len(values) != len(subject):
        raise ValueError(f"{len(values)} values for {len(subject)} subject keys")
    if not len(values):
        raise ValueError("no rows to score")
    names, where = np.unique(subject, return_inverse=True)
    total = np.zeros((len(names), *values.shape[1:]), np.float64)
    np.add.at(total, where, values)
    return names, total


def confusion_per_subject(truth: Sequence, predicted: Sequence, subject: Sequence,
                          classes: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """-> (S names sorted, (S, C, C + 1) counts)."""
    t, p = _codes(truth, predicted, classes)
    subject = np.asarray(subject)
    if len(subject) != len(t):
        raise ValueError(f"{len(subject)} subject keys for {len(t)} answers")
    names, where = np.unique(subject, return_inverse=True)
    c = len(list(classes))
    flat = np.bincount(where * c * (c + 1) + t * (c + 1) + p, minlength=len(names) * c * (c + 1))
    return names, flat.reshape(len(names), c, c + 1)


def subject_bootstrap(counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], B: int = 1000,
                      seed: int = 7) -> Interval:
    """95 % interval of a statistic of pooled counts, resampling subjects.

    counts: (S, ...) sums per subject (`confusion_per_subject`, `counts_per_subject`).
    statistic: pooled counts (..., *counts.shape[1:]) -> (...); it must broadcast over a leading axis.
    One subject alone says nothing about other subjects: its bounds are NaN.
    """
    counts = np.asarray(counts, np.float64)
    if len(counts) == 1:
        return Interval(float(statistic(counts[0])), float("nan"), float("nan"))
    draws = statistic(_pool(counts, resamples(len(counts), B, seed)))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Interval(float(statistic(counts.sum(axis=0))), float(low), float(high))


def paired_bootstrap(a: np.ndarray, b: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], B: int = 1000,
                     seed: int = 7) -> Interval:
    """Interval of statistic(A) - statistic(B): both systems are scored on the same resampled subjects.

    a, b: (S, ...) counts of the same subjects in the same order (`aligned` makes them so).  The systems may differ in
    the number of clips, not in the subjects.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(a) != len(b):
        raise ValueError(f"a paired interval needs the same subjects: {len(a)} against {len(b)}")
    weight = resamples(len(a), B, seed)
    draws = statistic(_pool(a, weight)) - statistic(_pool(b, weight))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Interval(float(statistic(a.sum(axis=0)) - statistic(b.sum(axis=0))), float(low), float(high))


def aligned(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Two (names, counts) pairs -> their counts, refusing to compare different subjects."""
    if not np.array_equal(a[0], b[0]):
        odd = sorted(set(a[0]) ^ set(b[0]))[:3]
        raise ValueError(f"the two systems answered for different subjects, e.g. {odd}; score them on the same clips")
    return a[1], b[1]


def uf1(counts: np.ndarray) -> np.ndarray:
    """Statistic for the bootstraps: (..., C, C + 1) -> (...) UF1."""
    return score_array(counts)[..., 0]


def uar(counts: np.ndarray) -> np.ndarray:
    """Statistic for the bootstraps: (..., C, C + 1) -> (...) UAR."""
    return score_array(counts)[..., 1]


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Statistic for the bootstraps: (..., C, C + 1) -> (...) accuracy."""
    return score_array(counts)[..., 2]


def share(counts: np.ndarray) -> np.ndarray:
    """Statistic for the bootstraps: (..., 2) [part, whole] -> (...) part / whole, NaN without a whole."""
    counts = np.asarray(counts, np.float64)
    return np.divide(counts[..., 0], counts[..., 1], out=np.full(counts.shape[:-1], np.nan),
                     where=counts[..., 1] > 0)


# ---------------------------------------------------------------- inside
def _codes(truth: Sequence, predicted: Sequence, classes: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """Truth (N,) and answers (N,) as positions in the class list; C stands for 'outside the vocabulary'."""
    truth, predicted, classes = list(truth), list(predicted), list(classes)
    if not classes:
        raise ValueError("the class list is empty; a protocol fixes it before any answer is read")
    if len(set(classes)) != len(classes):
        raise ValueError(f"the class list names a class twice: {classes}")
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} truths but {len(predicted)} predictions; score the same clips in one order")
    if not truth:
        raise ValueError("no clips to score: truth and predictions are empty")
    place = {name: i for i, name in enumerate(classes)}
    for row, name in enumerate(truth):
        if name not in place:
            raise ValueError(f"row {row}: truth {name!r} is not in the class list {classes}; map or drop it first")
    t = np.fromiter((place[name] for name in truth), np.int64, len(truth))
    p = np.fromiter((place.get(name, len(classes)) for name in predicted), np.int64, len(predicted))
    return t, p


def _bincount(t: np.ndarray, p: np.ndarray, classes: int) -> np.ndarray:
    width = classes + 1
    return np.bincount(t * width + p, minlength=classes * width).reshape(classes, width)


def _pool(counts: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(S, ...) counts and (B, S) weights -> (B, ...) pooled counts."""
    return np.tensordot(weight, counts, axes=(1, 0))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.zeros(np.broadcast_shapes(np.shape(top), np.shape(bottom))),
                     where=np.asarray(bottom) > 0)
