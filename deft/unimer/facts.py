"""Facts: what a Uni-MER text says, before any wording. (C, E, R) of the paper: a class, evidence in units, motion as
reasoning.

A fact can be compared with numbers: a unit with a (17, 2) array of probabilities or intensities, a motion with (36, 2)
vectors of region flow, a time with the courses. Side "B" (both) claims both sides; "L" and "R" claim that side and say
nothing of the other; a unit alone may have side "A" (any): it is shown, and the text does not say where (as in the MEGC
task)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from deft.clips.facs import (
    COARSE,
    EMOTIONS,
    EXPECTED,
    MIDLINE,
    PROTOTYPES,
    REGION_INDEX,
    SIDES,
    UNIT_INDEX,
    UNITS,
    main_direction,
)

DIRECTIONS = ("up", "down", "outward", "inward")

# Name of a region in texts ("spoken region") -> region of `facs.REGIONS` that is measured. Midline regions have no
# side: side "B".
GROUPS = MappingProxyType(
    {
        "inner forehead": "forehead_inner",
        "outer forehead": "forehead_outer",
        "inner brow": "brow_inner",
        "outer brow": "brow_outer",
        "upper lid": "upper_lid",
        "lower lid": "lower_lid",
        "eye corner": "outer_canthus",
        "cheek": "cheek",
        "nose side": "nose_side",
        "nasolabial fold": "nasolabial",
        "upper lip": "upper_lip",
        "lip corner": "lip_corner",
        "lower lip": "lower_lip",
        "chin side": "chin_side",
        "jaw": "jaw",
        "glabella": "glabella",
        "chin": "chin",
    }
)
SPOKEN = MappingProxyType({region: group for group, region in GROUPS.items()})

_OPPOSITE = MappingProxyType({"up": "down", "down": "up", "outward": "inward", "inward": "outward"})

# Units that people show on one side more often than others (FACS Investigator's Guide; Ekman 1980 on asymmetry).
_ONE_SIDED = MappingProxyType({2: 0.2, 10: 0.2, 12: 0.25, 14: 0.4} | {u: 0.08 for u in (1, 4, 5, 6, 7, 9, 15, 20)})


@dataclass(frozen=True, order=True)
class UnitFact:
    """Action unit `code` is active on `side`: "L", "R", "B" (both) or "A" (at least one, which one is not said)."""

    kind: ClassVar[str] = "unit"
    code: int
    side: str = "B"


@dataclass(frozen=True, order=True)
class MotionFact:
    """The spoken region (a key of GROUPS) on `side` moves in `direction` (one of DIRECTIONS)."""

    kind: ClassVar[str] = "motion"
    region: str
    side: str
    direction: str


FRAMED = ("start", "peak", "fade")  # events that name a frame
EVENTS = (*FRAMED, "first", "back", "stay")


@dataclass(frozen=True, order=True)
class TimeFact:
    """When the spoken region moves: `event` is one of EVENTS, in stored frames `first` to `last` (onset = 0).

    start, fade: first == last. "first" (it moves before the others), "back" (it comes back) and "stay" (it does not)
    name no frame: 0, 0."""

    kind: ClassVar[str] = "time"
    event: str
    region: str
    side: str
    first: int = 0
    last: int = 0


Fact = UnitFact | MotionFact | TimeFact
LISTS = ("units", "motions", "denied", "times")  # the fields of Facts that hold facts


@dataclass(frozen=True)
class Facts:
    """emotion: one of EMOTIONS or "". coarse: positive, surprise, negative or "". units, motions: what is said to be
    so. denied: facts said *not* to be so. times: when regions move. Not part of equality: unknown, words a parser could
    not place; repeated, facts that a text says again."""

    emotion: str = ""
    coarse: str = ""
    units: tuple[UnitFact, ...] = ()
    motions: tuple[MotionFact, ...] = ()
    denied: tuple[Fact, ...] = ()
    times: tuple[TimeFact, ...] = ()
    unknown: int = field(default=0, compare=False)
    repeated: tuple[Fact, ...] = field(default=(), compare=False)

    @classmethod
    def one(cls, fact: Fact, denied: bool = False) -> Facts:
        """A single fact, stated or denied."""
        return cls(**{"denied" if denied else fact.kind + "s": (fact,)})

    @property
    def stated(self) -> tuple[Fact, ...]:
        """Units, motions and times."""
        return (*self.units, *self.motions, *self.times)

    def to_json(self) -> dict:
        """As plain JSON values: units [code, side], motions [region, side, direction], times [event, region, side,
        first, last].
        """
        rows = {name: [list(vars(fact).values()) for fact in getattr(self, name)] for name in LISTS}
        return {"emotion": self.emotion, "coarse": self.coarse, **rows}

    @classmethod
    def from_json(cls, row: Mapping) -> Facts:
        """The inverse of `to_json`."""
        kind, row = (
            {2: UnitFact, 3: MotionFact, 5: TimeFact},
            {
                "times": (),
                **row,
            },
        )  # kind: by the number of its entries
        lists = {name: tuple(kind[len(fact)](*fact) for fact in row[name]) for name in LISTS}
        return cls(row["emotion"], row["coarse"], **lists)


def sides_of(side: str) -> tuple[str, ...]:
    """The sides that a side word covers: "B" and "A" are both."""
    return SIDES if side in ("B", "A") else (side,)


def group_regions(group: str, side: str) -> tuple[int, ...]:
    """Spoken region and side -> indices into REGIONS: one per claimed side, a single one for a midline region."""
    region = GROUPS[group]
    return (
        (REGION_INDEX[(region, "")],) if region in MIDLINE else tuple(REGION_INDEX[(region, s)] for s in sides_of(side))
    )


def component(region_vectors: np.ndarray, group: str, side: str, direction: str) -> np.ndarray:
    """How far each claimed side moves along `direction`, px. region_vectors: (36, 2) (u, v), +x right, +y down -> (1
    or 2,).
    """
    indices = list(group_regions(group, side))
    vectors = np.asarray(region_vectors, np.float64)[indices]
    if direction in ("up", "down"):
        return vectors[:, 1] * (1.0 if direction == "down" else -1.0)
    if GROUPS[group] in MIDLINE:
        return np.full(len(indices), -np.inf)  # the midline has no outward
    outward = np.array([1.0 if s == "L" else -1.0 for s in sides_of(side)])  # the person's left is at larger x
    return vectors[:, 0] * outward * (1.0 if direction == "outward" else -1.0)


def supports(fact: MotionFact, region_vectors: np.ndarray, threshold_px: float) -> bool:
    """True if every claimed side moves at least `threshold_px` along the claimed direction."""
    return bool(np.all(component(region_vectors, fact.region, fact.side, fact.direction) >= threshold_px))


def supports_unit(fact: UnitFact, units: np.ndarray, threshold: float) -> bool:
    """True if the unit reaches `threshold` on every claimed side ("A": on one). units: (17, 2), probability or true
    intensity.
    """
    if fact.code not in UNIT_INDEX:
        return False
    row = np.asarray(units)[UNIT_INDEX[fact.code]]
    reached = [row[SIDES.index(side)] >= threshold for side in sides_of(fact.side)]
    return bool(any(reached) if fact.side == "A" else all(reached))


def unit_array(units: Iterable[UnitFact]) -> np.ndarray:
    """Unit facts -> (17, 2) float32 of 0 and 1, a unit of side "A" on both; units outside UNITS are left out."""
    array = np.zeros((len(UNITS), 2), np.float32)
    for fact in units:
        if fact.code in UNIT_INDEX:
            for side in sides_of(fact.side):
                array[UNIT_INDEX[fact.code], SIDES.index(side)] = 1
    return array


def merge_sides(active: np.ndarray) -> tuple[UnitFact, ...]:
    """(17, 2) booleans -> unit facts, both sides of a unit in one."""
    return tuple(
        UnitFact(unit, "B" if row.all() else SIDES[int(np.argmax(row))])
        for unit, row in zip(UNITS, np.asarray(active, bool))
        if row.any()
    )


def expected_motion(
    units: Iterable[UnitFact], rng: np.random.Generator | None = None
) -> dict[tuple[str, str, str], float]:
    """Units -> {(spoken region, side L/R or B at the midline, direction): strength}, summed over units.

    Units that work against each other on a region cancel. With `rng`, each unit gets a random strength in [.5, 1].
    """
    vectors: dict[tuple[str, str], tuple[float, float]] = {}
    for fact in units:
        strength = 1.0 if rng is None else rng.uniform(0.5, 1.0)
        for side in sides_of(fact.side):
            for region, outward, down, weight in EXPECTED[fact.code]:
                pull = strength * weight * (0.5 if region in MIDLINE and fact.side == "B" else 1.0)
                key = (SPOKEN[region], "B" if region in MIDLINE else side)
                x, y = vectors.get(key, (0.0, 0.0))
                vectors[key] = (x + pull * outward, y + pull * down)
    motion = {}
    for (group, side), (outward, down) in vectors.items():
        for value, positive, negative in ((outward, "outward", "inward"), (down, "down", "up")):
            if abs(value) > 0:
                motion[(group, side, positive if value > 0 else negative)] = float(abs(value))
    return motion


def merge_motions(moving: Mapping[tuple[str, str, str], float]) -> list[tuple[MotionFact, float]]:
    """{(region, side, direction): strength} -> facts, L and R of one movement joined, strongest first."""
    joined: dict[MotionFact, float] = {}
    for (group, side, direction), strength in moving.items():
        other = {"L": "R", "R": "L"}.get(side)
        partner = moving.get((group, other, direction)) if other else None
        fact = MotionFact(group, side if partner is None else "B", direction)
        joined[fact] = max(joined.get(fact, 0.0), strength if partner is None else (strength + partner) / 2)
    return sorted(joined.items(), key=lambda item: -item[1])


def motion_budget(units: int) -> int:
    """How many motions an answer may name beside `units` units, so that a reasoning stays within about 45 tokens."""
    return {0: 3, 1: 3, 2: 3, 3: 2}.get(units, 1)


def facts_from_units(
    units: Mapping[int, str] | Iterable[UnitFact] | np.ndarray,
    rng: np.random.Generator | None = None,
    emotion: str = "",
    limit: int | None = None,
    floor: float = 0.3,
) -> Facts:
    """Units alone -> Facts with the motions that `facs.EXPECTED` lets one expect (text-only pretraining, constraint
    "au").

    units: {code: side}, unit facts, or a (17, 2) array (active where > 0).
    The place by which a unit is scored comes first, then the strongest, with a little chance in the order.
    limit: at most so many motions (default `motion_budget`); floor: weakest component that is spoken of.
    """
    if isinstance(units, np.ndarray):
        units = merge_sides(units > 0)
    facts = tuple(UnitFact(c, s) for c, s in units.items()) if isinstance(units, Mapping) else tuple(units)
    facts = tuple(f for f in facts if f.code in UNIT_INDEX)
    motion = {key: value for key, value in expected_motion(facts, rng).items() if value >= floor}
    order = rank_motions(merge_motions(motion), facts, rng)
    return Facts(
        emotion, COARSE.get(emotion, ""), facts, tuple(order[: motion_budget(len(facts)) if limit is None else limit])
    )


def rank_motions(
    motions: Iterable[tuple[MotionFact, float]], units: Iterable[UnitFact], rng: np.random.Generator | None = None
) -> list[MotionFact]:
    """(motion, strength) pairs -> motions in the order in which a text names them: those by which FACS scores the
    units, then by strength.
    """
    telling = set()
    for fact in units:
        region, outward, down, _ = max(EXPECTED[fact.code], key=lambda row: row[3])
        telling.add((SPOKEN[region], main_direction(outward, down)))
    scored = [
        (
            value
            * (3 if (m.region, m.direction) in telling else 1)
            * (rng.uniform(0.6, 1.0) if rng is not None else 1),
            m,
        )
        for m, value in motions
    ]
    return [motion for _, motion in sorted(scored, key=lambda item: -item[0])]


MISSING, EXTRA = 0.12, 0.60  # chance that a text leaves out one unit of its prototype, that it adds one unrelated unit


def text_facts(
    rng: np.random.Generator,
    flat: bool = False,
    weights: Mapping[str, float] | None = None,
    missing: float = MISSING,
    extra: float = EXTRA,
) -> Facts:
    """Facts of a clip that never existed: an emotion, units of one of its prototypes with noise, and expected motions.

    flat: units are drawn from the prototypes of *any* emotion, so text carries the language but no emotion knowledge.
    weights: class weights, uniform by default. missing, extra: chance that one unit is left out or one unrelated unit
    added. extra is high on purpose: if units only ever came as a prototype's, the model would read the emotion and
    recite its units, and those of no prototype (20, 26) would never be said (units in text .55 F1 with .12, .65 with
    .60, on a benchmark of another seed)."""
    share = np.array([1.0 if weights is None else weights[e] for e in EMOTIONS])
    emotion = EMOTIONS[rng.choice(len(EMOTIONS), p=share / share.sum())]
    source = EMOTIONS[rng.integers(len(EMOTIONS))] if flat else emotion
    chance, sets = zip(*PROTOTYPES[source])
    codes = sorted(sets[rng.choice(len(sets), p=np.array(chance))])
    if len(codes) > 1 and rng.random() < missing:
        codes.pop(rng.integers(len(codes)))
    if rng.random() < extra:
        codes = sorted({*codes, UNITS[rng.integers(len(UNITS))]})
    common = rng.choice(SIDES) if rng.random() < 0.05 else ""  # now and then the whole face moves on one side
    units = {}
    for code in codes:
        alone = rng.random() < _ONE_SIDED.get(code, 0.0)
        units[code] = common if common and code in _ONE_SIDED else str(rng.choice(SIDES)) if alone else "B"
    facts = facts_from_units({code: str(side) for code, side in units.items()}, rng, emotion)
    return replace(facts, denied=hard_negatives(facts, stated_by(facts), rng))


def textbook_posterior(codes: Iterable[int], missing: float = MISSING, extra: float = EXTRA) -> np.ndarray:
    """Units that moved -> (5,) probability of each emotion according to the literature, all equally common; zeros where
    no prototype is near.

    The exact inverse of how `text_facts` draws units: a prototype, perhaps without one of its units, perhaps with one
    unrelated unit."""
    moved, likelihood = frozenset(codes), np.zeros(len(EMOTIONS))
    for place, emotion in enumerate(EMOTIONS):
        for chance, prototype in PROTOTYPES[emotion]:
            drop = missing if len(prototype) > 1 else 0.0
            for kept, share in (
                (prototype, 1 - drop),
                *((prototype - {unit}, drop / len(prototype)) for unit in prototype if drop),
            ):
                if kept == moved:
                    likelihood[place] += chance * share * (1 - extra + extra * len(kept) / len(UNITS))
                elif kept < moved and len(moved) == len(kept) + 1:
                    likelihood[place] += chance * share * extra / len(UNITS)
    return likelihood / likelihood.sum() if likelihood.any() else likelihood


def stated_by(facts: Facts) -> Callable[[Fact], bool]:
    """-> a test for "`facts` state this on any of its sides" (a statement about both sides states each of them)."""
    known = {replace(fact, side=side) for fact in (*facts.units, *facts.motions) for side in sides_of(fact.side)}
    return lambda fact: any(replace(fact, side=side) in known for side in sides_of(fact.side))


def hard_negatives(
    facts: Facts, possible: Callable[[Fact], bool], rng: np.random.Generator, count: int = 2
) -> tuple[Fact, ...]:
    """False facts that are close to the true ones: right unit and wrong side, right region and wrong direction or side;
    after the first one an absent unit may take the place of a close one. A candidate of which `possible` says True is
    never used."""
    other = {"L": "R", "R": "L"}
    close: list[Fact] = [replace(f, side=other[f.side]) for f in facts.units if f.side != "B"]
    close += [replace(f, direction=_OPPOSITE[f.direction]) for f in facts.motions]
    close += [
        replace(f, side=other[f.side]) for f in facts.motions if f.side in SIDES and GROUPS[f.region] not in MIDLINE
    ]
    close = [fact for fact in dict.fromkeys(close) if not possible(fact)]
    close = [close[i] for i in rng.permutation(len(close))]
    stated = {fact.code for fact in facts.units}
    absent = [UnitFact(UNITS[i]) for i in rng.permutation(len(UNITS)) if UNITS[i] not in stated]
    chosen: list[Fact] = []
    while len(chosen) < count and (close or absent):
        if absent and (not close or (chosen and rng.random() < 0.5)):
            fact = absent.pop()
            if not any(possible(UnitFact(fact.code, side)) for side in SIDES):
                chosen.append(fact)
        else:
            chosen.append(close.pop())
    return tuple(chosen)
