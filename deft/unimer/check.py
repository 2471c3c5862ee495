"""The checker of claims C2 and C3: every statement of a text is compared with the evidence. `parse` is that of
`deft.unimer.reading`.

`check` gives precision and recall of the statements. A motion is supported by region vectors, a unit by its
probability, a time by the courses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from deft.clips.facs import MIDLINE, SIDES, UNIT_INDEX
from deft.unimer import timing
from deft.unimer.facts import (
    DIRECTIONS,
    GROUPS,
    Fact,
    Facts,
    MotionFact,
    TimeFact,
    UnitFact,
    component,
    group_regions,
    sides_of,
    supports_unit,
    unit_array,
)
from deft.unimer.kinds import say
from deft.unimer.reading import parse
from deft.unimer.wording import SIDE_WORD

MIN_PX = 0.08  # below this no estimator of ours tells motion from nothing at 128 px
NOISE_FACTOR = 1.65  # times the noise floor (RMS per axis): a still region exceeds it once in twenty times
UNIT_THRESHOLD = 0.5  # probabilities are calibrated, so one half is the natural cut
CLASS_THRESHOLD = 0.5  # below it a class is withheld: the others together are more probable; natural, not chosen


@dataclass(frozen=True)
class Evidence:
    """What was measured on one clip. Any part may be missing (None): statements about it are then not supported.

    region: (36, 2) float, mean flow (u, v) per region, px, rigid motion removed, +x right, +y down.
    noise: px, noise floor of the clip. probability: (17, 2) calibrated probability per unit and side.
    courses: (T-1, 36, 2 or more) px, the flow of every frame after the onset (statements about time).
    """

    region: np.ndarray | None = None
    noise: float = 0.0
    probability: np.ndarray | None = None
    unit_threshold: float = UNIT_THRESHOLD
    courses: np.ndarray | None = None

    def __post_init__(self):
        for name, shape in (("region", (36, 2)), ("probability", (17, 2))):
            value = getattr(self, name)
            if value is not None and np.shape(value) != shape:
                raise ValueError(f"evidence: '{name}' has shape {np.shape(value)}, expected {shape}")
        shape = np.shape(self.courses)
        if self.courses is not None and (len(shape) != 3 or shape[0] < 2 or shape[1] != 36 or shape[2] < 2):
            raise ValueError(f"evidence: 'courses' has shape {shape}, expected (frames after the onset, 36, 2 or more)")

    @property
    def threshold_px(self) -> float:
        """Length in px from which a region counts as moving."""
        return max(MIN_PX, NOISE_FACTOR * float(self.noise))

    @classmethod
    def of(cls, evidence: Evidence | Mapping) -> Evidence:
        """A mapping with keys of this class ("region", "noise", "probability", "unit_threshold", "courses"); others
        are an error.
        """
        if isinstance(evidence, Evidence):
            return evidence
        unknown = set(evidence) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"evidence: unknown key {sorted(unknown)}; known: {sorted(cls.__dataclass_fields__)}")
        return cls(
            **{
                key: np.asarray(v) if key in ("region", "probability", "courses") and v is not None else v
                for key, v in evidence.items()
            }
        )

    def bears_out(self, fact: Fact) -> bool:
        """Is the fact supported? A unit: every claimed side reaches the threshold. A motion: see `moves`. A time:
        see `timing.bears_out`.
        """
        if isinstance(fact, TimeFact):
            return self.courses is not None and timing.bears_out(fact, self.courses, self.noise)
        if isinstance(fact, UnitFact):
            return self.probability is not None and supports_unit(fact, self.probability, self.unit_threshold)
        return self.region is not None and moves(fact, self.region, self.threshold_px)

    def moving(self) -> dict[tuple[str, str, str], float]:
        """{(spoken region, side, direction): px} for every component above the threshold ("B" at the midline)."""
        if self.region is None:
            return {}
        keys, rows, axes = _components()
        px = (np.asarray(self.region, np.float64)[rows] * axes).sum(1)
        return {keys[i]: float(px[i]) for i in np.flatnonzero(px >= self.threshold_px)}


def moves(fact: MotionFact, measured: np.ndarray, threshold_px: float) -> bool:
    """Measured vectors (36, 2) px support a motion when its sides reach the threshold on average, and each at least
    half of it.

    Truth must reach it on every side (`facts.supports`); a measurement has noise, and the mean of two sides has less of
    it."""
    px = component(measured, fact.region, fact.side, fact.direction)
    return bool(px.mean() >= threshold_px and px.min() >= threshold_px / 2)


@lru_cache(maxsize=1)
def _components() -> tuple[list[tuple[str, str, str]], np.ndarray, np.ndarray]:
    """Everything that can be said of one region's motion -> (keys, rows of REGIONS (K,), what each measures in (u,
    v) (K, 2)).
    """
    keys, rows, axes = [], [], []
    for group, region in GROUPS.items():
        middle = region in MIDLINE
        for side in ("B",) if middle else SIDES:
            index = group_regions(group, side)[0]
            for direction in DIRECTIONS[:2] if middle else DIRECTIONS:
                unit = np.zeros((36, 2))
                keys.append((group, side, direction))
                rows.append(index)
                axis = []
                for k in range(2):
                    unit[index] = np.eye(2)[k]
                    axis.append(float(component(unit, group, side, direction)[0]))
                axes.append(axis)
    return keys, np.array(rows), np.array(axes)


def check(text: str | Facts, evidence: Evidence | Mapping) -> dict:
    """Statements of a text against measured evidence.

    -> {"precision": share of statements that are supported (1.0 if nothing is stated),
        "recall": share of what was measured that is stated, counted per unit and side for texts that speak of units and
                  per region and side for texts that speak of motion, per event of the regions a text speaks of for
                  times (0.0 if nothing is stated but something moved),
        "statements": [{"text", "kind" unit|motion|time|denied, "supported": bool, "why"}], "unknown": words not
        understood}
    The class a text names is not a statement here: no measurement of motion can support an emotion.
    """
    facts = text if isinstance(text, Facts) else parse(text)
    measured = Evidence.of(evidence)
    statements = []
    for fact in facts.stated:
        supported = measured.bears_out(fact)
        statements.append({"text": say(fact), "kind": fact.kind, "supported": supported, "why": _why(fact, measured)})
    for fact in facts.denied:
        supported = _measured(fact, measured) and not any(measured.bears_out(one) for one in _sides(fact))
        statements.append(
            {"text": "not : " + say(fact), "kind": "denied", "supported": supported, "why": _why(fact, measured)}
        )
    right = sum(s["supported"] for s in statements)
    found, wanted = _recall(facts, measured)
    return {
        "precision": right / len(statements) if statements else 1.0,
        "recall": found / wanted if wanted else 1.0,
        "statements": statements,
        "unknown": facts.unknown,
    }


def _sides(fact: Fact) -> list[Fact]:
    """A fact about both sides as one about each: who denies both says of neither that it moves."""
    if isinstance(fact, TimeFact):
        return [fact]
    return [replace(fact, side=side) for side in sides_of(fact.side)]


def _measured(fact: Fact, evidence: Evidence) -> bool:
    if isinstance(fact, TimeFact):
        return True
    known = evidence.probability if isinstance(fact, UnitFact) else evidence.region
    return known is not None and (not isinstance(fact, UnitFact) or fact.code in UNIT_INDEX)


def _why(fact: Fact, evidence: Evidence) -> str:
    if isinstance(fact, UnitFact):
        if evidence.probability is None or fact.code not in UNIT_INDEX:
            return "no measurement of this unit"
        row = evidence.probability[UNIT_INDEX[fact.code]]
        values = ", ".join(f"{SIDE_WORD[s]} {row[SIDES.index(s)]:.2f}" for s in sides_of(fact.side))
        return f"probability {values}; threshold {evidence.unit_threshold:.2f}"
    if isinstance(fact, TimeFact):
        return _why_then(fact, evidence)
    if evidence.region is None:
        return "no measurement of this region"
    px = component(evidence.region, fact.region, fact.side, fact.direction)
    names = [SIDE_WORD[s] for s in sides_of(fact.side)] if len(px) == len(sides_of(fact.side)) else ["middle"]
    values = ", ".join(f"{name} {value:+.2f} px" for name, value in zip(names, px))
    return f"{values} {fact.direction}; threshold {evidence.threshold_px:.2f} px"


def _why_then(fact: TimeFact, evidence: Evidence) -> str:
    if evidence.courses is None:
        return "no measurement over time"
    found = timing.events(evidence.courses, evidence.noise, fact.region, fact.side)
    if not found:
        return "this region does not move clearly enough to have a time"
    told = ", ".join(
        event if not last else f"{event} {first}" if first == last else f"{event} {first} to {last}"
        for event, (first, last) in found.items()
    )
    return f"measured: {told}; frames after the onset"


def _recall(facts: Facts, evidence: Evidence) -> tuple[int, int]:
    """-> (measured facts that are stated, measured facts). Kinds of fact (units, motions, times) that a text never
    mentions do not count.
    """
    found = wanted = 0
    silent = not facts.units and not facts.motions and not facts.times
    if evidence.courses is not None and facts.times:
        said = {(fact.event, fact.region, fact.side) for fact in facts.times if evidence.bears_out(fact)}
        for place in dict.fromkeys((fact.region, fact.side) for fact in facts.times):
            there = timing.events(evidence.courses, evidence.noise, *place)
            found += sum((event, *place) in said for event in there)
            wanted += len(there)
    if evidence.probability is not None and (facts.units or silent):
        active = np.asarray(evidence.probability) >= evidence.unit_threshold
        found += int((active & (unit_array(facts.units) > 0)).sum())
        wanted += int(active.sum())
    if evidence.region is not None and (facts.motions or (silent and evidence.probability is None)):
        strongest: dict[tuple[str, str], tuple[float, str]] = {}
        for (group, side, direction), px in evidence.moving().items():
            strongest[(group, side)] = max(strongest.get((group, side), (0.0, "")), (px, direction))
        stated = {(index, fact.direction) for fact in facts.motions for index in group_regions(fact.region, fact.side)}
        found += sum((group_regions(g, s)[0], direction) in stated for (g, s), (_, direction) in strongest.items())
        wanted += len(strongest)
    return found, wanted
