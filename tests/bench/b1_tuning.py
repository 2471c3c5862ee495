"""B1: joint tuning on a vocabulary of 152k words: CPU seconds and memory, three ways.

*HF Trainer*: peft's LoRA on every linear layer, `DataCollatorForSeq2Seq`, the Trainer's own order; every position meets
the word head. *TRL*: `SFTTrainer`, where TRL is installed (it is in no lock); in float32 and without gradient
checkpointing, which are not its defaults, so that all arms compute one thing. From 1.16 on it, too, gives the word head
only what is scored. *Ours*: the model and the Trainer of `deft.mllm.tune`: word head at label positions, one product
per layer with LoRA (`deft.linear`), examples in the order of `plan`, batches of like length.

All arms read the same prompts and answers of the tests' made-up bench, masked positions left out, in batches of one
size; the slots of expert tokens and soft words are words here, because the other two have no experts, and the loss is
the text's. Same starting weights, adapters of one rank, AdamW. Every arm runs in a process of its own, one thread, arms
in turn; CPU seconds of the training call. Memory: the process's peak above what it held when training began.

What to expect elsewhere: the gain is the word head's share of the work. `BOUND`: (layers + head) / (layers + head x
scored share), the gain of the head alone when nothing but matrix products counts; printed for Qwen2.5-0.5B too."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from peft import LoraConfig, get_peft_model
from transformers import DataCollatorForSeq2Seq, PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainingArguments

from deft import restart, runtime
from deft.mllm import language, planning, prompt, tune
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration
from tests.bench import ONE_THREAD, child, fake_bench, rows, wide

EXAMPLES, BATCH, ROUNDS, RANK, RATE = 64, 16, 3, 16, 1e-3
HF, TRL, OURS = "HF Trainer", "TRL SFTTrainer", "ours"


def examples(
    tokenizer: PreTrainedTokenizerBase, count: int = EXAMPLES, batch: int = BATCH, people: int = 24
) -> list[dict]:
    """`count` examples about the clips of a bench of so many people, in the order of `plan`: input_ids,
    attention_mask, labels, prompt_length.
    """
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        bench = tune.read_bench(fake_bench().write(Path(folder), subjects=people))
    settings = tune.TuneSettings(epochs=1, batch=batch)
    drawn = tune.plan(tokenizer, bench, bench.rows(0, "train", "kept"), prompt.streams_of("stm"), settings, 1)[:count]
    names = ("input_ids", "attention_mask", "labels", "prompt_length")
    return [{name: prompt.closed_up(one)[name] for name in names} for one in drawn]


def _common(folder: str, batch: int, **given: object) -> dict:
    """Arguments of every Trainer."""
    common = {"per_device_train_batch_size": batch, "learning_rate": RATE, "lr_scheduler_type": "constant"}
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "use_cpu": True}
    return {"output_dir": folder, **common, **quiet, **given}


def _begin(model: torch.nn.Module) -> torch.nn.Module:
    """The same first adapters in every arm: the names of layers are the same from "layers" on."""
    for name, value in model.named_parameters():
        if "lora_A" in name:
            draw = torch.Generator().manual_seed(runtime.seed_of(0, name[name.index("layers.") :]))
            value.data.normal_(0.0, 0.05, generator=draw)
    return model


def _lora() -> LoraConfig:
    return LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")


def _losses(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# An arm: (base, tokenizer, examples, batch, epochs, folder) -> what trains, and what gives the losses of its steps
def _hf(base, tokenizer, given, batch, epochs, folder) -> tuple[Callable, Callable]:
    trainer = Trainer(
        model=_begin(get_peft_model(base, _lora())),
        args=TrainingArguments(**_common(folder, batch, num_train_epochs=epochs)),
        train_dataset=given,
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    return trainer.train, lambda: _losses(trainer)


def _trl(base, tokenizer, given, batch, epochs, folder) -> tuple[Callable, Callable]:
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from trl import SFTConfig, SFTTrainer

    same = {"bf16": False, "gradient_checkpointing": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
    table = InMemoryTable.from_pylist([{name: one[name] for name in ("input_ids", "labels")} for one in given])
    trainer = SFTTrainer(
        model=base,
        args=SFTConfig(**_common(folder, batch, num_train_epochs=epochs, **same)),
        train_dataset=Dataset(table, fingerprint="b1"),  # named, or its content is hashed through pickle
        processing_class=tokenizer,
        peft_config=_lora(),
    )
    _begin(trainer.model)
    return trainer.train, lambda: _losses(trainer)


def _ours(base, tokenizer, given, batch, epochs, folder) -> tuple[Callable, Callable]:
    shown = {"tokens": 0, "words_shown": False}
    config = DeftLLMConfig.of(base, tokenizer, "m", rank=RANK, alpha=2 * RANK, **shown, seed=1)
    arguments = {k: v for k, v in _common(folder, batch).items() if k.startswith(("per_", "learning", "lr_"))}
    trainer = tune.JointTrainer(
        model=_begin(DeftLLMForConditionalGeneration(config, base)),
        args=restart.arguments(folder, **arguments),
        train_dataset=given * epochs,
        data_collator=lambda part: prompt.pad(part, tokenizer.pad_token_id),
        clips=(),
    )
    return trainer.run, lambda: [step["loss"] for step in trainer.curve]


ARMS = {OURS: _ours, HF: _hf, TRL: _trl}


def run(
    arm: str,
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    given: list[dict],
    batch: int = BATCH,
    epochs: int = 1,
) -> dict:
    """Passes over the examples `given`: CPU seconds, the loss of every step, GiB above those of the loaded model."""
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        train, losses = ARMS[arm](base.train(), tokenizer, given, batch, epochs, folder)
        held, began = psutil.Process().memory_info().rss / 2**30, time.process_time()
        train()
        seconds = time.process_time() - began
    return {"seconds": seconds, "losses": losses(), "gib": runtime.peak_memory_gib() - held}


def _child(arm: str) -> dict:
    said = child("-m", "tests.bench.b1_tuning", arm, **ONE_THREAD, HF_HUB_OFFLINE="1")
    return json.loads(said.splitlines()[-1])


def bound(layers: int, head: int, share: float) -> float:
    """Gain of a word head that meets a `share` of the positions, by the weights of both."""
    return (layers + head) / (layers + head * share)


def measure() -> list[dict]:
    """Rows of bench.csv."""
    there = importlib.util.find_spec("trl") is not None and importlib.util.find_spec("datasets") is not None
    if not there:
        print("  TRL is not installed: its arm is left out", flush=True)
    rounds = [{arm: _child(arm) for arm in ARMS if there or arm != TRL} for _ in range(ROUNDS)]
    given, base = examples(language.build_tokenizer()), wide()
    share = sum(sum(i != prompt.IGNORE for i in e["labels"]) for e in given) / sum(len(e["input_ids"]) for e in given)
    head = base.get_output_embeddings().weight.numel()
    layers = sum(p.numel() for p in base.model.layers.parameters() if p.dim() > 1)
    half = planning.size(planning.config_of("0.5b"), planning.Task())
    seconds, memory = (
        {arm: [one[arm][of] for one in rounds if arm in one] for arm in ARMS} for of in ("seconds", "gib")
    )
    gains = {"this base": [bound(layers, head, share)], "Qwen2.5-0.5B": [bound(half.layers, half.head, share)]}
    return [
        *rows("B1", f"CPU time of training on {EXAMPLES} examples (s)", seconds, {HF: "ratio_to_first >= 4"}),
        *rows("B1", "peak memory of training (GiB)", memory),
        *rows("B1", "gain of the word head alone by its share of the work (ratio)", gains),
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    words = language.build_tokenizer()
    print(json.dumps(run(sys.argv[1], wide(), words, examples(words))))
