"""Every system that is compared, and the lists that stages, tables, figures and claims make of them.

A *model* is the language model tuned on some experts' streams (`deft.mllm`); a *reader* is a simple system without it
(`deft.evaluation.peers`). A new system is a row of `_ROWS`, and a name in `LISTED` for each place that shows it.
Profiles (`notebooks/params/*.yaml`) choose the models that are tuned by name.
"""

from dataclasses import dataclass

STREAMS = {"s": "structure", "t": "texture", "m": "motion", "r": "rgb"}  # letter -> expert, in the order of the prompt
DEFT, RGB, BLIND, MAJORITY, TEMPLATE = (
    "deft",
    "rgb-only",
    "bayes-experts",
    "majority",
    "template",
)  # roles in tables and claims; the blind
# reader sees unit probabilities alone, so no look
CHECKED = "deft-checked"  # DEFT's answers, their text as it is said after the check (`deft.mllm.checked`)
ELSEWHERE = "deft-sim"  # DEFT as tuned on a profile's simulated clips, asked about a licensed set


@dataclass(frozen=True)
class System:
    """One system. spoken: its name in figures. note: what it is, in T2.

    Of a model: streams (letters of `STREAMS`), base ("base", or "base-flat": text pretrained without emotion
    prototypes), construction of Uni-MER that it is taught, what of a stream it is shown (projected "tokens", soft
    "words"). on_experts: a reader of what one draw of the experts says.
    """

    name: str
    spoken: str
    note: str = ""
    streams: str = ""
    base: str = "base"
    construction: str = "both"
    shows: tuple[str, ...] = ("tokens", "words")
    on_experts: bool = False

    @property
    def parts(self) -> str:
        """The experts of a model, in words: "structure + texture"."""
        alone = f", {self.shows[0]} only" if len(self.shows) == 1 else ""
        return " + ".join(STREAMS[letter] for letter in self.streams) + alone


def _subset(streams: str) -> System:
    return System(f"deft-{streams}", "DEFT, " + " + ".join(STREAMS[letter] for letter in streams), streams=streams)


_ROWS = (
    System("deft", "DEFT", "three experts, soft words, small language model", "stm"),
    *map(_subset, ("s", "t", "m", "st", "sm", "tm")),
    System("deft-words", "DEFT, words only", "deft without projected tokens", "stm", shows=("words",)),
    System("deft-tokens", "DEFT, tokens only", "deft without soft words", "stm", shows=("tokens",)),
    System("rgb-only", "RGB-only LM", "the same language model on an RGB encoder of the same size and training", "r"),
    System(
        "deft-flat",
        "DEFT, flat text",
        "deft, its text pretrained with flat emotion prototypes",
        "stm",
        base="base-flat",
    ),
    System("deft-none", "DEFT, no constraint", streams="stm", construction="none"),
    System("deft-au", "DEFT, annotation only", streams="stm", construction="au"),
    System("deft-flow", "DEFT, flow only", streams="stm", construction="flow"),
    System("majority", "majority", "commonest emotion of the training subjects"),
    System("lr-pixels", "LR on pixels", "logistic regression on apex pixels"),
    System("lr-flow", "LR on region flow", "logistic regression on DIS region flow"),
    System("lr-experts", "LR on experts", "logistic regression on the experts' outputs", on_experts=True),
    System(
        "bayes-experts",
        "prototype Bayes",
        "textbook prototypes on the motion expert's unit probabilities",
        on_experts=True,
    ),
    System("template", "template", "the motion expert's unit probabilities read out in words", on_experts=True),
    System(CHECKED, "DEFT, text checked", "deft's texts without what neither experts nor flow bear out", "stm"),
    System(
        ELSEWHERE,
        "DEFT, tuned on simulated clips",
        "deft as tuned on the profile's simulated clips, never on these",
        "stm",
    ),
)
SYSTEMS = {system.name: system for system in _ROWS}
MODELS = tuple(s.name for s in _ROWS if s.streams and s.name not in (ELSEWHERE, CHECKED))  # what 07 can tune
PEERS = tuple(s.name for s in _ROWS if not s.streams)  # in the order of their answers in predictions.jsonl
UNTRAINED = tuple(name for name in PEERS if not SYSTEMS[name].on_experts)  # no network in what they read

OPPONENTS = (RGB, "lr-flow", "lr-experts", BLIND, "lr-pixels", MAJORITY)  # DEFT is held against each of them
LISTED = {  # where -> its systems, in the order of rows or panels
    "T2": (DEFT, *OPPONENTS, "deft-flat"),
    "T3": ("deft-s", "deft-t", "deft-m", "deft-st", "deft-sm", "deft-tm", "deft-words", "deft-tokens", DEFT),
    "T4": ("deft-none", "deft-au", "deft-flow", DEFT),
    "F1": ("lr-pixels", RGB, "lr-flow", DEFT),
    "F4": (DEFT, RGB),
    "F6": (DEFT, "lr-flow", RGB, "lr-pixels"),
    "C5": OPPONENTS,
    "licensed": (MAJORITY, "lr-flow", "lr-experts", BLIND),  # the readers that answer a licensed set
}
LISTED["T7"] = tuple(dict.fromkeys((DEFT, CHECKED, *LISTED["T2"], TEMPLATE, *LISTED["T3"])))
LISTED["T7b"] = (DEFT, CHECKED, TEMPLATE, RGB)
TAUGHT = {SYSTEMS[name].construction: name for name in LISTED["T4"]}  # construction of Uni-MER -> the model taught it


def model(name: str) -> System:
    """The entry of a system that 07 can tune; ValueError for another name."""
    if name not in MODELS:
        raise ValueError(f"unknown system '{name}'; choose among {', '.join(MODELS)}")
    return SYSTEMS[name]


def spoken(name: str) -> str:
    """A system's name in figures and pages; a name that is not registered stands for itself."""
    return SYSTEMS[name].spoken if name in SYSTEMS else name
