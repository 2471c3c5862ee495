"""Two question kinds of the MEGC visual question answering task that say no side: is a unit shown, and the joint question.

The task's six kinds are: coarse class, fine class, which action units, is unit X shown, left or right, joint. Four of
them are asked in `grammar` already ("coarse", "fine", "units", "side"); here are the other two. Units go by their names, and a
unit named without a side is a fact of side "A": it is shown somewhere. `deft.unimer.export` gives all six in the task's own words.
"""

from __future__ import annotations

import numpy as np

from deft.clips.facs import COARSE_CLASSES, EMOTIONS, NAMES, UNITS
from deft.unimer import grammar
from deft.unimer.facts import Facts, UnitFact

KINDS = ("present", "joint")
MEGC_KINDS = ("coarse", "fine", "units", "present", "side", "joint")  # the six of the task, under our names

# {name} a unit, {list} names, {unit}/{be} agree with their number. Every sentence that names a unit has the word "unit".
ASK = ("is the action unit {name} shown on the face ?", "is the unit {name} present ?", "do you see the action unit {name} ?", "does the face show the unit {name} ?",
       "is the action unit {name} visible ?", "does the clip show the action unit {name} ?", "is there the action unit {name} ?", "unit {name} : yes or no ?",
       "is the unit {name} active ?", "tell if the action unit {name} is shown .", "is the action unit {name} in this clip ?", "do you see the unit {name} on the face ?")
YES = ("yes , the action unit {name} is shown .", "yes . the action unit {name} is shown on the face .", "yes , the unit {name} is present .", "yes , i see the action unit {name} .",
       "yes , the face shows the unit {name} .", "yes , the action unit {name} is visible .", "yes , the clip shows the action unit {name} .", "yes . the unit {name} is active .",
       "the action unit {name} is shown .", "yes , there is the action unit {name} .", "yes : the unit {name} is on the face .", "yes . unit {name} .")
NO = ("no , the action unit {name} is not shown .", "no . the action unit {name} is not shown on the face .", "no , the unit {name} is absent .", "no , i do not see the action unit {name} .",
      "no , the face does not show the unit {name} .", "no , the action unit {name} is not visible .", "no , the clip does not show the action unit {name} .",
      "no . the unit {name} is not active .", "the action unit {name} is not shown .", "no , there is no action unit {name} .", "no : the unit {name} is not on the face .",
      "no . not the unit {name} .")
ASK_JOINT = ("which action units are present , and which fine and coarse class follow ?", "name the action units and , based on them , the fine and the coarse class .",
             "what are the units , the fine class and the coarse class ?", "give units , fine class and coarse class .", "units first , then the fine and the coarse class ?",
             "which units do you see , and which fine and coarse expression class is it ?", "tell the action units and both classes , fine and coarse .",
             "code the face and tell the fine and the coarse class .", "based on the units , what are the fine and coarse classes ?",
             "list the units , then name the fine and the coarse expression class .", "which units , which fine class , which coarse class ?",
             "what are the action units present , and what are the fine and coarse expression classes ?")
_CLASSES = ("therefore , the fine - grained expression class is {emotion} , and the coarse expression class is {coarse} .",
            "fine class : {emotion} . coarse class : {coarse} .", "so the fine class is {emotion} and the coarse class is {coarse} .",
            "the fine - grained class is {emotion} , the coarse class is {coarse} .")
_SHOWN = ("the action {unit} present {be} : {list} .", "{unit} : {list} .", "the face shows the {unit} {list} .")
JOINT = tuple(f"{shown} {classes}" for shown in _SHOWN for classes in _CLASSES)  # 12, the task's own sentence first


def question(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """"present" asks about the first denied unit, else the first unit."""
    if kind == "joint":
        return grammar._pick(ASK_JOINT, rng)
    return grammar._pick(ASK, rng).format(name=NAMES[_asked(facts).code])


def answer(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """The answer of `kind`; it states exactly `mentioned(kind, facts)`."""
    told = mentioned(kind, facts)
    if kind == "present":
        return grammar._pick(NO if told.denied else YES, rng).format(name=NAMES[_asked(told).code])
    many = len(told.units) > 1
    names = " , ".join(NAMES[fact.code] for fact in told.units) or grammar.NO_EVIDENCE
    return grammar._pick(JOINT, rng).format(list=names, unit="units" if many else "unit", be="are" if many else "is", emotion=told.emotion, coarse=told.coarse)


def mentioned(kind: str, facts: Facts) -> Facts:
    """The part of `facts` that an answer states; units lose their sides. Raises ValueError if a joint question lacks a class."""
    if kind == "present":
        fact = UnitFact(_asked(facts).code, "A")
        return Facts(denied=(fact,)) if any(isinstance(f, UnitFact) for f in facts.denied) else Facts(units=(fact,))
    if facts.emotion not in EMOTIONS or facts.coarse not in COARSE_CLASSES:
        raise ValueError(f"kind 'joint' needs an emotion of {', '.join(EMOTIONS)} and a coarse class; found '{facts.emotion}', '{facts.coarse}'")
    return Facts(facts.emotion, facts.coarse, tuple(UnitFact(fact.code, "A") for fact in facts.units))


def _asked(facts: Facts) -> UnitFact:
    units = [fact for fact in (*facts.denied, *facts.units) if isinstance(fact, UnitFact)]
    if not units:
        raise ValueError("kind 'present' asks about a unit, and the facts hold none, neither stated nor denied")
    return units[0]


def vocabulary() -> set[str]:
    """Every token of these questions and answers."""
    patterns = " ".join((*ASK, *YES, *NO, *ASK_JOINT, *JOINT))
    for slot in ("name", "list", "emotion", "coarse"):
        patterns = patterns.replace("{" + slot + "}", " ")
    return set(grammar.tokens(patterns.replace("{unit}", "unit units").replace("{be}", "is are")))


# --- reading -----------------------------------------------------------------------------------------------------------
def read(sentence: list[str]) -> tuple[list[UnitFact], list[str]]:
    """Words of one sentence without unit codes -> (units named in it, the words that are left). A side may follow a name: "dimpler left", "dimpler is shown on the left side"."""
    if not {"unit", "units"} & set(sentence):
        return [], sentence
    names = sorted(((NAMES[unit].split(), unit) for unit in UNITS), key=lambda row: -len(row[0]))
    side_of = {word: side for side, word in grammar.SIDE_WORD.items()}
    facts, rest, i = [], [], 0
    while i < len(sentence):
        found = next(((words, unit) for words, unit in names if sentence[i:i + len(words)] == words), None)
        if found is None:
            rest.append(sentence[i])
            i += 1
            continue
        i += len(found[0])
        end = next((j for j in range(i, len(sentence)) if sentence[j] in (",", "and")), len(sentence))
        at = next((j for j in range(i, end) if sentence[j] in side_of and (j == i or sentence[j + 1:j + 2] in (["side"], ["sides"]))), None)
        facts.append(UnitFact(found[1], "A" if at is None else side_of[sentence[at]]))
        i = i if at is None else at + 1
    return facts, rest
