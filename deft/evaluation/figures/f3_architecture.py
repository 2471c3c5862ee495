"""F3: the architecture, read off the saved experts and the tuned model at the moment of drawing.

Names of classes and parts, numbers of weights, what is frozen, and every shape on an arrow come from the live objects
and from one forward pass of one clip; a change in the model changes the picture. (Only this figure imports torch, and
only inside `read_model`, so that the other figures stay light.)"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from deft import drawing as draw
from deft import paths, runtime
from deft.clips.story import story
from deft.evaluation.figures import data
from deft.systems import DEFT

FROZEN, TRAINED, MEASURED = "#E3E3E3", "#CFE6F5", "#FFF3D6"
HEIGHT, LINE = 4.6, 0.145  # inches: of the figure, of a line of words


@dataclass(frozen=True)
class Part:
    """One module: its own name, its class, how many weights it has, how many of them the tuning moves, its output's
    shape.
    """

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

    watched = {
        **{f"projectors.{s}": m for s, m in model.projectors.items()},
        "language": model.language.base_model,
        "emotion_head": model.emotion_head,
        "unit_head": model.unit_head,
    }
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
        model(
            batch["input_ids"],
            batch["attention_mask"],
            batch["prompt_end"],
            **{k: torch.from_numpy(v) for k, v in features.items()},
        )

    def part(name, module, out=(), inner=None):
        size = [
            (p.numel(), p.requires_grad) for n, p in module.named_parameters() if not n.startswith("adversary")
        ]  # training equipment
        return Part(
            name,
            type(inner or module).__name__,
            sum(n for n, _ in size),
            sum(n for n, g in size if g),
            out,
            tuple(n for n, m in module.named_children() if n != "adversary" and any(True for _ in m.parameters())),
        )

    experts = {s: pretrain.load(work / "experts" / s) for s in model.streams}
    text = model.config.text_config
    facts = {
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "heads": text.num_attention_heads,
        "words": text.vocab_size,
        "rank": model.config.rank,
        "length": len(example["input_ids"]),
        "streams": model.config.streams,
        "weights": {
            "emotion_head": model.config.emotion_weight,
            "unit_head": model.config.unit_weight,
            "alignment": model.config.align_weight,
            "decorrelation of the streams": model.config.disentangle_weight,
        },
        "folder": folder.relative_to(work / "mllm" / "runs").as_posix(),
    }
    return Model(
        {s: part(s, m, tuple(features[s].shape[1:])) for s, m in experts.items()},
        {s: {k: _seen(m, k) for k in m.keys} for s, m in experts.items()},
        {s: part(f"projectors.{s}", m, shapes[f"projectors.{s}"]) for s, m in model.projectors.items()},
        tuple(model.unit_streams),
        part("language", model.language, shapes["language"]),
        tuple(part(n, getattr(model, n), shapes[n]) for n in ("emotion_head", "unit_head")),
        facts,
    )


def _first(profile, name):
    """Features of the first benchmark clip as a batch of one, float32."""
    path = data.need(paths.work(profile) / "features" / "bench" / f"{name}.npy", "06_experts")
    return np.array(runtime.load_array(path.parent, name)[:1], np.float32)


def _seen(expert, key):
    """Shape of one input of an expert, without the batch axis, read off the statistics it standardises with."""
    from deft.experts import data as pairs
    from deft.experts.encoder import SIDE
    from deft.experts.frozen import CELLS, SOURCES

    if key in SOURCES:  # features of a frozen encoder
        return (len(expert.standardise.mean), CELLS, CELLS)
    if key == "onset":  # beside such features it is only what is rebuilt
        return (3, SIDE, SIDE)
    return (
        (len(expert.standardise.mean), SIDE, SIDE) if key in pairs.IMAGES else (len(expert.standardise_regions.mean),)
    )


# ----------------------------------------------------------------------------------------------------- drawing


def f3(profile: str, model: Model | None = None) -> tuple[Figure, str]:
    """Boxes and arrows; pass a `Model` to draw another one than the profile's own. And what is found: how little of
    it is tuned.
    """
    model = model or read_model(profile)
    thumbs = _thumbnails(profile)
    with draw.style():
        fig = draw.canvas(HEIGHT)
        ax = fig.add_axes([0, 0, 1, 1])
        ax.set(xlim=(0, draw.WIDTH), ylim=(0, HEIGHT))
        ax.set_axis_off()
        span = (HEIGHT - 0.45) / len(model.experts)
        for i, (stream, expert) in enumerate(model.experts.items()):
            y, projector = HEIGHT - 0.05 - span * (i + 0.5), model.projectors[stream]
            if stream in thumbs:
                thumbs[stream](fig.add_axes([0.05 / draw.WIDTH, (y - 0.14) / HEIGHT, 0.7 / draw.WIDTH, 0.7 / HEIGHT]))
            ax.text(
                0.4,
                y - 0.17,
                "\n".join(f"{k}\n{_times(s)}" for k, s in model.inputs[stream].items()),
                va="top",
                ha="center",
                fontsize=draw.SMALLEST,
                color=draw.GREY,
                linespacing=1.05,
            )
            _box(
                ax,
                1.0,
                y - 0.6,
                1.3,
                1.2,
                FROZEN,
                expert.kind,
                [_count(expert.weights), *textwrap.wrap(", ".join(expert.children).replace("_", " "), 21)[:4]],
                name=f"{stream} expert",
            )
            _arrow(ax, (0.76, y + 0.2), (1.0, y + 0.2))
            _box(ax, 2.88, y + 0.08, 0.92, 0.5, TRAINED, projector.kind, [_count(projector.weights)])
            _arrow(ax, (2.3, y + 0.33), (2.88, y + 0.33), _times(expert.out))
            _arrow(ax, (3.8, y + 0.33), (4.4, y + 0.33), _times(projector.out))
            if stream in model.said:
                _box(ax, 2.88, y - 0.56, 0.92, 0.42, MEASURED, "soft words", [])
                _arrow(ax, (2.3, y - 0.35), (2.88, y - 0.35), "17 × 2")
                _arrow(ax, (3.8, y - 0.35), (4.4, y - 0.35), f"17 × {model.facts['hidden']}")
        _language(ax, model)
        _outputs(ax, model)
        for x, (colour, words) in zip(
            (0.1, 1.4, 2.5),
            ((FROZEN, "fixed weights"), (TRAINED, "tuned weights"), (MEASURED, "no weights of its own")),
        ):
            ax.add_patch(
                FancyBboxPatch(
                    (x, 0.1), 0.18, 0.1, boxstyle="round,pad=0,rounding_size=0.03", fc=colour, ec="#777777", lw=0.6
                )
            )
            ax.text(x + 0.24, 0.15, words, va="center")
    moved = [*model.projectors.values(), model.language, *model.heads]
    tuned, whole = sum(part.tuned for part in moved), sum(part.weights for part in [*model.experts.values(), *moved])
    further = ", ".join(
        f"{name} × {weight:g}"
        for name, weight in model.facts["weights"].items()
        if name not in {head.name for head in model.heads}
    )
    return (
        fig,
        (
            f"The joint tuning moves {tuned:,} of {whole:,} weights ({tuned / whole:.0%}): projectors, adapters and two"
            f" heads; experts and words stay as they are. Parts of the loss without a head: {further or 'none'}. Drawn"
            f" from {model.facts['folder']}."
        ),
    )


def _language(ax, model):
    part, facts = model.language, model.facts
    _box(
        ax,
        4.4,
        0.45,
        1.22,
        HEIGHT - 0.6,
        FROZEN,
        part.kind,
        [
            f"{facts['layers']} layers, {facts['heads']} heads",
            f"width {facts['hidden']}",
            f"{facts['words']} words",
            f"fixed: {_count(part.weights - part.tuned)}",
        ],
        name="language model",
        top=True,
    )
    _box(ax, 4.47, 1.75, 1.08, 0.72, TRAINED, f"LoRA, rank {facts['rank']}", [_count(part.tuned), "every linear layer"])
    ax.text(
        5.01,
        1.1,
        f"prompt: {facts['length']} places\n(streams, slots,\nquestion)\n\nhidden states\n{_times(part.out)}",
        ha="center",
        va="center",
    )


def _outputs(ax, model):
    rows = [("word head", "the tied embedding", "free text: class,\nevidence, reasoning", FROZEN, 1)]
    for head in model.heads:
        words = "emotion" if "emotion" in head.name else "units, added to the\nexperts' log odds"
        rows.append(
            (
                head.name.replace("_", " "),
                _count(head.weights),
                f"{words}\n{_times(head.out)} numbers",
                TRAINED,
                model.facts["weights"][head.name],
            )
        )
    step = (HEIGHT - 0.45) / len(rows)
    for i, (name, weights, words, colour, loss) in enumerate(rows):
        y = HEIGHT - 0.05 - step * (i + 0.5)
        _box(ax, 5.86, y - 0.45, 1.2, 0.9, colour, name, [weights, *words.split("\n")])
        _arrow(ax, (5.62, y), (5.86, y))
        ax.text(6.46, y - 0.54, f"loss × {loss:g}", ha="center", va="center", color=draw.GREY)


def _box(ax, x, y, w, h, colour, title, lines, name="", top=False):
    """Sizes in inches."""
    ax.add_patch(
        FancyBboxPatch(
            (x, y), w, h, boxstyle="round,pad=0,rounding_size=0.06", fc=colour, ec="#666666", lw=0.8, zorder=2
        )
    )
    rows = ([(name, dict(weight="bold"))] if name else []) + [(title, dict(weight="normal" if name else "bold"))]
    rows += [(line, dict(fontsize=draw.SMALLEST, color="#444444")) for line in lines]
    start = y + h - 0.14 if top else y + h / 2 + LINE * (len(rows) - 1) / 2
    for i, (words, look) in enumerate(rows):
        ax.text(x + w / 2, start - LINE * i, words, ha="center", va="center", zorder=3, **look)


def _arrow(ax, a, b, words=""):
    ax.annotate(
        "",
        xy=b,
        xytext=a,
        arrowprops=dict(arrowstyle="-|>", color=draw.INK, lw=1, shrinkA=0, shrinkB=0, mutation_scale=8),
        zorder=1,
    )
    if words:
        ax.text((a[0] + b[0]) / 2, a[1] + 0.05, words, ha="center", va="bottom", fontsize=draw.SMALLEST)


def _thumbnails(profile):
    """stream -> a function that draws on given axes what its expert looks at, of the story clip; the texture of the
    strongest clip, or it would be noise.
    """
    table = data.index(profile)
    store = data.clips(profile)
    clip = data.pictures(profile, table, story(store))
    strong = int(store.array("furrows_true").max(1).argmax())
    residual = np.asarray(data.array(profile, "motion", "residual", "03_motion")[strong, 0], np.float32)
    scale = max(np.percentile(np.abs(residual), 99.5), 1e-6)
    grey = np.clip(128 + 127 * residual / scale, 0, 255).astype(np.uint8)
    return {
        "structure": lambda ax: draw.show_face(ax, clip.rgb[0]),
        "texture": lambda ax: draw.show_face(ax, grey),
        "motion": lambda ax: draw.show_flow(ax, clip.flow, draw.flow_limit(clip.flow)),
        "rgb": lambda ax: draw.show_face(ax, clip.rgb[1]),
    }


def _times(shape):
    return " × ".join(map(str, shape))


def _count(n):
    return f"{n / 1e6:.2f} M weights" if n >= 1e6 else f"{n / 1e3:.0f} k weights" if n >= 1e4 else f"{n:,} weights"
