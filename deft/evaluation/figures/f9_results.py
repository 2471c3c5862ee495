"""F9: the main results as a forest plot: every system of T2 with its intervals, and DEFT held against each (claims
C1 and C5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deft import drawing as draw
from deft.evaluation.figures import data
from deft.evaluation.metrics import Interval
from deft.systems import DEFT, MAJORITY, spoken


def f9(profile: str) -> tuple[Figure, str]:
    """UF1 per system with the tie kept and broken, and DEFT minus the system with the tie broken; and what is found."""
    scores, lead, guess = data.recognition(profile), data.recognition(profile, "deft_minus"), data.guessing(profile)
    systems = sorted({s for s, _ in scores} - {MAJORITY}, key=lambda s: -scores[s, "broken"].value)
    with draw.style():
        height = 1.1 + 0.24 * len(systems)
        fig = draw.canvas(height)
        axes = fig.subplots(
            1,
            3,
            sharey=True,
            gridspec_kw=dict(left=0.17, right=0.985, top=1 - 0.28 / height, bottom=0.78 / height, wspace=0.08),
        )
        for ax, (condition, (words, colour)) in zip(axes, draw.CONDITIONS.items()):
            forest(ax, {spoken(s): scores.get((s, condition)) for s in systems}, colour)
            for level, dashes in ((scores[MAJORITY, condition].value, ":"), (guess[condition], "--")):
                ax.axvline(level, color=draw.INK, lw=0.8, ls=dashes, zorder=1)
            ax.set(title=words, xlim=(0, 1.05), xlabel="UF1, five emotions")
        forest(axes[2], {spoken(s): lead.get((s, "broken")) for s in systems}, draw.INK)
        axes[2].axvline(0, color=draw.GREY, lw=0.8)
        axes[2].set(title="DEFT minus the system, tie broken", xlabel="difference of UF1, paired by clip")
        axes[2].margins(x=0.16)
        for dashes, words in ((":", "always the commonest emotion"), ("--", "guessing among the five")):
            axes[0].plot([], [], color=draw.INK, lw=0.8, ls=dashes, label=words)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.16, 0.1 / height), ncols=2)
    others = [s for s in systems if s != DEFT]
    ahead = [s for s in others if lead[s, "broken"].low > 0]
    falls = max(others, key=lambda s: scores[s, "kept"].value - scores[s, "broken"].value)
    return (
        fig,
        (
            f"With the tie broken DEFT has UF1 {scores[DEFT, 'broken'].text(2)} and is ahead of {len(ahead)} of"
            f" {len(others)} systems by more than its interval; the best of the others is {spoken(others[0])} with"
            f" {scores[others[0], 'broken'].text(2)}. {spoken(falls)} loses most when the tie breaks, from"
            f" {scores[falls, 'kept'].value:.2f} to {scores[falls, 'broken'].value:.2f}; DEFT had"
            f" {scores[DEFT, 'kept'].value:.2f}."
        ),
    )


def panels(table: pd.DataFrame, columns: Mapping[str, str], by: Sequence[str], colour: str = draw.RED) -> Figure:
    """A forest plot of any table: a panel for each of `columns` {name of a column with `_low` and `_high`: spoken}, a
    line for each row, called by its words in the columns `by`. Rows and columns stay in their order; a row without a
    number has no point, a column without any no panel. ValueError for two rows of one name, or without a number at all.
    """
    columns = {name: words for name, words in columns.items() if name in table and table[name].notna().any()}
    if not columns:
        raise ValueError("none of these columns holds a number; was the table made by 09_tables?")
    names = [", ".join(spoken(str(word)) for word in row) for row in table[list(by)].to_numpy()]
    if len(set(names)) < len(names):
        raise ValueError(
            f"{len(names)} rows have {len(set(names))} names: the columns {', '.join(by)} leave some alike"
        )
    with draw.style():
        height = 0.75 + 0.19 * len(table)
        fig = draw.canvas(height)
        for ax, (name, words) in zip(fig.subplots(1, len(columns), sharey=True, squeeze=False)[0], columns.items()):
            cells = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
            found = {who: None if np.isnan(three).any() else Interval(*three) for who, three in zip(names, cells)}
            forest(ax, found, colour)
            if np.nanmin(cells) < 0:
                ax.axvline(0, color=draw.GREY, lw=0.8)
            ax.set_title(words)
            ax.margins(x=0.2)
        fig.text(
            0.985, 0.02 / height, table["kind"].iloc[0].upper(), ha="right", fontsize=draw.SMALLEST, color=draw.GREY
        )
        left = 0.15 + 0.052 * max(map(len, names))  # inches that the names need
        fig.subplots_adjust(
            left=left / draw.WIDTH, right=0.985, top=1 - 0.3 / height, bottom=0.32 / height, wspace=0.08
        )
    return fig


def forest(
    ax: Axes, rows: Mapping[str, Interval | None], colour: str, shift: float = 0.0, label: str | None = None
) -> None:
    """A point, its interval and its number per row, first row on top. rows: {spoken name: interval, or None where
    there is none}; shift: in rows.
    """
    for y, found in enumerate(rows.values()):
        if found is not None:
            ax.errorbar(
                found.value,
                y + shift,
                xerr=[[found.value - found.low], [found.high - found.value]],
                fmt="o",
                ms=3.5,
                color=colour,
                elinewidth=1.2,
                capsize=2,
                label=label,
                zorder=3,
            )
            ax.annotate(
                f"{found.value:.2f}".replace("-", "−"),
                (found.high, y + shift),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=draw.SMALLEST,
                bbox=dict(fc=draw.PAPER, ec="none", pad=0.4),
            )
            label = None
    ax.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
    ax.set_yticklabels(rows)
    ax.grid(axis="x", color="#E4E4E4", lw=0.6)
    ax.tick_params(length=0)
