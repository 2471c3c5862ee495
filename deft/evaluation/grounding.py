"""Scores of free text: its statements against true motion, measured motion and reference answers (claim C6).

A *statement* is a unit on a side ("au12 left") or a movement of a region ("the lip corner moves up").  The truth
supports a unit that moved at all on every claimed side (intensity > 0), and a movement when the true skin motion of
every claimed region reaches TRUE_PX along the claimed direction.  The measurement supports a statement when
`deft.unimer.check` says so: by the calibrated probability of a unit, or by region flow above the clip's own noise
floor.  A statement that neither supports is *unsupported*.  These thresholds were written down before any model was
scored.

METEOR is not computed: it needs the WordNet files, which cannot be fetched offline.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import pandas as pd

from deft.clips.facs import UNITS
from deft.evaluation import metrics
from deft.evaluation.source import Answers
from deft.systems import DEFT, RGB
from deft.unimer.check import Evidence, parse
from deft.unimer.facts import DIRECTIONS, GROUPS, Facts, component, group_regions, supports, supports_unit, unit_array

TRUE_PX = 0.10  # as in deft.unimer.build.truth_counts: a tenth of a pixel of true motion is motion
ANY = 1e-6  # "at all", for a comparison that reaches its threshold
SALIENT = 0.5  # movements at least half as large as the clip's largest one ought to be named

FIELDS = {
    "unit": (len(UNITS), 3),
    "side": (2 * len(UNITS), 3),
    "unsupported": (2,),
    "unsupported_units": (2,),
    "unsupported_motions": (2,),
    "precision": (2,),
    "recall": (2,),
    "motion": (4,),
    "bleu": (10,),
    "rouge1": (2,),
}


# ---------------------------------------------------------------- one text
def judge_text(
    facts: Facts,
    units_true: np.ndarray,
    region_true: np.ndarray,
    probability: np.ndarray,
    flow: np.ndarray,
    noise: float,
) -> dict[str, np.ndarray]:
    """Counts of one text, to be summed per subject. An empty text makes 0 statements and misses everything that is
    true.

    units_true (17, 2) intensity; region_true (36, 2) px; probability (17, 2); flow (36, 2) px; noise px.
    'unit' (17, 3) and 'side' (34, 3) TP, FP, FN · 'unsupported*' (2,) [unsupported, statements] · 'precision' (2,)
    [supported by the truth, statements] · 'recall' (2,) [true unit-sides named, true unit-sides] · 'motion' (4,)
    [true motions named, motions named, salient motions named, salient motions].
    """
    units, motions = dict.fromkeys(facts.units), dict.fromkeys(facts.motions)  # said twice is said once
    said, true = unit_array(units) > 0, np.asarray(units_true) > 0
    measured = Evidence(np.asarray(flow), float(noise), np.asarray(probability))
    by_truth_u = [supports_unit(fact, units_true, ANY) for fact in units]
    by_truth_m = [supports(fact, region_true, TRUE_PX) for fact in motions]
    bad_u = sum(not (borne or measured.bears_out(fact)) for fact, borne in zip(units, by_truth_u))
    bad_m = sum(not (borne or measured.bears_out(fact)) for fact, borne in zip(motions, by_truth_m))
    total_u, total_m = len(units), len(motions)
    named = {(region, fact.direction) for fact in motions for region in group_regions(fact.region, fact.side)}
    real, salient = true_motions(np.ascontiguousarray(region_true, np.float64).tobytes())
    return {
        "unit": metrics.unit_counts(true.any(1)[None], said.any(1)[None]),
        "side": metrics.unit_counts(true.reshape(1, -1), said.reshape(1, -1)),
        "unsupported": np.array([bad_u + bad_m, total_u + total_m]),
        "unsupported_units": np.array([bad_u, total_u]),
        "unsupported_motions": np.array([bad_m, total_m]),
        "precision": np.array([sum(by_truth_u) + sum(by_truth_m), total_u + total_m]),
        "recall": np.array([int((said & true).sum()), int(true.sum())]),
        "motion": np.array([len(named & real), len(named), len(named & salient), len(salient)]),
    }


@lru_cache(maxsize=4096)
def true_motions(region_true: bytes) -> tuple[frozenset, frozenset]:
    """-> (every true (region, direction), those that are salient): what may be named, and what ought to be."""
    vectors, size = np.frombuffer(region_true).reshape(-1, 2), {}
    for group in GROUPS:
        for side in "LR":
            for direction in DIRECTIONS:
                size[(group_regions(group, side)[0], direction)] = float(component(vectors, group, side, direction)[0])
    real = {key: px for key, px in size.items() if px >= TRUE_PX}
    largest = max(real.values(), default=0.0)
    return frozenset(real), frozenset(key for key, px in real.items() if px >= SALIENT * largest)


def motion_f1(counts: np.ndarray) -> np.ndarray:
    """Counts 'motion' (..., 4) -> (...) harmonic mean of the share of named motions that are true and of the share of
    salient motions that are named. 0 where nothing is named or nothing right.

    Small motions may be named and need not be: true ones are no false alarms, and none of them makes up for a salient
    one that is missed."""
    a, b, c, d = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    precision, recall = a / np.maximum(b, 1), c / np.maximum(d, 1)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


# ---------------------------------------------------------------- likeness to the reference
@lru_cache(maxsize=65536)
def bleu_counts(said: str, reference: str) -> tuple[int, ...]:
    """(10,) matches and n-grams for n = 1..4, length said, length of the reference; lower-cased, stripped (MEGC)."""
    score = _bleu().corpus_score([said.strip()], [[reference.strip()]])
    return (*score.counts, *score.totals, score.sys_len, score.ref_len)


@lru_cache(maxsize=1)
def _bleu():
    from sacrebleu.metrics import BLEU

    return BLEU(lowercase=True, smooth_method="none")


def bleu(counts: np.ndarray) -> np.ndarray:
    """Pooled counts (..., 10) -> (...) corpus BLEU in [0, 1]: geometric mean of n-gram precisions times the brevity
    penalty.
    """
    counts = np.asarray(counts, np.float64)
    match, total, said, reference = counts[..., :4], counts[..., 4:8], counts[..., 8], counts[..., 9]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.exp(np.log(match / total).mean(axis=-1))
        penalty = np.exp(np.minimum(0.0, 1.0 - reference / said))
    return np.nan_to_num(mean * penalty)


@lru_cache(maxsize=65536)
def rouge1(said: str, reference: str) -> float:
    """F measure of shared words, as rouge-score counts them, without stemming."""
    return _rouge().score(reference.strip().lower(), said.strip().lower())["rouge1"].fmeasure


@lru_cache(maxsize=1)
def _rouge():
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1"], use_stemmer=False)


# ---------------------------------------------------------------- all texts
def judge(source: str | Answers, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Counts of every row of `frame` (columns clip, text): {name: (R, ...)} with the shapes of FIELDS."""
    answers = Answers.of(source)
    place = {clip: row for row, clip in enumerate(answers.clips["clip"])}
    if absent := sorted(set(frame["clip"]) - set(place)):
        raise ValueError(
            f"{len(absent)} clips of the predictions are not in the benchmark, e.g. {absent[0]}; run 08_answers again"
        )
    read, wanted = lru_cache(maxsize=65536)(parse), answers.references
    arrays = [getattr(answers, name) for name in ("units_true", "region_true", "probability", "flow", "noise")]

    @cache
    def judged(clip: str, text: str) -> dict[str, np.ndarray]:
        found = judge_text(read(text), *(array[place[clip]] for array in arrays))
        if clip in wanted:
            found["bleu"], found["rouge1"] = (
                np.array(bleu_counts(text, wanted[clip])),
                np.array([rouge1(text, wanted[clip]), 1.0]),
            )
        return found

    out = {name: np.zeros((len(frame), *shape)) for name, shape in FIELDS.items()}
    for row, (clip, text) in enumerate(zip(frame["clip"], frame["text"])):
        for name, value in judged(clip, text).items():
            out[name][row] = value
    return out


@dataclass(frozen=True)
class Spoken:
    """Texts of one system under one condition: rows (R) of predictions, and their counts by `judge`, {name: (R,
    ...)}.
    """

    rows: pd.DataFrame
    judged: dict[str, np.ndarray]
    constant: bool = False

    def sample(self, name: str) -> metrics.Sample:
        """Counts per subject and draw, (S, K, ...) with the shape of FIELDS[name]."""
        return metrics.sample(self.rows, self.judged[name], self.constant)

    def often(self, name: str) -> np.ndarray:
        """Which units (or unit sides) truly occur at least 10 times: those of which the macro F1 is the mean."""
        counts = self.sample(name).counts
        return (counts[..., 0] + counts[..., 2]).sum(axis=0).mean(axis=0) >= 10


def macro_f1(often: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Statistic for the bootstraps: (..., U, 3) TP, FP, FN -> (...) mean F1 of the units in the mask `often` (U,)."""
    return lambda counts: metrics.f1_of_counts(counts)[..., often].mean(axis=-1)


def summary(mine: Spoken, seed: int = 7) -> dict[str, float]:
    """One row of T7: every score of one system's texts, mean over draws, with intervals."""
    row: dict[str, float] = {}
    for column, name in (("unit_f1", "unit"), ("unit_side_f1", "side")):
        if (often := mine.often(name)).any():
            row |= metrics.interval(mine.sample(name), macro_f1(often), seed=seed).columns(column)
    row |= metrics.interval(mine.sample("motion"), motion_f1, seed=seed).columns("motion_f1")
    for name in ("unsupported", "unsupported_units", "unsupported_motions", "precision", "recall"):
        row |= metrics.interval(mine.sample(name), metrics.share, seed=seed).columns(name)
    if mine.judged["rouge1"][:, 1].any():
        row |= metrics.interval(mine.sample("bleu"), bleu, seed=seed).columns("bleu")
        row |= metrics.interval(mine.sample("rouge1"), metrics.share, seed=seed).columns("rouge1")
    row["statements_per_text"] = float(mine.judged["unsupported"][:, 1].mean())
    return row


COMPARED = {"unit_f1": "unit", "unsupported_units": "unsupported_units", "recall": "recall"}  # of T7: DEFT less the row


def against(mine: Spoken, rgb: Spoken | None, deft: Spoken | None, seed: int = 7) -> tuple[dict[str, float], str]:
    """Paired differences of a row of T7 on the draws that both have, and a word where none is shared.

    rgb, deft: texts under the same condition, None where there are none; the system itself is left out.
    """
    row: dict[str, float] = {}
    words = []
    for other, name in ((rgb, RGB), (deft, DEFT)):
        if other is None or other is mine:
            continue
        if metrics.shared_draws(other.sample("unsupported"), mine.sample("unsupported")) == ():
            words.append(f"no draw is shared with {name}")
        elif other is rgb:
            row |= paired("rgb_minus", other, mine, "unsupported", seed)
        else:
            for column, field in COMPARED.items():
                row |= paired(f"deft_minus_{column}", other, mine, field, seed)
    return row, "; ".join(words)


def paired(column: str, a: Spoken, b: Spoken, field: str, seed: int = 7) -> dict[str, float]:
    """Cells of A less B: macro F1 for 'unit' (units that occur often in A's clips), else the share."""
    statistic = macro_f1(a.often(field)) if field == "unit" else metrics.share
    if field == "unit" and not a.often(field).any():
        return {}
    return metrics.difference(a.sample(field), b.sample(field), statistic, seed=seed).columns(column)
