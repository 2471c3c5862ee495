"""Any list of classes: it belongs to what is run, not to the model.

A class is answered by the likelihood of its word after 'class :', so the model needs the word alone; the head is sized
by the list. Words that the base's closed vocabulary lacks (others, repression, fear, contempt) get rows of their own in
its embeddings, and the adapters learn to say them from the clips that show them. The paper does not say how its labels
enter; we use words because the same model then answers any protocol.

Rehearsal (`deft.mllm.examples`) is about clips that never existed, which show the five emotions of the textbook. Under
another list such a text says the coarse class where that is on the list, and no class where neither is; classes without
a prototype are rehearsed by what their training clips show, or a third of all examples would speak against them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from tokenizers import AddedToken
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from deft import runtime
from deft.clips.facs import COARSE, COARSE_CLASSES, EMOTIONS
from deft.mllm import prompt
from deft.mllm.data import TuningData
from deft.unimer.facts import Facts, text_facts
from deft.unimer.reading import parse
from deft.unimer.wording import tokens

ROMAN = MappingProxyType({"I": "one", "II": "two", "III": "three", "IV": "four", "V": "five", "VI": "six"})


def word(name: str) -> str:
    """The word that stands for a class in texts: its own name; objective classes have roman numbers, which are said."""
    return ROMAN.get(name, name.lower())


def taught_words(tokenizer: PreTrainedTokenizerBase, base: PreTrainedModel, classes: Sequence[str], seed: int) -> int:
    """Give the base every class word that its tokenizer does not know, in place; -> how many.

    A new row is the mean of the emotions' rows with a deviation as large as theirs: near what is said in that place,
    and told from the others from the start. Byte-pair tokenizers know every word, and nothing is done."""
    new = [one for one in map(word, classes) if tokenizer.unk_token_id in prompt.ids_of(tokenizer, one)]
    if not new:
        return 0
    table = base.get_input_embeddings()
    known = table.weight.detach()[[prompt.ids_of(tokenizer, emotion)[0] for emotion in EMOTIONS]]
    tokenizer.add_tokens([AddedToken(one, single_word=True) for one in new])
    if len(tokenizer) > table.num_embeddings:
        base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rng = runtime.rng(seed, "mllm/class words")
    with torch.no_grad():
        rows = base.get_input_embeddings().weight
        for one in new:
            drawn = torch.from_numpy(rng.standard_normal(rows.shape[1])).to(rows.dtype)
            rows[prompt.ids_of(tokenizer, one)[0]] = known.mean(0) + drawn * known.std(0)
    base.reference = None  # its table of words is no longer the one elsewhere: it is saved whole
    return len(new)


def of_list(facts: Facts, classes: Sequence[str]) -> Facts:
    """The facts with the class that the list has for their emotion: itself, its coarse class, or none."""
    name = next((one for one in (facts.emotion, COARSE.get(facts.emotion, "")) if one in classes), "")
    return facts if name == facts.emotion else labelled(facts, name)


def labelled(facts: Facts, name: str) -> Facts:
    """The facts of a clip whose class is `name`, by its word."""
    coarse = name if name in COARSE_CLASSES else COARSE.get(name, "")
    return replace(facts, emotion=word(name) if name else "", coarse=coarse)


def named(bench: TuningData, classes: Sequence[str]) -> TuningData:
    """The bench with the facts of every clip under its class of this list (column `emotion` of its index)."""
    if tuple(classes) == EMOTIONS:
        return bench
    told = [
        facts and labelled(facts, name if name in classes else "")
        for facts, name in zip(bench.facts, bench.index["emotion"])
    ]
    return replace(bench, facts=told)


def rehearsed(rng: np.random.Generator, classes: Sequence[str], known: Iterable[Facts], flat: bool = False) -> Facts:
    """Facts to rehearse under a list of classes. known: facts of the training clips, under this list."""
    facts = text_facts(rng, flat=flat)
    if tuple(classes) == EMOTIONS:
        return facts
    silent = [one for one in classes if one not in (*EMOTIONS, *COARSE_CLASSES)]
    if silent and rng.random() < len(silent) / len(classes):
        name = word(silent[rng.integers(len(silent))])
        if shown := [one for one in known if one.emotion == name]:
            return shown[rng.integers(len(shown))]
    return of_list(facts, classes)


def place(name: str, classes: Sequence[str]) -> int:
    """Number of a class, given by its name or its word, in the list; `prompt.IGNORE` for what is not in it."""
    words = [word(one) for one in classes]
    return words.index(word(name)) if word(name) in words else prompt.IGNORE


def read(text: str, classes: Sequence[str]) -> str:
    """The class that a text states, "" without one: the first word of the list."""
    if tuple(classes) == EMOTIONS:
        return parse(text).emotion if text else ""
    words = {word(one): one for one in classes}
    return next((words[one] for one in tokens(text) if one in words), "")


def of_emotions(scores: dict[str, float], classes: Sequence[str]) -> dict[str, float]:
    """Probabilities of the five emotions -> of the classes of a list, scaled to a sum of 1.

    A coarse class is as likely as its emotions together; a class without a prototype is never answered: 0."""
    total = {one: sum(p for emotion, p in scores.items() if one in (emotion, COARSE[emotion])) for one in classes}
    whole = sum(total.values())
    return {one: round(p / whole, 5) if whole else 1 / len(total) for one, p in total.items()}
