"""Records of Uni-MER from clips: the dual constraint between what was annotated and what moved (claim C2).

A unit is stated when it is annotated *and* confirmed by the flow: together they make it at least as probable as an
annotation is right where the flow says nothing (`deft.motion.evidence.is_confirmed`). A motion is stated when the flow
alone shows it (spatially above the noise floor; temporally at the apex and still at the hold). The same code with
one or both constraints switched off makes the comparison sets of table T4: "none" (class prototype only), "au"
(annotation only), "flow" (motion only)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deft import runtime
from deft.clips import keyframes
from deft.clips.facs import (
    COARSE,
    EXPECTED,
    MIDLINE,
    PROTOTYPES,
    REGIONS,
    SIDES,
    UNIT_INDEX,
    UNITS,
    expected_vectors,
    main_direction,
    unit_sides,
)
from deft.motion import evidence
from deft.unimer import timing
from deft.unimer.check import Evidence
from deft.unimer.facts import (
    DIRECTIONS,
    SPOKEN,
    Fact,
    Facts,
    MotionFact,
    TimeFact,
    UnitFact,
    component,
    facts_from_units,
    group_regions,
    hard_negatives,
    merge_motions,
    merge_sides,
    motion_budget,
    rank_motions,
    sides_of,
    stated_by,
    supports,
    supports_unit,
    unit_array,
)
from deft.unimer.kinds import KINDS, parts
from deft.unimer.schema import CONSTRAINTS

HOLD_SHARE = 0.5  # at apex and at hold alike a motion must keep this share of the threshold: it rose and it stayed
# a text may deny a unit ("no left brow lowerer") only below this probability, a motion only if the region goes the
# other way
DOUBTFUL = 0.2


@dataclass(frozen=True)
class Measured:
    """One clip's numbers. courses: (T-1, 36, 5), the frames after onset, px; noise: px; probability: (17, 2)
    calibrated, from the flow alone; rate: scalar or (17,), the base rate of units that it was calibrated at."""

    courses: np.ndarray
    noise: float
    probability: np.ndarray
    rate: float | Sequence[float] = evidence.RATE

    @property
    def frames(self) -> tuple[int, int]:
        """Positions of apex and hold in the stored clip."""
        return keyframes.peak_positions(len(self.courses) + 1)

    @cached_property
    def peaks(self) -> np.ndarray:
        """(2, 36, 2) px, flow per region at apex and hold."""
        return keyframes.at_peak(np.asarray(self.courses, np.float64))[..., :2]

    @cached_property
    def evidence(self) -> Evidence:
        """What the flow alone measured: mean of apex and hold, noise floor, probabilities, courses."""
        return Evidence(self.peaks.mean(0), self.noise, self.probability, courses=self.courses)

    def confirmed(self, annotated: np.ndarray) -> np.ndarray:
        """(17, 2) bool: units that are annotated and confirmed by the flow (`evidence.is_confirmed`). annotated:
        (17, 2) bool.
        """
        return annotated & evidence.is_confirmed(self.probability, annotated, self.rate)

    def dual_evidence(self, annotated: np.ndarray) -> Evidence:
        """Evidence from flow and annotation together, for records under "both": a unit lies above one half exactly
        where it is confirmed. `evidence` is from the flow alone."""
        belief = evidence.posterior(self.probability, annotated, self.rate)
        confirmed = evidence.is_confirmed(self.probability, annotated, self.rate)
        return replace(self.evidence, probability=np.where(confirmed, belief, np.minimum(belief, 0.49)))

    def holds(self, fact: MotionFact) -> bool:
        """Temporal constraint: the motion is there at the apex and still there at the hold."""
        floor = HOLD_SHARE * self.evidence.threshold_px
        return all(component(peak, fact.region, fact.side, fact.direction).mean() >= floor for peak in self.peaks)


def measured(
    probability: np.ndarray, courses: np.ndarray, noise: np.ndarray, rate: float | Sequence[float] = evidence.RATE
) -> list[Measured]:
    """(N, 17, 2), (N, T-1, 36, 5), (N,) and the base rate -> one Measured per clip. Courses start at the frame after
    onset.
    """
    if not len(probability) == len(courses) == len(noise):
        raise ValueError(
            f"evidence of {len(probability)} clips, courses of {len(courses)}, noise of {len(noise)}: "
            "the stages are out of step; run 03_motion and 04_evidence again"
        )
    return [
        Measured(courses[i], float(noise[i]), np.asarray(probability[i], np.float64), rate) for i in range(len(courses))
    ]


def annotated_array(cells: Iterable[str]) -> np.ndarray:
    """Annotation strings -> (N, 17, 2) booleans; "4" claims both sides, "L12" one, alternatives and "?" none."""
    return np.array(
        [unit_array(UnitFact(c, s) for c, s in unit_sides(cell).items()) > 0 for cell in map(str, cells)]
    ).reshape(-1, len(UNITS), 2)


def verdicts(annotated: np.ndarray, clip: Measured) -> list[dict]:
    """`deft.motion.evidence.verdicts` of one clip as plain rows. annotated: (17, 2) bool."""
    written = {fact.code: fact.side for fact in merge_sides(annotated)}
    found = evidence.verdicts(written, clip.probability, clip.courses, clip.noise, rate=clip.rate)
    return [
        {"unit": v.unit, "side": v.side, "verdict": v.verdict, "probability": v.probability, "posterior": v.posterior}
        for v in found
    ]


def clip_facts(constraint: str, emotion: str, annotated: np.ndarray, clip: Measured, rng: np.random.Generator) -> Facts:
    """What may be said about one clip under `constraint` ("none", "au", "flow", "both"). annotated: (17, 2) bool."""
    if constraint not in CONSTRAINTS:
        raise ValueError(f"unknown constraint '{constraint}'; known: {', '.join(CONSTRAINTS)}")
    if constraint == "none":  # what a writer who only knows the class would say
        chance, sets = zip(*PROTOTYPES[emotion]) if emotion in PROTOTYPES else ((1.0,), (frozenset(),))
        facts = facts_from_units({unit: "B" for unit in sorted(sets[rng.choice(len(sets), p=chance)])}, rng, emotion)
    elif constraint == "au":
        facts = facts_from_units(merge_sides(annotated), rng, emotion)
    else:
        units = merge_sides(
            clip.probability >= clip.evidence.unit_threshold if constraint == "flow" else clip.confirmed(annotated)
        )
        motions = told_motions(units, clip, dual=constraint == "both")
        facts = Facts(
            emotion, COARSE.get(emotion, ""), units, motions, times=timing.time_facts(clip.courses, clip.noise, motions)
        )
    return replace(facts, denied=hard_negatives(facts, _possible(constraint, facts, annotated, clip), rng))


def true_facts(units: np.ndarray, clip: Measured, rng: np.random.Generator) -> Facts:
    """What may be said where the truth is known: the units that moved, and the measured motions that they explain.
    units: (17, 2) bool.
    """
    stated = merge_sides(units)
    facts, known = (
        Facts("", "", stated, told_motions(stated, clip, dual=True)),
        replace(clip, probability=units.astype(float)),
    )
    return replace(facts, denied=hard_negatives(facts, _possible("both", facts, units, known), rng))


def told_motions(units: Sequence[UnitFact], clip: Measured, dual: bool) -> tuple[MotionFact, ...]:
    """Measured motions in the order in which a text names them. dual: those that a stated unit explains, on its sides;
    if there is no unit, those twice the threshold."""
    if dual and units:
        found = [(fact, px) for fact in _explained(units) for fact, px in _on_its_sides(fact, clip)]
    else:
        found = [
            (fact, px)
            for fact, px in merge_motions(clip.evidence.moving())
            if not dual or (px >= 2 * clip.evidence.threshold_px and clip.holds(fact))
        ]
    return tuple(rank_motions(found, units)[: motion_budget(len(units))])


def _explained(units: Sequence[UnitFact]) -> list[MotionFact]:
    """Every motion that one of the units lets one expect, on the sides of that unit."""
    sides: dict[tuple[str, str], set[str]] = {}
    for unit in units:
        for region, outward, down, _ in EXPECTED[unit.code]:
            for direction, part in zip(DIRECTIONS, (-down, down, outward, -outward)):
                if part > 0.3:
                    sides.setdefault((SPOKEN[region], direction), set()).update(
                        "LR" if region in MIDLINE else sides_of(unit.side)
                    )
    return [
        MotionFact(group, "B" if len(found) == 2 else found.pop(), direction)
        for (group, direction), found in sides.items()
    ]


def _on_its_sides(fact: MotionFact, clip: Measured) -> list[tuple[MotionFact, float]]:
    """The fact as it is measured: on all its sides, else on the one side that moves clearly, else not at all."""
    sides = (
        (fact,)
        if len(group_regions(fact.region, fact.side)) == 1
        else (fact, replace(fact, side="L"), replace(fact, side="R"))
    )
    for n, candidate in enumerate(sides):
        px = float(component(clip.evidence.region, candidate.region, candidate.side, candidate.direction).mean())
        if (
            clip.evidence.bears_out(candidate)
            and clip.holds(candidate)
            and (n == 0 or px >= 2 * clip.evidence.threshold_px)
        ):
            return [(candidate, px)]
    return []


def _possible(constraint: str, facts: Facts, annotated: np.ndarray, clip: Measured) -> Callable[[Fact], bool]:
    """-> a test for "the fact might be true after all": then it must not be denied. Annotation counts where it is part
    of the constraint; without measurement, false is whatever was not said."""
    if constraint in ("none", "au"):
        return stated_by(facts)

    def possible(fact: Fact) -> bool:
        if isinstance(fact, UnitFact):
            row, sides = UNIT_INDEX[fact.code], [SIDES.index(side) for side in sides_of(fact.side)]
            written = constraint == "both" and annotated[row, sides].any()
            return bool(written or (clip.probability[row, sides] >= DOUBTFUL).any())
        return bool((component(clip.evidence.region, fact.region, fact.side, fact.direction) > 0).any())

    return possible


def absent_units(constraint: str, facts: Facts, annotated: np.ndarray, clip: Measured) -> list[int]:
    """Units that may be denied on both sides under `constraint`. annotated: (17, 2) bool."""
    stated, possible = stated_by(facts), _possible(constraint, facts, annotated, clip)
    both = {unit: UnitFact(unit, "B") for unit in UNITS}
    return [unit for unit, fact in both.items() if not stated(fact) and not possible(fact)]


# --- records ----------------------------------------------------------------------------------------------------------
def evidence_rows(stated: Facts, clip: Measured) -> list[dict]:
    """The measurements behind each statement: for a unit its most telling regions, for a motion its own, for a time
    the frames it names.
    """
    vectors, noise = clip.evidence.region, max(clip.noise, 1e-6)
    rows: list[dict] = []

    def add(
        unit: int | None, region: str, side: str, direction: str, px: float, frames: Sequence[int] = clip.frames
    ) -> None:
        probability = None if unit is None else round(float(clip.probability[UNIT_INDEX[unit], SIDES.index(side)]), 4)
        rows.append(
            {
                "unit": unit,
                "probability": probability,
                "region": region,
                "side": "" if region in MIDLINE and unit is None else side,
                "direction": direction,
                "px": round(px, 3),
                "z": round(px / noise, 2),
                "frames": list(frames),
            }
        )

    facts = (*stated.stated, *stated.denied)
    for fact in (f for f in facts if isinstance(f, UnitFact)):
        for side in sides_of(fact.side):
            expected = zip(EXPECTED[fact.code], expected_vectors(fact.code, side))
            for (region, outward, down, _), (index, u, v, _) in sorted(expected, key=lambda pair: -pair[0][3])[:2]:
                add(
                    fact.code,
                    region,
                    side,
                    main_direction(outward, down),
                    float(vectors[index, 0] * u + vectors[index, 1] * v),
                )
    for fact in (f for f in facts if isinstance(f, MotionFact)):
        for index, px in zip(
            group_regions(fact.region, fact.side), component(vectors, fact.region, fact.side, fact.direction)
        ):
            add(None, *REGIONS[index], fact.direction, float(px))
    for fact in (f for f in facts if isinstance(f, TimeFact)):
        for index in group_regions(fact.region, fact.side):
            row = evidence.region_row(clip.courses, noise, index)
            frames = (
                (fact.first, fact.last) if fact.last else row.frames if fact.event == "first" else (len(clip.courses),)
            )
            add(None, row.region, row.side, row.direction, row.px, frames)
    return rows


class ClipFacts(NamedTuple):
    """One clip: its row of the index, (17, 2) bool annotated, its numbers, what may be said, and the generator of
    further draws.
    """

    row: Any
    annotated: np.ndarray
    clip: Measured
    facts: Facts
    rng: np.random.Generator


def each_clip(
    index: pd.DataFrame,
    probability: np.ndarray,
    courses: np.ndarray,
    noise: np.ndarray,
    constraint: str = "both",
    seed: int = 7,
    rate: float | Sequence[float] = evidence.RATE,
) -> Iterator[ClipFacts]:
    """What may be said about each clip, without any wording. Arguments as in `build_records`."""
    clips = measured(probability, courses, noise, rate)
    for row, annotated, clip in zip(index.itertuples(), annotated_array(index["units"]), clips):
        rng = facts_rng(seed, row.clip, constraint)
        yield ClipFacts(row, annotated, clip, clip_facts(constraint, row.emotion, annotated, clip, rng), rng)


def facts_rng(seed: int, clip: str, constraint: str) -> np.random.Generator:
    """A clip's own draws, by its name: other clips do not change its facts or its text."""
    return runtime.rng(seed, f"unimer/{clip}/{constraint}")


def build_records(
    index: pd.DataFrame,
    probability: np.ndarray,
    courses: np.ndarray,
    noise: np.ndarray,
    constraint: str = "both",
    seed: int = 7,
    kinds: Iterable[str] = KINDS,
    rate: float | Sequence[float] = evidence.RATE,
) -> list[dict]:
    """Records of all clips: one per kind ("negative", "present" and "timed": one answered no, one answered yes),
    validated when written.

    index: the clips' table (columns clip, dataset, subject, condition, emotion, units). probability (N, 17, 2),
    courses (N, T-1, 36, 5), noise (N,) in its order; rate: base rate that the probabilities were calibrated at, scalar
    or (17,). Clips without one of EMOTIONS get no class questions."""
    records = []
    for row, annotated, clip, facts, rng in each_clip(index, probability, courses, noise, constraint, seed, rate):
        about = {name: str(getattr(row, name)) for name in ("clip", "dataset", "subject", "condition")}
        found, absent = verdicts(annotated, clip), absent_units(constraint, facts, annotated, clip)
        for number, (kind, part) in enumerate(parts(kinds, facts, rng, absent, len(clip.courses))):
            stated = kind.states(part)
            records.append(
                {
                    "id": f"{row.clip}/{number}",
                    **about,
                    "kind": kind.name,
                    "question": kind.question(part, rng),
                    "answer": kind.answer(part, rng),
                    "facts": facts.to_json(),
                    "stated": stated.to_json(),
                    "evidence": evidence_rows(stated, clip),
                    "verdicts": found,
                    "constraint": constraint,
                }
            )
    return records


# --- counts -----------------------------------------------------------------------------------------------------------
def t1_counts(annotated: np.ndarray, seen: np.ndarray, truth: np.ndarray, moved: float = 0.0) -> dict:
    """How far annotation and motion agree, counted per clip, unit and side. All arrays (N, 17, 2).

    annotated: bool. seen: bool, counted as moved by the measurement. truth: true intensity (simulated clips only); `>
    moved` counts as moved. -> counts, and rates as the reader sees them (`*_flow`) beside the truth (`*_truth`); a rate
    over nothing is None."""
    written, seen, real = np.asarray(annotated, bool), np.asarray(seen, bool), np.asarray(truth) > moved

    def rate(top: np.ndarray, whole: np.ndarray) -> float | None:
        return float(top.sum() / whole.sum()) if whole.any() else None

    return {
        "clips": int(len(written)),
        "annotated": int(written.sum()),
        "moved_flow": int(seen.sum()),
        "moved_truth": int(real.sum()),
        "unsupported_flow": rate(written & ~seen, written),
        "unsupported_truth": rate(written & ~real, written),
        "unannotated_flow": rate(seen & ~written, seen),
        "unannotated_truth": rate(real & ~written, real),
        "confirmed_precision": rate(written & seen & real, written & seen),
        "confirmed_recall": rate(written & seen & real, written & real),
    }


def facts_of(records: Iterable[dict]) -> dict[str, Facts]:
    """Records -> {clip: its facts}."""
    return {record["clip"]: Facts.from_json(record["facts"]) for record in records}


def truth_counts(
    facts: Mapping[str, Facts] | Iterable[dict],
    index: pd.DataFrame,
    units_true: np.ndarray,
    region_true: np.ndarray,
    threshold_px: float = 0.10,
) -> dict:
    """Statements of the clips' facts (a mapping clip -> Facts, or records) against the truth of the simulator.

    -> {"units": [supported, stated], "motions": the same, "unit_precision", "motion_precision": shares or None}
    units_true (N, 17, 2) intensity (any above 0 counts), region_true (N, 36, 2) px, both in the order of `index`.
    """
    facts = facts if isinstance(facts, Mapping) else facts_of(facts)
    place = {clip: i for i, clip in enumerate(index["clip"])}
    units = [supports_unit(f, units_true[place[clip]], 1e-6) for clip, told in facts.items() for f in told.units]
    motions = [
        supports(f, region_true[place[clip]], threshold_px) for clip, told in facts.items() for f in told.motions
    ]
    share = [float(np.mean(x)) if x else None for x in (units, motions)]
    return {
        "units": [int(sum(units)), len(units)],
        "motions": [int(sum(motions)), len(motions)],
        "unit_precision": share[0],
        "motion_precision": share[1],
    }
