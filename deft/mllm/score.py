"""Answers, scored two ways: the likelihood of each emotion under a shared prefix, and free text parsed into (C, E, R).

The prefix (stream slots, question, 'answer : class :') is computed once per clip. C options of L tokens after a prefix
of P tokens then cost P + C L token positions instead of C (P + L)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from deft import cache
from deft.clips.facs import EMOTIONS
from deft.mllm import prompt
from deft.mllm.data import TuningData, features_of, read_bench
from deft.mllm.model import DeftLLMForConditionalGeneration
from deft.mllm.runs import Job
from deft.parallel import in_parallel
from deft.unimer.check import parse
from deft.unimer.facts import Facts
from deft.unimer.kinds import KINDS

PREFIX = "class :"  # how the grammar opens a reasoning answer


def question(kind: str = "reasoning") -> str:
    """The one question that every clip is asked, in its canonical wording."""
    return KINDS[kind].question(Facts())


def load(folder: Path) -> tuple[PreTrainedTokenizerBase, DeftLLMForConditionalGeneration]:
    """(tokenizer, model) of a finished run, ready to answer. ValueError names a file that was altered."""
    if words := cache.damage(folder):
        raise ValueError(f"{words}; run 07_joint_tuning again")
    model = DeftLLMForConditionalGeneration.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True), model.eval()


def prompts(
    model: DeftLLMForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, count: int, opening: str = ""
) -> dict[str, torch.Tensor]:
    """`count` copies of the reasoning prompt, optionally with the opening of its answer."""
    encoded = prompt.encode(
        tokenizer, model.streams, question(), tokens=model.config.tokens, words=model.config.words_shown
    )
    if opening:
        ids = prompt.ids_of(tokenizer, opening)
        encoded = {
            **encoded,
            "input_ids": encoded["input_ids"] + ids,
            "attention_mask": encoded["attention_mask"] + [1] * len(ids),
            "labels": encoded["labels"] + [prompt.IGNORE] * len(ids),
        }
    return prompt.pad([encoded] * count, tokenizer.pad_token_id)


@torch.inference_mode()
def option_scores(
    model: DeftLLMForConditionalGeneration,
    batch: dict[str, torch.Tensor],
    features: dict[str, torch.Tensor],
    options: Sequence[Sequence[int]],
    pooled: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Log likelihood (B, C) of each option's tokens after the shared prefix in `batch` (no right padding).

    pooled: give also the hidden state (B, H) at the end of the question, where the heads read; what follows it changes
    nothing there. The prefix runs once. First tokens are read off its last logits; longer options continue on a copy of
    its cache."""
    longer = any(len(o) > 1 for o in options)
    embedded = model.embed(batch["input_ids"], features, model.project(features))
    mask = batch["attention_mask"]
    out = model.hidden(embedded, mask, use_cache=longer)
    first = model.word_logits(out.last_hidden_state[:, -1]).log_softmax(-1)  # (B, V)
    total = torch.stack([first[:, o[0]] for o in options], 1)  # (B, C)
    read = out.last_hidden_state[torch.arange(len(mask)), batch["prompt_end"]]  # (B, H)
    if not longer:
        return (total, read) if pooled else total
    past = out.past_key_values
    for column, option in enumerate(options):
        if len(option) == 1:
            continue
        ids = torch.tensor(option, device=mask.device).expand(len(mask), -1)  # (B, P)
        grown = torch.cat([mask, torch.ones_like(ids[:, :-1])], 1)
        more = model.hidden(model.get_input_embeddings()(ids[:, :-1]), grown, past=past, use_cache=True)
        step = model.word_logits(more.last_hidden_state).log_softmax(-1)
        total[:, column] += step.gather(-1, ids[:, 1:, None]).sum((1, 2))
        past.crop(1 - len(option))  # the next option starts at the prefix again
    return (total, read) if pooled else total


def emotion_scores(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    bench: TuningData,
    rows: np.ndarray,
    batch: int = 64,
    head: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Probability (N, 5) of each emotion among the options, in EMOTIONS order; with `head`, also the emotion head's."""
    options = [prompt.ids_of(tokenizer, emotion) for emotion in EMOTIONS]
    said, read = [], []
    with model.merged():
        for start in range(0, len(rows), batch):
            part = np.asarray(rows[start : start + batch])
            features = features_of(bench, model.streams, part)
            asked = prompts(model, tokenizer, len(part), PREFIX)
            likelihood, pooled = option_scores(model, asked, features, options, pooled=True)
            said.append(likelihood.softmax(-1).numpy())
            if head:
                with torch.inference_mode():
                    read.append(model.emotion_head(pooled).softmax(-1).numpy())
    said = np.concatenate(said) if said else np.zeros((0, len(EMOTIONS)), np.float32)
    return (said, np.concatenate(read)) if head else said


@torch.inference_mode()
def generate(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    features: dict[str, torch.Tensor],
    count: int,
    limit: int = 64,
    cached: bool = True,
) -> list[str]:
    """Greedy answers to the reasoning question for `count` clips; with `cached` every step runs only its new token."""
    batch = prompts(model, tokenizer, count)
    mask = batch["attention_mask"]
    embedded = model.embed(batch["input_ids"], features, model.project(features))
    past, said, open_rows = None, [], torch.ones(count, dtype=torch.bool)
    step = embedded
    for _ in range(limit):
        out = model.hidden(step if cached else embedded, mask, past=past, use_cache=cached)
        past = out.past_key_values if cached else None
        token = model.word_logits(out.last_hidden_state[:, -1]).argmax(-1)  # (B,)
        token = torch.where(open_rows, token, tokenizer.pad_token_id)
        said.append(token)
        open_rows &= token != tokenizer.eos_token_id
        if not open_rows.any():
            break
        step = model.get_input_embeddings()(token[:, None])
        embedded = embedded if cached else torch.cat([embedded, step], 1)
        mask = torch.cat([mask, torch.ones_like(token[:, None])], 1)
    if not said:
        return [""] * count
    return [text.strip() for text in tokenizer.batch_decode(torch.stack(said, 1), skip_special_tokens=True)]


def answers(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    bench: TuningData,
    rows: np.ndarray,
    batch: int = 128,
    limit: int = 64,
) -> list[str]:
    """Free text of clips `rows`; limit: tokens at most."""
    texts = []
    with model.merged():
        for start in range(0, len(rows), batch):
            part = np.asarray(rows[start : start + batch])
            texts += generate(model, tokenizer, features_of(bench, model.streams, part), len(part), limit)
    return texts


# ---------------------------------------------------------------- predictions.jsonl
def lines(
    bench: TuningData, rows: np.ndarray, likelihood: np.ndarray, head: np.ndarray, texts: Sequence[str], **about: object
) -> list[dict]:
    """One line per clip: prediction by label likelihood, class of the free text, class of the emotion head."""
    out = []
    for i, row in enumerate(rows):
        clip = bench.index.iloc[int(row)]
        out.append(
            {
                "clip": clip["clip"],
                "dataset": clip.dataset,
                "subject": clip.subject,
                "condition": clip.condition,
                "truth": clip.emotion,
                "prediction": EMOTIONS[int(likelihood[i].argmax())],
                "scores": {e: round(float(s), 5) for e, s in zip(EMOTIONS, likelihood[i])},
                "text": texts[i],
                "text_class": parse(texts[i]).emotion if texts[i] else "",
                "head_class": EMOTIONS[int(head[i].argmax())],
                **about,
            }
        )
    return out


def predict(job: Job, work: Path, text: bool = True, limit: int = 64) -> list[dict]:
    """The test clips of one run's fold, both conditions."""
    tokenizer, model = load(job.folder(work))
    bench = read_bench(work, "bench", model.config.streams, facts=False, draw=job.seed)
    rows = bench.rows(job.fold, "test")
    likelihood, head = emotion_scores(model, tokenizer, bench, rows, head=True)
    texts = answers(model, tokenizer, bench, rows, limit=limit) if text else [""] * len(rows)
    return lines(bench, rows, likelihood, head, texts, system=job.system, seed=job.seed, fold=job.fold, set="bench")


def predict_together(system: str, seed: int, folders: Sequence[Path], work: Path, which: str) -> list[dict]:
    """Set `which`, whose people no model met: mean label likelihood over the models in `folders` (`fold` is -1: all of
    them); without any, no lines.

    No text: the texts of several models cannot be averaged, and no table needs them.
    """
    found, bench = [], None
    for folder in folders:
        tokenizer, model = load(folder)
        bench = bench or read_bench(work, which, model.config.streams, facts=False, draw=seed)
        found.append(emotion_scores(model, tokenizer, bench, np.arange(len(bench.index)), head=True))
    if not found:
        return []
    likelihood, head = (np.mean(part, axis=0) for part in zip(*found))
    return lines(
        bench, np.arange(len(head)), likelihood, head, [""] * len(head), system=system, seed=seed, fold=-1, set=which
    )


def predict_heldback(system: str, seed: int, folds: Sequence[int], work: Path) -> list[dict]:
    """The held-back set, by the models of all folds of one draw."""
    return predict_together(system, seed, [Job(system, seed, fold).folder(work) for fold in folds], work, "heldback")


def predict_all(
    jobs: Sequence[Job],
    work: Path,
    workers: int | None = None,
    log: Callable[[str], None] | None = None,
    limit: int = 64,
) -> list[dict]:
    """Lines of every run, in the order of `jobs`."""
    parts = in_parallel(predict, [(job, Path(work), True, limit) for job in jobs], workers, log, "answers")
    return [line for part in parts for line in part]
