"""B2: the likelihood of every label after every prompt, four ways, side by side in one process.

*One forward per option*: prompt and label together, once for each label, logits of every position; this is what
lm-evaluation-harness does for a multiple choice. *The same, one prompt at a time*: without batches. *generate*:
greedy, as many tokens as the longest label, which gives one answer and no likelihoods. *Ours*: `score.score_labels`,
one prefill of the prompts, logits of their last positions. Random weights: the demo's base, and one of the width and
depth that a processor can carry, with the 152k words of Qwen 2. CPU seconds of one thread."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from deft import runtime
from deft.mllm import language, score
from tests.bench import row

PROMPTS, LENGTH, LABELS, ROUNDS = 16, 64, (1, 1, 2, 2, 3), 3  # LABELS: tokens of each


def _per_option(model: PreTrainedModel, ids: torch.Tensor, labels: Sequence[Sequence[int]], batch: int) -> torch.Tensor:
    """(N, L) log likelihoods from one forward pass per label and batch of prompts."""
    columns = []
    for label in labels:
        tail, found = torch.tensor(label), []
        for part in ids.split(batch):
            whole = torch.cat([part, tail.expand(len(part), -1)], 1)
            logits = model(input_ids=whole).logits[:, -len(label) - 1 : -1].float().log_softmax(-1)
            found.append(logits.gather(-1, tail.expand(len(part), -1).unsqueeze(-1)).sum((1, 2)))
        columns.append(torch.cat(found))
    return torch.stack(columns, 1)


def _ours(model: PreTrainedModel, ids: torch.Tensor, labels: Sequence[Sequence[int]]) -> torch.Tensor:
    return score.score_labels(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, labels)


def _generated(model: PreTrainedModel, ids: torch.Tensor, labels: Sequence[Sequence[int]]) -> None:
    longest = max(map(len, labels))
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=longest,
        max_new_tokens=longest,
        do_sample=False,
        pad_token_id=0,
    )


def _seconds(arm: Callable) -> tuple[float, torch.Tensor | None]:
    began = time.process_time()
    found = arm()
    return time.process_time() - began, found


def _arms(model: PreTrainedModel, ids: torch.Tensor, labels: Sequence[Sequence[int]]) -> dict[str, Callable]:
    return {
        "one forward per option": lambda: _per_option(model, ids, labels, PROMPTS),
        "the same, one prompt at a time": lambda: _per_option(model, ids, labels, 1),
        "generate": lambda: _generated(model, ids, labels),
        "ours": lambda: _ours(model, ids, labels),
    }


def _models() -> dict[str, PreTrainedModel]:
    torch.manual_seed(0)
    wide = Qwen2Config(
        vocab_size=151_936,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
    )
    return {
        "demo's base": language.build_base(language.build_tokenizer(), language.LanguageSettings(seed=0)).eval(),
        "512 wide, 8 deep, 152k words": Qwen2ForCausalLM(wide).eval(),
    }


@torch.inference_mode()
def measure() -> list[dict]:
    threads, rows = torch.get_num_threads(), []
    torch.set_num_threads(1)
    for name, model in _models().items():
        rng, words = runtime.rng(0, "bench/b2"), model.config.vocab_size
        ids = torch.from_numpy(rng.integers(5, words, (PROMPTS, LENGTH)))
        labels = [rng.integers(5, words, count).tolist() for count in LABELS]
        arms = _arms(model, ids, labels)
        rounds = [{arm: _seconds(run) for arm, run in arms.items()} for _ in range(ROUNDS + 1)][1:]
        rounds = rounds[1:]  # the first warms up
        apart = [(one["ours"][1] - one["one forward per option"][1]).abs().max().item() for one in rounds]
        for arm in list(arms)[:-1]:
            ratios = [one[arm][0] / one["ours"][0] for one in rounds]
            rows.append(row("B2", f"{name}: {arm} / ours", ratios, "ratio", "1" if arm == "generate" else "10"))
        rows.append(
            row("B2", f"{name}: ours, {len(labels)} labels", [1e3 * one["ours"][0] / PROMPTS for one in rounds], "ms")
        )
        rows.append(row("B2", f"{name}: largest difference of a log likelihood", apart, "", "1e-4"))
        assert np.isfinite(apart).all()
    torch.set_num_threads(threads)
    return rows
