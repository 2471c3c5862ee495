"""F8: how training went: the experts on the corpus, the language model on text, the joint tuning of every system."""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deft import paths, runtime
from deft import drawing as draw
from deft.evaluation.figures import data
from deft.systems import DEFT, RGB, spoken

EXPERTS = ("structure", "texture", "motion", "rgb")
COLOURS = (draw.BLUE, draw.RED, draw.GREEN, draw.ORANGE, draw.PINK, draw.SKY)
MEASURES = {"auroc": "unit AUROC", "landmark_px": "landmark error, px"}   # what validation subjects are asked after every epoch
NOT_A_LOSS = {"epoch", "step", "seconds", "score", "mean_shape_px", "large_motion_r2", *MEASURES}
CURVES = 15    # panels of joint tuning at most: DEFT, the RGB-only model, then the others by name
SMOOTH = 25    # steps: the running mean of a curve that has one value per step


def f8(profile: str) -> Figure:
    """Top row: parts of each expert's loss relative to the first epoch, and what validation subjects gave. Below: the language model."""
    work = paths.work(profile)
    experts = {n: runtime.read_json(work / "experts" / n / "history.json") for n in EXPERTS if (work / "experts" / n / "history.json").exists()}
    bases = {n: [runtime.read_json(path) for path in sorted((*work.glob(f"mllm/{n}/history.json"), *work.glob(f"mllm/draw[0-9]*/{n}/history.json")))]
             for n in ("base", "base-flat")}
    bases = {n: found for n, found in bases.items() if found}
    runs = {}
    for path in sorted((work / "mllm" / "runs").glob("*/seed*/fold*/history.json")):
        runs.setdefault(path.relative_to(work / "mllm" / "runs").parts[0], []).append(runtime.read_json(path)["curve"])
    if not experts and not runs:
        raise data.FigureError("no history.json under experts/ or mllm/runs/; run notebooks 06_experts and 07_joint_tuning first")
    order = sorted(runs, key=lambda n: (n != DEFT, n != RGB, n))[:CURVES]
    lower = ([("text pretraining", lambda ax: _bases(ax, bases))] if bases else []) + [
        (f"joint tuning: {spoken(n)} ({len(runs[n])} runs)", lambda ax, n=n: _runs(ax, runs[n])) for n in order]
    columns, rows = 4, (1 if experts else 0) + -(-len(lower) // 4)
    height = 2.5 * rows + 0.8
    with draw.style():
        fig = draw.canvas(12, height)
        grid = fig.add_gridspec(rows, columns, left=0.055, right=0.955, top=1 - 0.95 / height, bottom=0.6 / height, wspace=0.42, hspace=0.78)
        for i, (name, history) in enumerate(experts.items()):
            _expert(fig.add_subplot(grid[0, i]), history, first=i == 0)
            fig.axes[-1 if len(fig.axes) == i + 1 else -2].set_title(f"expert: {name}", loc="left", fontsize=8.5)
        for i, (title, paint) in enumerate(lower):
            ax = fig.add_subplot(grid[(1 if experts else 0) + i // columns, i % columns])
            paint(ax)
            ax.set_title(title, loc="left", fontsize=8.5)
            ax.set(xlabel="step", ylabel="loss" if i % columns == 0 else "", ylim=(0, 1.35 * ax.dataLim.y1))   # room for the key
            ax.grid(color="#EEEEEE", lw=0.6)
        draw.heading(fig, "F8", "Experts: parts of the training loss relative to the first epoch; black dots: validation subjects (right axis). "
                     f"Language model: running mean over {SMOOTH} steps; every line is one run.")
    return fig


def _expert(ax, history, first):
    epochs = [row["epoch"] for row in history]
    parts = [k for k, v in history[0].items() if k not in NOT_A_LOSS and isinstance(v, numbers.Real) and v]
    for name, colour in zip(parts, COLOURS):
        ax.plot(epochs, [row[name] / history[0][name] for row in history], color=colour, lw=1.3, label=name)
    ax.set(xlabel="epoch", ylabel="loss / first epoch" if first else "", ylim=(0, 1.45 * ax.dataLim.y1))   # room for the key
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.grid(color="#EEEEEE", lw=0.6)
    measure = next((m for m in MEASURES if m in history[0]), None)
    if measure:
        right = ax.twinx()
        right.plot(epochs, [row[measure] for row in history], color=draw.INK, marker="o", ms=2.4, lw=0.9)
        low, high = right.dataLim.y0, right.dataLim.y1
        right.set_ylim(low - 0.05 * (high - low + 1e-6), high + 0.5 * (high - low + 1e-6))
        right.spines["right"].set_visible(True)
        right.set_ylabel(MEASURES[measure], fontsize=7.5)
        right.tick_params(labelsize=7)
        ax.set_zorder(right.get_zorder() + 1)
        ax.patch.set_visible(False)
    ax.legend(fontsize=6.4, handlelength=1.1, loc="upper left", ncols=3, columnspacing=0.8, labelspacing=0.2, borderaxespad=0.1)


def _bases(ax, bases):
    for (name, histories), colour in zip(bases.items(), COLOURS):
        for history in histories:
            ax.plot(*running(history["loss"]), color=colour, lw=0.9, alpha=0.8)
        ax.plot([], [], color=colour, label={"base": "prototypes", "base-flat": "flat prototypes"}[name])
    ax.axvline(history["soft_from"], color=draw.GREY, lw=0.8, ls=(0, (3, 3)))
    late = history["soft_from"] > len(history["loss"]) / 2
    ax.text(history["soft_from"], 0.8, " soft words from here ", transform=ax.get_xaxis_transform(), fontsize=6.6, color=draw.GREY, ha="right" if late else "left",
            va="top")
    ax.legend(fontsize=6.4, handlelength=1.1, loc="upper left", ncols=2, columnspacing=0.8, borderaxespad=0.1)


def _runs(ax, curves):
    for name, colour in zip(dict.fromkeys(k for c in curves for row in c for k in row), (draw.INK, *COLOURS)):
        for curve in curves:
            ax.plot(*running([row[name] for row in curve if name in row]), color=colour, lw=0.8, alpha=0.8 if len(curves) < 4 else 0.45)
        ax.plot([], [], color=colour, label=name)
    ax.legend(fontsize=6.4, handlelength=1.1, loc="upper left", ncols=3, columnspacing=0.8, labelspacing=0.2, borderaxespad=0.1)


def running(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """(steps, running mean): the first value stands at the middle of its window, so that no curve is moved."""
    width = max(1, min(SMOOTH, len(values) // 4))
    return np.arange(len(values) - width + 1) + (width + 1) / 2, np.convolve(values, np.ones(width) / width, mode="valid")
