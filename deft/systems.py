"""Every system that is compared, and the lists that stages, tables, figures and claims make of them.

A *model* is the language model tuned on some experts' streams (`deft.mllm`); a *reader* is a simple system without it,
a *system of the field* follows another paper (both in `deft.evaluation.peers`). A new system is a row of `_ROWS`, and a
name in `LISTED` for each place that shows it. Profiles (`notebooks/params/*.yaml`) choose by name the models that are
tuned and the systems of the field that are fitted.
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
OURS, THEIRS = "this work", "another paper"  # family of a system, in T2
ELSEWHERE = "deft-sim"  # DEFT as tuned on a profile's simulated clips, asked about a licensed set


@dataclass(frozen=True)
class System:
    """One system. spoken: its name in figures. note: what it is, in T2.

    Of a model: streams (letters of `STREAMS`), base ("base", or "base-flat": text pretrained without emotion
    prototypes), construction of Uni-MER that it is taught, what of a stream it is shown (projected "tokens", soft
    "words"). on_experts: a reader of what one draw of the experts says.
    Of the field: module (file of `deft.evaluation.peers`), form (of a network: the one that is run; "" where nothing is
    drawn), language (it adapts the base of DEFT), stretched (flow images stretched per image, not at fixed scale).
    """

    name: str
    spoken: str
    note: str = ""
    streams: str = ""
    base: str = "base"
    construction: str = "both"
    shows: tuple[str, ...] = ("tokens", "words")
    on_experts: bool = False
    module: str = ""
    form: str = ""
    language: bool = False
    stretched: bool = False

    @property
    def parts(self) -> str:
        """The experts of a model, in words: "structure + texture"."""
        alone = f", {self.shows[0]} only" if len(self.shows) == 1 else ""
        return " + ".join(STREAMS[letter] for letter in self.streams) + alone


def _subset(streams: str) -> System:
    return System(f"deft-{streams}", "DEFT, " + " + ".join(STREAMS[letter] for letter in streams), streams=streams)


def _net(name: str, spoken: str, note: str, module: str = "", form: str = "small", language: bool = False) -> System:
    return System(name, spoken, note, module=module or name.replace("-", ""), form=form, language=language)


_RISE, _PAIR, _THREE = "flow u, v, strain of the rise", "apex minus onset, and the onset", "onset, apex, offset frame"
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
    System("lbptop", "LBP-TOP + SVM", "five frames of the face box, linear SVM", module="lbptop"),
    System("mdmo", "MDMO + SVM", "main flow directions of 36 regions, SVM", module="mdmo"),
    System("biwoof", "Bi-WOOF + SVM", "flow and strain of the rise in 5 x 5 blocks, linear SVM", module="biwoof"),
    System(
        "dynamic-image",
        "dynamic image + SVM",
        "dynamic images of the clip, its rise and its fall, linear SVM",
        module="dynamic_image",
    ),
    _net("offapexnet", "OFF-ApexNet", "flow u, v of the rise, 28 px"),
    _net("ststnet", "STSTNet", f"{_RISE}, 28 px"),
    System(
        "ststnet-stretched",
        "STSTNet, stretched flow",
        f"{_RISE}, 28 px, each image stretched to its own range",
        module="ststnet",
        form="small",
        stretched=True,
    ),
    _net("rcn", "RCN", f"{_RISE}, 28 px"),
    _net("htnet", "HTNet", f"four crops of 32 px of {_RISE}, 128 px"),
    _net("htnet-one-token", "HTNet, one token", f"four crops of 14 px of {_RISE}, 28 px", "htnet", "one-token"),
    _net("fmanet", "FMANet", "flow u, v, magnitude of rise and fall, 28 px"),
    _net("mmnet", "MMNet", f"{_PAIR}, 64 px"),
    _net("microattention", "Micro-Attention", f"{_RISE}, 28 px"),
    _net("ma2mi", "MA2MI", f"{_PAIR}, 64 px; pretrained on macro-expressions"),
    _net("frames", "CNN on frames", f"{_THREE}, 64 px", "merclip_mixing", "plain"),
    _net("merclip-mixing", "MER-CLIP's mixing", f"{_THREE}, 64 px, looks mixed in training", "merclip_mixing"),
    _net("au-llm", "AU-LLM", "six frames, 64 px -> one token of the language model", "aullm", language=True),
    _net("mellm", "MELLM", "flow of 36 regions as text, no pixel", language=True),
    _net("mpt", "MPT", "apex frame, 128 px, and magnified motion as prompts of a vision transformer"),
)
SYSTEMS = {system.name: system for system in _ROWS}
MODELS = tuple(s.name for s in _ROWS if s.streams and s.name not in (ELSEWHERE, CHECKED))  # what 07 can tune
PEERS = tuple(s.name for s in _ROWS if not s.streams and not s.module)  # in their order in predictions.jsonl
FIELD = tuple(s.name for s in _ROWS if s.module)  # systems of other papers
CONSTANT = (*PEERS, *(name for name in FIELD if not SYSTEMS[name].form))  # nothing random of their own
# The same answers on every processor. Not the readers of measured flow, though nothing is drawn in them: OpenCV has
# other code for AVX-512 than for AVX2, and answers of LR on region flow and of Bi-WOOF hang on its last digits.
UNTRAINED = tuple(name for name in PEERS if not SYSTEMS[name].on_experts and name != "lr-flow")

# Related systems that are not built, and why: a network of guesses would carry their name and be another.
NOT_BUILT = {
    "tsan": "abstract only: architecture, sizes, inputs and recipe are unknown",
    "atm-gcn": "abstract only: the graph, its nodes and edges, sizes and recipe are unknown",
    "ammsm": "abstract only: architecture, sizes and recipe are unknown",
    "affectivenet": "abstract only: sizes, the weights of its affective motion image and the recipe are unknown",
    "frl-dgt": "abstract only: the displacement generator, its losses, sizes and recipe are unknown",
    "emr": "no code: the adversarial transfer from macro to micro, its losses and its macro data are unknown",
    "micron-bert": "no code for tuning, weights behind dead links; pretraining asks for millions of pictures of faces",
    "causalnet": "two HTNet encoders on motion and position images; what its causal objective adds is unknown here",
    "slstt": "sizes and recipe of the reported runs are unknown here; its transformer needs weights learned elsewhere",
}

OPPONENTS = (RGB, "lr-flow", "lr-experts", BLIND, "lr-pixels", MAJORITY)  # DEFT is held against each of them
LISTED = {  # where -> its systems, in the order of rows or panels
    "T2": (DEFT, *OPPONENTS, "deft-flat", *FIELD),
    "T3": ("deft-s", "deft-t", "deft-m", "deft-st", "deft-sm", "deft-tm", "deft-words", "deft-tokens", DEFT),
    "T4": ("deft-none", "deft-au", "deft-flow", DEFT),
    "F1": ("lr-pixels", RGB, "lr-flow", DEFT),
    "F4": (DEFT, RGB),
    "F6": (DEFT, "lr-flow", RGB, "lr-pixels"),
    "C5": OPPONENTS,
    "licensed": (MAJORITY, "lr-flow", "lr-experts", BLIND),  # the readers that answer a licensed set
}
LISTED["T7"] = tuple(dict.fromkeys((DEFT, CHECKED, *OPPONENTS, "deft-flat", TEMPLATE, *LISTED["T3"])))
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
