"""Temporal questions and answers: when does it start, peak, fade, which region moves first, does it come back, was it in that frame.

The wording is separate from `grammar`, because the small language model is trained on that vocabulary and on no other; records,
checks and exports use both (`deft.unimer.asking`). Times are frames of the stored clip, onset = frame 0. Every answer is one
sentence about one region and can be parsed back by `read`. No pattern uses a word of direction.
"""

from __future__ import annotations

import re
from types import MappingProxyType

import numpy as np

from deft.unimer import grammar
from deft.unimer.facts import Facts, MotionFact, TimeFact

KINDS = ("start", "peak", "fade", "first", "back", "timed")  # "timed" is yes or no: the right frame, or the right region and a wrong frame

# {np}, {verb:x}, {be}, {does}, {do} as in `grammar`; {when}: "frame 3" or "frames 3 to 4"
ANSWERS = MappingProxyType({
    "start": ("{np} {verb:start} to move in {when} .", "{np} {verb:start} in {when} .", "in {when} {np} {verb:start} to move .", "start of {np} : {when} .",
              "the start of {np} is in {when} .", "{np} : start in {when} .", "the motion of {np} starts in {when} .", "{when} : {np} {verb:start} to move .",
              "in {when} {np} {verb:start} .", "{when} : start of {np} .", "{np} {be} still until the start in {when} .", "the clip shows {np} start in {when} ."),
    "peak": ("{np} {verb:peak} in {when} .", "in {when} {np} {verb:peak} .", "peak of {np} : {when} .", "the peak of {np} is in {when} .", "{np} : peak in {when} .",
             "the motion of {np} peaks in {when} .", "{when} : {np} {verb:peak} .", "{np} {verb:reach} the peak in {when} .", "in {when} {np} {verb:reach} the peak .",
             "{when} : peak of {np} .", "{np} {be} at the peak in {when} .", "the clip shows {np} peak in {when} ."),
    "fade": ("{np} {verb:fade} in {when} .", "in {when} {np} {verb:fade} .", "fade of {np} : {when} .", "the motion of {np} fades in {when} .", "{np} : fade in {when} .",
             "{when} : {np} {verb:fade} .", "the fade of {np} is in {when} .", "{when} : fade of {np} .", "in {when} the motion of {np} fades .",
             "the clip shows {np} fade in {when} .", "{np} {verb:start} to fade in {when} .", "in {when} {np} {verb:start} to fade ."),
    "first": ("{np} {verb:move} first .", "first : {np} .", "the first to move : {np} .", "{np} {be} the first to move .", "{np} {verb:start} first .", "the motion of {np} is first .",
              "{np} {be} first .", "first of all {np} {verb:move} .", "first {np} {verb:move} .", "the clip shows {np} move first .", "i see {np} move first .",
              "{np} : first to move ."),
    "back": ("{np} {verb:come} back .", "yes , {np} {verb:come} back .", "yes . {np} {verb:come} back .", "yes , {np} {be} back in the end .", "{np} {be} back in the end .",
             "in the end {np} {be} back .", "{np} {verb:move} back .", "yes , {np} {verb:move} back .", "{np} : back in the end .", "the clip shows {np} come back .",
             "yes , i see {np} come back .", "the motion of {np} comes back ."),
    "stay": ("{np} {do} not come back .", "no , {np} {do} not come back .", "no . {np} {do} not come back .", "no , {np} {verb:stay} displaced .", "{np} {verb:stay} displaced .",
             "in the end {np} {verb:stay} displaced .", "no , {np} {be} not back in the end .", "{np} {be} not back in the end .", "{np} : not back in the end .",
             "{np} {do} not move back .", "no . {np} {verb:stay} displaced .", "the clip shows {np} stay displaced ."),
})
# {event} start, peak or fade; {verb:event} agrees with the region
YES = ("yes , {np} {verb:event} in {when} .", "yes . {np} {verb:event} in {when} .", "yes , in {when} {np} {verb:event} .", "yes , the {event} of {np} is in {when} .",
       "yes . the {event} of {np} is in {when} .", "yes , {event} of {np} in {when} .", "yes , i see {np} {event} in {when} .", "yes , the clip shows {np} {event} in {when} .",
       "yes : {np} {verb:event} in {when} .", "yes . {event} of {np} : {when} .", "yes , {np} : {event} in {when} .", "yes . in {when} {np} {verb:event} .")
NO = ("no , {np} {do} not {event} in {when} .", "no . {np} {do} not {event} in {when} .", "no , in {when} {np} {do} not {event} .", "no , the {event} of {np} is not in {when} .",
      "no . the {event} of {np} is not in {when} .", "no , not in {when} : the {event} of {np} .", "no , i do not see {np} {event} in {when} .", "no . not {when} : {event} of {np} .",
      "no , the clip does not show {np} {event} in {when} .", "no : {np} {do} not {event} in {when} .", "no . in {when} {np} {do} not {event} .", "no , {np} : not {event} in {when} .")
ASK = ("{does} {np} {event} in {when} ?", "is the {event} of {np} in {when} ?", "do you see {np} {event} in {when} ?", "does the clip show {np} {event} in {when} ?",
       "in {when} {does} {np} {event} ?", "{event} of {np} in {when} : yes or no ?", "is {when} the {event} of {np} ?", "tell if {np} {verb:event} in {when} .",
       "is it so that {np} {verb:event} in {when} ?", "does the {event} of {np} come in {when} ?", "yes or no : {np} {verb:event} in {when} ?", "{when} : {does} {np} {event} ?")
NOTHING = ("no time is clear .", "nothing is clear in time .", "no clear time .")
QUESTIONS = MappingProxyType({
    "start": ("when {does} {np} start to move ?", "in which frame {does} {np} start ?", "start of {np} ?", "tell the start of {np} .", "when is the start of {np} ?",
              "give the frame in which {np} {verb:start} .", "which frame is the start of {np} ?", "name the frame of the start of {np} .", "when {does} {np} start ?",
              "from which frame {do} you see {np} move ?", "in which frame is the start of {np} ?", "when do you see {np} start ?"),
    "peak": ("when {does} {np} peak ?", "in which frame {does} {np} peak ?", "peak of {np} ?", "tell the peak of {np} .", "when is the peak of {np} ?",
             "give the frame of the peak of {np} .", "which frame is the peak of {np} ?", "name the frame in which {np} {verb:peak} .", "when {does} {np} reach the peak ?",
             "in which frame is the peak of {np} ?", "where in time is the peak of {np} ?", "when do you see {np} peak ?"),
    "fade": ("when {does} {np} fade ?", "in which frame {does} {np} fade ?", "fade of {np} ?", "tell when {np} {verb:fade} .", "when is the fade of {np} ?",
             "give the frame in which {np} {verb:fade} .", "which frame is the fade of {np} ?", "name the frame of the fade of {np} .", "when {does} the motion of {np} fade ?",
             "in which frame is the fade of {np} ?", "when {does} {np} start to fade ?", "when do you see {np} fade ?"),
    "first": ("what moves first ?", "which region moves first ?", "which region is the first to move ?", "name the first region .", "tell what moves first .",
              "which part of the face moves first ?", "where does the face move first ?", "first region ?", "give the region that moves first .", "what is the first to move ?",
              "which region do you see move first ?", "which region starts first ?"),
    "back": ("{does} {np} come back ?", "{does} {np} come back in the end ?", "{bee} {np} back in the end ?", "do you see {np} come back ?", "{does} {np} move back ?",
             "does the clip show {np} come back ?", "do you see {np} back in the end ?", "does the motion of {np} come back ?", "tell if {np} {verb:come} back .",
             "in the end {does} {np} come back ?", "is it so that {np} {verb:come} back ?", "tell if {np} {be} back in the end ."),
})
_EVENT = MappingProxyType({form: event for event, forms in {
    "start": ("start", "starts", "started"), "peak": ("peak", "peaks", "peaked"), "fade": ("fade", "fades", "faded"), "first": ("first",),
    "back": ("back",), "stay": ("stay", "stays", "stayed")}.items() for form in forms})
FRAMED = ("start", "peak", "fade")  # events that name a frame
_WEAK = ("start", "first")  # "starts to fade", "starts first": the other word says what is meant
FRAMES = 32  # frame numbers that the vocabulary holds


def question(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """A question of `kind` about the time fact that `mentioned` picks; if there is none, about the jaw (any region would do)."""
    if kind == "timed":
        return _fill(grammar._pick(ASK, rng), _asked(facts), rng)
    told = mentioned(kind, facts).times
    return _fill(grammar._pick(QUESTIONS[kind], rng), told[0] if told else TimeFact(kind, "jaw", "B"), rng)


def answer(kind: str, facts: Facts, rng: np.random.Generator | None = None) -> str:
    """The answer of `kind`; it states exactly `mentioned(kind, facts)`."""
    if kind == "timed":
        fact = _asked(facts)
        no = fact in facts.denied
        return _fill(grammar._pick(NO if no else YES, rng), fact, None if no else rng)
    told = mentioned(kind, facts).times
    if not told:
        return grammar._pick(NOTHING, rng)
    pattern = grammar._pick(ANSWERS[told[0].event], rng)
    return _fill(pattern, told[0], None if " not " in pattern else rng)  # "both cheeks do not" could mean that one does


def mentioned(kind: str, facts: Facts) -> Facts:
    """The part of `facts` that an answer of `kind` states: its first time fact of that kind ("timed": the one it is asked about)."""
    if kind == "timed":
        fact = _asked(facts)
        return Facts(denied=(fact,)) if fact in facts.denied else Facts(times=(fact,))
    events = ("back", "stay") if kind == "back" else (kind,)
    return Facts(times=tuple(fact for fact in facts.times if fact.event in events)[:1])


def _asked(facts: Facts) -> TimeFact:
    """The time a yes-no question is about: the first denied one, else the first stated one that names a frame."""
    found = [fact for fact in (*facts.denied, *facts.times) if isinstance(fact, TimeFact) and fact.event in FRAMED]
    if not found:
        raise ValueError("kind 'timed' asks about a frame, and the facts hold no start, peak or fade, neither stated nor denied")
    return found[0]


def near_miss(fact: TimeFact, frames: int, rng: np.random.Generator) -> TimeFact | None:
    """The same event of the same region in a wrong frame of 1..`frames`, at least two frames off (a measured time may be off by one)."""
    wrong = [t for t in range(1, frames + 1) if t <= fact.first - 2 or t >= fact.last + 2]
    if not wrong:
        return None
    frame = wrong[rng.integers(len(wrong))]
    return TimeFact(fact.event, fact.region, fact.side, frame, frame)


def say(fact: TimeFact) -> str:
    """The canonical words of one fact."""
    return _fill(ANSWERS[fact.event][0], fact, None).removesuffix(" .")


def vocabulary() -> set[str]:
    """Every token of these questions and answers that the grammar of `grammar` lacks, and some that it has."""
    patterns = [p for group in (*ANSWERS.values(), *QUESTIONS.values(), NOTHING, YES, NO, ASK) for p in group]
    words = set(grammar.tokens(" ".join(_spell(p) for p in patterns))) | {str(n) for n in range(FRAMES)} | set(_EVENT) | {"frame", "frames", "to", "are"}
    return words | set(grammar.tokens("do does is are"))


def _spell(pattern: str) -> str:
    verbs = re.findall(r"\{verb:(\w+)\}", pattern)
    return " ".join([re.sub(r"\{[^}]*\}", " ", pattern), *verbs, *map(_third, verbs)])


def _third(verb: str) -> str:
    return verb + ("es" if verb.endswith("ch") else "s")


def _fill(pattern: str, fact: TimeFact, rng: np.random.Generator | None) -> str:
    when = f"frame {fact.first}" if fact.first == fact.last else f"frames {fact.first} to {fact.last}"
    phrase, many = grammar._phrase(MotionFact(fact.region, fact.side, "up"), rng)
    pattern = pattern.replace("{verb:event}", "{verb:" + fact.event + "}")
    pattern = re.sub(r"\{verb:(\w+)\}", lambda match: match[1] if many else _third(match[1]), pattern)
    be, do = ("are", "do") if many else ("is", "does")
    return pattern.format(np=phrase, when=when, be=be, bee=be, do=do, does=do, event=fact.event)


# --- reading -----------------------------------------------------------------------------------------------------------
def read(sentence: list[str], regions: list[tuple[int, str, str]]) -> tuple[list[TimeFact], list[TimeFact]]:
    """Words of one sentence -> (stated, denied) time facts. regions: (position, spoken region, side) as `check` finds them.

    A comma or a further region ends what is said of the one before, once something was said.
    """
    negative = any(word in ("no", "not", "never", "without") for word in sentence)
    denying = any(word in ("not", "never") for word in sentence)  # "no , it stays" answers a question; "it does not stay" denies
    at = {position: (region, side) for position, region, side in regions}
    stated: list[TimeFact] = []
    denied: list[TimeFact] = []
    place, said, frames = None, [], []

    def close() -> bool:
        event = next((e for e in said if e not in _WEAK), said[0] if said else None)
        if event == "start" and "first" in said and not frames:
            event = "first"
        if place is None or event is None or (event in FRAMED and not frames):
            return False
        if event in ("back", "stay") and denying:
            event = "stay" if event == "back" else "back"
        if event in FRAMED:
            first, last = min(frames), max(frames)
            if event != "peak":
                last = first
        else:
            first = last = 0
        flipped = event in ("back", "stay")
        (denied if negative and not flipped else stated).append(TimeFact(event, *place, first, last))
        return True

    for i, word in enumerate([*sentence, ","]):
        if (i in at or word == ",") and close():
            place, said, frames = None, [], []
        if i in at:
            place = at[i]
        elif word in _EVENT:
            said.append(_EVENT[word])
        elif word.isdecimal() and len(word) <= 3 and i and sentence[i - 1] in ("frame", "frames", "to", "and", "-"):
            frames.append(int(word))
    return stated, denied
