"""Facts -> questions and answers in a small, closed English: the wording of Uni-MER.

Every answer can be parsed back into its facts (`deft.unimer.check.parse`); that is tested, and it is what makes statements
checkable. Texts are lower case with blanks around punctuation, so a word-level tokenizer needs `vocabulary()` and no more.
An answer begins with its class where it has one: in that order a small model wrote better text
(docs/method.md#what-learns-at-this-size).
`rng=None` gives the plain, canonical wording.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from deft.clips.facs import COARSE_CLASSES, EMOTIONS, MIDLINE, NAMES, UNITS
from deft.unimer.facts import (DIRECTIONS, GROUPS, Fact, Facts, MotionFact, UnitFact, facts_from_units, group_regions,
                               supports, supports_unit, text_facts)

__all__ = ["KINDS", "question", "answer", "mentioned", "focus", "vocabulary", "tokens", "Facts", "UnitFact", "MotionFact", "Fact",
           "DIRECTIONS", "GROUPS", "facts_from_units", "text_facts", "group_regions", "supports", "supports_unit"]

KINDS = ("motion", "units", "side", "coarse", "fine", "reasoning", "negative")

SIDE_WORD = MappingProxyType({"L": "left", "R": "right", "B": "both"})
WARD = MappingProxyType({"up": "upward", "down": "downward", "outward": "outward", "inward": "inward"})
SINGULAR = frozenset({"upper lip", "lower lip", "jaw", "inner forehead", "outer forehead"})  # one thing with two sides
VERB = MappingProxyType({"up": "rise", "down": "sink", "outward": "spread", "inward": "narrow"})

# {np} the region, {verb:x} the verb agreed with it, {be} is/are, {dir} up, {ward} upward, {own} a verb of its own direction
MOTION_CLAUSES = (
    "{np} {verb:move} {dir}", "{np} {verb:shift} {ward}", "{ward} motion of {np}", "{np} {be} displaced {ward}", "{np} {own}",
    "{np} {be} pulled {dir}", "{np} {be} drawn {ward}", "{ward} shift of {np}", "{np} {verb:travel} {dir}", "{np} : {dir}",
    "there is {ward} movement of {np}", "{np} {verb:go} {dir}",
)
MOTION_ANSWERS = ("{clauses} .", "motion : {clauses} .", "in this clip {clauses} .", "between onset and apex {clauses} .", "seen : {clauses} .",
                  "from onset to apex {clauses} .")
NO_MOTION = ("no clear motion .", "no region moves clearly .", "nothing moves above the noise .")

UNIT_CLAUSES = ("{au} {name} {side}", "{au} {name} on {sides}", "{au} {side}", "{au} ( {name} ) {side}", "{au} on {sides}")
UNIT_ANSWERS = ("{list} .", "active {unit} : {list} .", "action {unit} : {list} .", "{list} {be} active .", "the face shows {list} .",
                "the active {unit} {be} {list} .", "i see {list} .", "visible {unit} : {list} .", "the clip shows {list} .",
                "the coding is {list} .", "{list} {be} present .", "coded {unit} : {list} .")
NO_UNITS = ("no unit is active .", "no active unit .", "none .")

SIDE_ANSWERS = ("{au} {side} .", "{au} is on {sides} .", "on {sides} : {au} .", "side of {au} : {side} .", "{au} {name} on {sides} .", "it is {side} for {au} .",
                "{au} acts on {sides} .", "{au} {name} {side} .", "{au} is active on {sides} .", "{sides} for {au} .", "the side of {au} is {side} .", "{side} : {au} .")
COARSE_ANSWERS = ("coarse class : {coarse} .", "coarse : {coarse} .", "the coarse class is {coarse} .", "in coarse terms it is {coarse} .",
                  "coarse emotion : {coarse} .", "the coarse emotion is {coarse} .", "coarse answer : {coarse} .", "the coarse label is {coarse} .",
                  "coarse label : {coarse} .", "as a coarse class it is {coarse} .", "the coarse answer is {coarse} .", "coarse reading : {coarse} .")
FINE_ANSWERS = ("class : {emotion} .", "emotion : {emotion} .", "the class is {emotion} .", "this is {emotion} .", "the emotion is {emotion} .",
                "the face shows {emotion} .", "it looks like {emotion} .", "label : {emotion} .", "the label is {emotion} .",
                "i see {emotion} .", "the clip shows {emotion} .", "answer : {emotion} .")
NO_EVIDENCE = "none"
NO_REASON = "no clear motion"

YES_UNIT = ("yes , {au} {name} is active on {sides} .", "yes . {au} {side} .", "yes , {au} on {sides} is present .", "yes , the clip shows {au} on {sides} .",
            "yes . {au} {name} {side} .", "yes , i see {au} on {sides} .")
NO_UNIT = ("no , {au} {name} is not active on {sides} .", "no . not {au} {side} .", "no , {au} on {sides} is absent .", "no , the clip does not show {au} on {sides} .",
           "no . {au} {name} {side} is absent .", "no , i do not see {au} on {sides} .")
YES_MOTION = ("yes , {np} {verb:move} {dir} .", "yes . {np} {verb:move} {dir} .", "yes , there is {ward} motion of {np} .",
              "yes , {np} {be} displaced {ward} .", "yes . {ward} motion of {np} .", "yes , {np} {verb:shift} {ward} .")
NO_MOTION_ASKED = ("no , {np} {do} not move {dir} .", "no . {np} {do} not move {dir} .", "no , there is no {ward} motion of {np} .",
                   "no , {np} {be} not displaced {ward} .", "no . no {ward} motion of {np} .", "no , {np} {do} not shift {ward} .")

QUESTIONS = MappingProxyType({
    "motion": ("what moves ?", "which regions move and where to ?", "describe the motion .", "describe the movement of the face .", "how does the face move ?",
               "what moves between onset and apex ?", "which part of the face moves ?", "list the moving regions .", "what motion do you see ?",
               "tell the motion of each region .", "what changes from onset to apex ?", "where does the face move ?"),
    "units": ("which units are active ?", "which action units are present ?", "list the action units .", "name the active units .", "what units do you see ?",
              "which units does the face show ?", "code the face .", "give the action units and sides .", "what is the coding ?", "tell the active action units .",
              "which action units does the clip show ?", "which units are visible ?"),
    "side": ("on which side is {au} ?", "is {au} left , right or both ?", "which side does {au} act on ?", "side of {au} ?", "where is {au} active ?",
             "tell the side of {au} .", "give the side of {au} .", "{au} {name} : which side ?", "on which side do you see {au} ?", "which side shows {au} ?",
             "name the side of {au} .", "on which side is {au} {name} active ?"),
    "coarse": ("coarse class ?", "what is the coarse class ?", "positive , negative or surprise ?", "name the coarse emotion .", "give the coarse class .",
               "which coarse class is it ?", "what is the coarse emotion ?", "tell the coarse label .", "is it positive , negative or surprise ?",
               "what is the coarse label ?", "which coarse emotion does the face show ?", "label the clip in coarse terms ."),
    "fine": ("which emotion ?", "what is the emotion ?", "name the emotion .", "what is the class ?", "which emotion does the face show ?", "give the class .",
             "label the clip .", "what does the face show ?", "which class is it ?", "tell the emotion .", "what is the label ?", "which emotion do you see ?"),
    "reasoning": ("which emotion and why ?", "explain the emotion .", "give class , evidence and reasoning .", "what is the emotion and what is the evidence ?",
                  "name the emotion and explain .", "class , evidence and reasoning ?", "why this emotion ?", "explain the class by what moves .",
                  "what emotion is it and what moves ?", "tell the class and the evidence .", "reason about the clip .", "which class and which evidence ?"),
})
ASK_UNIT = ("is {au} active on {sides} ?", "is {au} {name} present on {sides} ?", "do you see {au} on {sides} ?", "does the face show {au} on {sides} ?",
            "is {au} visible on {sides} ?", "does the clip show {au} on {sides} ?")
ASK_MOTION = ("{does} {np} move {dir} ?", "is there {ward} motion of {np} ?", "do you see {np} move {dir} ?", "{bee} {np} displaced {ward} ?",
              "{does} {np} shift {ward} ?", "is there {ward} movement of {np} ?")


def tokens(text: str) -> list[str]:
    """Text -> words and punctuation, lower case; the tokenizer's view of a text."""
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())


def question(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """A question of `kind` (one of KINDS) about `facts`; "side" and "negative" ask about a particular fact. ValueError: unknown kind."""
    kind = _effective(kind, facts)
    if kind != "negative":
        return _fill(_pick(QUESTIONS[kind], rng), facts.units[0] if kind == "side" else None, rng)
    fact = _asked(facts)
    return _fill(_pick(ASK_UNIT if isinstance(fact, UnitFact) else ASK_MOTION, rng), fact, rng)


def answer(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """The answer of `kind`; it states exactly `mentioned(kind, facts)`."""
    kind = _effective(kind, facts)
    facts = mentioned(kind, facts)
    if kind == "motion":
        return _pick(MOTION_ANSWERS, rng).format(clauses=_clauses(facts.motions, rng)) if facts.motions else _pick(NO_MOTION, rng)
    if kind == "units":
        if not facts.units:
            return _pick(NO_UNITS, rng)
        many = len(facts.units) > 1
        return _pick(UNIT_ANSWERS, rng).format(list=_units(facts.units, rng), unit="units" if many else "unit", be="are" if many else "is")
    if kind == "side":
        return _fill(_pick(SIDE_ANSWERS, rng), facts.units[0], rng)
    if kind == "coarse":
        return _pick(COARSE_ANSWERS, rng).format(coarse=facts.coarse)
    if kind == "fine":
        return _pick(FINE_ANSWERS, rng).format(emotion=facts.emotion)
    if kind == "reasoning":
        evidence = _units(facts.units, None) if facts.units else NO_EVIDENCE
        reason = _clauses(facts.motions, rng, plain=0.5) if facts.motions else NO_REASON
        return f"class : {facts.emotion} . evidence : {evidence} . reasoning : {reason} ."
    fact = _asked(facts)
    denied = fact in facts.denied
    if isinstance(fact, UnitFact):
        return _fill(_pick(NO_UNIT if denied else YES_UNIT, rng), fact, rng)
    pattern = _pick(NO_MOTION_ASKED if denied else YES_MOTION, rng)
    return _fill(pattern, fact, None if denied else rng)  # "both cheeks do not move" could mean that one does


def mentioned(kind: str, facts: Facts) -> Facts:
    """The part of `facts` that an answer of `kind` states. Raises ValueError if the kind needs a class it lacks."""
    kind = _effective(kind, facts)
    if kind in ("fine", "reasoning") and facts.emotion not in EMOTIONS:
        raise ValueError(f"kind '{kind}' needs an emotion of {', '.join(EMOTIONS)}; found '{facts.emotion}'")
    if kind == "coarse" and facts.coarse not in COARSE_CLASSES:
        raise ValueError(f"kind 'coarse' needs one of {', '.join(COARSE_CLASSES)}; found '{facts.coarse}'")
    if kind == "motion":
        return Facts(motions=facts.motions)
    if kind == "units":
        return Facts(units=facts.units)
    if kind == "side":
        return Facts(units=facts.units[:1])
    if kind == "coarse":
        return Facts(coarse=facts.coarse)
    if kind == "fine":
        return Facts(emotion=facts.emotion, coarse=facts.coarse)
    if kind == "reasoning":
        return Facts(facts.emotion, facts.coarse, facts.units, facts.motions)
    fact = _asked(facts)
    if fact in facts.denied:
        return Facts(denied=(fact,))
    return Facts(units=(fact,)) if isinstance(fact, UnitFact) else Facts(motions=(fact,))


def focus(kind: str, facts: Facts, rng: np.random.Generator) -> Facts:
    """Choose what a "side" or "negative" question is about, so that question and answer agree; other kinds keep `facts`.

    "side": any of the units. "negative": in half of the cases a denied fact (the answer is no), else a true one (yes).
    """
    if kind == "side" and facts.units:
        return replace(facts, units=(facts.units[rng.integers(len(facts.units))],))
    if kind == "negative":
        true = (*facts.units, *facts.motions)
        if facts.denied and (not true or rng.random() < 0.5):
            return replace(facts, denied=(facts.denied[rng.integers(len(facts.denied))],))
        if true:
            fact = true[rng.integers(len(true))]
            units, motions = ((fact,), ()) if isinstance(fact, UnitFact) else ((), (fact,))
            return replace(facts, units=units, motions=motions, denied=())
    return facts


def vocabulary() -> list[str]:
    """Every token that a question or an answer can contain, sorted."""
    patterns = [p for group in (MOTION_CLAUSES, MOTION_ANSWERS, NO_MOTION, UNIT_CLAUSES, UNIT_ANSWERS, NO_UNITS, SIDE_ANSWERS, COARSE_ANSWERS,
                                FINE_ANSWERS, YES_UNIT, NO_UNIT, YES_MOTION, NO_MOTION_ASKED, *QUESTIONS.values(), ASK_UNIT, ASK_MOTION) for p in group]
    verbs = re.findall(r"\{verb:(\w+)\}", " ".join(patterns)) + list(VERB.values())
    words = set(tokens(re.sub(r"\{[^}]*\}", " ", " ".join(patterns))))
    for text in (*EMOTIONS, *COARSE_CLASSES, *NAMES.values(), *GROUPS, *(_plural(g) for g in GROUPS), *DIRECTIONS, *WARD.values(), *verbs,
                 *(_third(v) for v in verbs), *SIDE_WORD.values(), "the and , is are does do unit units", "the left side both sides right", NO_EVIDENCE, NO_REASON,
                 "class : evidence : reasoning : .", *(f"au{u}" for u in UNITS)):
        words |= set(tokens(text))
    return sorted(words)


# --- wording -----------------------------------------------------------------------------------------------------------
def _effective(kind: str, facts: Facts) -> str:
    """The kind itself; a question about one unit or one fact becomes one about all units when there is none to ask about."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind '{kind}'; known: {', '.join(KINDS)}")
    nothing = not facts.units if kind == "side" else kind == "negative" and not (facts.denied or facts.units or facts.motions)
    return "units" if nothing else kind


def _asked(facts: Facts) -> Fact:
    """The fact a yes-no question is about: the first denied one, else the first unit, else the first motion."""
    return (*facts.denied, *facts.units, *facts.motions)[0]


def _pick(patterns: tuple[str, ...], rng: np.random.Generator | None) -> str:
    return patterns[0] if rng is None else patterns[rng.integers(len(patterns))]


def _plural(group: str) -> str:
    return group + "s"


def _third(verb: str) -> str:
    return verb + ("es" if verb.endswith("o") else "s")


def _phrase(fact: MotionFact, rng: np.random.Generator | None) -> tuple[str, bool]:
    """-> (noun phrase, is it plural): "the left cheek", "the cheeks", "both cheeks", "the chin"."""
    if fact.side == "B" and (GROUPS[fact.region] in MIDLINE or fact.region in SINGULAR):
        return f"the {fact.region}", False
    if fact.side == "B":
        both = rng is not None and rng.random() < 0.25
        return f"{'both' if both else 'the'} {_plural(fact.region)}", True
    return f"the {SIDE_WORD[fact.side]} {fact.region}", False


def _fill(pattern: str, fact: Fact | None, rng: np.random.Generator | None) -> str:
    if fact is None:
        return pattern
    if isinstance(fact, UnitFact):
        sides = "both sides" if fact.side == "B" else f"the {SIDE_WORD[fact.side]} side"
        return pattern.format(au=f"au{fact.code}", name=NAMES[fact.code], side=SIDE_WORD[fact.side], sides=sides)
    phrase, many = _phrase(fact, rng)
    pattern = re.sub(r"\{verb:(\w+)\}", lambda match: match[1] if many else _third(match[1]), pattern)
    own = VERB[fact.direction]
    return pattern.format(np=phrase, be="are" if many else "is", bee="are" if many else "is", do="do" if many else "does",
                          does="do" if many else "does", dir=fact.direction, ward=WARD[fact.direction], own=own if many else _third(own))


def _join(parts: list[str], rng: np.random.Generator | None) -> str:
    if len(parts) == 1 or (rng is not None and rng.random() < 0.5):
        return " , ".join(parts)
    return " , ".join(parts[:-1]) + " and " + parts[-1]


def _clauses(motions: tuple[MotionFact, ...], rng: np.random.Generator | None, plain: float = 0.0) -> str:
    """One sentence pattern for all motions of an answer; `plain`: chance of the first pattern on top of its share
    (reasonings are mostly plain and keep to the shorter patterns)."""
    pattern = MOTION_CLAUSES[0] if rng is None or rng.random() < plain else _pick(MOTION_CLAUSES[:10] if plain else MOTION_CLAUSES, rng)
    return _join([_fill(pattern, fact, rng) for fact in motions], rng)


def _units(units: tuple[UnitFact, ...], rng: np.random.Generator | None) -> str:
    pattern = _pick(UNIT_CLAUSES, rng)
    parts = [_fill(pattern, fact, rng) for fact in units]
    return " , ".join(parts) if rng is None else _join(parts, rng)
