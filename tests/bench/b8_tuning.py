"""B8: joint tuning and text pretraining with `deft.linear` against torch's and peft's own layers: time and loss, side
by side in one process.

The demo's base from a random start and the made-up bench of the tests; CPU seconds of one thread, so that neighbours on
the machine count little."""

import tempfile
import time
from pathlib import Path

import torch

from deft import linear
from deft.mllm import language, prompt, tune
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration
from tests.bench import fake_bench, one_thread, rows

SETTINGS, STEPS, ROUNDS = language.LanguageSettings(heads=2, intermediate=341), 6, 3
OURS, THEIRS = "deft.linear", "torch and peft"


def _timed(model, losses) -> tuple[float, float]:
    """(CPU seconds, loss of the last step) of optimising `model` on the losses that `losses` computes one after the
    other.
    """
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    began = time.process_time()
    for loss in losses:
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return time.process_time() - began, value.item()


def _text(tokenizer, batches, ours: bool) -> tuple[float, float]:
    model, words = language.build_base(tokenizer, SETTINGS), prompt.unit_words(tokenizer)
    if ours:
        linear.install(model)
    return _timed(model, [lambda b=b: language.next_word_loss(model, tokenizer, b, words) for b in batches])


def _tuning(tokenizer, bench, course, ours: bool) -> tuple[float, float]:
    base = language.build_base(tokenizer, SETTINGS)
    model = DeftLLMForConditionalGeneration(DeftLLMConfig.of(base, tokenizer, "stm", seed=1), base)
    if not ours:
        for layer in model.language.modules():
            layer.__dict__.pop("forward", None)
    batches = [tune.collate(course[i : i + 32], tokenizer, bench, model.streams) for i in range(0, len(course), 32)]
    return _timed(model, [lambda b=b: model(**b).loss for b in batches[:STEPS]])


@one_thread()
def measure() -> list[dict]:
    tokenizer, told = language.build_tokenizer(), []
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        bench = tune.read_bench(fake_bench().write(Path(folder)))
    course = tune.plan(
        tokenizer,
        bench,
        bench.rows(0, "train", "kept"),
        ("structure", "texture", "motion"),
        tune.TuneSettings(epochs=40),
        1,
    )
    drawn = language.text_batches(tokenizer, SETTINGS, language.soft_example, STEPS, bench.detectors)
    batches = [language.text_inputs(tokenizer, examples) for examples in drawn]
    for what, one in (
        ("joint tuning", lambda ours: _tuning(tokenizer, bench, course, ours)),
        ("text pretraining", lambda ours: _text(tokenizer, batches, ours)),
    ):
        found = [(one(True), one(False)) for _ in range(ROUNDS + 1)][1:]  # the first round warms up
        times = {OURS: [a[0] for a, _ in found], THEIRS: [b[0] for _, b in found]}
        apart = {THEIRS: [abs(a[1] - b[1]) for a, b in found]}
        told += rows("B8", f"CPU time of {STEPS} steps, {what} (s)", times)
        metric = f"difference of the loss from {OURS} after {STEPS} steps, {what} (nat)"
        told += rows("B8", metric, apart, {THEIRS: "high <= 1e-4"})
    return told
