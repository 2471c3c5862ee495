"""Do the words hold?  Free text against true motion, measured motion and reference answers (claim C6).

A *statement* is a unit on a side ("au12 left") or a movement of a region ("the lip corner moves up").  The truth bears a
unit out when it moved at all on every claimed side (intensity > 0), and a movement when the true skin motion of every
claimed region reaches TRUE_PX along the claimed direction.  The measurement bears a statement out when `deft.unimer.check`
says so: the calibrated probability of a unit, or region flow above the clip's own noise floor.  A statement that neither
bears out is *unsupported*.  These thresholds were written down before any model was scored.

METEOR is not computed: it needs the WordNet files, which cannot be fetched offline.
"""
from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.facs import UNITS
from deft.clips.store import ClipStore
from deft.evaluation import metrics
from deft.unimer.check import Evidence, parse
from deft.unimer.facts import DIRECTIONS, GROUPS, Facts, component, group_regions, supports, supports_unit, unit_array

TRUE_PX = 0.10  # as in deft.unimer.build.truth_counts: a tenth of a pixel of true motion is motion
ANY = 1e-6  # "at all", for a comparison that reaches its threshold
SALIENT = 0.5  # movements at least half as large as the clip's largest one ought to be named

FIELDS = {"unit": (len(UNITS), 3), "side": (2 * len(UNITS), 3), "unsupported": (2,), "unsupported_units": (2,),
          "unsupported_motions": (2,), "precision": (2,), "recall": (2,), "motion": (3,), "bleu": (10,), "rouge1": (2,)}


# ---------------------------------------------------------------- one text
def judge_text(facts: Facts, units_true: np.ndarray, region_true: np.ndarray, probability: np.ndarray, flow: np.ndarray,
               noise: float) -> dict[str, np.ndarray]:
    """Counts of one text, to be summed per subject.

    units_true (17, 2) intensity; region_true (36, 2) px; probability (17, 2); flow (36, 2) px; noise px.
    'unit' (17, 3) and 'side' (34, 3) TP, FP, FN · 'unsupported*' (2,) [unsupported, statements] · 'precision' (2,)
    [borne out by the truth, statements] · 'recall' (2,) [true unit-sides named, true unit-sides] · 'motion' (3,).
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
    return {"unit": metrics.unit_counts(true.any(1)[None], said.any(1)[None]),
            "side": metrics.unit_counts(true.reshape(1, -1), said.reshape(1, -1)),
            "unsupported": np.array([bad_u + bad_m, total_u + total_m]), "unsupported_units": np.array([bad_u, total_u]),
            "unsupported_motions": np.array([bad_m, total_m]),
            "precision": np.array([sum(by_truth_u) + sum(by_truth_m), total_u + total_m]),
            "recall": np.array([int((said & true).sum()), int(true.sum())]),
            "motion": np.array([len(named & real), len(named - real), len(salient - named)])}


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
    """Pooled counts (..., 10) -> (...) corpus BLEU in [0, 1]: geometric mean of n-gram precisions times the brevity penalty."""
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


def references(profile: str) -> dict[str, str]:
    """clip -> reference answer of Uni-MER's reasoning question, for the benchmark's clips; empty when none were built."""
    path = paths.work(profile) / "unimer" / "bench.jsonl"
    rows = runtime.read_jsonl(path) if path.is_file() else []
    return {row["clip"]: row["answer"] for row in rows if row["kind"] == "reasoning"}


# ---------------------------------------------------------------- all texts
def judge(profile: str, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Counts of every row of `frame` (columns clip, text): {name: (R, ...)} with the shapes of FIELDS."""
    work = paths.work(profile)
    store = ClipStore(work / "clips" / "bench")
    place = {clip: row for row, clip in enumerate(store.index["clip"])}
    if absent := sorted(set(frame["clip"]) - set(place)):
        raise ValueError(f"{len(absent)} clips of the predictions are not in the benchmark, e.g. {absent[0]}; run 08_answers again")
    motion = work / "motion" / "bench"
    units_true, region_true = store.array("units_true"), np.asarray(runtime.load_array(motion, "region_true"))
    flow = peak_flow(runtime.load_array(motion, "courses"))
    noise = np.asarray(runtime.load_array(motion, "noise")).reshape(len(store), -1)[:, 0]
    probability = np.asarray(runtime.load_array(work / "evidence" / "bench", "probability"))
    wanted, read = references(profile), lru_cache(maxsize=65536)(parse)
    out = {name: np.zeros((len(frame), *shape)) for name, shape in FIELDS.items()}
    for row, (clip, text) in enumerate(zip(frame["clip"], frame["text"])):
        i = place[clip]
        found = judge_text(read(text), units_true[i], region_true[i], probability[i], flow[i], noise[i])
        if clip in wanted:
            found["bleu"], found["rouge1"] = np.array(bleu_counts(text, wanted[clip])), np.array([rouge1(text, wanted[clip]), 1.0])
        for name, value in found.items():
            out[name][row] = value
    return out


def peak_flow(courses: np.ndarray) -> np.ndarray:
    """Region courses (N, T-1, 36, 5) -> measured (N, 36, 2) px, the mean of apex and hold."""
    from deft.evaluation.peers.linear import features

    return features("peak", {"courses": courses}).reshape(len(courses), -1, 2)


def sums_per_subject(frame: pd.DataFrame, values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum values (R, ...) of the rows in `mask` per subject and seed -> (S names, (S, K seeds, ...) sums)."""
    parts = []
    for one in np.sort(frame.loc[mask, "seed"].unique()):
        rows = mask & (frame["seed"] == one).to_numpy()
        parts.append(metrics.counts_per_subject(values[rows], metrics.subject_of(frame[rows])))
    for part in parts[1:]:
        metrics.aligned(parts[0], part)
    return parts[0][0], np.stack([sums for _, sums in parts], axis=1)


def summary(frame: pd.DataFrame, judged: dict[str, np.ndarray], here: np.ndarray, other: np.ndarray | None = None,
            seed: int = 7) -> dict[str, float]:
    """One row of T7: every score of the rows `here` (mask), with subject intervals; mean over seeds.

    other: mask of the rows to subtract from (`rgb_minus*`), None to leave the difference out.
    """
    def per_subject(name: str, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return sums_per_subject(frame, judged[name], mask)

    row: dict[str, float] = {}
    for column, name in (("unit_f1", "unit"), ("unit_side_f1", "side")):
        sums = per_subject(name, here)[1]
        scored = (sums[..., 0] + sums[..., 2]).sum(axis=0).mean(axis=0) >= 10  # occurs at least 10 times
        row |= metrics.subject_bootstrap(
            sums, lambda c, scored=scored: metrics.f1_of_counts(c)[..., scored].mean(axis=(-1, -2)), seed=seed).columns(column) if scored.any() else {}
    row |= metrics.subject_bootstrap(per_subject("motion", here)[1],
                                                          lambda c: metrics.f1_of_counts(c).mean(axis=-1), seed=seed).columns("motion_f1")
    for name in ("unsupported", "unsupported_units", "unsupported_motions", "precision", "recall"):
        row |= metrics.subject_bootstrap(per_subject(name, here)[1], mean_share, seed=seed).columns(name)
    if other is not None and other.any():
        pair = metrics.aligned(per_subject("unsupported", other), per_subject("unsupported", here))
        row |= metrics.paired_bootstrap(*pair, mean_share, seed=seed).columns("rgb_minus")
    if judged["rouge1"][here, 1].any():
        row |= metrics.subject_bootstrap(per_subject("bleu", here)[1], lambda c: bleu(c).mean(axis=-1), seed=seed).columns("bleu")
        row |= metrics.subject_bootstrap(per_subject("rouge1", here)[1], mean_share, seed=seed).columns("rouge1")
    statements = per_subject("unsupported", here)[1][..., 1].sum()
    row["statements_per_text"] = float(statements / here.sum())
    return row


def mean_share(counts: np.ndarray) -> np.ndarray:
    """(..., K, 2) -> (...) mean over seeds of part / whole; a seed that states nothing is left out."""
    each = metrics.share(counts)
    known = ~np.isnan(each)
    return np.divide(np.where(known, each, 0).sum(axis=-1), known.sum(axis=-1), out=np.full(each.shape[:-1], np.nan),
                     where=known.any(axis=-1))
