"""All kinds of questions, and which of them a clip's facts can answer.

The language model is trained on `grammar.KINDS` only: with more kinds each would be met less often. Records, checks and exports
use `ALL_KINDS`: those, the temporal ones, and the two kinds of the MEGC task that name no side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from deft.clips.facs import EMOTIONS, PROTOTYPES, UNITS
from deft.unimer import grammar, temporal, vqa
from deft.unimer.facts import Facts, UnitFact

ALL_KINDS = (*grammar.KINDS, *temporal.KINDS, *vqa.KINDS)


def _wording(kind: str):
    """The module that words `kind`."""
    if kind not in ALL_KINDS:
        raise ValueError(f"unknown kind '{kind}'; known: {', '.join(ALL_KINDS)}")
    return temporal if kind in temporal.KINDS else vqa if kind in vqa.KINDS else grammar


def question(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """A question of any kind; see the functions of the same name in `grammar`, `temporal`, `vqa`."""
    return _wording(kind).question(kind, facts, rng)


def answer(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """The answer of any kind; it states exactly `mentioned(kind, facts)`."""
    return _wording(kind).answer(kind, facts, rng)


def mentioned(kind: str, facts: Facts) -> Facts:
    """The part of `facts` that an answer of `kind` states."""
    return _wording(kind).mentioned(kind, facts)


def vocabulary() -> list[str]:
    """Every token of every question and answer, sorted; `grammar.vocabulary` is the part that a language model is trained on."""
    return sorted({*grammar.vocabulary(), *temporal.vocabulary(), *vqa.vocabulary()})


def parts(kinds: Sequence[str], facts: Facts, rng: np.random.Generator, absent: Sequence[int] = (), frames: int = 8) -> Iterable[tuple[str, Facts]]:
    """(kind, what this question is about) for every question that has something to ask.

    absent: units of which it is known that they are shown on neither side ("present" needs them to say no). frames: of the clip, after the onset.
    """
    for kind in kinds:
        if kind in ("coarse", "fine", "reasoning", "joint") and facts.emotion not in EMOTIONS:
            continue
        if kind == "side" and not facts.units:
            continue
        if kind == "negative":
            yield from ((kind, part) for part in _no_and_yes(facts, rng))
        elif kind == "present":
            yield from ((kind, part) for part in _absent_and_present(facts, absent, rng))
        elif kind == "timed":
            yield from ((kind, part) for part in _wrong_and_right_frame(facts, frames, rng))
        elif kind in temporal.KINDS:
            told = [fact for fact in facts.times if temporal.mentioned(kind, Facts(times=(fact,))).times]
            if told:
                yield kind, Facts(times=(told[rng.integers(len(told))],))
        else:
            yield kind, grammar.focus(kind, facts, rng)


def _no_and_yes(facts: Facts, rng: np.random.Generator) -> Iterable[Facts]:
    """One denied and one true fact, as far as there are any."""
    if facts.denied:
        yield Facts(denied=facts.denied[:1])
    true = (*facts.units, *facts.motions)
    if true:
        fact = true[rng.integers(len(true))]
        yield Facts(units=(fact,)) if isinstance(fact, UnitFact) else Facts(motions=(fact,))


def _absent_and_present(facts: Facts, absent: Sequence[int], rng: np.random.Generator) -> Iterable[Facts]:
    """One absent and one present unit. The absent one is drawn in proportion to how often the prototypes hold it: if common units were
    mostly asked about when present, and rare ones when absent, the question alone would predict the answer."""
    if not facts.units:  # without a present unit there is no "yes" to pair with the "no", and answers would be biased towards "no"
        return
    if len(absent):
        weight = np.array([_commonness()[UNITS.index(code)] for code in absent])
        yield Facts(denied=(UnitFact(int(rng.choice(np.array(absent), p=weight / weight.sum())), "A"),))
    yield Facts(units=(UnitFact(facts.units[rng.integers(len(facts.units))].code, "A"),))


def _wrong_and_right_frame(facts: Facts, frames: int, rng: np.random.Generator) -> Iterable[Facts]:
    """One event in a wrong frame and one in its own; neither without the other, so that yes and no stay even."""
    told = [fact for fact in facts.times if fact.event in temporal.FRAMED]
    if told and (wrong := temporal.near_miss(told[rng.integers(len(told))], frames, rng)):
        yield Facts(denied=(wrong,))
        yield Facts(times=(told[rng.integers(len(told))],))


@lru_cache(maxsize=1)
def _commonness() -> np.ndarray:
    """(17,) how often the prototypes hold each unit; a unit of none counts half of the rarest."""
    share = np.array([sum(chance for sets in PROTOTYPES.values() for chance, units in sets if unit in units) for unit in UNITS])
    return np.maximum(share, share[share > 0].min() / 2)
