"""Table T4: four ways to construct Uni-MER, compared with the truth at three levels of annotation noise (claim C3).

The constructions switch the two constraints on and off: "none" (what the class alone suggests), "au" (what a coder
wrote), "flow" (what moves), "both". Noise of the annotation comes in three levels, all of them over the same true
movements:
- `none`: a coder without error, who writes every unit side that moved and nothing else;
- `own`: the sheets of the benchmark, as they are;
- `double`: errors of the same two kinds drawn anew over the true units, at twice the rates that the sheets show. A unit
  that moved is missed with twice the share of moved units missing from the sheets; of units that did not move, twice as
  many per clip are invented, first those that the labelled emotion lets one expect (`facs.PROTOTYPES`), because that is
  how coders err, then any.
"none" and "flow" do not look at the annotation, so their rows differ between levels in nothing.

What a model trained on each construction scores stands in the rows of level `own`, for the systems that were tuned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.facs import PROTOTYPES, UNIT_INDEX, UNITS
from deft.clips.store import ClipStore
from deft.evaluation import grounding, metrics, tables
from deft.evaluation.source import Answers
from deft.evaluation.tables.present import Column, Page, Part, called, highest, quote, said
from deft.motion import evidence
from deft.systems import TAUGHT
from deft.unimer.build import annotated_array, clip_facts, facts_rng, measured
from deft.unimer.facts import Facts, group_regions, supports, supports_unit, unit_array
from deft.unimer.schema import CONSTRAINTS

NOISE = {"none": 0.0, "own": 1.0, "double": 2.0}  # level -> times the sheets' own rates of error
READ_ANNOTATION = ("au", "both")
NOT_RUN = "not run"
SPOKEN = ("unit_f1", "motion_f1", "precision", "unsupported")  # of T7's columns, those that T4 repeats
COUNTS = {
    "precision": (2,),
    "recall": (2,),
    "side": (3,),
    "motion_precision": (2,),
    "motion_recall": (2,),
    "statements": (2,),
}


def error_rates(written: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(N, 17, 2) bool sheets and truth -> (share of moved units that are not written, units written per clip that
    did not move).
    """
    written, truth = written.any(2), truth.any(2)
    return float((truth & ~written).sum() / max(truth.sum(), 1)), float((written & ~truth).sum() / max(len(truth), 1))


def sheets(index: pd.DataFrame, truth: np.ndarray, level: str, seed: int = 7) -> np.ndarray:
    """What coders would have written at a level of NOISE: (N, 17, 2) bool. truth: (N, 17, 2) bool."""
    own = annotated_array(index["units"])
    if level not in NOISE:
        raise ValueError(f"unknown level of noise '{level}'; known: {', '.join(NOISE)}")
    if NOISE[level] == 1:
        return own
    missed, invented = (NOISE[level] * rate for rate in error_rates(own, truth))
    return np.stack(
        [
            _redraw(truth[i], row.emotion, missed, invented, runtime.rng(seed, f"sheet/{level}/{row.clip}"))
            for i, row in enumerate(index.itertuples())
        ]
    )


def _redraw(truth: np.ndarray, emotion: str, missed: float, invented: float, rng: np.random.Generator) -> np.ndarray:
    """One coder's sheet (17, 2) over one clip's true units (17, 2). missed: chance per unit; invented: units per
    clip, on average.
    """
    written = truth & (rng.random(len(UNITS)) >= missed)[:, None]
    chance, sets = zip(*PROTOTYPES[emotion]) if emotion in PROTOTYPES else ((1.0,), (frozenset(),))
    expected = sorted(sets[rng.choice(len(sets), p=chance)])
    for _ in range(int(invented) + int(rng.random() < invented % 1)):
        still = [unit for unit in UNITS if not truth[UNIT_INDEX[unit]].any() and not written[UNIT_INDEX[unit]].any()]
        tempting = [unit for unit in expected if unit in still] or still
        written[UNIT_INDEX[tempting[rng.integers(len(tempting))]]] = True
    return written


def statement_counts(facts: Facts, units_true: np.ndarray, region_true: np.ndarray) -> dict[str, np.ndarray]:
    """One clip's statements against the truth, to be summed per subject; shapes as in COUNTS.

    units_true (17, 2) intensity, region_true (36, 2) px. 'precision', 'motion_precision': [supported, stated].
    'recall': [true unit sides stated, true unit sides]. 'side': TP, FP, FN of unit sides. 'motion_recall': [salient
    true motions stated, salient ones]. 'statements': [statements, 1]."""
    said, true = unit_array(facts.units) > 0, units_true > 0
    named = {(region, fact.direction) for fact in facts.motions for region in group_regions(fact.region, fact.side)}
    _, salient = grounding.true_motions(np.ascontiguousarray(region_true, np.float64).tobytes())
    return {
        "precision": np.array(
            [sum(supports_unit(fact, units_true, grounding.ANY) for fact in facts.units), len(facts.units)]
        ),
        "recall": np.array([(said & true).sum(), true.sum()]),
        "side": np.array([(said & true).sum(), (said & ~true).sum(), (true & ~said).sum()]),
        "motion_precision": np.array(
            [sum(supports(fact, region_true, grounding.TRUE_PX) for fact in facts.motions), len(facts.motions)]
        ),
        "motion_recall": np.array([len(named & salient), len(salient)]),
        "statements": np.array([len(facts.units) + len(facts.motions), 1]),
    }


def t4(profile: str, seed: int = 7) -> pd.DataFrame:
    """Constructions x annotation noise: precision and recall of the statements, then what a model trained on them
    scores.

    `annotation_wrong`, `annotation_missing`: share of written unit sides that did not move, of moved ones not written.
    `unit_precision`: share of stated units that moved on every side they claim; `unit_recall`: share of moved unit
    sides stated; `unit_f1`: of unit sides. `motion_*`: the same for motions of regions (recall: of salient ones, as in
    T7). `both_minus_*`: "both" less the row, paired over subjects; `both_over_unit_recall`: recall under "both" divided
    by that of the row, paired as well. `model_*` (tie broken): what the system in `model` scores: UF1, and of its free
    text unit F1, motion F1, precision of the statements against the truth alone, share that neither truth nor flow
    supports. `both_minus_model_*`: DEFT, which was taught "both", less the row, on the draws that both have."""
    work = paths.work(profile)
    store = ClipStore(work / "clips" / "bench")
    index, units_true = store.index, store.array("units_true")
    region_true = np.asarray(runtime.load_array(work / "motion" / "bench", "region_true"))
    courses, noise = (np.asarray(runtime.load_array(work / "motion" / "bench", name)) for name in ("courses", "noise"))
    probability = np.asarray(runtime.load_array(work / "evidence" / "bench", "probability"))
    rate = evidence.Calibration.load(work / "evidence" / "calibration.json").rate
    clips, models = measured(probability, courses, noise, rate), model_scores(profile, seed)
    rows, counted = [], {}
    for level in NOISE:
        written = sheets(index, units_true > 0, level, seed)
        wrong, missing = written & ~(units_true > 0), (units_true > 0) & ~written
        for name in CONSTRAINTS if not counted else READ_ANNOTATION:  # the others are the same at every level
            each = [
                statement_counts(
                    clip_facts(name, row.emotion, written[i], clips[i], facts_rng(seed, row.clip, name)),
                    units_true[i],
                    region_true[i],
                )
                for i, row in enumerate(index.itertuples())
            ]
            counted[name] = {key: metrics.sample(index, np.stack([c[key] for c in each])) for key in COUNTS}
        for name in CONSTRAINTS:
            row = {
                "kind": "simulated",
                "construction": name,
                "annotation_noise": level,
                "clips": len(index),
                "annotation_wrong": float(wrong.sum() / max(written.sum(), 1)),
                "annotation_missing": float(missing.sum() / (units_true > 0).sum()),
            }
            row |= _statements(counted[name], counted["both"] if name != "both" else None, seed)
            rows.append(row | (models[name] if level == "own" else {}))
    return pd.DataFrame(rows).round(4)


def _statements(mine: Mapping[str, metrics.Sample], both: Mapping[str, metrics.Sample] | None, seed: int) -> dict:
    """The statement columns of one row. mine, both: {key of COUNTS: sums per subject}."""
    row: dict = {}
    for column, key, score in (
        ("unit_precision", "precision", metrics.share),
        ("unit_recall", "recall", metrics.share),
        ("unit_f1", "side", metrics.f1_of_counts),
        ("motion_precision", "motion_precision", metrics.share),
        ("motion_recall", "motion_recall", metrics.share),
    ):
        row |= metrics.interval(mine[key], score, seed=seed).columns(column)
        if both is not None and column in ("unit_precision", "unit_f1", "motion_precision"):
            row |= metrics.difference(both[key], mine[key], score, seed=seed).columns(f"both_minus_{column}")
        if both is not None and column == "unit_recall":
            row |= metrics.combined([(both[key], score), (mine[key], score)], _ratio, seed=seed).columns(
                "both_over_unit_recall"
            )
    row["statements_per_clip"] = float(metrics.share(mine["statements"].counts.sum((0, 1))))
    return row


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, NaN where there is nothing to keep."""
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


def model_scores(source: str | Answers, seed: int = 7) -> dict[str, dict]:
    """construction -> the `model*` columns of the system tuned on it; {"model": "not run"} where there is none."""
    if isinstance(source, str) and not (paths.work(source) / "predictions.jsonl").is_file():
        return {name: {"model": NOT_RUN} for name in TAUGHT}
    answers = Answers.of(source)
    frame = answers.predictions
    frame = frame[
        (frame["set"] == "bench") & (frame["condition"] == "broken") & frame["system"].isin(TAUGHT.values())
    ].reset_index(drop=True)
    frame["text"] = frame["text"].fillna("")
    judged = grounding.judge(answers, frame) if len(frame) else {}
    spoken = {
        system: grounding.Spoken(frame.iloc[rows], {key: value[rows] for key, value in judged.items()})
        for system, rows in frame.groupby("system").indices.items()
    }
    both, out = spoken.get(TAUGHT["both"]), {}
    for name, system in TAUGHT.items():
        if (mine := spoken.get(system)) is None:
            out[name] = {"model": NOT_RUN}
            continue
        recognised = tables.sample(mine.rows)
        row = {"model": system, "model_draws": len(recognised.draws or (0,))}
        row |= metrics.interval(recognised, metrics.uf1, seed=seed).columns("model_uf1")
        said = grounding.summary(mine, seed)
        row |= {
            f"model_{key}": value
            for key, value in said.items()
            if key.removesuffix("_low").removesuffix("_high") in SPOKEN
        }
        if name != "both" and both is not None:
            cells, row["note"] = tables.compared(
                "both_minus_model_uf1", tables.sample(both.rows), recognised, metrics.uf1, seed
            )
            row |= cells
            if cells:  # the texts come from the same draws
                row |= grounding.paired("both_minus_model_precision", both, mine, "precision", seed)
                row |= grounding.paired("both_minus_model_unit_f1", both, mine, "unit", seed)
        out[name] = row
    return out


def _held(part: pd.DataFrame) -> list[str]:
    own = part[part.annotation_noise == "own"].set_index("construction")
    return [
        said(
            f"With the sheets as they are, {{}} of the {what} under both constraints, {{}} with annotation alone.",
            *(quote(own.loc[name], column) for name in ("both", "au")),
        )
        for column, what in (("unit_precision", "stated units are true"), ("unit_recall", "moved units are stated"))
    ]


def _taught(part: pd.DataFrame) -> list[str]:
    au = part[part.construction == "au"].iloc[0]
    return [
        said(
            "Highest precision: the model taught on {}.", highest(part, "model_precision", "construction", CONSTRUCTION)
        ),
        said(
            "Both constraints less annotation alone: precision {}, unit F1 {}.",
            quote(au, "both_minus_model_precision"),
            quote(au, "both_minus_model_unit_f1"),
        ),
    ]


CONSTRUCTION = called(none="the class alone", au="annotation alone", flow="flow alone", both="both constraints")
ROWS = (Column("Made from", "construction", spoken=CONSTRUCTION),)
PAGE = Page(
    (
        Part(
            "statements against the truth",
            (
                Column(
                    "Coders' errors",
                    "annotation_noise",
                    spoken=called(none="none", own="as in the sheets", double="twice as many"),
                ),
                *ROWS,
            ),
            tuple(
                Column(head, name)
                for head, name in (
                    ("Unit precision", "unit_precision"),
                    ("Unit recall", "unit_recall"),
                    ("Unit F1", "unit_f1"),
                    ("Motion precision", "motion_precision"),
                    ("Motion recall", "motion_recall"),
                )
            ),
            _held,
        ),
        Part(
            "models taught on them, tie broken",
            ROWS,
            (
                Column("UF1", "model_uf1", best=max),
                Column("Unit F1", "model_unit_f1", best=max),
                Column("Motion F1", "model_motion_f1", best=max),
                Column("Precision", "model_precision", best=max),
                Column("Unsupported", "model_unsupported", best=min),
                Column("Both less it, precision", "both_minus_model_precision"),
            ),
            _taught,
            {"annotation_noise": "own"},
        ),
    ),
    "Precision: share of the statements that the truth bears out; recall: share of true unit sides, and of salient true"
    " motions, that are stated. Brackets: 95 % intervals over subjects within looks and, of models, over draws;"
    " differences are paired.",
)
