"""Parsing: any text -> facts. Our own sentences, a paraphrase, the malformed output of a model; none raises an error.

A sentence is parsed for units first (by code, else by name), then motions, then times; the later steps see only the
words that the units left. A negation applies to every unit and motion of its sentence. Unknown words are skipped and
counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from types import MappingProxyType

from deft.clips.facs import COARSE, COARSE_CLASSES, EMOTIONS, MIDLINE, NAMES, UNIT_INDEX, UNITS
from deft.unimer.facts import DIRECTIONS, FRAMED, GROUPS, LISTS, Facts, MotionFact, TimeFact, UnitFact
from deft.unimer.kinds import KINDS, vocabulary
from deft.unimer.wording import SIDE_WORD, VERB, WARD, tokens

_SIDE = MappingProxyType({word: side for side, word in SIDE_WORD.items()})
_DIRECTION = MappingProxyType(
    {d: d for d in DIRECTIONS}
    | {ward: d for d, ward in WARD.items()}
    | {form: d for d, verb in VERB.items() for form in (verb, verb + "s")}
    | {"raised": "up", "lifted": "up", "lowered": "down", "drops": "down", "drop": "down"}
)
_EVENT = MappingProxyType(
    {form: event for event in ("start", "peak", "stay") for form in (event, event + "s", event + "ed")}
    | {"fade": "fade", "fades": "fade", "faded": "fade", "first": "first", "back": "back"}
)
_WEAK = ("start", "first")  # "starts to fade", "starts first": the other word says what is meant
_DENYING = frozenset({"not", "never"})  # "no , it stays" answers a question; "it does not stay" denies
_SHORTENED = re.compile(r"\b(?:(can)not|([a-z]+)n['’]t)\b", re.IGNORECASE)
_NEGATION = _DENYING | {"no", "absent", "without", "neither", "nor"}
_NOUNS = frozenset({"motion", "movement", "shift", "displacement"})  # "upward shift of ...": the region follows
_NAMES = sorted(((NAMES[unit].split(), unit) for unit in UNITS), key=lambda row: -len(row[0]))

Places = dict[int, tuple[str, str]]  # position of the first word -> spoken region, side


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, list[tuple[list[str], str]]], frozenset[str]]:
    """-> ({first word: [(words of a region, its group)], longest first}, known words)."""
    regions: dict[str, list] = {}
    for spelled, group in sorted(((g + s, g) for g in GROUPS for s in ("", "s")), key=lambda row: -len(row[0].split())):
        regions.setdefault(spelled.split()[0], []).append((spelled.split(), group))
    return regions, frozenset(vocabulary(KINDS)) | frozenset(_DIRECTION) | frozenset(_EVENT)


def parse(text: str) -> Facts:
    """Any text -> Facts. Unknown words are passed over and counted in `.unknown`; a repeated fact is kept once, and in
    `.repeated` for every further time."""
    words = tokens(_SHORTENED.sub(r"\1\2 not", str(text)))
    emotion, coarse, found = "", "", {name: [] for name in LISTS}
    for sentence in _sentences(words):
        negative = not _NEGATION.isdisjoint(sentence)
        for clause in _by_class(sentence):
            for word in clause:
                if word in COARSE_CLASSES and ("coarse" in clause or word not in EMOTIONS):
                    coarse = coarse or word
                elif word in EMOTIONS and not negative:
                    emotion = emotion or word
        units, rest = _read_units(sentence)
        if not units and {"unit", "units"} & set(rest):
            units, rest = _read_names(rest)
        places = _places(rest)
        for fact, denied in _read_times(rest, places):
            found["denied" if denied else "times"].append(fact)
        found["denied" if negative else "units"] += units
        found["denied" if negative else "motions"] += _read_motions(rest, places)
    lists = {name: tuple(dict.fromkeys(facts)) for name, facts in found.items()}
    repeated = tuple((Counter(sum(found.values(), [])) - Counter(sum(lists.values(), ()))).elements())
    unknown = sum(word not in _tables()[1] for word in words)
    return Facts(emotion, coarse or COARSE.get(emotion, ""), unknown=unknown, repeated=repeated, **lists)


def _sentences(words: list[str]) -> list[list[str]]:
    sentences = [[]]
    for word in words:
        if word in ".;!?":
            sentences.append([])
        else:
            sentences[-1].append(word)
    return sentences


def _by_class(sentence: list[str]) -> list[list[str]]:
    """A sentence that tells the fine *and* the coarse class, cut before each of these words; any other one whole."""
    cuts = [i for i, word in enumerate(sentence) if word in ("fine", "coarse")]
    if len({sentence[i] for i in cuts}) < 2:
        return [sentence]
    return [sentence[a:b] for a, b in zip([0, *cuts], [*cuts, len(sentence)])]


# --- units -----------------------------------------------------------------------------------------------------------
def _unit_code(word: str) -> int | None:
    digits = word[2:]
    return int(digits) if word.startswith("au") and digits.isdecimal() and int(digits) in UNIT_INDEX else None


def _read_units(words: list[str]) -> tuple[list[UnitFact], list[str]]:
    """A sentence -> (units told by code, the sentence without the words that belong to units)."""
    positions = [i for i, word in enumerate(words) if _unit_code(word) is not None]
    facts, used = [], set(positions)
    for i, end in zip(positions, [*positions[1:], len(words)]):
        code = _unit_code(words[i])
        j = i + 1 + (i + 1 < end and words[i + 1] == "(")
        for name_word in NAMES[code].split():  # its name, as far as it is spelled
            if j < end and words[j] == name_word:
                used.add(j)
                j += 1
        ahead = next((k for k in range(j, end) if words[k] in (",", "and") or _region_ahead(words, k)), end)
        side = next((k for k in range(j, ahead) if words[k] in _SIDE), None)
        if side is None and len(positions) == 1:  # "on the left side : au12", "it is left for au12"
            behind = next((k for k in reversed(range(i)) if words[k] in (",", "and") or _region_at(words, k)), -1)
            side = next((k for k in range(i - 1, behind, -1) if words[k] in _SIDE), None)
        used.add(side)
        facts.append(UnitFact(code, "B" if side is None else _SIDE[words[side]]))
    return facts, [word for i, word in enumerate(words) if i not in used]


def _read_names(words: list[str]) -> tuple[list[UnitFact], list[str]]:
    """A sentence without unit codes -> (units told by name, the words that are left). A side may follow a name:
    "dimpler left", "dimpler is shown on the left side"; without one it is "A"."""
    facts, rest, i = [], [], 0
    while i < len(words):
        name, unit = next(((name, unit) for name, unit in _NAMES if words[i : i + len(name)] == name), (None, None))
        if name is None:
            rest.append(words[i])
            i += 1
            continue
        i += len(name)
        end = next((j for j in range(i, len(words)) if words[j] in (",", "and")), len(words))
        sides = [
            j for j in range(i, end) if words[j] in _SIDE and (j == i or words[j + 1 : j + 2] in (["side"], ["sides"]))
        ]
        facts.append(UnitFact(unit, _SIDE[words[sides[0]]] if sides else "A"))
        i = sides[0] + 1 if sides else i
    return facts, rest


# --- regions ---------------------------------------------------------------------------------------------------------
def _region_at(words: list[str], i: int) -> tuple[str, int] | None:
    """-> (spoken region, number of words) if one starts at i."""
    for spelled, group in _tables()[0].get(words[i], ()) if i < len(words) else ():
        if words[i : i + len(spelled)] == spelled:
            return group, len(spelled)
    return None


def _region_ahead(words: list[str], i: int) -> bool:
    """A region, possibly after "the" and a side word, starts at i."""
    while i < len(words) and (words[i] == "the" or words[i] in _SIDE):
        if _region_at(words, i + 1):
            return True
        i += 1
    return bool(_region_at(words, i))


def _places(words: list[str]) -> Places:
    """Every region of a sentence, with its side."""
    found, i = {}, 0
    while i < len(words):
        group, length = _region_at(words, i) or ("", 1)
        if group:
            found[i] = (group, "B" if GROUPS[group] in MIDLINE else _side_before(words, i))
        i += length
    return found


def _side_before(words: list[str], i: int) -> str:
    """The side of a region starting at i: "the left cheek", "the left and right cheeks", "left side of the jaw"."""
    before = [word for word in words[max(0, i - 5) : i] if word not in ("the", "of", "side")]
    if len(before) >= 3 and before[-2] == "and" and {before[-1], before[-3]} == {"left", "right"}:
        return "B"
    return _SIDE.get(before[-1], "B") if before else "B"


# --- motions and times -----------------------------------------------------------------------------------------------
def _read_motions(words: list[str], places: Places) -> list[MotionFact]:
    """One sentence. A direction belongs to the regions waiting for it, else to the last one ("up and outward"), else to
    the next."""
    facts: list[MotionFact] = []
    waiting: list[tuple[str, str]] = []
    last: list[tuple[str, str]] = []
    ahead: str | None = None
    for i, word in enumerate(words):
        if i in places:
            if ahead:
                facts.append(MotionFact(*places[i], ahead))
            else:
                waiting.append(places[i])
        elif direction := _DIRECTION.get(word):
            if _NOUNS.intersection(words[i + 1 : i + 2]) or not (waiting or last):
                ahead = direction
            else:
                last, waiting = waiting or last, []
                facts += [MotionFact(*place, direction) for place in last]
        elif word == ",":
            last, ahead = [], None
    return facts


def _read_times(words: list[str], places: Places) -> Iterator[tuple[TimeFact, bool]]:
    """One sentence -> (time, is it denied). A comma or a further region ends what is said of the one before, once
    something was said."""
    place, said, frames = None, [], []
    for i, word in enumerate([*words, ","]):
        if (i in places or word == ",") and place and (fact := _event(place, said, frames, words)):
            yield fact, fact.event not in ("back", "stay") and not (_NEGATION - {"absent"}).isdisjoint(words)
            place, said, frames = None, [], []
        if i in places:
            place = places[i]
        elif word in _EVENT:
            said.append(_EVENT[word])
        elif word.isdecimal() and len(word) <= 3 and i and words[i - 1] in ("frame", "frames", "to", "and", "-"):
            frames.append(int(word))


def _event(place: tuple[str, str], said: list[str], frames: list[int], sentence: list[str]) -> TimeFact | None:
    """What the event words and frame numbers after a region amount to; None: nothing yet."""
    event = next((e for e in said if e not in _WEAK), said[0] if said else None)
    if event == "start" and "first" in said and not frames:
        event = "first"
    if event is None or (event in FRAMED and not frames):
        return None
    if event in ("back", "stay") and not _DENYING.isdisjoint(sentence):
        event = "stay" if event == "back" else "back"
    if event in FRAMED:
        return TimeFact(event, *place, min(frames), max(frames) if event == "peak" else min(frames))
    return TimeFact(event, *place)
