"""B2: the likelihood of every label after every prompt, side by side in one process.

*One forward per option*: prompt and label together, once for each label, one prompt at a time, logits of every
position. *lm-evaluation-harness* (0.4.13, `HFLM._loglikelihood_tokens`) does this too, with three differences: requests
are sorted, longest first; the last token of a label is not fed; and, by default (`logits_cache`), labels that share all
tokens but the last after the same prompt share one pass, so that all labels of one token cost one. Its default is
`batch_size=1`; a prompt shared by labels of several tokens is computed again for each ("TODO: lump together requests
with the same context", says its source). *The same, batches*: with `batch_size` 8, padded on the right. *generate*:
greedy, as many tokens as the longest label, which gives one answer and no likelihoods. *Ours*: `score.score_labels`,
one prefill of the prompts, logits of their last positions, longer labels on copies of the cache.

Random weights: the demo's base, and one of 512 x 8 with the 152k words of Qwen 2. CPU seconds of one thread."""

import time
from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from deft import runtime
from deft.mllm import language, score
from tests.bench import one_thread, rows, wide

PROMPTS, LENGTH, LABELS, ROUNDS = 8, 64, (1, 1, 2, 2, 3), 3  # LABELS: tokens of each
NAIVE, HARNESS, BATCHED, GENERATE, OURS = (
    "one forward per option",
    "lm-evaluation-harness, default",
    f"lm-evaluation-harness, batches of {PROMPTS}",
    "generate",
    "ours",
)


def per_option(
    model: PreTrainedModel, ids: torch.Tensor, labels: Sequence[Sequence[int]], batch: int = 1, shared: bool = True
) -> torch.Tensor:
    """(N, L) log likelihoods from one forward pass per prompt and label, as lm-evaluation-harness has it. shared:
    labels of one prompt that differ in their last token alone share a pass.
    """
    groups: dict[tuple, list[tuple[int, int]]] = {}
    for n, prompt in enumerate(ids.tolist()):
        for place, label in enumerate(labels):
            groups.setdefault((*prompt, *label[:-1], -1 - (0 if shared else place)), []).append((n, place))
    found = torch.zeros(len(ids), len(labels))
    waiting = sorted(groups.items(), key=lambda item: -len(item[0]))
    for start in range(0, len(waiting), batch):
        part = waiting[start : start + batch]
        fed = [torch.tensor(key[:-1]) for key, _ in part]
        whole = torch.nn.utils.rnn.pad_sequence(fed, batch_first=True)
        said = model(input_ids=whole).logits.log_softmax(-1, dtype=torch.float32)
        for one, prompt, (_, asked) in zip(said, fed, part):
            for n, place in asked:
                tail = torch.tensor(labels[place])
                steps = one[len(prompt) - len(tail) : len(prompt)]
                found[n, place] = steps.gather(-1, tail.unsqueeze(-1)).sum()
    return found


def ours(model: PreTrainedModel, ids: torch.Tensor, labels: Sequence[Sequence[int]]) -> torch.Tensor:
    """(N, L) log likelihoods by `score_labels`."""
    return score.score_labels(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, labels)


def generated(model: PreTrainedModel, ids: torch.Tensor, labels: Sequence[Sequence[int]]) -> torch.Tensor:
    """(N, tokens of the longest label) greedy answers."""
    longest = max(map(len, labels))
    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=longest,
        max_new_tokens=longest,
        do_sample=False,
        pad_token_id=0,
    )[:, ids.shape[1] :]


ARMS: dict[str, Callable] = {
    OURS: ours,
    NAIVE: lambda *asked: per_option(*asked, shared=False),
    HARNESS: per_option,
    BATCHED: lambda *asked: per_option(*asked, batch=PROMPTS),
    GENERATE: generated,
}


def asked(words: int) -> tuple[torch.Tensor, list[list[int]]]:
    """(prompts (N, LENGTH), labels) of random words."""
    rng = runtime.rng(0, "bench/b2")
    prompts = torch.from_numpy(rng.integers(5, words, (PROMPTS, LENGTH)))
    return prompts, [rng.integers(5, words, count).tolist() for count in LABELS]


def _seconds(arm: Callable, *given: object) -> tuple[float, torch.Tensor]:
    began = time.process_time()
    found = arm(*given)
    return time.process_time() - began, found


@one_thread()
@torch.inference_mode()
def measure() -> list[dict]:
    tokenizer, found = language.build_tokenizer(), []
    for name, model in (
        ("demo's base", language.build_base(tokenizer, language.LanguageSettings(seed=0)).eval()),
        ("512 wide, 8 deep, 152k words", wide()),
    ):
        prompts, labels = asked(model.config.vocab_size)
        for arm in ARMS.values():
            arm(model, prompts[:2], labels)  # libraries are warm before the clock starts
        rounds = [{arm: _seconds(run, model, prompts, labels) for arm, run in ARMS.items()} for _ in range(ROUNDS)]
        each = {arm: [1e3 * one[arm][0] / PROMPTS for one in rounds] for arm in ARMS}
        apart = {
            arm: [(one[arm][1] - one[OURS][1]).abs().max().item() for one in rounds]
            for arm in (NAIVE, HARNESS, BATCHED)
        }
        if not (largest := max(max(values) for values in apart.values())) <= 1e-4:
            raise RuntimeError(f"{name}: the arms' likelihoods differ by {largest:.3g}")
        limits = {NAIVE: "ratio_to_first >= 10", HARNESS: "ratio_to_first >= 10", GENERATE: "ratio_to_first >= 1"}
        found += rows("B2", f"CPU time of a prompt with {len(labels)} labels, {name} (ms)", each, limits)
        metric = f"largest difference of a log likelihood from ours, {name} (nat)"
        found += rows("B2", metric, apart, dict.fromkeys(apart, "high <= 1e-4"))
    return found
