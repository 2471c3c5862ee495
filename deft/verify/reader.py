"""Statements of a free text and whether they are supported, by regular expressions and tables of their own: nothing of
`deft.unimer`, nothing of `deft.evaluation`.

Regions and units are those of the paper's evidence: arrays over units are (17, 2) for the person's left and right,
arrays over regions (36, 2) px, +x right, +y down, 16 regions on two sides (left first) and then 4 on the midline."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

import numpy as np

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26)
PAIRED = (
    "inner forehead",
    "outer forehead",
    "inner brow",
    "outer brow",
    "",
    "upper lid",
    "lower lid",
    "eye corner",
    "cheek",
    "nose side",
    "nasolabial fold",
    "upper lip",
    "lip corner",
    "lower lip",
    "chin side",
    "jaw",
)  # the fifth pair, the temples, is never spoken of
MIDDLE = {"glabella": 32, "chin": 35}
UP, DOWN, OUT, IN = "up", "down", "outward", "inward"
WORDS = {
    "up": UP,
    "upward": UP,
    "rise": UP,
    "rises": UP,
    "raised": UP,
    "lifted": UP,
    "down": DOWN,
    "downward": DOWN,
    "sink": DOWN,
    "sinks": DOWN,
    "lowered": DOWN,
    "drop": DOWN,
    "drops": DOWN,
    "outward": OUT,
    "spread": OUT,
    "spreads": OUT,
    "inward": IN,
    "narrow": IN,
    "narrows": IN,
}
SIDES = {"left": (0,), "right": (1,), "both": (0, 1)}
TRUE_PX, LEAST_PX, TIMES_NOISE, CERTAIN, LARGE = 0.10, 0.08, 1.65, 0.5, 0.5

_places = "|".join(sorted((place for place in (*PAIRED, *MIDDLE) if place), key=len, reverse=True))
REGION = re.compile(
    r"(?:\b(?P<first>left|right) and (?:the )?(?P<second>left|right) |(?:\b(?P<side>left|right|both) (?:side )?(?:of"
    rf" )?(?:the )?))?\b(?P<place>{_places})s?\b"
)
MOTION = re.compile(
    rf"(?P<region>{REGION.pattern})|\b(?P<way>{'|'.join(sorted(WORDS, key=len, reverse=True))})\b(?P<noun>"
    r" (?:motion|movement|shift|displacement)\b)?|(?P<comma>,)"
)
NOT = re.compile(r"\b(?:no|not|absent|without|never|neither|nor)\b")


def _words(text: str) -> str:
    whole = re.sub(r"\b([a-z]+)n['’]t\b|\b(can)not\b", r"\1\2 not", text.lower())
    return " ".join(re.findall(r"[a-z0-9]+|[^\sa-z0-9]", whole))


NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
}
UNIT = re.compile(
    "|".join(
        rf"\bau{unit}\b(?: \()?" + "".join(rf"(?: {word}\b)?" for word in name.split()) for unit, name in NAMES.items()
    )
)
NAMED = re.compile(r"\b(?:" + "|".join(sorted(NAMES.values(), key=len, reverse=True)) + r")\b")
SIDE = re.compile(r"\b(?:left|right|both)\b")
AHEAD = re.compile(rf"(?:\bthe )?(?:\b(?:left|right|both) )?(?:\bthe )?\b(?:{_places})s?\b|,|\band\b")


def statements(text: str) -> tuple[set[tuple[int, tuple[int, ...]]], set[tuple[str, tuple[int, ...], str]]]:
    """-> ({(unit, sides)}, {(place, sides, way)}) that the text states; what a sentence denies is not stated."""
    units, motions = set(), set()
    for sentence in re.split(r"[.;!?]", _words(text)):
        if NOT.search(sentence):
            continue
        found, left = list(UNIT.finditer(sentence)), list(sentence)
        if not found and re.search(r"\bunits?\b", sentence):
            named, sentence = _by_name(sentence)
            units |= named
            left = list(sentence)
        for number, match in enumerate(found):
            stop = found[number + 1].start() if number + 1 < len(found) else len(sentence)
            ahead = AHEAD.search(sentence, match.end(), stop)
            side = SIDE.search(sentence, match.end(), ahead.start() if ahead else stop)
            if side is None and len(found) == 1:  # "on the left side : au12"
                before = [m.end() for m in AHEAD.finditer(sentence, 0, match.start())]
                side = next(reversed(list(SIDE.finditer(sentence, before[-1] if before else 0, match.start()))), None)
            units.add((int(re.search(r"\d+", match[0])[0]), SIDES[side[0]] if side else (0, 1)))
            for span in [match.span(), *([side.span()] if side else [])]:
                left[slice(*span)] = "~" * (span[1] - span[0])
        motions |= _motions(" ".join(re.sub("~+", " ", "".join(left)).split()))
    return units, motions


def _by_name(sentence: str) -> tuple[set[tuple[int, tuple[int, ...]]], str]:
    """Units told by their names in a sentence without codes, and what is left of it. A name without a side says:
    somewhere, ().
    """
    found, rest, place = set(), "", 0
    while match := NAMED.search(sentence, place):
        stop = re.compile(r",|\band\b").search(sentence, match.end())
        side = next(
            (
                m
                for m in SIDE.finditer(sentence, match.end(), stop.start() if stop else len(sentence))
                if m.start() == match.end() + 1 or re.match(r" sides?\b", sentence[m.end() :])
            ),
            None,
        )
        found.add((next(unit for unit, name in NAMES.items() if name == match[0]), SIDES[side[0]] if side else ()))
        rest, place = rest + sentence[place : match.start()], side.end() if side else match.end()
    return found, " ".join((rest + sentence[place:]).split())


def _motions(sentence: str) -> set[tuple[str, tuple[int, ...], str]]:
    """A direction belongs to the places named before it, else to the last ones, else to the next."""
    found, waiting, last, ahead = set(), [], [], None
    for match in MOTION.finditer(sentence):
        if match["region"]:
            side = (0, 1) if match["place"] in MIDDLE or match["first"] else SIDES[match["side"] or "both"]
            where = (match["place"], side)
            if ahead:
                found.add((*where, ahead))
            else:
                waiting.append(where)
        elif match["comma"]:
            last, ahead = [], None
        elif match["noun"] or not (waiting or last):
            ahead = WORDS[match["way"]]
        else:
            last, waiting = waiting or last, []
            found |= {(*where, WORDS[match["way"]]) for where in last}
    return found


def along(vectors: np.ndarray, place: str, sides: tuple[int, ...], way: str) -> np.ndarray:
    """How far each claimed side of a place moves in a direction, px. vectors: (36, 2)."""
    if place in MIDDLE:
        rows, outward = [MIDDLE[place]], [np.nan]
    else:
        rows, outward = (
            [2 * PAIRED.index(place) + side for side in sides],
            [1.0 if side == 0 else -1.0 for side in sides],
        )
    u, v = vectors[rows].astype(np.float64).T
    value = {UP: -v, DOWN: v, OUT: u * outward, IN: -u * np.array(outward)}[way]
    return np.where(np.isnan(value), -np.inf, value)


class Clip:
    """What one clip truly shows and what was measured on it."""

    def __init__(self, units: np.ndarray, motion: np.ndarray, probability: np.ndarray, flow: np.ndarray, noise: float):
        self.units, self.motion, self.probability, self.flow = units, motion, probability, flow
        self.threshold = max(LEAST_PX, TIMES_NOISE * float(noise))
        size = {
            (place, (side,), way): float(along(motion, place, (side,), way)[0])
            for place in PAIRED
            if place
            for side in (0, 1)
            for way in (UP, DOWN, OUT, IN)
        }
        size |= {
            (place, (0, 1), way): float(along(motion, place, (0, 1), way)[0]) for place in MIDDLE for way in (UP, DOWN)
        }
        self.real = {key for key, px in size.items() if px >= TRUE_PX}
        largest = max((size[key] for key in self.real), default=0.0)
        self.salient = {key for key in self.real if size[key] >= LARGE * largest}

    def unit(self, unit: int, sides: tuple[int, ...]) -> tuple[bool, bool]:
        """-> (truth bears it out, the measurement does)."""
        row, enough = list(sides or (0, 1)), np.all if sides else np.any
        return bool(enough(self.units[UNITS.index(unit)][row] > 0)), bool(
            enough(self.probability[UNITS.index(unit)][row] >= CERTAIN)
        )

    def moves(self, place: str, sides: tuple[int, ...], way: str) -> tuple[bool, bool]:
        """-> (truth bears it out, the measurement does: all sides on average, and each by half)."""
        true, seen = along(self.motion, place, sides, way), along(self.flow, place, sides, way)
        return bool((true >= TRUE_PX).all()), bool(seen.mean() >= self.threshold and seen.min() >= self.threshold / 2)


def counts(text: str, clip: Clip) -> Counter:
    """Counts of one text, to be summed over texts."""
    units, motions = _statements(text)
    judged_u, judged_m = [clip.unit(*fact) for fact in units], [clip.moves(*fact) for fact in motions]
    said, true = np.zeros((len(UNITS), 2), bool), clip.units > 0
    for unit, sides in units:
        said[UNITS.index(unit), list(sides or (0, 1))] = True
    named = {
        (place, (side,) if place not in MIDDLE else (0, 1), way) for place, sides, way in motions for side in sides
    }
    bad_u, bad_m = (sum(not (by_truth or seen) for by_truth, seen in judged) for judged in (judged_u, judged_m))
    out = Counter(
        units=len(units),
        motions=len(motions),
        bad_units=bad_u,
        bad_motions=bad_m,
        right=sum(t for t, _ in judged_u) + sum(t for t, _ in judged_m),
        sides_found=int((said & true).sum()),
        sides=int(true.sum()),
        texts=1,
        motion_right=len(named & clip.real),
        motion_named=len(named),
        motion_found=len(clip.salient & named),
        motion_salient=len(clip.salient),
    )
    for column, mine, theirs in (("u", said.any(1), true.any(1)), ("s", said.ravel(), true.ravel())):
        for place in np.flatnonzero(mine | theirs):
            out[f"{column}{place}_{'tp' if mine[place] and theirs[place] else 'fp' if mine[place] else 'fn'}"] += 1
    return out


@lru_cache(maxsize=100_000)
def _statements(text: str):
    units, motions = statements(text)
    return tuple(sorted(units)), tuple(sorted(motions))


def often(draws: list[Counter], letter: str) -> list[int]:
    """The units (letter u) or unit sides (s) that truly occur at least ten times."""
    return [
        place
        for place in range(len(UNITS) * (1 if letter == "u" else 2))
        if np.mean([c[f"{letter}{place}_tp"] + c[f"{letter}{place}_fn"] for c in draws]) >= 10
    ]


def row(draws: list[Counter], like: list[Counter] | None = None) -> dict[str, float]:
    """Counts of each draw -> the point values of T7, mean over draws. like: whose units are often enough to be
    scored (default: these).
    """

    def share(part, whole):
        each = [part(c) / whole(c) for c in draws if whole(c)]
        return float(np.mean(each)) if each else float("nan")

    def f1(tp, fp, fn):
        return 2 * tp / max(2 * tp + fp + fn, 1)

    def balance(c):
        shares = c["motion_right"] / max(c["motion_named"], 1), c["motion_found"] / max(c["motion_salient"], 1)
        return 2 / sum(1 / one for one in shares) if all(shares) else 0.0

    out = {
        "unsupported": share(lambda c: c["bad_units"] + c["bad_motions"], lambda c: c["units"] + c["motions"]),
        "unsupported_units": share(lambda c: c["bad_units"], lambda c: c["units"]),
        "unsupported_motions": share(lambda c: c["bad_motions"], lambda c: c["motions"]),
        "precision": share(lambda c: c["right"], lambda c: c["units"] + c["motions"]),
        "recall": share(lambda c: c["sides_found"], lambda c: c["sides"]),
        "motion_f1": float(np.mean([balance(c) for c in draws])),
        "statements_per_text": sum(c["units"] + c["motions"] for c in draws) / sum(c["texts"] for c in draws),
    }
    for column, letter in (("unit_f1", "u"), ("unit_side_f1", "s")):
        if scored := often(like or draws, letter):
            out[column] = float(
                np.mean(
                    [
                        np.mean(
                            [f1(*(c[f"{letter}{place}_{kind}"] for kind in ("tp", "fp", "fn"))) for place in scored]
                        )
                        for c in draws
                    ]
                )
            )
    return out
