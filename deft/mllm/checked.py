"""Text that is checked before it is said: a statement that neither the experts' probabilities nor the region flow bears
out is narrowed to what they bear out, or dropped; none is said twice; of a face on which nothing moves only that is
said.

Checked are statements, not the class: no measurement of motion can bear out an emotion. The paper does not say that its
text is checked; we do it because a language model that was taught on true records writes as if its detectors were
always right. A unit needs the experts or the evidence of the flow, a motion the flow. The flow judges the texts of
table T7 as well, so the share of unsupported motions is zero by construction; precision and recall against the truth
say what the check is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deft.clips.facs import MIDLINE, SIDES, UNITS
from deft.motion.stillness import NOTHING
from deft.unimer.check import Evidence
from deft.unimer.facts import GROUPS, Fact, Facts, UnitFact, sides_of, supports_unit
from deft.unimer.kinds import KINDS, say
from deft.unimer.reading import parse
from deft.unimer.wording import NONE

# Mean calibrated probability of the experts from which a unit may be said: best unit F1 of checked texts about the
# corpus' validation people, of equals the nearest to one half, as the template chooses (docs/decisions.md).
UNIT = 0.2
UNHEARD, AGAIN = "neither the experts nor the flow bear it out", "said before"
STILL, ELSEWHERE = "nothing moves on this face", "no part of this answer"


@dataclass(frozen=True)
class Dropped:
    """A statement that is not said: its plain words, why, and the words said instead ("" if none)."""

    text: str
    why: str
    instead: str = ""


@dataclass(frozen=True)
class Checked:
    """text: what is said; facts: what it states; dropped: what is not said."""

    text: str
    facts: Facts
    dropped: tuple[Dropped, ...] = ()


def checked(
    text: str | Facts, experts: np.ndarray, measured: Evidence, moving: bool = True, named: str = ""
) -> Checked:
    """A text before it is said. experts: (17, 2) calibrated unit probabilities of the experts; measured: region flow
    and its evidence; moving: whether anything moves on the face (`deft.motion.stillness`); named: the word of the class
    that the text states, where it may be none of the five emotions.

    A text of which nothing is dropped stays as it was written; any other is said anew in the plain words of the
    grammar. ValueError for probabilities of another shape."""
    facts = text if isinstance(text, Facts) else parse(text)
    if np.shape(experts) != (len(UNITS), len(SIDES)):
        raise ValueError(f"unit probabilities of the experts have shape {np.shape(experts)}, expected (17, 2)")
    emotion = facts.emotion or named
    if not moving:
        words = (f"class : {emotion}",) if emotion else ()
        return Checked(NOTHING, Facts(), tuple(Dropped(w, STILL) for w in (*words, *map(say, facts.stated))))
    dropped = [Dropped(say(fact), AGAIN) for fact in facts.repeated]
    units = _borne_out(
        facts.units, lambda fact: supports_unit(fact, experts, UNIT) or measured.bears_out(fact), dropped
    )
    motions = _borne_out(facts.motions, measured.bears_out, dropped)
    dropped += [Dropped(say(fact), ELSEWHERE) for fact in (*facts.times, *facts.denied)]
    kept = Facts(facts.emotion, facts.coarse, units, motions)
    if not dropped and isinstance(text, str):
        return Checked(text, kept)
    said = KINDS["reasoning"].put(replace(kept, emotion=emotion or NONE), None)
    return Checked(said, kept, tuple(dropped))


def _borne_out(facts: Sequence[Fact], holds: Callable[[Fact], bool], dropped: list[Dropped]) -> tuple[Fact, ...]:
    """The facts that hold, else the side of each that does, none twice. What is not said is added to `dropped`."""
    kept: list[Fact] = []
    for fact in facts:
        sided = isinstance(fact, UnitFact) or GROUPS[fact.region] not in MIDLINE
        claimed = sorted(SIDES, key=lambda side: side not in sides_of(fact.side)) if sided else ()
        said = next((one for one in (fact, *(replace(fact, side=side) for side in claimed)) if holds(one)), None)
        again = said is not None and any(_covers(known, said) for known in kept)
        if said is None or said != fact or again:
            why = AGAIN if again and said == fact else UNHEARD
            dropped.append(Dropped(say(fact), why, "" if said is None or again else say(said)))
        if said is not None and not again:
            dropped += [Dropped(say(known), AGAIN) for known in kept if _covers(said, known)]
            kept = [known for known in kept if not _covers(said, known)] + [said]
    return tuple(kept)


def _covers(wide: Fact, narrow: Fact) -> bool:
    """Does saying `wide` say `narrow`: the same, on no side more?"""
    return replace(wide, side=narrow.side) == narrow and set(sides_of(narrow.side)) <= set(sides_of(wide.side))
