"""F3: the architecture, read off the saved experts and the tuned model at the moment of drawing.

Names of classes and parts, numbers of weights, what is frozen, and every shape on an arrow come from the live objects and
from one forward pass of one clip; a change in the model changes the picture. (Only this figure imports torch, and only
inside `read_model`, so that the other figures stay light.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from deft import paths, runtime
from deft.clips.story import story
from deft import drawing as draw
from deft.evaluation.figures import data
from deft.systems import DEFT

FROZEN, TRAINED, MEASURED = "#E3E3E3", "#CFE6F5", "#FFF3D6"


@dataclass(frozen=True)
class Part:
    """One module: its own name, its class, how many weights it has, how many of them the tuning moves, its output's shape."""

    name: str
    kind: str
    weights: int
    tuned: int
    out: tuple = ()
    children: tuple = ()


@dataclass(frozen=True)
class Model:
    """What is drawn. experts, projectors: by stream, in prompt order; said: streams whose units enter as soft words."""

    experts: dict
    inputs: dict
    projectors: dict
    said: tuple
    language: Part
    heads: tuple
    facts: dict = field(default_factory=dict)


def run_folder(profile: str, system: str = DEFT) -> Path:
    """Folder of the first tuned model of a system: lowest seed, fold 0."""
    runs = sorted((paths.work(profile) / "mllm" / "runs" / system).glob("seed*/fold0/config.json"))
    if not runs:
        raise data.FigureError(f"no tuned model under mllm/runs/{system}; run notebook 07_joint_tuning first")
    return runs[0].parent


def read_model(profile: str) -> Model:
    """The saved experts and the tuned model, loaded, counted and run once on the first clip of the benchmark."""
    import torch
    from transformers import AutoTokenizer

    from deft.experts import pretrain
    from deft.mllm import prompt
    from deft.mllm.model import DeftLLMForConditionalGeneration

    work, folder = paths.work(profile), run_folder(profile)
    model = DeftLLMForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    shapes = {}

    def remember(name):
        def hook(_, __, output):
            value = output if torch.is_tensor(output) else output.last_hidden_state
            shapes[name] = tuple(value.shape[1:]) if value.ndim > 1 else tuple(value.shape)
        return hook

    watched = {**{f"projectors.{s}": m for s, m in model.projectors.items()}, "language": model.language.base_model,
               "emotion_head": model.emotion_head, "unit_head": model.unit_head}
    for name, module in watched.items():
        module.register_forward_hook(remember(name))
    features = {}
    for stream in model.streams:
        features[stream] = _first(profile, stream)
        if stream in model.unit_streams:
            features[f"{stream}_units"] = _first(profile, f"{stream}_units")
    example = prompt.encode(tokenizer, model.streams, "which emotion is it ?")
    batch = prompt.pad([example], tokenizer.pad_token_id)
    with torch.no_grad():
        model(batch["input_ids"], batch["attention_mask"], batch["prompt_end"], **{k: torch.from_numpy(v) for k, v in features.items()})

    def part(name, module, out=(), inner=None):
        size = [(p.numel(), p.requires_grad) for n, p in module.named_parameters() if not n.startswith("adversary")]  # training equipment
        return Part(name, type(inner or module).__name__, sum(n for n, _ in size), sum(n for n, g in size if g), out,
                    tuple(n for n, m in module.named_children() if n != "adversary" and any(True for _ in m.parameters())))

    experts = {s: pretrain.load(work / "experts" / s) for s in model.streams}
    text = model.config.text_config
    facts = {"layers": text.num_hidden_layers, "hidden": text.hidden_size, "heads": text.num_attention_heads, "words": text.vocab_size,
             "rank": model.config.rank, "length": len(example["input_ids"]), "streams": model.config.streams,
             "weights": {"emotion_head": model.config.emotion_weight, "unit_head": model.config.unit_weight},
             "folder": folder.relative_to(work / "mllm" / "runs").as_posix()}
    return Model({s: part(s, m, tuple(features[s].shape[1:])) for s, m in experts.items()},
                 {s: {k: _seen(m, k) for k in m.keys} for s, m in experts.items()},
                 {s: part(f"projectors.{s}", m, shapes[f"projectors.{s}"]) for s, m in model.projectors.items()},
                 tuple(model.unit_streams), part("language", model.language, shapes["language"]),
                 tuple(part(n, getattr(model, n), shapes[n]) for n in ("emotion_head", "unit_head")), facts)


def _first(profile, name):
    """Features of the first benchmark clip as a batch of one, float32."""
    path = data.need(paths.work(profile) / "features" / "bench" / f"{name}.npy", "06_experts")
    return np.array(runtime.load_array(path.parent, name)[:1], np.float32)


def _seen(expert, key):
    """Shape of one input of an expert, without the batch axis, read off the statistics it standardises with."""
    from deft.experts import data as pairs
    from deft.experts.encoder import SIDE

    return (len(expert.standardise.mean), SIDE, SIDE) if key in pairs.IMAGES else (len(expert.standardise_regions.mean),)


# ----------------------------------------------------------------------------------------------------- drawing

def f3(profile: str, model: Model | None = None) -> Figure:
    """Boxes and arrows; pass a `Model` to draw another one than the profile's own."""
    model = model or read_model(profile)
    streams = list(model.experts)
    thumbs = _thumbnails(profile)
    with draw.style():
        fig = draw.canvas(12.4, 5.6)
        ax = fig.add_axes([0, 0, 1, 1])
        ax.set(xlim=(0, 124), ylim=(0, 56))
        ax.set_axis_off()
        span = 42 / len(streams)
        for i, stream in enumerate(streams):
            y = 49 - span * (i + 0.5)
            _thumbnail(fig, thumbs.get(stream), 1.5, y - 4.2, 8.4)
            words = "\n".join(f"{k}\n{_times(s)}" for k, s in model.inputs[stream].items())
            ax.text(10.7, y, words, fontsize=6.6, va="center", color=draw.GREY, linespacing=1.15)
            expert, projector = model.experts[stream], model.projectors[stream]
            _box(ax, 22.5, y - 5.2, 19, 10.4, FROZEN, expert.kind, _lines(expert, 3), name=f"{stream} expert")
            _arrow(ax, (18.6, y), (22.3, y))
            _box(ax, 52, y + 0.2, 17, 5.2, TRAINED, projector.kind, [_count(projector.weights)])
            _arrow(ax, (41.7, y + 2.6), (51.8, y + 2.6), _times(expert.out))
            _arrow(ax, (69.2, y + 2.6), (78.8, y + 2.6), _times(projector.out))
            if stream in model.said:
                _box(ax, 52, y - 5.6, 17, 4.6, MEASURED, "soft words", [], name="")
                _arrow(ax, (41.7, y - 3.3), (51.8, y - 3.3), "units 17 × 2")
                _arrow(ax, (69.2, y - 3.3), (78.8, y - 3.3), f"17 × {model.facts['hidden']}")
        _language(ax, model)
        _outputs(ax, model)
        for x, (colour, words) in zip((1.5, 30, 58), ((FROZEN, "weights fixed while the model is tuned"), (TRAINED, "weights the joint tuning moves"),
                                                      (MEASURED, "no weights of its own"))):
            ax.add_patch(FancyBboxPatch((x, 2.6), 2.6, 1.6, boxstyle="round,pad=0,rounding_size=0.3", fc=colour, ec="#777777", lw=0.6))
            ax.text(x + 3.6, 3.4, words, fontsize=8, va="center")
        draw.heading(fig, "F3", f"Names, weights and shapes as found in {model.facts['folder']} and experts/ for one clip (no batch axis).")
    return fig


def _language(ax, model):
    part, facts = model.language, model.facts
    _box(ax, 79, 7.4, 20, 41.6, FROZEN, part.kind, [
        f"{facts['layers']} layers · {facts['heads']} heads", f"width {facts['hidden']} · {facts['words']} words", f"frozen: {_count(part.weights - part.tuned)}"],
        name="language model", top=True)
    _box(ax, 80.2, 20, 17.6, 6.4, TRAINED, f"LoRA, rank {facts['rank']}", [f"{_count(part.tuned)}, every linear layer"])
    ax.text(89, 15.4, f"prompt of {facts['length']} places:\nnamed streams, slots,\nquestion", ha="center", va="center", fontsize=7.6, linespacing=1.3)
    ax.text(89, 10.2, f"hidden states {_times(part.out)}", ha="center", fontsize=7.6, va="center")


def _outputs(ax, model):
    rows = [("word head", "the tied embedding", "free text: class, evidence,\nreasoning (C, E, R)", FROZEN, "loss × 1")]
    for head in model.heads:
        words = "emotion" if "emotion" in head.name else "units, as a correction\nto the experts' log odds"
        rows.append((head.name, _count(head.weights), f"{words} · {_times(head.out)}", TRAINED, f"loss × {model.facts['weights'][head.name]:g}"))
    for y, (name, weights, words, colour, loss) in zip((41, 26.5, 12), rows):
        _box(ax, 105.5, y - 4.6, 17, 9.6, colour, name, [*words.split("\n"), f"{weights} · {loss}"])
        _arrow(ax, (99.2, y), (105.3, y))


def _box(ax, x, y, w, h, colour, title, lines, name="", top=False):
    ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0,rounding_size=0.7", fc=colour, ec="#666666", lw=0.8, zorder=2))
    rows = ([(name, dict(fontsize=8.4, weight="bold"))] if name else []) + [(title, dict(fontsize=8, weight="normal" if name else "bold"))]
    rows += [(line, dict(fontsize=7.1, color="#444444")) for line in lines]
    step = 1.95
    start = y + h - 2 if top else y + h / 2 + step * (len(rows) - 1) / 2
    for i, (words, look) in enumerate(rows):
        ax.text(x + w / 2, start - step * i, words, ha="center", va="center", zorder=3, **look)


def _arrow(ax, a, b, words=""):
    ax.annotate("", xy=b, xytext=a, arrowprops=dict(arrowstyle="-|>", color=draw.INK, lw=1, shrinkA=0, shrinkB=0, mutation_scale=9), zorder=1)
    if words:
        ax.text((a[0] + b[0]) / 2, a[1] + 0.5, words, ha="center", va="bottom", fontsize=7)


def _lines(part, most):
    """Weights, then the first named parts of a module."""
    shown, words = [], ""
    for name in part.children:
        if len(words) + len(name) > 26:
            shown.append(words)
            words = ""
        words += (", " if words else "") + name
    return [_count(part.weights), *[*shown, words][:most - 1]]


def _thumbnails(profile):
    """stream -> what its expert looks at, of the story clip."""
    table = data.index(profile)
    row = story(data.clips(profile))
    clip = data.pictures(profile, table, row)
    residual = np.asarray(data.array(profile, "motion", "residual", "03_motion")[row, 0], np.float32)
    scale = max(np.percentile(np.abs(residual), 99.5), 1e-6)
    return {"structure": clip.rgb[0], "texture": np.clip(128 + 127 * residual / scale, 0, 255).astype(np.uint8),
            "motion": draw.flows.colour(clip.flow, draw.flow_limit(clip.flow)), "rgb": clip.rgb[1]}


def _thumbnail(fig, image, x, y, side):
    if image is not None:
        ax = fig.add_axes([x / 124, y / 56, side / 124, side / 56])
        draw.show(ax, image)


def _times(shape):
    return " × ".join(map(str, shape))


def _count(n):
    return f"{n / 1e6:.2f} M weights" if n >= 1e6 else f"{n / 1e3:.0f} k weights" if n >= 1e4 else f"{n:,} weights"
