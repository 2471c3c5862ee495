"""Evidence: does the face move as an action unit would, where and when, and how probable is the unit given that?

The dual constraint (docs/method.md#evidence-and-the-dual-constraint). Spatial evidence: the 36 region vectors at the
peak are explained by the directions FACS expects of each unit (`deft.clips.facs.EXPECTED`), against the noise floor of
regions that lie still. Temporal evidence: the same movement must rise, hold and fall. Both are kept apart in `Parts`;
`score` is their combination, `Calibration` turns it into probabilities, `verdicts` compares those with an annotation.

Choices, each measured on corpus subjects (the paper does not say how evidence is computed):
- *Units share regions* (1, 2, 4; 12, 15, 20), so projecting on one unit's template credits all its neighbours.
  Non-negative least squares over all templates shares the motion out, but templates are only words turned into arrows
  and it overfits them (AUROC .82 against .86 for projection). A sparse Bayesian explanation (each unit is absent, or
  moves by a positive amount; Mitchell and Beauchamp, JASA 83, 1988, solved by mean field as in Carbonetto and Stephens,
  2012) does better than both (.89), close to a logistic regression trained on truth (.90). Explaining away is damped
  (EXPLAIN): a template is a guess, and motion that it explains a little too much or too little must not count against
  the neighbouring units.
- *Flow onset -> t carries the onset frame's noise in every t*, so its errors over time have covariance I + J (measured
  correlation .3 to .5). The best linear estimate of the peak under that covariance subtracts late frames, where a true
  movement has come back and the onset's error has not: half the noise variance of the mean of apex and hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.special import expit, log_ndtr, logit

from deft import runtime
from deft.clips import keyframes
from deft.clips.facs import EXPECTED, REGIONS, SIDES, UNITS, expected_vectors, main_direction, unit_sides
from deft.motion.envelope import ENVELOPE, filters

# Spread of a region's mean vector when the face is still, relative to the clip's noise floor: bare forehead and jaw are
# smooth and far from the pixels of the rigid fit, brows and canthi are textured and near. Measured on clips without any
# unit of corpus training subjects, rounded, left and right pooled.
SPREAD = {
    "forehead_inner": 1.0,
    "forehead_outer": 1.05,
    "brow_inner": 0.5,
    "brow_outer": 0.45,
    "temple": 0.4,
    "upper_lid": 0.35,
    "lower_lid": 0.4,
    "outer_canthus": 0.35,
    "cheek": 0.65,
    "nose_side": 0.5,
    "nasolabial": 0.65,
    "upper_lip": 0.55,
    "lip_corner": 0.7,
    "lower_lip": 0.65,
    "chin_side": 0.8,
    "jaw": 0.9,
    "glabella": 0.6,
    "nose_bridge": 0.5,
    "nose_tip": 0.45,
    "chin": 0.75,
}
RELATIVE = np.array([SPREAD[name] for name, _ in REGIONS])  # (36,)
AMPLITUDE = 0.15  # px, spread of a present unit's amplitude (half-normal); micro-movements measured by DIS
PRESENT = 0.05  # prior share of (unit, side) that is present
EXPLAIN = (
    0.6  # share of the motion explained by other units that is subtracted before a unit is judged, 0 none .. 1 all
)
MISFIT = 0.3  # the templates' own error, relative to the root mean square motion of the clip
ROUNDS = 12
LATE = 0.2  # tolerated error of ENVELOPE, relative: apex and offset are annotated by eye
# Precision and recall of a coder, taken as equal: of the unit sides that one writes down, this share moved, and of
# those that
# moved this share is written down. Agreement between two coders is .846 on CASME II (Yan et al., PLoS ONE 9(1), 2014)
# and .82 on
# SAMM (Davison et al., IEEE TAC 9(1), 2018). Not taken from the simulator's own raters.
RELIABILITY = 0.85
RATE = 0.10  # share of unit sides that move in a clip, where no calibration says it per unit


def _templates() -> np.ndarray:
    """Expected motion (34, 36, 2) in image axes, (unit, side) in the order of UNITS x SIDES; FACS weights as
    lengths.
    """
    expected = np.zeros((len(UNITS) * 2, len(REGIONS), 2))
    for row, (unit, side) in enumerate((u, s) for u in UNITS for s in SIDES):
        for region, u, v, weight in expected_vectors(unit, side):
            expected[row, region] += weight * u, weight * v
    return expected


TEMPLATES = _templates()


@dataclass(frozen=True)
class Parts:
    """The two halves of the evidence and their combination, each (..., 17, 2) over UNITS and SIDES.

    spatial: log Bayes factor of the unit from where the face moves at the peak. temporal: z of the unit's rise, hold
    and fall alone, built from what is independent of the peak under noise (0 for onset-apex-hold clips: no course is
    known). combined: log Bayes factor from both, discounted when the course contradicts the peak."""

    spatial: np.ndarray
    temporal: np.ndarray
    combined: np.ndarray


# ---------------------------------------------------------------- space


def project(vectors: np.ndarray, noise: np.ndarray, relative: np.ndarray = RELATIVE) -> np.ndarray:
    """Matched filter: z (N, 34) of region vectors (N, 36, 2) px on each template, each judged alone; noise: (N,) px;
    relative: (36,).
    """
    template = (TEMPLATES / relative[:, None]).reshape(len(TEMPLATES), -1)
    template = template / np.linalg.norm(template, axis=1, keepdims=True)
    return (vectors / relative[:, None]).reshape(len(vectors), -1) @ template.T / np.asarray(noise)[:, None]


def explain(vectors: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Spike-and-slab regression on the templates: log Bayes factors (N, 34), present against absent, in the order of
    TEMPLATES.

    vectors: (N, 36, 2) px. noise: (N,) px. Solved by mean field in ROUNDS sweeps; see the sources above.
    """
    template = (TEMPLATES / RELATIVE[:, None]).reshape(len(TEMPLATES), -1)
    vectors = (vectors / RELATIVE[:, None]).reshape(len(vectors), -1)
    power, shared = (template**2).sum(1), template @ template.T
    np.fill_diagonal(shared, 0)
    variance = np.asarray(noise, float) ** 2 + MISFIT**2 * (vectors**2).mean(1)
    match = vectors @ template.T
    amount, factor = np.zeros_like(match), np.zeros_like(match)
    for _ in range(ROUNDS):
        for unit in range(len(template)):
            precision = power[unit] / variance + 1 / AMPLITUDE**2
            spread = precision**-0.5
            mean = (match[:, unit] - EXPLAIN * (amount @ shared[:, unit])) / variance / precision
            z = mean / spread
            factor[:, unit] = np.log(2 * spread / AMPLITUDE) + log_ndtr(z) + z * z / 2
            positive = mean + spread * np.exp(-z * z / 2 - log_ndtr(z)) / np.sqrt(
                2 * np.pi
            )  # mean of the normal cut at 0
            amount[:, unit] = expit(factor[:, unit] + np.log(PRESENT / (1 - PRESENT))) * positive
    return factor


def parts(courses: np.ndarray, noise: float | np.ndarray) -> Parts:
    """Evidence of one clip (T-1, 36, 5) or many (N, T-1, 36, 5) with noise floor(s) in px -> Parts of (17, 2) or (N,
    17, 2).

    Raises ValueError for other shapes and for a noise floor that is not positive.
    """
    courses = np.asarray(courses, np.float64)
    single = courses.ndim == 3
    courses = courses[None] if single else courses
    if courses.ndim != 4 or courses.shape[2] != len(REGIONS) or courses.shape[3] < 2:
        raise ValueError(f"courses must be (T-1, 36, 5) or (N, T-1, 36, 5), got {courses.shape}")
    noise = np.broadcast_to(np.asarray(noise, np.float64), (len(courses),))
    if not (noise > 0).all():
        raise ValueError("the noise floor must be positive px")
    peak, both, time, both_noise, time_noise = filters(courses.shape[1])
    vectors = np.einsum("ft,ntrc->fnrc", np.stack([peak, both, time]), courses[..., :2])
    shape = (len(courses), len(UNITS), 2)
    spatial = explain(vectors[0], noise)
    if not time.any():
        found = Parts(spatial.reshape(shape), np.zeros(shape), spatial.reshape(shape).copy())
    else:
        temporal = project(vectors[2], noise * time_noise)
        at_peak = project(vectors[0], noise)
        # Under "absent" and under "present with ENVELOPE" alike, temporal - expected * at_peak has mean 0. A step that
        # stays,
        # or a flicker, leaves it far below. What exceeds one standard deviation is a Gaussian log likelihood ratio; its
        # exponential discounts what the place alone would say. (As a mere penalty it would be outvoted by any strong
        # motion.)
        expected = (time @ ENVELOPE) / time_noise
        missing = (temporal - expected * at_peak) / np.sqrt(1 + expected**2 + (LATE * expected * at_peak) ** 2)
        trust = np.exp(-0.5 * np.square(np.clip(-missing - 1, 0, None)))
        combined = explain(vectors[1], noise * both_noise)
        combined = np.where(combined > 0, combined * np.where(at_peak > 0, trust, 1.0), combined)
        found = Parts(spatial.reshape(shape), temporal.reshape(shape), combined.reshape(shape))
    return Parts(*(a[0] for a in (found.spatial, found.temporal, found.combined))) if single else found


def score(courses: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    """Combined evidence (17, 2) of one clip, or (N, 17, 2): log Bayes factor, 0 = as likely present as absent. See
    `parts`.
    """
    return parts(courses, noise).combined


def plain(courses: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    """Baseline: matched filter of the mean of apex and hold with each unit's template, units judged alone and no time
    course.

    Arguments as in `parts`; returns z, shaped like `score`.
    """
    courses = np.asarray(courses, np.float64)
    many = courses if courses.ndim == 4 else courses[None]
    peak = np.einsum("t,ntrc->nrc", filters(many.shape[1])[0], many[..., :2])
    z = project(peak, np.broadcast_to(noise, (len(many),)), np.ones(len(REGIONS)))
    return z.reshape(courses.shape[:-3] + (len(UNITS), 2))


# ---------------------------------------------------------------- probability


@dataclass(frozen=True)
class Calibration:
    """Logistic curves from log Bayes factors to probabilities (an expert's unit logits have
    `deft.experts.calibrate.Calibration`).

    Per unit: P = sigmoid(own * z + other * z of the other side + bias), z = sign(score) sqrt(2 |score|); each (17,).

    The other side helps because most movements are two-sided; by how much is learned, and left and right share the
    curve. A log Bayes factor grows with the square of signal over noise; its root does not, and fits the corpus' truth
    best."""

    own: tuple[float, ...]
    other: tuple[float, ...]
    bias: tuple[float, ...]
    rate: tuple[float, ...] = (RATE,) * len(UNITS)  # share of sides on which the unit was present in those clips
    clips: int = 0  # clips it was fitted on
    source: str = ""  # which set and split

    ENOUGH: ClassVar[int] = (
        8  # sides on which a unit must be present for a curve of its own; a rarer unit gets the one of all units
    )

    @staticmethod
    def features(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 17, 2) -> own and other side's z: two arrays (N, 17, 2)."""
        scores = np.asarray(scores, np.float64)
        z = np.sign(scores) * np.sqrt(2 * np.abs(scores))
        return z, z[..., ::-1]

    @classmethod
    def fit(cls, scores: np.ndarray, present: np.ndarray, source: str = "") -> Calibration:
        """scores (N, 17, 2), present (N, 17, 2) bool truth of training subjects -> Calibration.

        Raises ValueError for other shapes, and when no unit, or every unit, is present.
        """
        from sklearn.linear_model import LogisticRegression

        scores, present = np.asarray(scores), np.asarray(present, bool)
        if scores.shape != present.shape or scores.shape[1:] != (len(UNITS), 2):
            raise ValueError(
                f"scores and truth must both be (N, {len(UNITS)}, 2), got {scores.shape} and {present.shape}"
            )
        own, other = cls.features(scores)

        def curve(rows):
            x, y = np.stack([own[:, rows].ravel(), other[:, rows].ravel()], 1), present[:, rows].ravel()
            if y.all() or not y.any():
                raise ValueError(
                    f"{'every' if y.any() else 'no'} unit is present in {source or 'the clips'}: nothing to calibrate"
                    " on; render more corpus clips"
                )
            fitted = LogisticRegression(C=1.0, max_iter=500).fit(x, y)
            slopes = np.maximum(fitted.coef_[0], 0.0)  # a negative slope would make more evidence less probable
            return (*slopes, fitted.intercept_[0])

        pooled = curve(list(range(len(UNITS))))
        curves = [curve([row]) if present[:, row].sum() >= cls.ENOUGH else pooled for row in range(len(UNITS))]
        own_slope, other_slope, bias = (tuple(round(float(v), 6) for v in column) for column in zip(*curves))
        # A unit that never occurred is not impossible: half a side is added to both counts.
        rate = tuple(round(float(v), 6) for v in (present.sum((0, 2)) + 0.5) / (2 * len(present) + 1))
        return cls(own_slope, other_slope, bias, rate, len(scores), source)

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Scores (17, 2) or (N, 17, 2) -> probabilities of the same shape, float32."""
        own, other = self.features(scores)
        line = own * np.array(self.own)[:, None] + other * np.array(self.other)[:, None] + np.array(self.bias)[:, None]
        return expit(line).astype(np.float32)

    def judge(self, folder: Path, scores: np.ndarray) -> np.ndarray:
        """Write what a set's `scores` (N, 17, 2) mean to `folder` as probability.npy; returns the probabilities."""
        probability = self.apply(scores)
        runtime.save_array(folder, "probability", probability)
        return probability

    def save(self, path: Path) -> None:
        """Write as JSON; an interrupted write leaves the old file."""
        runtime.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what `save` wrote; errors as in `from_json`."""
        return cls.from_json(runtime.read_json(path))

    def to_json(self) -> dict:
        """Fields, units and schema as plain JSON values."""
        return {"schema": "deft/calibration/3", "units": list(UNITS), **asdict(self)}

    @classmethod
    def from_json(cls, record: Mapping) -> Calibration:
        """From the parsed JSON; ValueError for a record of other units or with missing numbers."""
        if record.get("schema") != "deft/calibration/3" or tuple(record.get("units", ())) != UNITS:
            raise ValueError(
                f"not a calibration for the units {UNITS}: schema {record.get('schema')!r}; run 04_evidence again"
            )
        curves = [tuple(float(v) for v in record[name]) for name in ("own", "other", "bias", "rate")]
        if any(len(curve) != len(UNITS) for curve in curves):
            raise ValueError(
                f"calibration holds {[len(c) for c in curves]} numbers instead of {len(UNITS)} each; run 04_evidence"
                " again"
            )
        return cls(*curves, int(record["clips"]), str(record["source"]))


# Bins of true intensity (fractions of a full movement) in which `separation` is measured; micro-movements have .05 to
# .42.
INTENSITY = ((0.02, 0.08), (0.08, 0.15), (0.15, 0.25), (0.25, 0.50))


def separation(scores: np.ndarray, intensity: np.ndarray) -> dict[str | tuple[float, float], float]:
    """AUROC of scores (N, 17, 2) for sides that moved by `intensity` (N, 17, 2) against sides that did not, mean over
    units.

    Returns {"all": x, (low, high): x, ...}; a bin holds the units present at that strength on 3 sides or more, NaN if
    none."""
    from sklearn.metrics import roc_auc_score

    found = {}
    for name, (low, high) in {"all": (1e-6, np.inf), **{bounds: bounds for bounds in INTENSITY}}.items():
        values = []
        for row in range(len(UNITS)):
            strength, score_ = np.asarray(intensity)[:, row].ravel(), np.asarray(scores)[:, row].ravel()
            moved, still = (strength >= low) & (strength < high), strength == 0
            if moved.sum() >= 3 and still.any():
                values.append(roc_auc_score(moved[moved | still], score_[moved | still]))
        found[name] = float(np.mean(values)) if values else float("nan")
    return found


# ---------------------------------------------------------------- verdicts


@dataclass(frozen=True)
class Row:
    """One region's measured motion at the peak, as a reader can check it in the flow picture.

    side: "L", "R" or "" (midline). direction: up, down, outward or inward, the larger component. px: length along that
    direction, aligned px. z: px over the region's noise. frames: first and last position (onset = 0) at half the peak
    or more."""

    region: str
    side: str
    direction: str
    px: float
    z: float
    frames: tuple[int, int]


@dataclass(frozen=True)
class Verdict:
    """Annotation against flow for one unit and side; see docs/method.md#evidence-and-the-dual-constraint for the four
    words.

    verdict: confirmed, unsupported (annotated, no movement measured; it may be smaller than the noise), contradicted
    (annotated, the main region moves the other way) or unannotated. probability: from the flow alone. posterior: from
    the flow and the annotation. rows: the measured regions. (A claim's verdict is `deft.evaluation.claims.Verdict`.)
    """

    unit: int
    side: str
    verdict: str
    probability: float
    posterior: float
    rows: tuple[Row, ...]


def posterior(
    probability: np.ndarray,
    annotated: np.ndarray,
    rate: float | Sequence[float] = RATE,
    reliability: float = RELIABILITY,
) -> np.ndarray:
    """Probability that the unit moved, given flow and annotation: Bayes' rule, the two taken as independent given the
    truth.

    probability (..., 17, 2): calibrated, flow alone, for clips in which a share `rate` (scalar or (17,)) of sides
    moves. annotated: bool of the same shape; False means that a coder looked and did not write it. reliability: see
    RELIABILITY, in (0, 1). Returns (..., 17, 2). Raises ValueError for other shapes or a reliability outside (0, 1).
    Where the flow says nothing either way (probability = rate), a unit that is written is as probable as the coder is
    reliable."""
    p = np.asarray(probability, np.float64)
    annotated = np.asarray(annotated, bool)
    if p.shape[-2:] != (len(UNITS), 2) or annotated.shape != p.shape:
        raise ValueError(
            f"probability and annotation must both be (..., {len(UNITS)}, 2), got {p.shape} and {annotated.shape}"
        )
    if not 0 < reliability < 1:
        raise ValueError(f"reliability is a share between 0 and 1, got {reliability}")
    rate = np.broadcast_to(np.asarray(rate, np.float64), (len(UNITS),))[:, None]
    # Moved although not written. Reliable is: written if it moved, and moved if it is written, so that as much is
    # written as moves.
    missed = rate * (1 - reliability) / (1 - rate)
    return expit(logit(np.clip(p, 1e-6, 1 - 1e-6)) - logit(rate) + logit(np.where(annotated, reliability, missed)))


def region_row(courses: np.ndarray, noise: float, region: int) -> Row:
    """The Row of one region (index into REGIONS) of one clip's courses (T-1, 36, 5); noise: px."""
    name, side = REGIONS[region]
    sign = -1.0 if side == "R" else 1.0
    course = np.asarray(courses, np.float64)[:, region, :2] * (sign, 1.0)  # (T-1, 2): outward, down
    outward, down = keyframes.peak_mean(course)
    words = main_direction(outward if side else 0.0, down)  # a midline region has no outward
    vertical = words in ("up", "down")
    along = course[:, 1] * np.sign(down) if vertical else course[:, 0] * np.sign(outward)
    px = float(keyframes.peak_mean(along))
    strong = along >= 0.5 * max(px, 1e-9)
    first = last = keyframes.peak_positions(len(course) + 1)[0] - 1  # the apex
    while first > 0 and strong[first - 1]:
        first -= 1
    while last + 1 < len(strong) and strong[last + 1]:
        last += 1
    return Row(
        name, side, words, round(px, 3), round(px / (float(noise) * float(RELATIVE[region])), 2), (first + 1, last + 1)
    )


def unit_rows(courses: np.ndarray, noise: float, unit: int, side: str) -> tuple[Row, ...]:
    """Rows of the regions that FACS expects `unit` to move on `side` ("L" or "R"), the largest weight first."""
    expected = sorted(zip(expected_vectors(unit, side), EXPECTED[unit]), key=lambda pair: -pair[1][3])
    return tuple(region_row(courses, noise, region) for (region, *_), _ in expected)


def is_confirmed(probability: np.ndarray, annotated: np.ndarray, rate: float | Sequence[float] = RATE) -> np.ndarray:
    """Which units are confirmed, that is, counted as having moved? Shapes as in `posterior` -> bool (..., 17, 2).

    Those whose posterior reaches RELIABILITY, what the coder's word alone is worth. A written unit reaches it exactly
    where the flow does not speak against it (probability >= rate); what nobody wrote must be shown by the flow alone.
    At one half, "confirmed" would say nothing about pixels: nearly half of all wrong annotations of a still face would
    be confirmed by the annotation alone, here it is one in twenty (measured by `deft.evaluation.distractors`)."""
    return posterior(probability, annotated, rate) >= RELIABILITY - 1e-9  # rounding: equality counts


def verdicts(
    annotated: str | Mapping[int, str],
    probability: np.ndarray,
    courses: np.ndarray | None = None,
    noise: float | None = None,
    *,
    rate: float | Sequence[float] = RATE,
    against: float = -2.5,
) -> list[Verdict]:
    """Annotation against measurement, unit by unit and side by side: a Verdict for each that is annotated or confirmed
    by flow.

    annotated: a cell such as "4+L12", or {unit: "L" | "R" | "B"}. probability: (17, 2) calibrated, at base rate `rate`
    (scalar or (17,)). courses (T-1, 36, 5) and noise (px) of the clip: for the justifying rows, and to tell
    "unsupported" from "contradicted" (the main region's motion along the expected direction lies below `against`
    standard deviations). Which units count as moved is decided by `is_confirmed`."""
    sides = unit_sides(annotated) if isinstance(annotated, str) else dict(annotated)
    probability = np.asarray(probability, np.float64)
    written = np.array([[sides.get(unit, "") in ("B", side) for side in SIDES] for unit in UNITS])
    belief, moved = posterior(probability, written, rate), is_confirmed(probability, written, rate)
    found = []
    for row, column in np.argwhere(written | moved):
        unit, side = UNITS[row], SIDES[column]
        name = "unannotated" if not written[row, column] else "confirmed" if moved[row, column] else "unsupported"
        rows = unit_rows(courses, noise, unit, side) if courses is not None else ()
        if name == "unsupported" and courses is not None and opposition(courses, noise, unit, side) <= against:
            name = "contradicted"
        found.append(
            Verdict(
                unit, side, name, round(float(probability[row, column]), 4), round(float(belief[row, column]), 4), rows
            )
        )
    return found


def opposition(courses: np.ndarray, noise: float, unit: int, side: str) -> float:
    """z of the main region's peak motion along the direction FACS expects of the unit: negative when it moves the
    other way.
    """
    region, u, v, _ = max(expected_vectors(unit, side), key=lambda row: row[3])
    vector = keyframes.peak_mean(np.asarray(courses, np.float64)[:, region, :2])
    return float(vector @ (u, v)) / (float(noise) * float(RELATIVE[region]))
