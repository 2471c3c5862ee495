"""Facts in words: patterns with slots, filled so that verb and noun agree. The patterns are those of `kinds`.

A small, closed English: lower case with blanks around punctuation, so a word-level tokenizer needs `words(patterns)`
and no more. Every text can be read back into its facts (`deft.unimer.reading`); that is tested, and it is what makes
statements checkable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from deft.clips.facs import COARSE_CLASSES, EMOTIONS, MIDLINE, NAMES, UNITS
from deft.unimer.facts import DIRECTIONS, FRAMED, GROUPS, Fact, MotionFact, TimeFact, UnitFact

SIDE_WORD = MappingProxyType({"L": "left", "R": "right", "B": "both"})
WARD = MappingProxyType({"up": "upward", "down": "downward", "outward": "outward", "inward": "inward"})
SINGULAR = frozenset({"upper lip", "lower lip", "jaw", "inner forehead", "outer forehead"})  # one thing with two sides
VERB = MappingProxyType({"up": "rise", "down": "sink", "outward": "spread", "inward": "narrow"})
NONE, NO_MOTION = "none", "no clear motion"  # an answer's part that has nothing to tell
FRAMES = 32  # frame numbers that the vocabulary holds

# Slots that agree with the number of what is spoken of: (one, many). "move{s}" is "moves" or "move".
AGREE = MappingProxyType({
    "s": ("s", ""), "es": ("es", ""), "be": ("is", "are"), "do": ("does", "do"), "unit": ("unit", "units"),
})  # fmt: skip


def patterns(text: str) -> tuple[str, ...]:
    """The patterns of a text; "|" or the end of a line ends each. The first is the plain wording."""
    return tuple(pattern.strip() for pattern in re.split(r"[|\n]", text) if pattern.strip())


# {np} the region, {dir} up, {ward} upward, {own} a verb of its own direction; {au} au12, {name} its name, {side} left,
# {sides} the left side; {when} frame 3 or frames 3 to 4, {event} peak, {events} the same as a verb that agrees
UNIT_CLAUSES = patterns(
    "{au} {name} {side} | {au} {name} on {sides} | {au} {side} | {au} ( {name} ) {side} | {au} on {sides}"
)
MOTION_CLAUSES = patterns("""
    {np} move{s} {dir} | {np} shift{s} {ward} | {ward} motion of {np} | {np} {be} displaced {ward} | {np} {own}
    {np} {be} pulled {dir} | {np} {be} drawn {ward} | {ward} shift of {np} | {np} travel{s} {dir} | {np} : {dir}
    there is {ward} movement of {np} | {np} go{es} {dir}
""")
SHORT_CLAUSES = MOTION_CLAUSES[:10]  # those of a reasoning

# What can stand in a slot: words, or patterns again.
_FILLED = MappingProxyType({
    "np": ("the", *SIDE_WORD.values(), *GROUPS, *(group + "s" for group in GROUPS)),
    "dir": DIRECTIONS, "ward": tuple(WARD.values()), "own": tuple(verb + "{s}" for verb in VERB.values()),
    "au": tuple(f"au{unit}" for unit in UNITS), "name": tuple(NAMES.values()), "side": tuple(SIDE_WORD.values()),
    "sides": ("the left side", "the right side", "both sides"), "emotion": EMOTIONS, "coarse": COARSE_CLASSES,
    "list": (*UNIT_CLAUSES, ", and", NONE), "clauses": (*MOTION_CLAUSES, ", and", NO_MOTION),
    "when": ("frame", "frames to", *map(str, range(FRAMES))),
    "event": FRAMED, "events": tuple(event + "{s}" for event in FRAMED),
})  # fmt: skip


@dataclass(frozen=True)
class Wording:
    """How something is asked and answered. questions, answers: patterns; denials: answers that say no; nothing: answers
    when there is nothing to tell."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    denials: tuple[str, ...] = ()
    nothing: tuple[str, ...] = ()

    @classmethod
    def of(cls, **texts: str) -> Wording:
        """From one text of `patterns` per field."""
        return cls(**{field: patterns(text) for field, text in texts.items()})

    def all(self) -> tuple[str, ...]:
        """Every pattern."""
        return (*self.questions, *self.answers, *self.denials, *self.nothing)


def tokens(text: str) -> list[str]:
    """Text -> words and punctuation, lower case; the tokenizer's view of a text."""
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())


def words(patterns: Iterable[str]) -> set[str]:
    """Every token that the patterns can become, whatever fills their slots."""
    found, slots = set(), set()
    for pattern in patterns:
        slots |= set(re.findall(r"\{(\w+)\}", pattern))
        for many in (False, True):
            forms = agree(many)
            found |= set(tokens(re.sub(r"\{(\w+)\}", lambda slot, forms=forms: forms.get(slot[1], ""), pattern)))
    return found.union(*(words(_FILLED[slot]) for slot in slots - set(AGREE)))


def pick(patterns: Sequence[str], rng: np.random.Generator | None) -> str:
    """One of the patterns, drawn; without `rng` the first, the plain wording."""
    return patterns[0] if rng is None else patterns[rng.integers(len(patterns))]


def agree(many: bool) -> dict[str, str]:
    """The slots of AGREE for one or many."""
    return {slot: forms[many] for slot, forms in AGREE.items()}


def fill(pattern: str, fact: Fact, rng: np.random.Generator | None = None) -> str:
    """The pattern with the words of one fact. rng: now and then "both cheeks" instead of "the cheeks"."""
    if isinstance(fact, UnitFact):
        side = SIDE_WORD.get(fact.side, "on some side")
        sides = "both sides" if fact.side == "B" else f"the {side} side"
        return pattern.format(au=f"au{fact.code}", name=NAMES.get(fact.code, "unit"), side=side, sides=sides)
    phrase, many = _phrase(fact, rng)
    s = "" if many else "s"
    if isinstance(fact, TimeFact):
        when = f"frame {fact.first}" if fact.first == fact.last else f"frames {fact.first} to {fact.last}"
        slots = {"when": when, "event": fact.event, "events": fact.event + s}
    else:
        slots = {"dir": fact.direction, "ward": WARD[fact.direction], "own": VERB[fact.direction] + s}
    return pattern.format(np=phrase, **slots, **agree(many))


def _phrase(fact: MotionFact | TimeFact, rng: np.random.Generator | None) -> tuple[str, bool]:
    """-> (noun phrase, is it plural): "the left cheek", "the cheeks", "both cheeks", "the chin"."""
    if fact.side == "B" and (GROUPS[fact.region] in MIDLINE or fact.region in SINGULAR):
        return f"the {fact.region}", False
    if fact.side == "B":
        both = rng is not None and rng.random() < 0.25
        return f"{'both' if both else 'the'} {fact.region}s", True
    return f"the {SIDE_WORD[fact.side]} {fact.region}", False


def unit_list(units: Sequence[UnitFact], rng: np.random.Generator | None = None) -> str:
    """Units one after the other, all by one pattern; NONE if there are none."""
    pattern = pick(UNIT_CLAUSES, rng)
    parts = [fill(pattern, fact) for fact in units]
    return (" , ".join(parts) if rng is None else _join(parts, rng)) if parts else NONE


def clauses(motions: Sequence[MotionFact], rng: np.random.Generator | None = None, plain: float = 0.0) -> str:
    """One pattern for all motions of an answer; `plain`: chance of the first pattern on top of its share (a reasoning
    is mostly plain and keeps to SHORT_CLAUSES)."""
    keep = rng is None or rng.random() < plain
    pattern = MOTION_CLAUSES[0] if keep else pick(SHORT_CLAUSES if plain else MOTION_CLAUSES, rng)
    return _join([fill(pattern, fact, rng) for fact in motions], rng)


def _join(parts: list[str], rng: np.random.Generator | None) -> str:
    if len(parts) == 1 or (rng is not None and rng.random() < 0.5):
        return " , ".join(parts)
    return " , ".join(parts[:-1]) + " and " + parts[-1]
