"""Scores of recognition and of units, with intervals over subjects.

Counts are pooled over all folds first and the class mean is taken last (MEGC 2019); the class list belongs to the
protocol (docs/method.md#metrics).  Every interval resamples subjects, because clips of one face are not independent,
within looks, because the benchmark deals looks in fixed shares, and the draws of training together with them, because
another draw of everything random moves a score as much as other subjects do.  All of it works on sums per subject and
draw (`Sample`): a replicate is then one matrix product, not a loop over clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from deft import runtime

if TYPE_CHECKING:
    import pandas as pd

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
    return confusions(truth, predicted, classes).sum(axis=0).astype(np.int64)


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


def fold_averaged_scores(
    truth: Sequence, predicted: Sequence, fold: Sequence, classes: Sequence, vanish: bool = False
) -> dict[str, float]:
    """The wrong way, for demonstration only: score each fold, then average the scores.

    vanish False: the class list stays the protocol's, so a fold without a class scores 0 for it.  vanish True: each
    fold is scored on the classes that happen to occur in it (what scikit-learn does without `labels`), so a class
    nobody met in a fold vanishes from its mean.  Both differ from the pooled score; no table uses either.
    """
    each, fold, rows = confusions(truth, predicted, classes), np.asarray(fold), []
    if len(fold) != len(each):
        raise ValueError(f"{len(fold)} fold numbers for {len(each)} answers")
    for one in np.unique(fold):
        counts = each[fold == one].sum(axis=0)
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
    """A statistic of all clips and its 95 % percentile interval. draws: how many draws of training it rests on.

    With few draws "95 %" is more than the interval holds when draws carry much of the variance: see `coverage`.
    """

    value: float
    low: float
    high: float
    draws: int = 1

    def columns(self, name: str) -> dict[str, float]:
        """As three cells of a table: name, name_low, name_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def text(self, digits: int = 3) -> str:
        """As "value [low, high]"."""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


@dataclass(frozen=True)
class Sample:
    """What one system did, as sums that a bootstrap can resample.

    subjects: (S,) names, sorted. strata: (S,) the subject's look, or one label for all where looks are unknown.
    draws: the K numbers of its draws of training, or None when it is constant over draws (K = 1).
    counts: (S, K, ...) sums over the clips of a subject in a draw.
    """

    subjects: np.ndarray
    strata: np.ndarray
    draws: tuple[int, ...] | None
    counts: np.ndarray

    def at(self, draws: tuple[int, ...] | None) -> np.ndarray:
        """Counts (S, K', ...) of the draws asked for; K' = 1 when the sample is constant over draws."""
        if self.draws is None or draws is None:
            return self.counts
        return self.counts[:, [self.draws.index(draw) for draw in draws]]


def subject_of(rows: pd.DataFrame) -> np.ndarray:
    """DataFrame with dataset and subject -> (N,) text keys; the key of a subject is the pair."""
    return rows["dataset"].astype(str).to_numpy() + "/" + rows["subject"].astype(str).to_numpy()


def strata_of(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """DataFrame with dataset, subject and, where looks are known, look -> (S names sorted, (S,) look of each subject).

    A look is given to a subject, not to a clip (`deft.clips.benchmark`): clips with the tie kept and with the tie
    broken show the same look. So a subject is resampled as a whole: its kept, broken and paired scores enter or leave a
    replicate together."""
    names, first, where = np.unique(subject_of(rows), return_index=True, return_inverse=True)
    if "look" not in rows:
        return names, np.full(len(names), "")
    look = rows["look"].to_numpy().astype(str)
    if (odd := np.flatnonzero(look[first][where] != look)).size:
        raise ValueError(
            f"subject {names[where[odd[0]]]} wears looks {look[first][where[odd[0]]]} and {look[odd[0]]}; "
            "a look belongs to a subject, so run 01_clips and 08_answers again"
        )
    return names, look[first]


def sample(rows: pd.DataFrame, values: np.ndarray, constant: bool = False) -> Sample:
    """Rows of one system (dataset, subject, look and seed = number of the draw) and values (N, ...) -> Sample.

    constant: the system has no random part, so its only draw stands for every draw. Rows without `seed` are constant.
    """
    values = np.asarray(values)
    if len(values) != len(rows):
        raise ValueError(f"{len(values)} values for {len(rows)} rows")
    if not len(values):
        raise ValueError("no rows to score")
    names, strata = strata_of(rows)
    seed = rows["seed"].to_numpy() if "seed" in rows else np.zeros(len(rows), int)
    draws, which = np.unique(seed, return_inverse=True)
    where = np.searchsorted(names, subject_of(rows))
    seen = np.zeros((len(names), len(draws)), bool)
    seen[where, which] = True
    if not seen.all():
        s, k = np.argwhere(~seen)[0]
        raise ValueError(
            f"subject {names[s]} has no answer in draw {draws[k]} but has one in another: the draws of one "
            "system must answer for the same subjects, so run 08_answers again"
        )
    total = np.zeros((len(names), len(draws), *values.shape[1:]))
    np.add.at(total, (where, which), values)
    fixed = (constant or "seed" not in rows) and len(draws) == 1
    return Sample(names, strata, None if fixed else tuple(int(draw) for draw in draws), total)


def shared_draws(*samples: Sample) -> tuple[int, ...] | None:
    """Draws that all have; None when all are constant; () when they share none, so that nothing can be compared."""
    known = [set(one.draws) for one in samples if one.draws is not None]
    return tuple(sorted(set.intersection(*known))) if known else None


@lru_cache(maxsize=64)
def _subject_weights(strata: tuple[str, ...], B: int, seed: int) -> np.ndarray:
    labels, members = np.array(strata), {}
    for place, label in enumerate(strata):
        members.setdefault(label, []).append(place)
    alone = [label for label in members if len(members[label]) == 1]
    if alone and len(members) > 1:  # one subject says nothing about others of its look: such looks form one stratum
        pooled = sum((members.pop(label) for label in alone), [])
        if len(pooled) == 1:
            pooled += members.pop(min(members, key=lambda label: (len(members[label]), label)))
        members["pooled"] = sorted(pooled)
    weight = np.zeros((B, len(labels)))
    generator = runtime.rng(seed, "subject-bootstrap", len(labels))
    for label in sorted(members):
        n = len(members[label])
        weight[:, members[label]] = generator.multinomial(n - 1, np.full(n, 1 / n), size=B) * (n / (n - 1))
    weight.setflags(write=False)
    return weight


def subject_weights(strata: Sequence[str], B: int = 1000, seed: int = 7) -> np.ndarray:
    """(S,) strata -> (B, S) weights: every replicate draws subjects with replacement within each stratum.

    Of a stratum of n subjects n - 1 are drawn and count n / (n - 1) times (Rao and Wu 1988, rescaling bootstrap): the
    spread of a sum over replicates is then the textbook's n s^2, also in a stratum of three. A stratum's total weight
    is always n, so a statistic that hangs on the mix of looks keeps its mean. A stratum of one subject joins another.
    The weights depend on the strata, B and seed alone: systems scored on the same subjects share their replicates."""
    if len(strata) < 2:
        raise ValueError(f"an interval over subjects needs at least 2 subjects, found {len(strata)}")
    return _subject_weights(tuple(str(label) for label in strata), B, seed)


def draw_weights(draws: int, B: int = 1000, seed: int = 7) -> np.ndarray:
    """(B, K) weights that sum to 1: every replicate draws K - 1 of the K draws with replacement, so that the spread of
    the mean is s^2 / K, as for a mean of K (Rao and Wu 1988). One draw says nothing about others: its weight is 1."""
    if draws == 1:
        return np.ones((B, 1))
    return runtime.rng(seed, "draw-bootstrap", draws).multinomial(draws - 1, np.full(draws, 1 / draws), size=B) / (
        draws - 1
    )


def combined(terms: Sequence[tuple[Sample, Callable]], combine: Callable, B: int = 1000, seed: int = 7) -> Interval:
    """combine(statistic of each term), with the 95 % interval over subjects and draws; all terms share every replicate.

    terms: (sample, statistic), statistic: pooled counts (..., *shape of one subject and draw) -> (...). A term is its
    statistic averaged over draws (a draw whose statistic is NaN is left out); `combine` takes one array per term.
    Samples must have the same subjects. They are compared on the draws that all have; a sample that is constant over
    draws goes with every draw. No shared draw is an error: ask `shared_draws` first. One subject alone: bounds are NaN.
    """
    draws = _compared_draws([one for one, _ in terms])
    whole = [one.at(draws).sum(axis=0) for one, _ in terms]  # (K', ...)
    value = float(
        combine(*(known_mean(statistic(counts), np.ones(len(counts))) for counts, (_, statistic) in zip(whole, terms)))
    )
    if len(terms[0][0].subjects) == 1:
        return Interval(value, float("nan"), float("nan"), len(draws or (0,)))
    found = replicates(terms, combine, B, seed)
    known = found[~np.isnan(found)]
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (float("nan"), float("nan"))
    return Interval(value, float(low), float(high), len(draws or (0,)))


def replicates(
    terms: Sequence[tuple[Sample, Callable]], combine: Callable = lambda a: a, B: int = 1000, seed: int = 7
) -> np.ndarray:
    """(B,) values of `combined` on resampled subjects and draws."""
    draws = _compared_draws([one for one, _ in terms])
    people, times = subject_weights(terms[0][0].strata, B, seed), draw_weights(len(draws or (0,)), B, seed)
    found = []
    for one, statistic in terms:
        counts = one.at(draws)
        found.append(
            known_mean(
                statistic(np.tensordot(people, counts, axes=(1, 0))),
                times if counts.shape[1] == times.shape[1] else np.ones((B, 1)),
            )
        )
    return combine(*found)


def interval(one: Sample, statistic: Callable, B: int = 1000, seed: int = 7) -> Interval:
    """Statistic of one system, mean over its draws, with its interval over subjects and draws."""
    return combined([(one, statistic)], lambda a: a, B, seed)


def difference(a: Sample, b: Sample, statistic: Callable, B: int = 1000, seed: int = 7) -> Interval:
    """Statistic of A less that of B, paired: every replicate scores both on the same subjects and the same draws."""
    return combined([(a, statistic), (b, statistic)], np.subtract, B, seed)


def p_value(a: Sample, b: Sample, statistic: Callable, B: int = 1000, seed: int = 7) -> float:
    """Two-sided p that A and B have the same statistic: `difference` over the standard deviation of its replicates,
    against a t distribution of subjects - 1 degrees. (Counting replicates beyond 0 could give nothing below 2 / B,
    which thirty comparisons would multiply.) NaN for one subject, and where all replicates differ
    by the same, of which no t tells; 1 where none differs.
    """
    from scipy import stats

    if len(a.subjects) == 1:
        return float("nan")
    found = replicates([(a, statistic), (b, statistic)], np.subtract, B, seed)
    value, spread = difference(a, b, statistic, B, seed).value, float(np.nanstd(found, ddof=1))
    if not spread > 0:
        return 1.0 if value == 0 else float("nan")
    return float(2 * stats.t.sf(abs(value) / spread, len(a.subjects) - 1))


def holm(p: Sequence[float]) -> np.ndarray:
    """p values (n,) of n comparisons -> adjusted by Holm (1979), so that the chance of one false finding among all
    stays what it says; NaN stays NaN and does not count.
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(np.where(np.isnan(p), np.inf, p), kind="stable")
    steps = int((~np.isnan(p)).sum()) - np.arange(len(p))
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.maximum(steps, 1)), 1.0)
    return np.where(np.isnan(p), np.nan, out)


def coverage(draws: int, share: float, subjects: int = 36, trials: int = 4000, B: int = 1000, seed: int = 7) -> float:
    """How often the 95 % interval of a mean over `subjects` and `draws` encloses the truth: share of simulated studies.

    share: part of the mean's variance, 0 to 1, that comes from draws; the rest comes from subjects. Effects of both are
    normal and add up. The interval is that of `combined`: the weights are the same, subjects form one stratum.
    """
    people, times = subject_weights(("",) * subjects, B, seed), draw_weights(draws, B, seed)  # (B, S), (B, K)
    generator, inside = runtime.rng(seed, "coverage", draws), 0
    for _ in range(0, trials, 500):  # 500 studies at once: (B, 500) replicates
        person = generator.normal(0, np.sqrt((1 - share) * subjects), (subjects, 500))
        draw = generator.normal(0, np.sqrt(share * draws), (draws, 500))
        low, high = np.percentile(people @ person / subjects + times @ draw, [2.5, 97.5], axis=0)
        inside += int(((low <= 0) & (high >= 0)).sum())
    return inside / (-(-trials // 500) * 500)


def auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve of `score` (N,) for `truth` (N,) bool, ties counted half; NaN without both classes."""
    truth, score = np.asarray(truth, bool), np.asarray(score)
    positive, negative, right = concordance(truth, score, np.zeros(len(truth), int), 1)
    return float(divide(right.sum(), positive.sum() * negative.sum()))


def auroc_interval(truth: np.ndarray, score: np.ndarray, rows: pd.DataFrame, B: int = 1000, seed: int = 7) -> Interval:
    """Mean over columns of the AUROC of `score` (N, U) for `truth` (N, U) bool, with its interval over subjects.

    rows: DataFrame of the N clips (dataset, subject, look). A pair (moved, unmoved) of two subjects weighs the product
    of their weights, so a replicate is a product of matrices. Replicates in which a column has one class leave it out.
    """
    truth, score = np.asarray(truth, bool), np.asarray(score)
    names, strata = strata_of(rows)
    where = np.searchsorted(names, subject_of(rows))
    pairs = [concordance(truth[:, u], score[:, u], where, len(names)) for u in range(truth.shape[1])]

    def mean(weight: np.ndarray) -> np.ndarray:  # (B, S) -> (B,)
        each = [
            divide((weight @ right * weight).sum(1), (weight @ positive) * (weight @ negative))
            for positive, negative, right in pairs
        ]
        return known_mean(np.stack(each, axis=1), np.full((len(weight), len(each)), 1 / len(each)))

    value = float(mean(np.ones((1, len(names))))[0])
    if len(names) == 1:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.nanpercentile(mean(subject_weights(strata, B, seed)), [2.5, 97.5])
    return Interval(value, float(low), float(high))


def concordance(
    truth: np.ndarray, score: np.ndarray, where: np.ndarray, people: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> (S,) positives, (S,) negatives, (S, S) pairs (positive of s, negative of t) in the right order; a tie is
    half.
    """
    right = np.zeros((people, people))
    negative = score[~truth]
    for s in np.unique(where[truth]):
        mine = score[truth & (where == s)][:, None]
        np.add.at(right[s], where[~truth], ((mine > negative) + 0.5 * (mine == negative)).sum(0))
    return (*(np.bincount(where[side], minlength=people).astype(float) for side in (truth, ~truth)), right)


def confusions(truth: Sequence, predicted: Sequence, classes: Sequence) -> np.ndarray:
    """(N, C, C + 1) one confusion matrix per answer, to be summed by `sample`."""
    t, p = _codes(truth, predicted, classes)
    out = np.zeros((len(t), len(list(classes)), len(list(classes)) + 1))
    out[np.arange(len(t)), t, p] = 1
    return out


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
    return divide(counts[..., 0], counts[..., 1])


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


def _same_subjects(a: Sample, b: Sample) -> None:
    if not np.array_equal(a.subjects, b.subjects):
        odd = sorted(set(a.subjects) ^ set(b.subjects))[:3]
        raise ValueError(f"the two systems answered for different subjects, e.g. {odd}; score them on the same clips")
    if not np.array_equal(a.strata, b.strata):
        raise ValueError("the two systems know different looks of the same subjects; run 08_answers again")


def _compared_draws(samples: Sequence[Sample]) -> tuple[int, ...] | None:
    """`shared_draws` of samples that may be compared."""
    for other in samples[1:]:
        _same_subjects(samples[0], other)
    shared = shared_draws(*samples)
    if shared == ():
        raise ValueError(
            f"no draw is shared: {' against '.join(str(one.draws) for one in samples)}; run the same draws for both"
        )
    return shared


def known_mean(values: np.ndarray, weight: float | np.ndarray = 1.0) -> np.ndarray:
    """Weighted mean over the last axis, leaving NaN out; NaN where nothing is known."""
    known = ~np.isnan(values)
    return divide((weight * np.where(known, values, 0)).sum(axis=-1), (weight * known).sum(axis=-1))


def divide(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, NaN where there is no bottom."""
    return np.divide(top, bottom, out=np.full(np.shape(bottom), np.nan), where=np.asarray(bottom) > 0)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, 0 where there is no bottom."""
    return np.nan_to_num(divide(top, bottom))
