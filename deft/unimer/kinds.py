"""The kinds of questions of Uni-MER, one class each: wording, what it asks of a clip's facts, what its answer states.

To add a kind, write its class and name it in `KINDS`: records, schema, splits, exports and reading go by that table.
An answer begins with its class where it has one: in that order a small model wrote better text
(docs/method.md#what-learns-at-this-size). No pattern about time uses a word of direction. The Micro-Expression Grand
Challenge (MEGC) asks six of these kinds in words of its own (`Kind.task`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from types import UnionType

import numpy as np

from deft.clips.facs import COARSE_CLASSES, EMOTIONS, NAMES, PROTOTYPES, UNITS
from deft.unimer.facts import FRAMED, Fact, Facts, MotionFact, TimeFact, UnitFact
from deft.unimer.wording import (
    NO_MOTION,
    NONE,
    SIDE_WORD,
    Wording,
    agree,
    clauses,
    fill,
    patterns,
    pick,
    unit_list,
    words,
)


class Kind:
    """A kind of question. A subclass gives `wording`, and `says` or `states`."""

    wording: Wording
    says: tuple[str, ...] = ()  # the fields of Facts that its answer states
    schooled = False  # is a language model trained on it? With more kinds each would be met less often
    whole = False  # its answer is a whole list: facts that may lack a unit cannot give it
    yes_no = False  # asked once for a yes and once for a no

    @property
    def name(self) -> str:
        """The class's name in lower case."""
        return type(self).__name__.lower()

    def wordings(self) -> list[Wording]:
        """Every wording that the class holds."""
        return [value for value in vars(type(self)).values() if isinstance(value, Wording)]

    def can_ask(self, facts: Facts) -> bool:
        """Do the facts hold what it asks about?"""
        return ("emotion" not in self.says or facts.emotion in EMOTIONS) and (
            "coarse" not in self.says or facts.coarse in COARSE_CLASSES
        )

    def asks(self, facts: Facts, rng: np.random.Generator, absent: Sequence[int], frames: int) -> Iterable[Facts]:
        """What each of its questions about a clip is about; nothing if there is nothing to ask. See `parts`."""
        if self.can_ask(facts):
            yield facts

    def draw(self, facts: Facts, rng: np.random.Generator) -> Facts:
        """What one question in the training of a language model is about."""
        return facts

    def states(self, facts: Facts) -> Facts:
        """The part of `facts` that the answer states."""
        return Facts(**{field: getattr(facts, field) for field in self.says})

    def question(self, facts: Facts, rng: np.random.Generator | None = None) -> str:
        """A question about `facts`; without `rng` the plain one. ValueError: it is about a fact, and there is none."""
        return pick(self.wording.questions, rng)

    def answer(self, facts: Facts, rng: np.random.Generator | None = None) -> str:
        """The answer; it states exactly `states(facts)`. ValueError: the facts do not hold what it needs."""
        if not self.can_ask(facts):
            raise self.cannot(facts)
        return self.put(self.states(facts), rng)

    def put(self, stated: Facts, rng: np.random.Generator | None) -> str:
        """`stated` in words."""
        return pick(self.wording.answers, rng).format(emotion=stated.emotion, coarse=stated.coarse)

    def cannot(self, facts: Facts) -> ValueError:
        """The error for facts that hold nothing to ask about."""
        return ValueError(f"kind '{self.name}' ({type(self).__doc__}) finds nothing to ask about in {facts}")

    def task(self, stated: Facts) -> tuple[str, str] | None:
        """(question, answer) in the words of the MEGC task; None: the task does not ask this."""
        return None


# --- what moves, and what it means -----------------------------------------------------------------------------------
class Motion(Kind):
    """What moves, and where to?"""

    schooled = whole = True
    says = ("motions",)
    wording = Wording.of(
        questions="""
            what moves ? | which regions move and where to ? | describe the motion .
            describe the movement of the face . | how does the face move ? | what moves between onset and apex ?
            which part of the face moves ? | list the moving regions . | what motion do you see ?
            tell the motion of each region . | what changes from onset to apex ? | where does the face move ?""",
        answers="""
            {clauses} . | motion : {clauses} . | in this clip {clauses} . | between onset and apex {clauses} .
            seen : {clauses} . | from onset to apex {clauses} .""",
        nothing="no clear motion . | no region moves clearly . | nothing moves above the noise .",
    )

    def put(self, stated: Facts, rng: np.random.Generator | None) -> str:
        if not stated.motions:
            return pick(self.wording.nothing, rng)
        return pick(self.wording.answers, rng).format(clauses=clauses(stated.motions, rng))


class Units(Kind):
    """Which action units are active?"""

    schooled = whole = True
    says = ("units",)
    wording = Wording.of(
        questions="""
            which units are active ? | which action units are present ? | list the action units .
            name the active units . | what units do you see ? | which units does the face show ? | code the face .
            give the action units and sides . | what is the coding ? | tell the active action units .
            which action units does the clip show ? | which units are visible ?""",
        answers="""
            {list} . | active {unit} : {list} . | action {unit} : {list} . | {list} {be} active .
            the face shows {list} . | the active {unit} {be} {list} . | i see {list} . | visible {unit} : {list} .
            the clip shows {list} . | the coding is {list} . | {list} {be} present . | coded {unit} : {list} .""",
        nothing="no unit is active . | no active unit . | none .",
    )

    def put(self, stated: Facts, rng: np.random.Generator | None) -> str:
        if not stated.units:
            return pick(self.wording.nothing, rng)
        return pick(self.wording.answers, rng).format(list=unit_list(stated.units, rng), **agree(len(stated.units) > 1))

    def task(self, stated: Facts) -> tuple[str, str]:
        ask = "What are the action units present?" if len(stated.units) > 1 else "What is the action unit present?"
        return ask, _named(stated, ", ")


class Coarse(Kind):
    """Is the emotion positive, negative or surprise?"""

    schooled = True
    says = ("coarse",)
    wording = Wording.of(
        questions="""
            coarse class ? | what is the coarse class ? | positive , negative or surprise ? | name the coarse emotion .
            give the coarse class . | which coarse class is it ? | what is the coarse emotion ?
            tell the coarse label . | is it positive , negative or surprise ? | what is the coarse label ?
            which coarse emotion does the face show ? | label the clip in coarse terms .""",
        answers="""
            coarse class : {coarse} . | coarse : {coarse} . | the coarse class is {coarse} .
            in coarse terms it is {coarse} . | coarse emotion : {coarse} . | the coarse emotion is {coarse} .
            coarse answer : {coarse} . | the coarse label is {coarse} . | coarse label : {coarse} .
            as a coarse class it is {coarse} . | the coarse answer is {coarse} . | coarse reading : {coarse} .""",
    )

    def task(self, stated: Facts) -> tuple[str, str]:
        return "What is the coarse expression class?", stated.coarse


class Fine(Kind):
    """Which emotion is it?"""

    schooled = True
    says = ("emotion", "coarse")  # it names the first, from which the second follows

    def can_ask(self, facts: Facts) -> bool:
        return bool(facts.emotion)

    wording = Wording.of(
        questions="""
            which emotion ? | what is the emotion ? | name the emotion . | what is the class ?
            which emotion does the face show ? | give the class . | label the clip . | what does the face show ?
            which class is it ? | tell the emotion . | what is the label ? | which emotion do you see ?""",
        answers="""
            class : {emotion} . | emotion : {emotion} . | the class is {emotion} . | this is {emotion} .
            the emotion is {emotion} . | the face shows {emotion} . | it looks like {emotion} . | label : {emotion} .
            the label is {emotion} . | i see {emotion} . | the clip shows {emotion} . | answer : {emotion} .""",
    )

    def task(self, stated: Facts) -> tuple[str, str]:
        return "What is the fine-grained expression class?", stated.emotion


class Reasoning(Kind):
    """Which emotion is it, by which units, and what moves? (C, E, R) of the paper."""

    schooled = True
    says = ("emotion", "coarse", "units", "motions")

    def can_ask(self, facts: Facts) -> bool:
        return bool(facts.emotion)

    wording = Wording.of(
        questions="""
            which emotion and why ? | explain the emotion . | give class , evidence and reasoning .
            what is the emotion and what is the evidence ? | name the emotion and explain .
            class , evidence and reasoning ? | why this emotion ? | explain the class by what moves .
            what emotion is it and what moves ? | tell the class and the evidence . | reason about the clip .
            which class and which evidence ?""",
        answers="class : {emotion} . evidence : {list} . reasoning : {clauses} .",
    )

    def put(self, stated: Facts, rng: np.random.Generator | None) -> str:
        moves = clauses(stated.motions, rng, plain=0.5) if stated.motions else NO_MOTION
        (form,) = self.wording.answers
        return form.format(emotion=stated.emotion, list=unit_list(stated.units), clauses=moves)


class Joint(Kind):
    """Which units are shown, and which fine and coarse class follow? Units go by name, without sides (MEGC)."""

    says = ("emotion", "coarse", "units")
    wording = Wording(
        patterns("""
            which action units are present , and which fine and coarse class follow ?
            name the action units and , based on them , the fine and the coarse class .
            what are the units , the fine class and the coarse class ? | give units , fine class and coarse class .
            units first , then the fine and the coarse class ?
            which units do you see , and which fine and coarse expression class is it ?
            tell the action units and both classes , fine and coarse .
            code the face and tell the fine and the coarse class .
            based on the units , what are the fine and coarse classes ?
            list the units , then name the fine and the coarse expression class .
            which units , which fine class , which coarse class ?
            what are the action units present , and what are the fine and coarse expression classes ?"""),
        tuple(
            f"{shown} {classes}"  # the task's own sentence first
            for shown in patterns(
                "the action {unit} present {be} : {list} . | {unit} : {list} . | the face shows the {unit} {list} ."
            )
            for classes in patterns("""
            therefore , the fine - grained expression class is {emotion} , and the coarse expression class is {coarse} .
            fine class : {emotion} . coarse class : {coarse} .
            so the fine class is {emotion} and the coarse class is {coarse} .
            the fine - grained class is {emotion} , the coarse class is {coarse} .""")
        ),
    )

    def states(self, facts: Facts) -> Facts:
        return replace(super().states(facts), units=tuple(UnitFact(fact.code, "A") for fact in facts.units))

    def put(self, stated: Facts, rng: np.random.Generator | None) -> str:
        slots = {"emotion": stated.emotion, "coarse": stated.coarse, **agree(len(stated.units) > 1)}
        return pick(self.wording.answers, rng).format(list=_named(stated, " , "), **slots)

    def task(self, stated: Facts) -> tuple[str, str]:
        verb = "units present are" if len(stated.units) > 1 else "unit present is"
        return (
            (
                "What are the action units present, and based on them, "
                "what are the fine-grained and coarse expression classes?"
            ),
            (
                f"The action {verb}: {_named(stated, ', ')}. Therefore, the fine-grained expression class is "
                f"{stated.emotion}, and the coarse expression class is {stated.coarse}."
            ),
        )


def _named(stated: Facts, between: str) -> str:
    return between.join(NAMES[fact.code] for fact in stated.units) or NONE


# --- one fact: where is it, when is it, is it so? --------------------------------------------------------------------
class OneFact(Kind):
    """A question about the first fact that `fits`: a stated one, in a yes-no question a denied one before those."""

    about: type | UnionType = UnitFact

    def fits(self, fact: Fact) -> bool:
        """Is it a fact of the sort asked about?"""
        return isinstance(fact, self.about)

    def told(self, facts: Iterable[Fact]) -> list[Fact]:
        """Those that fit."""
        return [fact for fact in facts if self.fits(fact)]

    def worded(self, fact: Fact) -> Wording:
        """The wording of questions about this fact."""
        return self.wording

    def asked(self, facts: Facts) -> tuple[Fact, bool]:
        """The fact, and is it denied? ValueError if there is none."""
        denied = self.told(facts.denied) if self.yes_no else []
        told = denied or self.told(facts.stated)
        if not told:
            raise self.cannot(facts)
        return told[0], bool(denied)

    def one(self, facts: Facts, rng: np.random.Generator) -> Facts:
        """Any of the stated facts, by itself."""
        told = self.told(facts.stated)
        return Facts.one(told[rng.integers(len(told))])

    def draw(self, facts: Facts, rng: np.random.Generator) -> Facts:
        return self.one(facts, rng)

    def can_ask(self, facts: Facts) -> bool:
        return bool(self.told(facts.stated))

    def asks(self, facts: Facts, rng: np.random.Generator, absent: Sequence[int], frames: int) -> Iterable[Facts]:
        if self.told(facts.stated):
            yield self.one(facts, rng)

    def states(self, facts: Facts) -> Facts:
        return Facts.one(*self.asked(facts))

    def question(self, facts: Facts, rng: np.random.Generator | None = None) -> str:
        fact, _ = self.asked(facts)
        return fill(pick(self.worded(fact).questions, rng), fact, rng)

    def answer(self, facts: Facts, rng: np.random.Generator | None = None) -> str:
        fact, denied = self.asked(facts)
        wording = self.worded(fact)
        pattern = pick(wording.denials if denied else wording.answers, rng)
        no = denied or " not " in pattern  # then never "both": "both do not" could mean that one does
        return fill(pattern, fact, None if no else rng)


class Side(OneFact):
    """On which side is the unit?"""

    schooled = True
    wording = Wording.of(
        questions="""
            on which side is {au} ? | is {au} left , right or both ? | which side does {au} act on ? | side of {au} ?
            where is {au} active ? | tell the side of {au} . | give the side of {au} . | {au} {name} : which side ?
            on which side do you see {au} ? | which side shows {au} ? | name the side of {au} .
            on which side is {au} {name} active ?""",
        answers="""
            {au} {side} . | {au} is on {sides} . | on {sides} : {au} . | side of {au} : {side} .
            {au} {name} on {sides} . | it is {side} for {au} . | {au} acts on {sides} . | {au} {name} {side} .
            {au} is active on {sides} . | {sides} for {au} . | the side of {au} is {side} . | {side} : {au} .""",
    )

    def task(self, stated: Facts) -> tuple[str, str]:
        ask = f"On which side of the face is the action unit {_named(stated, ', ')} shown, left, right or both?"
        return ask, SIDE_WORD[stated.units[0].side]


class Negative(OneFact):
    """Is this unit active, does this region move that way? Yes or no."""

    schooled = yes_no = True
    about = UnitFact | MotionFact
    unit = Wording.of(
        questions="""
            is {au} active on {sides} ? | is {au} {name} present on {sides} ? | do you see {au} on {sides} ?
            does the face show {au} on {sides} ? | is {au} visible on {sides} ?
            does the clip show {au} on {sides} ?""",
        answers="""
            yes , {au} {name} is active on {sides} . | yes . {au} {side} . | yes , {au} on {sides} is present .
            yes , the clip shows {au} on {sides} . | yes . {au} {name} {side} . | yes , i see {au} on {sides} .""",
        denials="""
            no , {au} {name} is not active on {sides} . | no . not {au} {side} . | no , {au} on {sides} is absent .
            no , the clip does not show {au} on {sides} . | no . {au} {name} {side} is absent .
            no , i do not see {au} on {sides} .""",
    )
    motion = Wording.of(
        questions="""
            {do} {np} move {dir} ? | is there {ward} motion of {np} ? | do you see {np} move {dir} ?
            {be} {np} displaced {ward} ? | {do} {np} shift {ward} ? | is there {ward} movement of {np} ?""",
        answers="""
            yes , {np} move{s} {dir} . | yes . {np} move{s} {dir} . | yes , there is {ward} motion of {np} .
            yes , {np} {be} displaced {ward} . | yes . {ward} motion of {np} . | yes , {np} shift{s} {ward} .""",
        denials="""
            no , {np} {do} not move {dir} . | no . {np} {do} not move {dir} . | no , there is no {ward} motion of {np} .
            no , {np} {be} not displaced {ward} . | no . no {ward} motion of {np} .
            no , {np} {do} not shift {ward} .""",
    )

    def worded(self, fact: Fact) -> Wording:
        return self.unit if isinstance(fact, UnitFact) else self.motion

    def asks(self, facts: Facts, rng: np.random.Generator, absent: Sequence[int], frames: int) -> Iterable[Facts]:
        """One denied and one true fact, as far as there are any."""
        if facts.denied:
            yield Facts.one(facts.denied[0], True)
        yield from super().asks(facts, rng, absent, frames)

    def can_ask(self, facts: Facts) -> bool:
        return True  # some unit is always absent

    def draw(self, facts: Facts, rng: np.random.Generator) -> Facts:
        """In half of the cases a denied fact, so that always answering "yes" is right only half of the time."""
        absent = [unit for unit in UNITS if unit not in {fact.code for fact in facts.units}]
        denied = facts.denied or (UnitFact(int(rng.choice(absent))),)
        if not self.told(facts.stated) or rng.random() < 0.5:
            return Facts.one(denied[rng.integers(len(denied))], True)
        return self.one(facts, rng)


class Present(OneFact):
    """Is this unit shown, on whichever side? Yes or no (MEGC). Every sentence that names a unit has the word "unit"."""

    yes_no = True
    wording = Wording.of(
        questions="""
            is the action unit {name} shown on the face ? | is the unit {name} present ?
            do you see the action unit {name} ? | does the face show the unit {name} ?
            is the action unit {name} visible ? | does the clip show the action unit {name} ?
            is there the action unit {name} ? | unit {name} : yes or no ? | is the unit {name} active ?
            tell if the action unit {name} is shown . | is the action unit {name} in this clip ?
            do you see the unit {name} on the face ?""",
        answers="""
            yes , the action unit {name} is shown . | yes . the action unit {name} is shown on the face .
            yes , the unit {name} is present . | yes , i see the action unit {name} .
            yes , the face shows the unit {name} . | yes , the action unit {name} is visible .
            yes , the clip shows the action unit {name} . | yes . the unit {name} is active .
            the action unit {name} is shown . | yes , there is the action unit {name} .
            yes : the unit {name} is on the face . | yes . unit {name} .""",
        denials="""
            no , the action unit {name} is not shown . | no . the action unit {name} is not shown on the face .
            no , the unit {name} is absent . | no , i do not see the action unit {name} .
            no , the face does not show the unit {name} . | no , the action unit {name} is not visible .
            no , the clip does not show the action unit {name} . | no . the unit {name} is not active .
            the action unit {name} is not shown . | no , there is no action unit {name} .
            no : the unit {name} is not on the face . | no . not the unit {name} .""",
    )

    def told(self, facts: Iterable[Fact]) -> list[Fact]:
        return [UnitFact(fact.code, "A") for fact in super().told(facts)]

    def asks(self, facts: Facts, rng: np.random.Generator, absent: Sequence[int], frames: int) -> Iterable[Facts]:
        """One absent and one present unit. The absent one is drawn in proportion to how often the prototypes hold it:
        if common units were mostly asked about when present, and rare ones when absent, the question alone would
        predict the answer."""
        if not self.can_ask(facts):  # without a "yes" to pair with the "no", answers would be biased towards "no"
            return
        if len(absent):
            weight = np.array([_commonness()[UNITS.index(code)] for code in absent])
            code = int(rng.choice(np.array(absent), p=weight / weight.sum()))
            yield Facts.one(UnitFact(code, "A"), True)
        yield self.one(facts, rng)

    def task(self, stated: Facts) -> tuple[str, str]:
        (fact,) = (*stated.units, *stated.denied)
        return f"Is the action unit {NAMES[fact.code]} shown on the face?", "yes" if stated.units else "no"


@lru_cache(maxsize=1)
def _commonness() -> np.ndarray:
    """(17,) how often the prototypes hold each unit; a unit of none counts half of the rarest."""
    share = np.array(
        [sum(chance for sets in PROTOTYPES.values() for chance, units in sets if unit in units) for unit in UNITS]
    )
    return np.maximum(share, share[share > 0].min() / 2)


# --- time, in frames of the stored clip, onset = frame 0 -------------------------------------------------------------
class Event(OneFact):
    """An event in the course of one region; a subclass is named after its event, or names several."""

    @property
    def events(self) -> tuple[str, ...]:
        """Those of EVENTS that it asks about."""
        return (self.name,)

    def fits(self, fact: Fact) -> bool:
        return isinstance(fact, TimeFact) and fact.event in self.events


class Start(Event):
    """When does the region start to move?"""

    wording = Wording.of(
        questions="""
            when {do} {np} start to move ? | in which frame {do} {np} start ? | start of {np} ?
            tell the start of {np} . | when is the start of {np} ? | give the frame in which {np} start{s} .
            which frame is the start of {np} ? | name the frame of the start of {np} . | when {do} {np} start ?
            from which frame {do} you see {np} move ? | in which frame is the start of {np} ?
            when do you see {np} start ?""",
        answers="""
            {np} start{s} to move in {when} . | {np} start{s} in {when} . | in {when} {np} start{s} to move .
            start of {np} : {when} . | the start of {np} is in {when} . | {np} : start in {when} .
            the motion of {np} starts in {when} . | {when} : {np} start{s} to move . | in {when} {np} start{s} .
            {when} : start of {np} . | {np} {be} still until the start in {when} .
            the clip shows {np} start in {when} .""",
    )


class Peak(Event):
    """When has the region moved farthest?"""

    wording = Wording.of(
        questions="""
            when {do} {np} peak ? | in which frame {do} {np} peak ? | peak of {np} ? | tell the peak of {np} .
            when is the peak of {np} ? | give the frame of the peak of {np} . | which frame is the peak of {np} ?
            name the frame in which {np} peak{s} . | when {do} {np} reach the peak ?
            in which frame is the peak of {np} ? | where in time is the peak of {np} ? | when do you see {np} peak ?""",
        answers="""
            {np} peak{s} in {when} . | in {when} {np} peak{s} . | peak of {np} : {when} .
            the peak of {np} is in {when} . | {np} : peak in {when} . | the motion of {np} peaks in {when} .
            {when} : {np} peak{s} . | {np} reach{es} the peak in {when} . | in {when} {np} reach{es} the peak .
            {when} : peak of {np} . | {np} {be} at the peak in {when} . | the clip shows {np} peak in {when} .""",
    )


class Fade(Event):
    """When does the motion of the region fade?"""

    wording = Wording.of(
        questions="""
            when {do} {np} fade ? | in which frame {do} {np} fade ? | fade of {np} ? | tell when {np} fade{s} .
            when is the fade of {np} ? | give the frame in which {np} fade{s} . | which frame is the fade of {np} ?
            name the frame of the fade of {np} . | when {do} the motion of {np} fade ?
            in which frame is the fade of {np} ? | when {do} {np} start to fade ? | when do you see {np} fade ?""",
        answers="""
            {np} fade{s} in {when} . | in {when} {np} fade{s} . | fade of {np} : {when} .
            the motion of {np} fades in {when} . | {np} : fade in {when} . | {when} : {np} fade{s} .
            the fade of {np} is in {when} . | {when} : fade of {np} . | in {when} the motion of {np} fades .
            the clip shows {np} fade in {when} . | {np} start{s} to fade in {when} .
            in {when} {np} start{s} to fade .""",
    )


class First(Event):
    """Which region moves before the others?"""

    wording = Wording.of(
        questions="""
            what moves first ? | which region moves first ? | which region is the first to move ?
            name the first region . | tell what moves first . | which part of the face moves first ?
            where does the face move first ? | first region ? | give the region that moves first .
            what is the first to move ? | which region do you see move first ? | which region starts first ?""",
        answers="""
            {np} move{s} first . | first : {np} . | the first to move : {np} . | {np} {be} the first to move .
            {np} start{s} first . | the motion of {np} is first . | {np} {be} first . | first of all {np} move{s} .
            first {np} move{s} . | the clip shows {np} move first . | i see {np} move first .
            {np} : first to move .""",
    )


class Back(Event):
    """Does the region come back, or does it stay displaced?"""

    events = ("back", "stay")
    wording = Wording.of(
        questions="""
            {do} {np} come back ? | {do} {np} come back in the end ? | {be} {np} back in the end ?
            do you see {np} come back ? | {do} {np} move back ? | does the clip show {np} come back ?
            do you see {np} back in the end ? | does the motion of {np} come back ? | tell if {np} come{s} back .
            in the end {do} {np} come back ? | is it so that {np} come{s} back ?
            tell if {np} {be} back in the end .""",
        answers="""
            {np} come{s} back . | yes , {np} come{s} back . | yes . {np} come{s} back .
            yes , {np} {be} back in the end . | {np} {be} back in the end . | in the end {np} {be} back .
            {np} move{s} back . | yes , {np} move{s} back . | {np} : back in the end . | the clip shows {np} come back .
            yes , i see {np} come back . | the motion of {np} comes back .""",
    )
    stay = replace(
        wording,
        answers=patterns("""
            {np} {do} not come back . | no , {np} {do} not come back . | no . {np} {do} not come back .
            no , {np} stay{s} displaced . | {np} stay{s} displaced . | in the end {np} stay{s} displaced .
            no , {np} {be} not back in the end . | {np} {be} not back in the end . | {np} : not back in the end .
            {np} {do} not move back . | no . {np} stay{s} displaced . | the clip shows {np} stay displaced ."""),
    )

    def worded(self, fact: Fact) -> Wording:
        return self.stay if fact.event == "stay" else self.wording


class Timed(Event):
    """Does the region start, peak or fade in this frame? Yes or no."""

    yes_no = True
    events = FRAMED
    wording = Wording.of(
        questions="""
            {do} {np} {event} in {when} ? | is the {event} of {np} in {when} ? | do you see {np} {event} in {when} ?
            does the clip show {np} {event} in {when} ? | in {when} {do} {np} {event} ?
            {event} of {np} in {when} : yes or no ? | is {when} the {event} of {np} ?
            tell if {np} {events} in {when} . | is it so that {np} {events} in {when} ?
            does the {event} of {np} come in {when} ? | yes or no : {np} {events} in {when} ?
            {when} : {do} {np} {event} ?""",
        answers="""
            yes , {np} {events} in {when} . | yes . {np} {events} in {when} . | yes , in {when} {np} {events} .
            yes , the {event} of {np} is in {when} . | yes . the {event} of {np} is in {when} .
            yes , {event} of {np} in {when} . | yes , i see {np} {event} in {when} .
            yes , the clip shows {np} {event} in {when} . | yes : {np} {events} in {when} .
            yes . {event} of {np} : {when} . | yes , {np} : {event} in {when} . | yes . in {when} {np} {events} .""",
        denials="""
            no , {np} {do} not {event} in {when} . | no . {np} {do} not {event} in {when} .
            no , in {when} {np} {do} not {event} . | no , the {event} of {np} is not in {when} .
            no . the {event} of {np} is not in {when} . | no , not in {when} : the {event} of {np} .
            no , i do not see {np} {event} in {when} . | no . not {when} : {event} of {np} .
            no , the clip does not show {np} {event} in {when} . | no : {np} {do} not {event} in {when} .
            no . in {when} {np} {do} not {event} . | no , {np} : not {event} in {when} .""",
    )

    def asks(self, facts: Facts, rng: np.random.Generator, absent: Sequence[int], frames: int) -> Iterable[Facts]:
        """One event in a wrong frame and one in its own; neither without the other, so that yes and no stay even."""
        if self.can_ask(facts) and (wrong := near_miss(self.one(facts, rng).times[0], frames, rng)):
            yield Facts.one(wrong, True)
            yield self.one(facts, rng)


def near_miss(fact: TimeFact, frames: int, rng: np.random.Generator) -> TimeFact | None:
    """The same event of the same region in a wrong frame of 1..`frames`, at least two frames off (a measured time may
    be off by one). None if there is no such frame."""
    wrong = [t for t in range(1, frames + 1) if t <= fact.first - 2 or t >= fact.last + 2]
    if not wrong:
        return None
    frame = wrong[rng.integers(len(wrong))]
    return replace(fact, first=frame, last=frame)


# --- all of them -----------------------------------------------------------------------------------------------------
class _Kinds(dict[str, Kind]):
    def __missing__(self, name: str) -> Kind:
        raise ValueError(f"unknown kind '{name}'; known: {', '.join(self)}")


# By name, in the order in which records ask them.
KINDS = _Kinds(
    (kind.name, kind)
    for kind in (
        *(Motion(), Units(), Side(), Coarse(), Fine(), Reasoning(), Negative()),
        *(Start(), Peak(), Fade(), First(), Back(), Timed(), Present(), Joint()),
    )
)
SCHOOLED = tuple(name for name, kind in KINDS.items() if kind.schooled)
MEGC = tuple(name for name, kind in KINDS.items() if type(kind).task is not Kind.task)  # the six that the task asks


def parts(
    kinds: Iterable[str], facts: Facts, rng: np.random.Generator, absent: Sequence[int] = (), frames: int = 8
) -> Iterable[tuple[Kind, Facts]]:
    """(kind, what the question is about) for every question of these kinds that a clip's facts can answer.

    absent: units that are known to be shown on neither side ("present" needs them to say no). frames: of the clip,
    after the onset. The next part is drawn from `rng` only when it is asked for.
    """
    for name in kinds:
        yield from ((KINDS[name], part) for part in KINDS[name].asks(facts, rng, absent, frames))


def vocabulary(kinds: Iterable[str] = SCHOOLED) -> list[str]:
    """Every token that a question or an answer of these kinds can contain, sorted. Default: a language model's."""
    return sorted(words(p for name in kinds for wording in KINDS[name].wordings() for p in wording.all()))


def say(fact: Fact) -> str:
    """The plain words of one fact."""
    if isinstance(fact, TimeFact):
        kind = KINDS["back" if fact.event == "stay" else fact.event]
    else:
        kind = KINDS["units" if isinstance(fact, UnitFact) else "motion"]
    return kind.answer(Facts.one(fact)).removesuffix(" .")
