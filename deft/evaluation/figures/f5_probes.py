"""F5: who knows what (probes), how far experts tell the same story, and who is listened to (claims C1 and C4)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deft import drawing as draw
from deft.evaluation.figures import data
from deft.evaluation.tables.present import figure
from deft.evaluation.versions import CLIP, FACE, MOTION
from deft.systems import DEFT, RGB, spoken

COLOURS = {FACE: draw.GREEN, MOTION: draw.BLUE, CLIP: draw.ORANGE}
MEASURES = {"CKA": (draw.SKY, -0.16), "HSIC": (draw.INK, 0.16)}


def f5(profile: str) -> tuple[Figure, str]:
    """The probe matrix as a heat map with chance; dependence of the experts; exchange of streams; and what is found."""
    table, exchange = data.table(profile, "T5"), data.table(profile, "T5b")
    with draw.style():
        fig = draw.canvas(4.4)
        left = fig.add_gridspec(1, 1, left=0.145, right=0.475, top=0.93, bottom=0.145)
        right = fig.add_gridspec(
            2, 1, left=0.685, right=0.985, top=0.93, bottom=0.125, height_ratios=(3, 6.5), hspace=0.42
        )
        told = _matrix(fig, fig.add_subplot(left[0]), table[table.what == "probe"])
        bound = _dependence(fig.add_subplot(right[0]), table[table.what == "dependence"])
        carried = _exchange(fig.add_subplot(right[1]), exchange)
    return fig, f"{told} {bound} {carried}"


def _matrix(fig: Figure, ax: Axes, probes: pd.DataFrame) -> str:
    cells = probes.assign(skill=((probes["value"] - probes.chance) / (1 - probes.chance)).clip(0, 1))
    experts, factors = (list(dict.fromkeys(cells[name])) for name in ("expert", "factor"))
    skill = cells.pivot(index="factor", columns="expert", values="skill").loc[factors, experts]
    image = ax.imshow(skill, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row in cells.itertuples():
        x, y = experts.index(row.expert), factors.index(row.factor)
        ink = draw.PAPER if row.skill > 0.6 else draw.INK
        ax.text(x, y - 0.12, figure(row.value, 2), ha="center", va="center", fontsize=8.5, color=ink)
        ax.text(x, y + 0.25, figure(row.chance, 2), ha="center", va="center", fontsize=draw.SMALLEST, color=ink)
    metric = cells.drop_duplicates("factor").set_index("factor").metric
    ax.set(xticks=range(len(experts)), yticks=range(len(factors)), title="What a linear probe reads")
    ax.set_xticklabels(["RGB" if name == "rgb" else name for name in experts])
    ax.set_yticklabels([f"{name}\n{metric[name]}" for name in factors])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = fig.colorbar(image, cax=fig.add_axes([0.145, 0.07, 0.33, 0.014]), orientation="horizontal", ticks=(0, 0.5, 1))
    bar.ax.set_xticklabels(["chance", "half way", "perfect"])
    bar.outline.set_visible(False)
    best = skill.dropna(how="all").idxmax(axis=1)
    return "Read best: " + "; ".join(f"{', '.join(best.index[best == e])} from {e}" for e in dict.fromkeys(best)) + "."


def _dependence(ax: Axes, pairs: pd.DataFrame) -> str:
    names = list(dict.fromkeys(pairs.expert))
    for metric, (colour, shift) in MEASURES.items():
        part = pairs[pairs.metric == metric].set_index("expert").loc[names]
        y = np.arange(len(part)) + shift
        ax.hlines(y, part.low, part.high, color=colour, lw=1.2)
        ax.plot(part["value"], y, "o", ms=3.5, color=colour, label=metric)
        ax.plot(part.chance, y, "|", ms=7, mew=1.4, color=draw.GREY)
    ax.set(yticks=range(len(names)), ylim=(len(names) - 0.5, -0.5), title="Dependence of two experts")
    ax.set_yticklabels([name.replace(" + ", "\nand ") for name in names])
    ax.set_xlim(left=0)
    ax.legend(loc="upper right")
    ax.tick_params(length=2)
    part = pairs[pairs.metric == "HSIC"].set_index("expert")
    most = part["value"].idxmax()
    free = [name for name in names if part.p[name] > 0.05]
    return (
        f"Most dependent: {most.replace(' + ', ' and ')} (HSIC {part['value'][most]:.2f}, shuffled"
        f" {part.chance[most]:.2f}); the test finds {len(names) - len(free)} of {len(names)} pairs dependent."
    )


def _exchange(ax: Axes, exchange: pd.DataFrame) -> str:
    heard = exchange[exchange.system.isin([DEFT, RGB])]
    rows = list(dict.fromkeys(zip(heard.system, heard.exchanged)))
    for place, (counterfactual, colour) in enumerate(COLOURS.items()):
        part = heard[heard.counterfactual == counterfactual].set_index(["system", "exchanged"])
        y = np.array([rows.index(key) for key in part.index]) + 0.22 * (place - 1)
        ax.hlines(y, part.changed_low, part.changed_high, color=colour, lw=1.2)
        ax.plot(part.changed, y, "o", ms=3.5, color=colour, label=counterfactual)
    ax.set(
        yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5), xlim=(-0.02, 1.02), xlabel="share of answers that change"
    )
    names = {DEFT: "DEFT", RGB: spoken(RGB)}
    ax.set_yticklabels(
        [f"{names[system]}: {what}".replace("texture + motion", "texture, motion") for system, what in rows]
    )
    ax.set_title("Streams taken from a counterfactual")
    ax.grid(axis="x", color="#E4E4E4", lw=0.6)
    ax.legend(loc="upper right", bbox_to_anchor=(1.02, 1.0), handletextpad=0.2)
    ax.tick_params(length=2)
    known = heard.set_index(["system", "counterfactual", "exchanged"]).changed
    words = [
        f"{spoken(s)} {known[s, FACE, 'everything']:.0%} and {known[s, MOTION, 'everything']:.0%}"
        for s in (DEFT, RGB)
        if (s, FACE, "everything") in known.index
    ]
    return f"Answers that another face, and another motion on the same face, change: {'; '.join(words)}."
