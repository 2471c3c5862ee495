"""Parsing: any text -> facts. Our own sentences, a paraphrase, or the malformed output of a model; no text raises an error.

A sentence is parsed for unit codes first, then motions, then times; each step sees only the words that the earlier ones left. A
negation applies to every unit and motion of its sentence. Unknown words are skipped and counted.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

from deft.clips.facs import COARSE, COARSE_CLASSES, EMOTIONS, MIDLINE, NAMES, UNIT_INDEX, UNITS
from deft.unimer import asking, grammar, temporal, vqa
from deft.unimer.facts import DIRECTIONS, GROUPS, Facts, MotionFact, UnitFact

_SIDE = MappingProxyType({"left": "L", "right": "R", "both": "B"})
_DIRECTION = MappingProxyType(
    {d: d for d in DIRECTIONS} | {ward: d for d, ward in grammar.WARD.items()}
    | {form: d for d, verb in grammar.VERB.items() for form in (verb, verb + "s")}
    | {"raised": "up", "lifted": "up", "rises": "up", "lowered": "down", "drops": "down", "drop": "down"})
_NEGATION = frozenset({"no", "not", "absent", "without", "never"})
_NOUNS = frozenset({"motion", "movement", "shift", "displacement"})  # "upward shift of ...": the region follows


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
