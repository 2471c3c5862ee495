"""The structured multimodal prompt: it names each stream, gives it slots, and says its units as soft words.

The paper does not say how its prompt carries action units; we use soft words because, at this size, plain projector
tokens lose the units (docs/method.md#what-learns-at-this-size).

    user : structure [4 tokens] texture [4 tokens] units [17 soft words] motion [4 tokens] units [17 soft words]
    question : which emotion is it ? answer : class : disgust .

A slot is a marker token in `input_ids`; the model puts a vector in its place (LLaVA's way of splicing). A base that was
taught to chat may have its template around the user's words (`chat_frame`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from deft.clips.facs import UNITS
from deft.experts.encoder import TOKENS
from deft.systems import STREAMS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNIT_STREAMS = ("texture", "motion", "rgb")  # experts that come with unit probabilities; structure has none
MARKERS = tuple(f"<{name}>" for name in STREAMS.values()) + tuple(f"<{name}-unit>" for name in UNIT_STREAMS)
UNIT_NAMES = (*(f"au{code}" for code in UNITS), "none", "left", "right", "both")  # what soft words are made of
FRAME = "prompt_frame"  # in a tokenizer's `init_kwargs`, which its files keep: text before and after the user's words
IGNORE = -100  # label of a position that is not scored (torch's convention)


def streams_of(letters: str) -> tuple[str, ...]:
    """'stm' -> ('structure', 'texture', 'motion'): the streams of a system, in prompt order."""
    unknown = set(letters) - set(STREAMS)
    if unknown or not letters:
        raise ValueError(
            f"streams '{letters}': choose letters among {''.join(STREAMS)} (structure, texture, motion, rgb)"
        )
    return tuple(name for letter, name in STREAMS.items() if letter in letters)


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of lower-case text, without special tokens. The leading space keeps byte-pair tokenizers consistent."""
    return tokenizer(" " + text, add_special_tokens=False)["input_ids"]


def chat_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """Let the tokenizer's chat template stand around every prompt from now on; -> the text before the user's words and
    the text between them and the answer.

    Both are kept in the tokenizer's settings and saved with it: a template may name the day, and a tuned model must
    meet the one that it was tuned on. ValueError for a tokenizer without a template, or with one that does not hand
    the user's words on as they are.
    """
    words = "question : which emotion is it ?"
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": words}], tokenize=False, add_generation_prompt=True
        )
    except ValueError as error:
        raise ValueError(f"this tokenizer has no chat template; tune without `chat` ({error})") from error
    before, _, after = text.partition(words)
    if text.count(words) != 1:
        raise ValueError(f"the chat template does not keep the user's words as they are; tune without `chat`: {text!r}")
    tokenizer.init_kwargs[FRAME] = [before, after]
    prefix.cache_clear()
    return before, after


def _framed(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]] | None:
    """Token ids of the chat template before and after the user's words, or None."""
    if not (frame := tokenizer.init_kwargs.get(FRAME)):
        return None
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in frame)
    return before, after


@functools.lru_cache(maxsize=64)
def prefix(
    tokenizer: PreTrainedTokenizerBase, streams: tuple[str, ...], tokens: int = TOKENS, words: bool = True
) -> list[tuple[str, list[int]]]:
    """The prompt before the question, as (stream or '', ids): the pieces a dropped stream takes away are known.

    tokens: slots for projected tokens in each stream; words: whether it has slots for soft words."""
    marker = {name: tokenizer.convert_tokens_to_ids(name) for name in MARKERS}
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    if frame := _framed(tokenizer):
        start = frame[0]  # a template writes the first token itself
    pieces = [("", start + ids_of(tokenizer, "user :"))]
    for name in streams:
        ids = ids_of(tokenizer, name) + [marker[f"<{name}>"]] * tokens
        if words and name in UNIT_STREAMS:
            ids += ids_of(tokenizer, "units") + [marker[f"<{name}-unit>"]] * len(UNITS)
        pieces.append((name, ids))
    return pieces


def encode(
    tokenizer: PreTrainedTokenizerBase,
    streams: Sequence[str],
    question: str,
    answer: str | None = None,
    dropped: Sequence[str] = (),
    tokens: int = TOKENS,
    end: bool = True,
    words: bool = True,
) -> dict[str, list[int]]:
    """One example as lists: input_ids, attention_mask (0 over a dropped stream), labels (answer and eos only).

    end: False for an answer that breaks off, so that eos is not taught. Without `answer` the prompt ends with 'answer
    :' and nothing is labelled."""
    ids, mask = [], []
    for name, piece in prefix(tokenizer, tuple(streams), tokens, words):
        ids += piece
        mask += [0 if name in dropped else 1] * len(piece)
    tail = ids_of(tokenizer, "question : " + question + " answer :")
    if frame := _framed(tokenizer):
        tail = ids_of(tokenizer, "question : " + question) + frame[1] + ids_of(tokenizer, "answer :")
    said = [] if answer is None else ids_of(tokenizer, answer) + [tokenizer.eos_token_id] * end
    labels = [IGNORE] * (len(ids) + len(tail)) + said
    return {
        "input_ids": ids + tail + said,
        "attention_mask": mask + [1] * (len(tail) + len(said)),
        "labels": labels,
        "prompt_length": len(ids) + len(tail),
    }


def pad(examples: Sequence[dict], pad_id: int, left: bool = False) -> dict[str, torch.Tensor]:
    """Encoded examples -> input_ids, attention_mask, labels (B, L) int64 and prompt_end (B,), the last prompt
    position.
    """
    longest = max(len(e["input_ids"]) for e in examples)
    batch = {
        key: np.full((len(examples), longest), fill, np.int64)
        for key, fill in (("input_ids", pad_id), ("attention_mask", 0), ("labels", IGNORE))
    }
    end = np.zeros(len(examples), np.int64)
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        start = longest - length if left else 0
        for key in batch:
            batch[key][row, start : start + length] = example[key]
        end[row] = start + example["prompt_length"] - 1
    return {**{key: torch.from_numpy(value) for key, value in batch.items()}, "prompt_end": torch.from_numpy(end)}


def unit_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the tokens that `hub.single_tokens` added; none where nothing was added."""
    added = tokenizer.get_added_vocab()
    return [added[f" {name}"] for name in UNIT_NAMES if f" {name}" in added]


def unit_words(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of the words that soft words are made of, in the order of `UNIT_NAMES`."""
    words = [ids_of(tokenizer, name) for name in UNIT_NAMES]
    for name, ids in zip(UNIT_NAMES, words):
        if not ids or (tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids):
            raise ValueError(f"the tokenizer does not know '{name}'; it needs every unit word and none/left/right/both")
    return words


def soft_words(words: torch.Tensor, probability: torch.Tensor, residue: float = 0.3, side: float = 0.5) -> torch.Tensor:
    """Soft words: mixtures of word embeddings, each word weighted by the probability that a detector gives it.

    words: (21, H) embeddings in the order of `unit_words`; probability: (B, 17, 2) in [0, 1], last axis L, R.
    Returns (B, 17, H). The sides of a face mostly move together, so L and R are coupled as strongly as their
    probabilities allow: P(both) = min, P(left only) = max(0, L - R), P(right only) = max(0, R - L), P(none) = 1 - max.
    Then  p E(unit) + (1 - p) (E(none) + residue E(unit)) + side (P(both) E(both) + P(left) E(left) + P(right)
    E(right)). `E(none) + residue E(unit)` keeps an absent unit recognisable: scaling p E(unit) alone failed, since a
    norm layer removes length."""
    unit, (none, left, right, both) = words[: len(UNITS)], words[len(UNITS) :]
    p_left, p_right = probability[..., 0:1], probability[..., 1:2]  # (B, 17, 1)
    p = torch.maximum(p_left, p_right)
    lean = p_left - p_right
    sides = torch.minimum(p_left, p_right) * both + lean.clamp(min=0) * left + (-lean).clamp(min=0) * right
    return p * unit + (1 - p) * (none + residue * unit) + side * sides  # (B, 17, H)


def closed_up(example: dict) -> dict:
    """An encoded example without its masked positions. Nothing attends to them and positions count attended tokens
    only, so the model's output is the same; computing them cost an eighth of the time of joint tuning."""
    keep = [i for i, seen in enumerate(example["attention_mask"]) if seen]
    return {
        **example,
        **{key: [example[key][i] for i in keep] for key in ("input_ids", "attention_mask", "labels")},
        "prompt_length": sum(example["attention_mask"][: example["prompt_length"]]),
    }


def splice(embedded: torch.Tensor, input_ids: torch.Tensor, marker: int, values: torch.Tensor) -> torch.Tensor:
    """Put `values` (B, K, H) into `embedded` (B, L, H) where `input_ids` (B, L) equals `marker`; a row holds K such
    slots, or none.

    Raises ValueError for a row with another number of slots.
    """
    here = input_ids == marker
    counts = here.sum(1)
    held = counts > 0
    if not held.any():
        return embedded
    if not bool((counts[held] == values.shape[1]).all()):
        raise ValueError(f"slots per row {counts.tolist()} for {values.shape[1]} vectors of marker {marker}")
    return embedded.masked_scatter(here.unsqueeze(-1), values[held].to(embedded.dtype))
