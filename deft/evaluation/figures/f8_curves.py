"""F8: how training went: the experts on the corpus, the language model on text, the joint tuning of DEFT."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deft import drawing as draw
from deft import paths, runtime
from deft.evaluation.figures import data
from deft.systems import DEFT

EXPERTS = ("structure", "texture", "motion", "rgb")
COLOURS = (draw.BLUE, draw.RED, draw.GREEN, draw.ORANGE, draw.PINK, draw.SKY)
MEASURES = {
    "auroc": "unit AUROC",
    "landmark_px": "landmark error in px",
}  # what validation subjects are asked after every epoch
NOT_A_LOSS = {"epoch", "step", "seconds", "score", "mean_shape_px", "large_motion_r2", *MEASURES}
REVERSED = ("identity", "look", "direction")  # adversaries: their gradient is reversed, their loss should not fall
SMOOTH = 25  # steps: the running mean of a curve that has one value per step


def f8(profile: str) -> tuple[Figure, str]:
    """Four experts with what validation subjects gave, text pretraining, and the tuning of DEFT; and what is found."""
    work = paths.work(profile)
    experts = {n: runtime.read_json(path) for n in EXPERTS if (path := work / "experts" / n / "history.json").exists()}
    bases = {
        n: [
            runtime.read_json(path)
            for path in sorted((*work.glob(f"mllm/{n}/history.json"), *work.glob(f"mllm/draw[0-9]*/{n}/history.json")))
        ]
        for n in ("base", "base-flat")
    }
    bases = {n: found for n, found in bases.items() if found}  # a base that is not ours has no history
    runs = [
        runtime.read_json(path)["curve"]
        for path in sorted((work / "mllm" / "runs" / DEFT).glob("seed*/fold*/history.json"))
    ]
    if not experts or not runs:
        raise data.FigureError(
            "no history.json under experts/ or mllm/runs/deft; run notebooks 06_experts and 07_joint_tuning first"
        )
    with draw.style():
        fig = draw.canvas(4.5)
        panels = iter(
            fig.subplots(
                2, 3, gridspec_kw=dict(left=0.065, right=0.985, top=0.915, bottom=0.125, wspace=0.2, hspace=0.52)
            ).flat
        )
        for name, history in experts.items():
            _expert(next(panels), name, history)
        if bases:
            _bases(next(panels), bases)
        _runs(next(panels), runs)
        for ax in panels:  # a profile without the RGB expert or a base of its own
            ax.remove()
        for ax in fig.axes:
            ax.legend(
                handlelength=1.1,
                loc="upper right",
                ncols=1 + (len(ax.get_legend_handles_labels()[1]) > 2),
                columnspacing=0.8,
                labelspacing=0.2,
            )
    quarter = max(1, len(runs[0]) // 4)
    left = {
        part: np.mean(
            [
                np.mean([row[part] for row in curve[-quarter:]]) / np.mean([row[part] for row in curve[:quarter]])
                for curve in runs
            ]
        )
        for part in ("emotion", "text")
    }
    return (
        fig,
        (
            "On validation subjects, first to last epoch:"
            f" {'; '.join(f'{name}, {_words(history)}' for name, history in experts.items())}. Joint tuning, last"
            f" quarter against the first: the class loss keeps {left['emotion']:.0%}, the words' loss"
            f" {left['text']:.0%}."
        ),
    )


def _expert(ax, name, history):
    epochs = [row["epoch"] for row in history]
    parts = [k for k, v in history[0].items() if k not in NOT_A_LOSS and isinstance(v, numbers.Real) and v]
    for part, colour in zip(parts, COLOURS):
        ax.plot(
            epochs,
            [row[part] / history[0][part] for row in history],
            color=colour,
            lw=1.2,
            ls=":" if part in REVERSED else "-",
            label=part,
        )
    ax.set(
        xlabel="epoch",
        ylabel="part of the loss / first epoch" if name in EXPERTS[::3] else "",
        ylim=(0, 1.5 * ax.dataLim.y1),
    )  # room for the key
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    values = _measured(history)
    ax.plot(epochs, (values - values.min()) / max(np.ptp(values), 1e-6), color=draw.INK, marker="o", ms=2.2, lw=0.8)
    ax.set_title(f"{name} expert\n● {_words(history)}", loc="left")


def _measured(history):
    """What validation subjects gave after every epoch."""
    return np.array([row[next(m for m in MEASURES if m in history[0])] for row in history])


def _words(history):
    values = _measured(history)
    return f"{next(w for m, w in MEASURES.items() if m in history[0])} {values[0]:.2f} to {values[-1]:.2f}"


def _bases(ax, bases):
    for histories, colour, words in zip(bases.values(), COLOURS, ("prototypes", "flat prototypes")):
        for i, history in enumerate(histories):
            ax.plot(*running(history["loss"]), color=colour, lw=0.9, alpha=0.8, label=None if i else words)
            begin = history["soft_from"]
    ax.axvline(begin, color=draw.GREY, lw=0.8, ls=(0, (3, 3)))
    ax.text(
        begin,
        0.66,
        " soft words from here ",
        transform=ax.get_xaxis_transform(),
        fontsize=draw.SMALLEST,
        color=draw.GREY,
        ha="right" if begin > ax.dataLim.x1 / 2 else "left",
        va="top",
    )
    ax.set(xlabel="step", ylabel="loss", ylim=(0, 1.1 * ax.dataLim.y1))
    ax.set_title("text pretraining", loc="left")


def _runs(ax, curves):
    for name, colour in zip(dict.fromkeys(k for c in curves for row in c for k in row), (draw.INK, *COLOURS)):
        for i, curve in enumerate(curves):
            ax.plot(
                *running([row[name] for row in curve if name in row]),
                color=colour,
                lw=0.8,
                alpha=0.5,
                label=None if i else name,
            )
    ax.set(xlabel="step", ylabel="loss", ylim=(0, 1.6 * ax.dataLim.y1))
    ax.set_title(f"joint tuning of DEFT ({len(curves)} runs)", loc="left")


def running(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(steps, running mean): the first value stands at the middle of its window, so that no curve is moved."""
    width = max(1, min(SMOOTH, len(values) // 4))
    return np.arange(len(values) - width + 1) + (width + 1) / 2, np.convolve(
        values, np.ones(width) / width, mode="valid"
    )
