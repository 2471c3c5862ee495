"""What tuning on a real base takes: parameters, memory, tokens and hours, from the base's config alone.

    python -m deft plan                        the table: 0.5B, 3B, 7B, 32B on 1, 8, 64 GPUs
    python -m deft plan --base FOLDER --gpus 4

Weights are counted on a model without storage (torch's meta device), and so is what one step keeps for its backward
pass: two layers minus one are a layer. A token costs 4 operations per frozen weight that it meets in a product
(forward, the gradient of its input; never a weight's own gradient), 6 per learned one, and 2 more per frozen weight
where layers are computed again. Attention's own products are left out: below 1 % at this length. Folds are dealt to
GPUs, each with a base of its own; a base that is too large for one GPU is sharded over several (FSDP), each with a
group of its own. Hours follow from a stated efficiency, which is assumed until somebody measures one."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from deft.clips.facs import EMOTIONS, UNITS
from deft.mllm import base as bases
from deft.mllm.examples import TuneSettings
from deft.mllm.model import Projector

GIB = 2**30
# The shapes of Qwen2.5 (its published configs): hidden, layers, heads, heads of keys, intermediate, words, tied.
SHAPES = {
    "0.5b": (896, 24, 14, 2, 4864, 151936, True),
    "3b": (2048, 36, 16, 2, 11008, 151936, True),
    "7b": (3584, 28, 28, 4, 18944, 152064, False),
    "32b": (5120, 64, 40, 8, 27648, 152064, False),
}
GPUS = (1, 8, 64)


@dataclass(frozen=True)
class Task:
    """What is trained. clips: that a fold trains on, folds: one per subject (CASME II: 247 clips of 26 people). length:
    positions of an example, scored: those with a word to learn, both with the project's own tokenizer (a base's own
    splits more). streams: experts. epochs, batch, rank: as in joint tuning. school: steps of schooling (one draw)."""

    clips: int = 247
    folds: int = 26
    length: int = 100
    scored: int = 27
    streams: int = 3
    width: int = 64
    epochs: int = TuneSettings.epochs
    batch: int = TuneSettings.batch
    rank: int = TuneSettings.rank
    school: int = TuneSettings.school

    @property
    def tokens(self) -> int:
        """Positions computed in one fold."""
        return self.clips * self.epochs * self.length


@dataclass(frozen=True)
class Machine:
    """One GPU and what is expected of it. peak: TFLOP/s of dense bf16 products (989: H100 SXM); efficiency: share of it
    that training reaches; memory: GiB, of which a tenth stays free; reading: GB/s from disk to GPU."""

    peak: float = 989.0
    efficiency: float = 0.35
    memory: float = 80.0
    reading: float = 1.0


@dataclass(frozen=True)
class Size:
    """Of a base with its adapters: numbers of weights. layers: weights in products without the word head; head: of the
    word head; learned: adapters, projectors, heads. kept: bytes that one group keeps for its backward pass; again: when
    each layer keeps its input alone and is computed again."""

    total: int
    layers: int
    head: int
    learned: int
    kept: int
    again: int


def config_of(base: str) -> PreTrainedConfig:
    """The config of "0.5b", "3b", "7b", "32b", or of a folder. ValueError: neither."""
    if base.lower() in SHAPES:
        hidden, layers, heads, keys, intermediate, words, tied = SHAPES[base.lower()]
        return AutoConfig.for_model(
            "qwen2",
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=keys,
            intermediate_size=intermediate,
            vocab_size=words,
            tie_word_embeddings=tied,
        )
    if not (Path(base) / "config.json").is_file():
        raise ValueError(f"--base {base}: one of {', '.join(SHAPES)}, or a folder with a config.json")
    return AutoConfig.from_pretrained(base, local_files_only=True)


class _Attention(torch.autograd.Function):
    """What fused attention keeps: its three inputs and what comes out. Nothing is computed."""

    @staticmethod
    def forward(ctx, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out)
        return out


def _attention(module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_, **__):
    return _Attention.apply(query, key, value).transpose(1, 2).contiguous(), None


AttentionInterface.register("counted", _attention)


def bare(
    config: PreTrainedConfig,
    rank: int,
    layers: int | None = None,
    device: str = "meta",
    attention: str = "counted",
) -> PreTrainedModel:
    """The base with adapters on every linear layer but the word head; on "meta" without storage. layers: so many, not
    all.
    """
    config = copy.deepcopy(config)
    if layers:
        config.num_hidden_layers = layers
        config.layer_types = getattr(config, "layer_types", None) and config.layer_types[:layers]
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation=attention)
        names = bases.linear(model)
        turned = any(isinstance(model.get_submodule(name), Conv1D) for name in names)
        adapter = LoraConfig(r=rank, target_modules=names, fan_in_fan_out=turned)
        return inject_adapter_in_model(adapter, model).to(torch.bfloat16)


def kept_bytes(model: PreTrainedModel, rows: int, length: int) -> int:
    """Bytes that autograd keeps of one forward pass, without the weights (known by their shapes: a copy of a weight
    counts as the weight).
    """
    shapes = {shape for p in model.parameters() for shape in (tuple(p.shape), tuple(p.shape)[::-1])}
    found: dict[int, int] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        if tuple(x.shape) not in shapes:
            storage = x.untyped_storage()
            found[storage._cdata] = storage.nbytes()
        return x

    hidden = model.get_input_embeddings().embedding_dim
    embedded = torch.empty(rows, length, hidden, dtype=torch.bfloat16, device=model.device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = model.base_model(inputs_embeds=embedded, use_cache=False)  # the graph lives on
    return sum(found.values()) if out is not None else 0


def size(config: PreTrainedConfig, task: Task = Task()) -> Size:
    """Count weights and what a step keeps; nothing is allocated."""
    whole = bare(config, task.rank)
    head = whole.get_output_embeddings()
    hidden = whole.get_input_embeddings().embedding_dim
    layers = sum(
        part.weight.numel()
        for name, part in whole.named_modules()
        if isinstance(part, (nn.Linear, Conv1D)) and part is not head and "lora_" not in name
    )
    adapters = sum(p.numel() for name, p in whole.named_parameters() if "lora_" in name)
    with torch.device("meta"):
        own = nn.ModuleList([Projector(task.width, hidden, 1.0) for _ in range(task.streams)])
        own += [nn.Linear(hidden, len(EMOTIONS)), nn.Linear(hidden, 2 * len(UNITS))]
    count = config.num_hidden_layers
    one, two = (task.batch * kept_bytes(bare(config, task.rank, n), 1, task.length) for n in (1, 2))
    logits = task.batch * task.scored * head.weight.shape[0] * 4 * 2  # float32, and their gradient
    inputs = count * task.batch * task.length * hidden * 2
    return Size(
        sum(p.numel() for p in whole.parameters()) - adapters,
        layers,
        head.weight.numel(),
        adapters + sum(p.numel() for p in own.parameters()),
        one + (count - 1) * (two - one) + logits,
        inputs + one + logits,
    )


def plan(of: Size, gpus: int, task: Task = Task(), machine: Machine = Machine()) -> dict[str, float]:
    """Memory (GiB per GPU), layout and hours of all folds on `gpus` GPUs; `fits` False where no layout does."""
    if gpus < 1 or not 0 < machine.efficiency <= 1:
        raise ValueError(f"{gpus} GPUs at an efficiency of {machine.efficiency:g}: at least 1, and a share up to 1")
    weights, learned = 2 * of.total, 16 * of.learned  # bf16; float32 with gradient and two moments
    room = 0.9 * machine.memory * GIB
    layouts = [
        (shards, again, (weights + learned) / shards + (of.again if again else of.kept))
        for shards in (2**n for n in range(int(math.log2(gpus)) + 1))
        for again in (False, True)
    ]
    shards, again, need = next((layout for layout in layouts if layout[2] <= room), layouts[-1])
    operations = (6 if again else 4) * of.layers + 6 * of.learned + 4 * of.head * task.scored / task.length
    at_once = min(gpus // shards, task.folds)
    token = operations / (shards * machine.peak * 1e12 * machine.efficiency)
    fold, school = task.tokens * token, task.school * task.batch * task.length * token
    reading = weights / (machine.reading * 1e9)
    return {
        "gpus": gpus,
        "weights_gib": weights / GIB,
        "learned_gib": learned / GIB,
        "activations_gib": (of.again if again else of.kept) / GIB,
        "need_gib": need / GIB,
        "fits": need <= room,
        "gpus_per_fold": shards,
        "computed_again": again,
        "folds_at_once": at_once,
        "tokens": task.tokens * task.folds,
        "pflop": task.tokens * task.folds * operations / 1e15,
        "fold_seconds": fold,
        "school_seconds": school,
        "hours": (reading + school + math.ceil(task.folds / at_once) * fold) / 3600,
    }


def table(bases: list[str], gpus: list[int], task: Task = Task(), machine: Machine = Machine()) -> list[dict]:
    """One row per base and number of GPUs."""
    rows = []
    for base in bases:
        counted = size(config_of(base), task)
        about = {"base": base, "parameters": counted.total, "learned": counted.learned}
        rows += [{**about, **plan(counted, number, task, machine)} for number in gpus]
    return rows


def words(rows: list[dict], task: Task, machine: Machine, measured: bool) -> str:
    """The table as text, with what it rests on."""
    head = ("base", "weights", "learn", "GPUs", "GiB per GPU: weights + learned + kept", "folds at once", "hours")
    lines = []
    for row in rows:
        parts = "{weights_gib:.1f} + {learned_gib:.1f} + {activations_gib:.1f}".format(**row)
        over = f", over {row['gpus_per_fold']}" if row["gpus_per_fold"] > 1 else ""
        memory = f"{parts}{over}{', layers computed again' if row['computed_again'] else ''}"
        fits = f"{row['folds_at_once']}", f"{row['hours']:.2g}"
        lines.append(
            (
                row["base"],
                f"{row['parameters'] / 1e9:.2f} B",
                f"{row['learned'] / 1e6:.0f} M",
                str(row["gpus"]),
                memory,
                *(fits if row["fits"] else ("0", f"does not fit: {row['need_gib']:.0f} GiB")),
            )
        )
    wide = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
    text = "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, wide)) for line in (head, *lines))
    first = f" First one schooling on text, {task.school} steps of {task.batch}." if task.school else ""
    return (
        f"{text}\n{task.folds} folds of {task.tokens:,} tokens ({task.clips} clips x {task.epochs} epochs x"
        f" {task.length} positions), groups of {task.batch}, LoRA of rank {task.rank}.{first}\n"
        f"A GPU: {machine.peak:g} TFLOP/s at {'given' if measured else 'assumed'} {machine.efficiency:.0%},"
        f" {machine.memory:g} GiB, weights read at {machine.reading:g} GB/s. Experts, flow and answers are not in it."
    )
