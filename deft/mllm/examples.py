"""The examples of joint tuning: a question, a wording and an answer about each training clip, drawn anew in every
epoch.

Every draw (which question, which wording, whose structure, which stream is dropped) comes from (seed, epoch, index), so
the whole schedule of a run is fixed before its first step and a run that is started again gives the same weights.

Two devices keep the text true to the units:
- *Rehearsal*: a share of the examples is about clips that never existed, with simulated soft words and no tokens, so
  that the reading of uncertain units, learned in text pretraining, is not forgotten on a few hundred clips.
- *Missing labels are not negative labels*: where an annotated unit was not confirmed, the record does not list it, but
  it may have moved. From such a record only the emotion class is trained, not the list of units.

Disentangling by intervention: with probability `swap` an example is shown the structure tokens of another training
clip, so that looks cannot decide the emotion. The paper does not say how it separates looks from motion in the language
model; we use this because structure carries the tie between looks and emotion, and a penalty alone did not remove it.
An RGB-only model cannot be treated so: its looks and its motion arrive in the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from deft import runtime
from deft.clips.facs import EMOTIONS
from deft.experts.encoder import TOKENS
from deft.mllm import classes, language, prompt
from deft.mllm.data import TuningData, features_of
from deft.unimer.facts import Facts, unit_array
from deft.unimer.kinds import KINDS
from deft.unimer.wording import NONE


@dataclass(frozen=True)
class TuneSettings:
    """One recipe for every system. swap, drop: chance that structure is another clip's, that a stream is missing. hide:
    chance that the tokens of a stream are missing while its soft words stay. rehearse: share of examples about clips
    that never existed (below). still: share about clips of the corpus without any unit, whose answer is that nothing
    moves (off: it costs recognition, docs/decisions.md). shown: if given, each example shows the streams of one of
    these (letters), drawn. draw: number of the first draw; a job's seed counts on from it. classes: what clips are told
    apart into, in the order of the head. groups: of `batch` examples, that make one step together. instruct: epochs on
    the corpus before the folds (`deft.mllm.instruct`), 0 for none. chat: the base's chat template stands around the
    prompt (`prompt.chat_frame`). school: steps of schooling a base from elsewhere on text (`deft.mllm.school`), 0 for
    none. unit_tokens: unit names that the base's tokenizer splits are tokens of their own (`hub.single_tokens`).
    class_temperature: of the class probabilities; for all systems that of DEFT on benchmarks of other seeds
    (docs/decisions.md)."""

    epochs: int = 10
    batch: int = 32
    lr: float = 1e-3
    swap: float = 0.75
    drop: float = 0.1
    rehearse: float = 0.45
    rank: int = 16
    seed: int = 7
    draw: int = 0
    classes: tuple[str, ...] = EMOTIONS
    groups: int = 1
    hide: float = 0.0
    shown: tuple[str, ...] = ()
    instruct: int = 0
    still: float = 0.0
    chat: bool = False
    school: int = 0
    unit_tokens: bool = False
    class_temperature: float = 0.75

    def optimisation(self, steps: int, seed: int) -> dict[str, Any]:
        """What the Trainer is told of batches, optimiser and schedule for a run of `steps`."""
        return {
            "per_device_train_batch_size": self.batch,
            "learning_rate": self.lr,
            "lr_scheduler_type": "cosine",
            "warmup_steps": min(10, max(1, steps // 10)),
            "weight_decay": 0.01,
            "max_grad_norm": 1.0,
            "seed": runtime.seed_of(seed, "mllm/trainer") % 2**32,
        }


def draw_example(
    tokenizer: PreTrainedTokenizerBase,
    bench: TuningData,
    rows: np.ndarray,
    streams: Sequence[str],
    settings: TuneSettings,
    seed: int,
    epoch: int,
    position: int,
    flat: bool = False,
    tokens: int = TOKENS,
    words: bool = True,
) -> dict:
    """Example `position` of `epoch`: a fresh question and wording, perhaps another clip's structure, perhaps fewer
    streams.
    """
    rng = runtime.rng(seed, f"mllm/tune/{epoch}", position)
    row = int(rows[position])
    facts = bench.told(row, rng)
    partner = int(rng.choice(rows)) if rng.random() < settings.swap else row
    kept = prompt.streams_of(str(rng.choice(settings.shown))) if settings.shown else streams
    dropped = [name for name in streams if name not in kept or rng.random() < settings.drop]
    if len(dropped) == len(streams):
        dropped.remove(str(rng.choice(kept)))  # an example always keeps one stream
    simulated, complete = {}, bench.complete[row]
    if still := bool(settings.still and rng.random() < settings.still):
        row, facts, complete = int(rng.choice(bench.still)), Facts(), True
    elif words and set(streams) & set(prompt.UNIT_STREAMS) and rng.random() < settings.rehearse:
        facts = classes.rehearsed(rng, settings.classes, (bench.facts[r] for r in rows if bench.facts[r]), flat)
        said, complete = bench.detectors.simulate(unit_array(facts.units) > 0, rng), True
        simulated = {f"{name}_units": said[name] for name in streams if name in prompt.UNIT_STREAMS}
    kind, question, answer = ask_still(rng) if still else language.ask(facts, rng, complete)
    ends = complete or kind != "reasoning"
    example = prompt.encode(tokenizer, streams, question, answer, dropped, tokens, ends, words)
    if hidden := [name for name in streams if rng.random() < settings.hide]:
        example = _without_tokens(tokenizer, example, hidden)
    if simulated and flat:
        example, facts = language.silenced(tokenizer, example), replace(facts, emotion="")
    if simulated:  # no clip, so no expert tokens: they are masked, soft words remain
        example = _without_tokens(tokenizer, example, streams)
    return {
        **example,
        "row": row,
        "structure_row": partner,
        "kind": kind,
        "emotion": classes.place(facts.emotion, settings.classes),
        "simulated": simulated,
        "facts": facts,
        "present": [name not in dropped for name in streams],
    }


def _without_tokens(tokenizer: PreTrainedTokenizerBase, example: dict, streams: Sequence[str]) -> dict:
    """The example with the tokens of `streams` masked; their soft words stay."""
    slots = {tokenizer.convert_tokens_to_ids(f"<{name}>") for name in streams}
    return {
        **example,
        "attention_mask": [0 if i in slots else m for i, m in zip(example["input_ids"], example["attention_mask"])],
    }


def ask_still(rng: np.random.Generator) -> tuple[str, str, str]:
    """(kind, question, answer) about a face on which nothing moves; half are reasonings whose every part is none."""
    if rng.random() < 0.5:
        return language.ask(Facts(), rng)
    return "reasoning", KINDS["reasoning"].question(Facts(), rng), KINDS["reasoning"].put(Facts(NONE), None)


def plan(
    tokenizer: PreTrainedTokenizerBase,
    bench: TuningData,
    rows: np.ndarray,
    streams: Sequence[str],
    settings: TuneSettings,
    seed: int,
    flat: bool = False,
    tokens: int = TOKENS,
    words: bool = True,
) -> list[dict]:
    """All examples of a run in the order they are met: in an epoch every clip once, batches of like length, drawn
    order. tokens, words: slots of the prompt (`prompt.prefix`).

    Clips that do not fill a last batch wait for the next epoch, where others are left over.
    """
    order = []
    for epoch in range(settings.epochs):
        shuffled = runtime.rng(seed, "mllm/order", epoch).permutation(len(rows))
        whole = len(rows) // settings.batch * settings.batch or len(rows)
        drawn = [
            draw_example(tokenizer, bench, rows, streams, settings, seed, epoch, int(p), flat, tokens, words)
            for p in shuffled[:whole]
        ]
        drawn.sort(key=lambda e: sum(e["attention_mask"]))  # what is computed once masked positions are left out
        batches = [drawn[i : i + settings.batch] for i in range(0, whole, settings.batch)]
        for i in runtime.rng(seed, "mllm/batches", epoch).permutation(len(batches)):
            order += batches[i]
    return order


def collate(
    examples: list[dict], tokenizer: PreTrainedTokenizerBase, bench: TuningData, streams: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Examples of `plan` -> one batch of the model's inputs."""
    rows = np.array([e["row"] for e in examples])
    facts = [e["facts"] for e in examples]
    features = features_of(bench, streams, rows, np.array([e["structure_row"] for e in examples]))
    for i, example in enumerate(examples):
        for name, probability in example["simulated"].items():
            features[name][i] = torch.from_numpy(probability)
    return {
        **prompt.pad([prompt.closed_up(example) for example in examples], tokenizer.pad_token_id),
        **features,
        "lived": torch.tensor([not e["simulated"] for e in examples]),
        "emotion": torch.tensor([e["emotion"] for e in examples]),
        "units": torch.from_numpy(np.stack([unit_array(f.units) for f in facts])),
        "present": torch.tensor([e["present"] for e in examples]),
    }
