"""A small causal language model, built and pretrained offline on text that no clip produced.

Two stages: plain text of the grammar, with units written as words, teaches what units mean for an emotion according to
the literature; then the same units arrive as soft words with *simulated* probabilities (`deft.mllm.detectors`), so that
the model has learned to read uncertain detections before it meets a clip (docs/method.md#what-learns-at-this-size).
Neither stage uses a frame, a feature or a record of a clip. `flat=True` is the control that shows what the prototypes
in the text contribute: emotion and units are drawn independently, and no emotion word is scored. Silence, not denial: a
text that pairs classes with any units would teach that units say nothing about emotion."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from deft import cache, restart, runtime, systems
from deft import linear as products
from deft.clips.facs import COARSE, EMOTIONS
from deft.mllm import base as bases
from deft.mllm import hub, prompt
from deft.mllm.detectors import Detectors
from deft.mllm.muon import Muon
from deft.unimer.facts import Facts, text_facts, unit_array
from deft.unimer.kinds import KINDS, SCHOOLED, vocabulary

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PROMPT_WORDS = (
    "user",
    "question",
    "answer",
    "structure",
    "texture",
    "motion",
    "rgb",
    "units",
    ":",
    "none",
    "left",
    "right",
    "both",
)
WIDTH = 128  # of the base for which rates were chosen; as wide, as much smaller (Yang et al., arXiv 2203.03466)
KIND_WEIGHTS = {"reasoning": 5.0, "fine": 2.0}  # every other kind counts 1: reasoning is the answer we score


@dataclass(frozen=True)
class LanguageSettings:
    """Size and schooling of the base: 128 wide and 4 layers deep is 0.8 M parameters. 192 wide (1.8 M) was twice as
    slow and no better.
    """

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    intermediate: int = 320
    text_steps: int = 150
    soft_steps: int = 300
    batch: int = 24
    lr: float = 1.2e-3  # of matrices, at WIDTH (docs/decisions.md#text-pretraining)
    lr_words: float = 3e-3  # of embeddings and norms, at WIDTH
    flat: bool = False
    seed: int = 7


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word is a token: the grammar's closed vocabulary, split on whitespace, plus the stream markers."""
    words = sorted(set(vocabulary()) | set(PROMPT_WORDS))
    table = {word: i for i, word in enumerate(SPECIAL + prompt.MARKERS + tuple(words))}
    inner = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        additional_special_tokens=list(prompt.MARKERS),
        clean_up_tokenization_spaces=False,
    )


def build_base(tokenizer: PreTrainedTokenizerBase, settings: LanguageSettings) -> Qwen3ForCausalLM:
    """A Qwen3-class model from its config alone, initialised from `settings.seed`."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        head_dim=settings.hidden // settings.heads,
        intermediate_size=settings.intermediate,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(runtime.seed_of(settings.seed, "mllm/base") % 2**63)
        return Qwen3ForCausalLM(config)


def seed_of_draw(seed: int, draw: int) -> int:
    """Seed of a base: of its weights, its text and its simulated detectors. The flat control of a draw has the same
    one.
    """
    return runtime.seed_of(seed, "mllm/base", draw)


def load_base(folder: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """(tokenizer, model) of a work folder's base, or of a local folder of any Hugging Face causal language model."""
    tokenizer, model = hub.load_base(folder)
    return tokenizer, model


# ---------------------------------------------------------------- pretraining
def ask(facts: Facts, rng: np.random.Generator, complete: bool = True) -> tuple[str, str, str]:
    """(kind, question, answer) about `facts`: reasoning and fine emotion over-weighted, wording and asked fact drawn.

    complete: False when the facts leave out units that may be there; then nothing is asked whose answer is a whole
    list, and a reasoning ends after its class."""
    possible = [k for k in SCHOOLED if KINDS[k].can_ask(facts) and (complete or not KINDS[k].whole)]
    weights = np.array([KIND_WEIGHTS.get(kind, 1.0) for kind in possible])
    kind = str(rng.choice(possible, p=weights / weights.sum()))
    about = KINDS[kind].draw(facts, rng)
    answer = KINDS[kind].answer(about, rng)
    return (
        kind,
        KINDS[kind].question(about, rng),
        answer if complete or kind != "reasoning" else answer.split(" evidence :")[0],
    )


def silenced(tokenizer: PreTrainedTokenizerBase, example: dict) -> dict:
    """The example with no loss on an emotion word, fine or coarse."""
    names = {i for word in (*EMOTIONS, *COARSE.values()) for i in prompt.ids_of(tokenizer, word)}
    return {**example, "labels": [prompt.IGNORE if i in names else i for i in example["labels"]]}


def text_example(tokenizer: PreTrainedTokenizerBase, facts: Facts, rng: np.random.Generator) -> dict:
    """Plain text: 'user : units au4 left au7 both question : ... answer : ...', every token scored."""
    _, question, answer = ask(facts, rng)
    names = {"L": "left", "R": "right", "B": "both"}
    units = " ".join(f"au{u.code} {names[u.side]}" for u in facts.units) or "none"
    words = f"user : units {units} question : {question} answer : {answer}"
    ids = [tokenizer.bos_token_id] + prompt.ids_of(tokenizer, words) + [tokenizer.eos_token_id]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids, "prompt_length": len(ids)}


def soft_example(
    tokenizer: PreTrainedTokenizerBase, facts: Facts, rng: np.random.Generator, detectors: Detectors
) -> dict:
    """The structured prompt without expert tokens: simulated detectors give the units as soft words."""
    _, question, answer = ask(facts, rng)
    streams = (("texture", "motion"), ("motion",), ("texture",), ("rgb",))[rng.choice(4, p=(0.6, 0.2, 0.1, 0.1))]
    example = prompt.encode(tokenizer, streams, question, answer, tokens=0)
    said = detectors.simulate(unit_array(facts.units) > 0, rng)
    example["probability"] = {name: said[name] for name in streams}
    return example


def text_inputs(tokenizer: PreTrainedTokenizerBase, examples: list[dict]) -> dict[str, torch.Tensor]:
    """Examples -> one batch: `prompt.pad`, and <stream>_units (n, 17, 2) of the n examples whose slots have soft
    words.
    """
    batch = prompt.pad(examples, tokenizer.pad_token_id)
    for name in prompt.UNIT_STREAMS:
        if said := [e["probability"][name] for e in examples if name in e.get("probability", ())]:
            batch[f"{name}_units"] = torch.from_numpy(np.stack(said))
    return batch


def next_word_loss(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch: dict[str, torch.Tensor], words: list[list[int]]
) -> torch.Tensor:
    """Mean cross entropy (scalar) over labelled positions; soft words replace the unit slots when the batch carries
    them.

    batch: as `text_inputs` gives it. words: token ids of `prompt.unit_words`.
    """
    table = model.get_input_embeddings()
    embedded = table(batch["input_ids"])
    if heard := [name for name in prompt.UNIT_STREAMS if f"{name}_units" in batch]:
        vectors = word_vectors(table, words)
        for name in heard:
            marker = tokenizer.convert_tokens_to_ids(f"<{name}-unit>")
            said = prompt.soft_words(vectors, batch[f"{name}_units"])
            embedded = embedded.masked_scatter((batch["input_ids"] == marker).unsqueeze(-1), said)
    hidden = model.base_model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).last_hidden_state
    target = batch["labels"][:, 1:]
    scored = target != prompt.IGNORE
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[:, :-1][scored]), target[scored])


def word_vectors(table: torch.nn.Embedding, words: list[list[int]]) -> torch.Tensor:
    """(21, H): embedding of each word of `prompt.unit_words`, the mean over its tokens."""
    return bases.word_vectors(table, words)


def text_batches(
    tokenizer: PreTrainedTokenizerBase,
    settings: LanguageSettings,
    make: Callable[..., dict],
    steps: int,
    *more: object,
    first: int = 0,
) -> Iterator[list[dict]]:
    """Batches number `first` to `steps` of examples by `make` (`text_example`, or `soft_example` and its detectors),
    drawn from (seed, pool) alone.

    A pool holds 4 batches, sorted by length so that no time goes into padding; its batches come in a drawn order.
    """
    for pool in range(first // 4, -(-steps // 4)):
        rng = runtime.rng(settings.seed, f"mllm/{make.__name__}", pool)
        drawn = [make(tokenizer, text_facts(rng, flat=settings.flat), rng, *more) for _ in range(4 * settings.batch)]
        if settings.flat:
            drawn = [silenced(tokenizer, example) for example in drawn]
        drawn.sort(key=lambda e: len(e["input_ids"]))
        for turn in rng.permutation(4)[max(0, first - 4 * pool) : steps - 4 * pool]:
            yield drawn[turn * settings.batch : (turn + 1) * settings.batch]


class TextCourse(torch.utils.data.Dataset):
    """The batches of text pretraining in their order, text first, then soft words by `detectors`; drawn when they are
    asked for, so that a run which goes on begins to draw where it was.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, settings: LanguageSettings, detectors: Detectors):
        self.tokenizer, self.settings, self.detectors = tokenizer, settings, detectors
        self.at, self.batches = -1, iter(())

    def __len__(self) -> int:
        return self.settings.text_steps + self.settings.soft_steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        if step != self.at:
            text, soft = self.settings.text_steps, self.settings.soft_steps
            batches = functools.partial(text_batches, self.tokenizer, self.settings)
            self.batches = itertools.chain(
                batches(text_example, text, first=min(step, text)),
                batches(soft_example, soft, self.detectors, first=max(0, step - text)),
            )
        self.at = step + 1
        return text_inputs(self.tokenizer, next(self.batches))


class TextTrainer(restart.RestartTrainer):
    """Text pretraining. loss: of (model, batch=...), a scalar; log: called with a line of text every 100 steps."""

    def __init__(
        self, *args: Any, loss: Callable[..., torch.Tensor], log: Callable[[str], None] = print, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        self.loss, self.log_line = loss, log

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: int | None = None,
    ) -> torch.Tensor:
        """The loss of one batch (scalar), kept in `curve`."""
        loss = self.loss(model, batch=inputs)
        self.curve.append({"loss": float(loss.detach())})
        if not np.isfinite(self.curve[-1]["loss"]):
            raise RuntimeError(f"the loss of text became {float(loss.detach())} in step {len(self.curve)}; lower `lr`")
        if len(self.curve) % 100 == 0:
            mean = np.mean([step["loss"] for step in self.curve[-50:]])
            self.log_line(f"step {len(self.curve)}/{self.state.max_steps}  loss {mean:.3f}")
        return loss


def state_of(settings: LanguageSettings, folder: Path, detectors: Path) -> cache.State:
    """Whether the base of these settings, these detectors and this code is finished in `folder`."""
    request = {**asdict(settings), "vocabulary": len(build_tokenizer()), "streams": list(systems.STREAMS.items())}
    return cache.fresh(folder, [detectors], request, code="deft.mllm.language", apart=("deft.systems",))


def pretrain(settings: LanguageSettings, folder: Path, detectors: Path, log: Callable[[str], None] = print) -> dict:
    """Train the base on text only and save tokenizer, safetensors and history.json to `folder`. Returns the history.

    detectors: file of the simulated detectors (`detectors.prepare`).

    Draws come from (seed, step), and a checkpoint is kept every minute (`deft.restart`): a run killed and started again
    goes on and writes the same bytes. A finished folder of the same settings and code is kept.
    """
    folder = Path(folder)
    tokenizer = build_tokenizer()
    state = state_of(settings, folder, detectors)
    if state:
        return runtime.read_json(folder / "history.json")
    hub.refuse_foreign(folder)
    model, words = build_base(tokenizer, settings), prompt.unit_words(tokenizer)
    products.install(model)
    steps = settings.text_steps + settings.soft_steps
    wider = settings.hidden / WIDTH
    optimizer = Muon(model, settings.lr / wider, settings.lr_words / wider, apart=(model.get_input_embeddings(),))
    # Warm-up, then level for the first third: soft words, which come second, must meet a model that still learns.
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / 20, max(0.03, (steps - s) / (steps / 1.5)))
    )
    restart.sweep(folder.parent)
    place = restart.Place(folder / ".checkpoints", state.key)
    trainer = TextTrainer(
        model=model,
        args=restart.arguments(place.folder, per_device_train_batch_size=1, max_grad_norm=1.0, use_cache=True),
        train_dataset=TextCourse(tokenizer, settings, Detectors.load(detectors)),
        data_collator=operator.itemgetter(0),
        optimizers=(optimizer, schedule),
        place=place,
        loss=functools.partial(next_word_loss, tokenizer=tokenizer, words=words),
        log=lambda line: log(f"text {'flat ' if settings.flat else ''}{line}"),
    )
    curve = [step["loss"] for step in trainer.run()]
    model.eval()
    history = {
        "settings": {**asdict(settings), "vocabulary": len(tokenizer)},
        "parameters": sum(p.numel() for p in model.parameters()),
        "soft_from": settings.text_steps,
        "loss": [round(v, 5) for v in curve],
    }
    with runtime.atomic(
        folder
    ) as fresh:  # a new folder: files that stand there may be shared with another run by hard links
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        runtime.write_json(fresh / "history.json", history)
    state.seal()
    return history
