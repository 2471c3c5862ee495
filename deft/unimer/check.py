"""Reading any text back into facts and holding every statement against the evidence: the checker of claims C2 and C3.

`parse` takes our own sentences, a rephrasing, or the malformed output of a model; it never raises on text.
`check` gives statement precision and recall. A motion is borne out by region vectors, a unit by its probability, a time by the courses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from deft.clips.facs import COARSE, COARSE_CLASSES, EMOTIONS, MIDLINE, NAMES, SIDES, UNIT_INDEX, UNITS
from deft.unimer import asking, grammar, temporal, timing, vqa
from deft.unimer.facts import (DIRECTIONS, GROUPS, Fact, Facts, MotionFact, TimeFact, UnitFact, component, group_regions, sides_of,
                               supports_unit, unit_array)

MIN_PX = 0.08        # below this no estimator of ours tells motion from nothing at 128 px
NOISE_FACTOR = 1.65  # times the noise floor (RMS per axis): a still region exceeds it once in twenty times
UNIT_THRESHOLD = 0.5  # probabilities are calibrated, so one half is the natural cut

_SIDE = MappingProxyType({"left": "L", "right": "R", "both": "B"})
_DIRECTION = MappingProxyType(
    {d: d for d in DIRECTIONS} | {ward: d for d, ward in grammar.WARD.items()}
    | {form: d for d, verb in grammar.VERB.items() for form in (verb, verb + "s")}
    | {"raised": "up", "lifted": "up", "rises": "up", "lowered": "down", "drops": "down", "drop": "down"})
_NEGATION = frozenset({"no", "not", "absent", "without", "never"})
_NOUNS = frozenset({"motion", "movement", "shift", "displacement"})  # "upward shift of ...": the region follows


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
        return max(MIN_PX, NOISE_FACTOR * float(self.noise))

    @classmethod
    def of(cls, evidence: Evidence | Mapping) -> Evidence:
        """A mapping with keys of this class ("region", "noise", "probability", "unit_threshold", "courses"); others are an error."""
        if isinstance(evidence, Evidence):
            return evidence
        unknown = set(evidence) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"evidence: unknown key {sorted(unknown)}; known: {sorted(cls.__dataclass_fields__)}")
        return cls(**{key: np.asarray(v) if key in ("region", "probability", "courses") and v is not None else v for key, v in evidence.items()})

    def bears_out(self, fact: Fact) -> bool:
        """A unit: every claimed side reaches the threshold. A motion: see `moves`. A time: see `timing.bears_out`."""
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
    """Measured (36, 2) px bear a motion out when its sides reach the threshold on average, and each at least half of it.

    Truth is held against every side (`facts.supports`); a measurement has noise, and the mean of two sides has less of it.
    """
    px = component(measured, fact.region, fact.side, fact.direction)
    return bool(px.mean() >= threshold_px and px.min() >= threshold_px / 2)


@lru_cache(maxsize=1)
def _components() -> tuple[list[tuple[str, str, str]], np.ndarray, np.ndarray]:
    """Everything that can be said of one region's motion -> (keys, rows of REGIONS (K,), what each measures in (u, v) (K, 2))."""
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

    -> {"precision": share of statements that are borne out (1.0 if nothing is stated),
        "recall": share of what was measured that is stated, counted per unit and side for texts that speak of units and
                  per region and side for texts that speak of motion, per event of the regions a text speaks of for times
                  (0.0 if nothing is stated but something moved),
        "statements": [{"text", "kind" unit|motion|time|denied, "supported": bool, "why"}], "unknown": words not understood}
    The class a text names is not a statement here: no pixel bears out an emotion.
    """
    facts = text if isinstance(text, Facts) else parse(text)
    measured = Evidence.of(evidence)
    statements = []
    for fact in (*facts.units, *facts.motions, *facts.times):
        supported = measured.bears_out(fact)
        kind = "unit" if isinstance(fact, UnitFact) else "motion" if isinstance(fact, MotionFact) else "time"
        statements.append({"text": say(fact), "kind": kind, "supported": supported, "why": _why(fact, measured)})
    for fact in facts.denied:
        supported = not measured.bears_out(fact)
        statements.append({"text": "not : " + say(fact), "kind": "denied", "supported": supported, "why": _why(fact, measured)})
    right = sum(s["supported"] for s in statements)
    found, wanted = _recall(facts, measured)
    return {"precision": right / len(statements) if statements else 1.0, "recall": found / wanted if wanted else 1.0,
            "statements": statements, "unknown": facts.unknown}


def say(fact: Fact) -> str:
    """The canonical words of one fact."""
    if isinstance(fact, UnitFact):
        return f"au{fact.code} {NAMES.get(fact.code, 'unit')} {grammar.SIDE_WORD.get(fact.side, 'on some side')}"
    if isinstance(fact, TimeFact):
        return temporal.say(fact)
    return grammar._fill("{np} {verb:move} {dir}", fact, None)


def _why(fact: Fact, evidence: Evidence) -> str:
    if isinstance(fact, UnitFact):
        if evidence.probability is None or fact.code not in UNIT_INDEX:
            return "no measurement of this unit"
        row = evidence.probability[UNIT_INDEX[fact.code]]
        values = ", ".join(f"{grammar.SIDE_WORD[s]} {row[SIDES.index(s)]:.2f}" for s in sides_of(fact.side))
        return f"probability {values}; threshold {evidence.unit_threshold:.2f}"
    if isinstance(fact, TimeFact):
        return _why_then(fact, evidence)
    if evidence.region is None:
        return "no measurement of this region"
    px = component(evidence.region, fact.region, fact.side, fact.direction)
    names = [grammar.SIDE_WORD[s] for s in sides_of(fact.side)] if len(px) == len(sides_of(fact.side)) else ["middle"]
    values = ", ".join(f"{name} {value:+.2f} px" for name, value in zip(names, px))
    return f"{values} {fact.direction}; threshold {evidence.threshold_px:.2f} px"


def _why_then(fact: TimeFact, evidence: Evidence) -> str:
    if evidence.courses is None:
        return "no measurement over time"
    found = timing.events(evidence.courses, evidence.noise, fact.region, fact.side)
    if not found:
        return "this region does not move clearly enough to have a time"
    told = ", ".join(event if not last else f"{event} {first}" if first == last else f"{event} {first} to {last}" for event, (first, last) in found.items())
    return f"measured: {told}; frames after the onset"


def _recall(facts: Facts, evidence: Evidence) -> tuple[int, int]:
    """-> (measured things that are stated, measured things). What a text is silent about as a kind does not count."""
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


# --- reading -----------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=1)
def _tables() -> tuple[dict, dict, frozenset]:
    """-> ({first word: [(words of a region, group, plural)]}, {code: words of the unit's name}, known words)."""
    regions: dict[str, list] = {}
    for group in GROUPS:
        for words, many in ((group.split(), False), (grammar._plural(group).split(), True)):
            regions.setdefault(words[0], []).append((words, group, many))
    for rows in regions.values():
        rows.sort(key=lambda row: -len(row[0]))
    return regions, {unit: NAMES[unit].split() for unit in UNITS}, frozenset(asking.vocabulary()) | frozenset(_DIRECTION)


def parse(text: str) -> Facts:
    """Any text -> Facts. Unknown words are passed over and counted in `.unknown`; repeated facts are kept once."""
    words = grammar.tokens(str(text))
    known = _tables()[2]
    emotion, coarse, found = "", "", {"units": [], "motions": [], "denied": [], "times": []}
    for sentence in _sentences(words):
        negative = any(word in _NEGATION for word in sentence)
        for clause in _by_class(sentence):
            for word in clause:
                if word in COARSE_CLASSES and ("coarse" in clause or word not in EMOTIONS):
                    coarse = coarse or word
                elif word in EMOTIONS and not negative:
                    emotion = emotion or word
        units, rest = _read_units(sentence)
        if not units:
            units, rest = vqa.read(rest)
        motions = _read_motions(rest)
        then, not_then = temporal.read(rest, _places(rest))
        found["times"] += then
        found["denied"] += not_then
        if negative:
            found["denied"] += units + motions
        else:
            found["units"] += units
            found["motions"] += motions
    unique = {key: tuple(dict.fromkeys(facts)) for key, facts in found.items()}
    unknown = sum(word not in known for word in words)
    return Facts(emotion, coarse or COARSE.get(emotion, ""), unknown=unknown, **unique)


def _sentences(words: list[str]) -> list[list[str]]:
    sentences, current = [], []
    for word in words:
        if word in ".;!?":
            sentences.append(current)
            current = []
        else:
            current.append(word)
    return sentences + [current]


def _by_class(sentence: list[str]) -> list[list[str]]:
    """A sentence that tells the fine *and* the coarse class, cut before each of these words; any other sentence whole."""
    cuts = [i for i, word in enumerate(sentence) if word in ("fine", "coarse")]
    if len({sentence[i] for i in cuts}) < 2:
        return [sentence]
    return [sentence[a:b] for a, b in zip([0, *cuts], [*cuts, len(sentence)])]


def _unit_code(word: str) -> int | None:
    digits = word[2:]
    return int(digits) if word.startswith("au") and digits.isdecimal() and int(digits) in UNIT_INDEX else None


def _read_units(words: list[str]) -> tuple[list[UnitFact], list[str]]:
    """A sentence -> (unit facts, the sentence without the words that belong to units)."""
    names = _tables()[1]
    positions = [i for i, word in enumerate(words) if _unit_code(word) is not None]
    facts, used = [], set()
    for n, i in enumerate(positions):
        code = _unit_code(words[i])
        used.add(i)
        end = positions[n + 1] if n + 1 < len(positions) else len(words)
        j = i + 1 + (i + 1 < end and words[i + 1] == "(")
        for name_word in names[code]:  # its name, as far as it is spelled
            if j < end and words[j] == name_word:
                used.add(j)
                j += 1
        side = None
        while j < end and words[j] not in (",", "and") and not _region_ahead(words, j):
            if words[j] in _SIDE:
                side = _SIDE[words[j]]
                used.add(j)
                break
            j += 1
        if side is None and len(positions) == 1:  # "on the left side : au12", "it is left for au12"
            for k in reversed(range(i)):
                if words[k] in (",", "and") or _region_at(words, k):
                    break
                if words[k] in _SIDE:
                    side = _SIDE[words[k]]
                    used.add(k)
                    break
        facts.append(UnitFact(code, side or "B"))
    return facts, [word for i, word in enumerate(words) if i not in used]


def _region_at(words: list[str], i: int) -> tuple[str, bool, int] | None:
    """-> (group, plural, number of words) if a spoken region starts at i."""
    for spelled, group, many in _tables()[0].get(words[i], ()) if i < len(words) else ():
        if words[i:i + len(spelled)] == spelled:
            return group, many, len(spelled)
    return None


def _region_ahead(words: list[str], i: int) -> bool:
    """A region, possibly after "the" and a side word, starts at i."""
    while i < len(words) and (words[i] == "the" or words[i] in _SIDE):
        if _region_at(words, i + 1):
            return True
        i += 1
    return bool(_region_at(words, i))


def _places(words: list[str]) -> list[tuple[int, str, str]]:
    """Every region of a sentence -> (position, spoken region, side)."""
    found, i = [], 0
    while i < len(words):
        region = _region_at(words, i)
        if region:
            found.append((i, region[0], "B" if GROUPS[region[0]] in MIDLINE else _side_before(words, i) or "B"))
        i += region[2] if region else 1
    return found


def _side_before(words: list[str], i: int) -> str | None:
    """The side that belongs to a region starting at i: "the left cheek", "the left and right cheeks", "left side of the jaw"."""
    before = [word for word in words[max(0, i - 5):i] if word not in ("the", "of", "side")]
    if len(before) >= 3 and before[-2] == "and" and {before[-1], before[-3]} == {"left", "right"}:
        return "B"
    return _SIDE.get(before[-1]) if before else None


def _read_motions(words: list[str]) -> list[MotionFact]:
    """One sentence. A direction belongs to the regions waiting for it, else to the last one ("up and outward"), else to the next."""
    facts: list[MotionFact] = []
    waiting: list[tuple[str, str]] = []
    last: list[tuple[str, str]] = []
    ahead: str | None = None
    i = 0
    while i < len(words):
        word = words[i]
        if region := _region_at(words, i):
            group, many, length = region
            side = "B" if GROUPS[group] in MIDLINE else _side_before(words, i) or "B"
            if ahead:
                facts.append(MotionFact(group, side, ahead))
            else:
                waiting.append((group, side))
            i += length
            continue
        if direction := _DIRECTION.get(word):
            if i + 1 < len(words) and words[i + 1] in _NOUNS:
                ahead = direction
            elif waiting or last:
                last, waiting = waiting or last, []
                facts += [MotionFact(group, side, direction) for group, side in last]
            else:
                ahead = direction
        elif word == ",":
            last, ahead = [], None
        i += 1
    return facts
