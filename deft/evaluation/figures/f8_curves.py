"""F8: how training went, for every expert and for the joint tuning of every system, fold and seed."""

import numbers
from pathlib import Path

import numpy as np

from deft import paths, runtime
from deft.evaluation.figures import data, draw

EXPERTS = ("structure", "texture", "motion", "rgb")
COLOURS = (draw.BLUE, draw.RED, draw.GREEN, draw.ORANGE, draw.PINK, draw.SKY)


def f8(profile):
    """One panel per expert and one per tuned system: loss against progress, validation drawn where it was measured."""
    work = paths.work(profile)
    experts = [(f"expert: {n}", [work / "experts" / n / "history.json"]) for n in EXPERTS if (work / "experts" / n / "history.json").exists()]
    runs = {}
    for path in sorted((work / "mllm" / "runs").glob("*/seed*/fold*/history.json")):
        runs.setdefault(path.relative_to(work / "mllm" / "runs").parts[0], []).append(path)
    panels = experts + [(f"joint tuning: {draw.clean(name)}", files) for name, files in runs.items()]
    if not panels:
        raise data.FigureError("no history.json under experts/ or mllm/runs/; run notebooks 06_experts and 07_joint_tuning first")
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    with draw.style():
        fig = draw.canvas(max(2.9 * columns, 5.8), 2.45 * rows + 1.0)
        grid = fig.add_gridspec(rows, columns, left=0.07, right=0.985, top=1 - 0.85 / (2.45 * rows + 1), bottom=0.6 / (2.45 * rows + 1),
                                wspace=0.32, hspace=0.55)
        for i, (title, files) in enumerate(panels):
            ax = fig.add_subplot(grid[divmod(i, columns)])
            _panel(ax, [series(runtime.read_json(f)) for f in files])
            ax.set_title(title + (f" ({len(files)} runs)" if len(files) > 1 else ""), loc="left", fontsize=8.5)
            if i // columns == rows - 1 or i + columns >= len(panels):
                ax.set_xlabel("share of the training done")
            if i % columns == 0:
                ax.set_ylabel("loss")
        draw.heading(fig, "F8", "Solid: training loss; with dots: on validation subjects. Thin lines: single runs (folds, seeds).")
    return fig


def series(history):
    """history.json -> {loss name: [(share of the training done, value)]}. Rows without a loss are skipped: they hold other notes."""
    rows = history if isinstance(history, list) else history.get("history", history.get("rows", []))
    clock = next((k for k in ("step", "epoch") if rows and k in rows[-1]), None)
    end = max((r.get(clock, 0) for r in rows), default=1) if clock else len(rows)
    found = {}
    for position, row in enumerate(rows, start=1):
        for key, value in row.items():
            if "loss" in key and isinstance(value, numbers.Real) and key != "train_loss_total":
                found.setdefault(key, []).append(((row[clock] if clock else position) / max(end, 1), float(value)))
    return found


def _panel(ax, runs):
    names = list(dict.fromkeys(name for run in runs for name in run))
    for name, colour in zip(names, COLOURS):
        checked = any(word in name for word in ("valid", "val_", "eval"))
        for run in runs:
            if name in run:
                x, y = np.array(run[name]).T
                ax.plot(x, y, color=colour, lw=1.4 if len(runs) == 1 else 0.6, alpha=1 if len(runs) == 1 else 0.55,
                        marker="o" if checked else None, ms=2.4)
        ax.plot([], [], color=colour, marker="o" if checked else None, ms=2.4, label=name.replace("_", " "))
    ax.set_xlim(0, 1.02)
    ax.legend(fontsize=7, handlelength=1.4, loc="upper right")
    ax.grid(color="#EEEEEE", lw=0.6)
