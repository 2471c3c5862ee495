r"""The written form of action units in annotation sheets: `parse_action_units("(R6 or R12)+R15")` and back.

Grammar (every form seen in the sheets of CASME II, SAMM, CAS(ME)^3, DFME, 4DME)
    cell  := term ("+" term)*            also , ; and their full-width forms; empty terms (trailing commas) vanish
    term  := unit ("or" | "/" unit)*     alternatives share one `group`;  10A/B = 10A or 10B,  A/L12 = A12 or L12
           | "(" cell ")" | "ref(" cell ")" | term "?" | free text
    unit  := [L|R|A] [T|B] [AU|AD|M] number [A-E]
The letter A *before* the number means asymmetric, *after* it intensity A. What does not parse is returned verbatim in
`.unparsed`; digits are only ever taken as one unbroken run (a known public parser reads `R14A or 17A or 24A` as
141724)."""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import dataclass, replace

# Full-width forms map one character to one character, so no digits can be joined by it.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3001: ord(","), 0x3000: ord(" ")}
_SEPARATORS = "+,;&\n"
_DEEPEST = 32  # brackets in brackets: no annotator writes more than two, and Python's stack is finite
_UNIT = re.compile(
    r"(?P<before>\?)?\s*(?P<first>[LRATB]{0,2})\s*(?P<kind>AU|AD|M)?(?:(?<=[A-Z])[ _-])?(?P<second>[LRATB]{0,2})\s*"
    r"(?P<code>[0-9]{1,2})(?:\.0)?\s*(?P<intensity>[A-E])?\s*(?P<suffix>[LR])?\s*(?P<after>\?)?",
    re.IGNORECASE | re.ASCII,
)
# What FACS (2002) numbers: units 1-46, descriptors and head and eye positions to 74, gross behaviours from 80. Others
# are misprints.
CODES = frozenset({1, 2, *range(4, 47), *range(50, 75), *range(80, 86), 91, 92, 97, 98})
_OR = re.compile(r"(\bor\b|/)", re.IGNORECASE | re.ASCII)
_REFLEX = re.compile(r"ref\s*\((?P<inside>.*)\)", re.IGNORECASE | re.ASCII | re.DOTALL)
_REFLEX_BARE = re.compile(r"ref\.?\s+(?P<inside>.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_REMARK = re.compile(r"(?P<unit>[^()]*[0-9][^()]*)(?P<remark>\([^()0-9]*\))", re.ASCII)  # AU4(k)
_QUOTED = re.compile(r"⟦(.*)⟧", re.DOTALL)  # our own way to print free text that would otherwise read as units


@dataclass(frozen=True)
class ActionUnit:
    """One unit as annotated.

    code: FACS number, 1-99 as written (`CODES` has those that mean something). kind: "AU", "AD" (descriptor), "M"
    (movement) or "reflex". side: "L", "R", "A" (both, asymmetric) or "" (both, or not said). lip: "T" upper, "B" lower,
    or "". intensity: "A".."E" or "". certain: False if marked "?". group: units of one group are alternatives of each
    other."""

    code: int
    kind: str = "AU"
    side: str = ""
    lip: str = ""
    intensity: str = ""
    certain: bool = True
    group: int = 0


@dataclass(frozen=True)
class ParsedUnits:
    """units in the order of the cell; unparsed: what could not be read, verbatim (surrounding blanks removed)."""

    units: tuple[ActionUnit, ...] = ()
    unparsed: tuple[str, ...] = ()


def parse_action_units(cell: object) -> ParsedUnits:
    """An annotation cell (text, number, None or NaN) -> ParsedUnits. Never raises, never drops, never guesses."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ParsedUnits()
    if isinstance(cell, numbers.Real) and not isinstance(cell, bool) and math.isfinite(cell) and cell == int(cell):
        cell = int(cell)  # spreadsheets hand over 12.0 for 12
    groups, unparsed = _cell(str(cell))
    units = tuple(replace(unit, group=g) for g, members in enumerate(groups) for unit in members)
    return ParsedUnits(units, tuple(unparsed))


def format_units(units: ParsedUnits | list[ActionUnit] | tuple[ActionUnit, ...]) -> str:
    """Annotation style: "4+L12", "(R6 or R12)+R15", "7B+ref(43)". Parsing the result gives the same units back."""
    parsed = units if isinstance(units, ParsedUnits) else ParsedUnits(tuple(units))
    groups: dict[int, list[str]] = {}
    for unit in parsed.units:
        groups.setdefault(unit.group, []).append(_print(unit))
    terms = [words[0] if len(words) == 1 else "(" + " or ".join(words) + ")" for words in groups.values()]
    plain = "+".join(terms + list(parsed.unparsed))
    if parsed.unparsed and parse_action_units(plain).unparsed != parsed.unparsed:
        return "+".join(terms + ["⟦" + _escape(text) + "⟧" for text in parsed.unparsed])
    return plain


def unit_sides(parsed: ParsedUnits | str) -> dict[int, str]:
    """Certain, unambiguous facial units -> {code: "L" | "R" | "B" (both)}; alternatives, reflexes and "?" are left
    out.
    """
    parsed = parse_action_units(parsed) if isinstance(parsed, str) else parsed
    sizes: dict[int, int] = {}
    for unit in parsed.units:
        sizes[unit.group] = sizes.get(unit.group, 0) + 1
    sides: dict[int, str] = {}
    for unit in parsed.units:
        if unit.kind != "AU" or not unit.certain or sizes[unit.group] > 1:
            continue
        side = unit.side if unit.side in ("L", "R") else "B"
        sides[unit.code] = side if sides.get(unit.code, side) == side else "B"
    return sides


def _print(unit: ActionUnit) -> str:
    kind = unit.kind if unit.kind in ("AD", "M") else ""
    word = f"{unit.side}{unit.lip}{kind}{unit.code}{unit.intensity}{'' if unit.certain else '?'}"
    return f"ref({word})" if unit.kind == "reflex" else word


def _cell(text: str, depth: int = 0) -> tuple[list[list[ActionUnit]], list[str]]:
    """-> (groups of alternatives, unparsed). depth: brackets around the text."""
    if depth > _DEEPEST:
        return [], [text]
    groups, unparsed = [], []
    for term in _split(text):
        more, rest = _term(term, depth)
        groups += more
        unparsed += rest
    return groups, unparsed


def _split(text: str) -> list[str]:
    """Terms at depth 0 of brackets. With unbalanced brackets, brackets do not nest: terms are cut at every
    separator.
    """
    narrow = text.translate(_NARROW)
    balanced = _depths(narrow)
    terms, start, quoted = [], 0, False
    for i, (char, depth) in enumerate(zip(narrow, balanced or [0] * len(narrow))):
        if char == "⟧" and not _escaped(narrow, i):
            quoted = False
        elif char == "⟦" and not quoted and "⟧" in narrow[i:]:
            quoted = True
        if char in _SEPARATORS and depth == 0 and not quoted:
            terms.append(text[start:i])
            start = i + 1
    terms.append(text[start:])
    return [term.strip() for term in terms if term.strip()]


def _depths(text: str) -> list[int] | None:
    """Bracket depth before each character, None if unbalanced; quoted text does not count."""
    depth, depths, quoted = 0, [], False
    for i, char in enumerate(text):
        quoted = (quoted or char == "⟦") and not (char == "⟧" and not _escaped(text, i))
        depth += 0 if quoted else (char == "(") - (char == ")")
        if depth < 0:
            return None
        depths.append(depth)
    return depths if depth == 0 else None


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("⟧", "\\⟧")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _escaped(text: str, i: int) -> bool:
    backslashes = len(text[:i]) - len(text[:i].rstrip("\\"))
    return backslashes % 2 == 1


def _term(term: str, depth: int) -> tuple[list[list[ActionUnit]], list[str]]:
    narrow = term.translate(_NARROW).strip()
    if _QUOTED.fullmatch(narrow):
        return [], [_unescape(_QUOTED.fullmatch(term.strip()).group(1))]
    if unit := _unit(narrow):
        return [[unit]], []
    if reflex := _reflex(narrow):
        groups, unparsed = _cell(reflex.group("inside"), depth + 1)
        if groups and not unparsed:
            return [[replace(unit, kind="reflex") for unit in group] for group in groups], []
        return [], [term]
    if narrow.startswith("(") and _closes(narrow) in (len(narrow) - 1, len(narrow) - 2):
        doubt = narrow.endswith("?")
        if narrow.endswith(")") or doubt:
            groups, unparsed = _cell(narrow[1 : _closes(narrow)], depth + 1)
            if groups and not unparsed:
                return [[replace(u, certain=u.certain and not doubt) for u in group] for group in groups], []
        return [], [term]
    if len(pieces := _OR.split(narrow)) > 1 and _depths(narrow) is not None:
        if units := _alternatives([piece.strip() for piece in pieces]):
            return [units], []
        return [], [term]
    if remark := _REMARK.fullmatch(narrow):
        if unit := _unit(remark.group("unit")):
            return [[unit]], [term[remark.start("remark") :].strip()]
    words = narrow.split()
    if len(words) > 1 and all(units := [_unit(word) for word in words]):
        return [[unit] for unit in units], []
    return [], [term]


def _reflex(text: str) -> re.Match | None:
    match = _REFLEX.fullmatch(text)
    if match and _closes(text[match.start("inside") - 1 :]) == len(text) - match.start("inside"):
        return match
    return _REFLEX_BARE.fullmatch(text) if "(" not in text else None


def _reflex_unit(text: str) -> ActionUnit | None:
    match = _reflex(text)
    unit = _unit(match["inside"]) if match else None
    return unit and replace(unit, kind="reflex")


def _closes(text: str) -> int:
    """Position of the bracket that closes the one at position 0, -1 if none."""
    depth = 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return i
    return -1


def _alternatives(pieces: list[str]) -> list[ActionUnit] | None:
    """Pieces of a split at "or" and "/" (separators included) -> units of one group; None if any piece does not
    parse.
    """
    words = pieces[0::2]
    units = [_unit(word) or _reflex_unit(word) for word in words]
    for i, word in enumerate(words):
        letter = word.upper()
        if units[i] is None and len(letter) == 1 and i > 0 and letter in "ABCDE" and units[i - 1]:
            units[i] = replace(units[i - 1], intensity=letter)  # 10A/B
    for i in reversed(range(len(words) - 1)):
        letter = words[i].upper()
        if units[i] is None and len(letter) == 1 and letter in "LRATB" and units[i + 1]:
            units[i] = replace(units[i + 1], **({"lip": letter} if letter in "TB" else {"side": letter}))  # A/L12
    return units if all(units) else None


def _unit(word: str) -> ActionUnit | None:
    match = _UNIT.fullmatch(word.strip())
    if not match or int(match["code"]) == 0:
        return None
    letters = (match["first"] + match["second"] + (match["suffix"] or "")).upper()
    sides, lips = {c for c in letters if c in "LRA"}, {c for c in letters if c in "TB"}
    if len(sides) > 1 or len(lips) > 1:
        return None
    return ActionUnit(
        int(match["code"]),
        (match["kind"] or "AU").upper(),
        "".join(sides),
        "".join(lips),
        (match["intensity"] or "").upper(),
        not (match["before"] or match["after"]),
    )
