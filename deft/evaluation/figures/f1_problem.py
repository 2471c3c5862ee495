"""F1: the problem. Looks are what a picture shows; the motion that carries the emotion is too small to see (claim C1)."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deft.evaluation import source
from deft import drawing as draw
from deft.evaluation.figures import data
from deft.systems import LISTED, spoken

COLUMNS = ("onset", "apex", f"difference ×{draw.MAGNIFY}", f"apex, motion ×{draw.MAGNIFY}", "flow")


def f1(profile: str) -> Figure:
    """Faces of two looks and two emotions with their motion magnified, and what three systems make of them."""
    table = data.index(profile)
    moved = np.linalg.norm(source.peak_flow(data.array(profile, "motion", "courses", "03_motion")), axis=-1)   # (N, 36) px
    chosen = choose(table, np.sort(moved, axis=1)[:, -5:].mean(1), np.asarray(data.array(profile, "motion", "noise", "03_motion")))
    clips = [data.pictures(profile, table, row) for row in chosen]
    scores = data.recognition(profile)
    limit = draw.flow_limit(*(c.flow for c in clips))
    with draw.style():
        height = 1.25 + 1.24 * len(clips)
        fig = draw.canvas(11.4, height)
        grid = fig.add_gridspec(len(clips), 5, left=0.085, right=0.615, top=1 - 0.92 / height, bottom=0.28 / height, wspace=0.04, hspace=0.04)
        for r, clip in enumerate(clips):
            onset, apex = clip.rgb[0], clip.rgb[1]
            images = (onset, apex, draw.difference(onset, apex), draw.magnify(onset, clip.flow), draw.flows.colour(clip.flow, limit))
            for c, image in enumerate(images):
                ax = fig.add_subplot(grid[r, c])
                draw.show(ax, image, COLUMNS[c] if r == 0 else "")
                if c == 0:
                    ax.text(-0.08, 0.5, f"look {clip.row.look}\n{clip.row.emotion}", transform=ax.transAxes, ha="right", va="center", fontsize=9)
        draw.show_wheel(fig.add_axes([0.625, 0.12, 0.06, 0.12]), limit)
        _bars(fig.add_axes([0.74, 0.17, 0.25, 0.6]), scores)
        draw.heading(fig, "F1", "Onset and apex look the same. Rows of one look share their pixels; what tells the emotions apart is the motion, and one emotion has several. Tie broken"
                     + ("; one person per look." if table.subject[chosen].nunique() == 2 else "."))
    return fig


def choose(table: pd.DataFrame, speed: np.ndarray, noise: np.ndarray) -> list[int]:
    """Rows of four clips: the two most frequent looks x two emotions, motion that stands out most from the noise floor.

    Broken-tie clips without distractors, where every look shows every emotion. The first pair of emotions that both looks show,
    most frequent first; each look in one person if somebody shows both (a small profile may have nobody). speed, noise: (N,) px.
    """
    free = table[(table.condition == "broken") & (table.distractor == "")].copy()
    free["ratio"] = (speed / np.maximum(noise, 1e-6))[free.index]
    looks = [free[free.look == look] for look in free.look.value_counts().index[:2]]
    for find in (_one_person, _anybody):
        for pair in itertools.combinations(free.emotion.value_counts().index, 2):
            rows = [find(part, pair) for part in looks]
            if len(rows) == 2 and all(rows):
                return rows[0] + rows[1]
    raise data.FigureError("no two looks of the benchmark share two emotions with the tie broken; render more clips (notebook 01_clips)")


def _one_person(part, pair):
    """The person who shows both emotions of `pair` most clearly -> [row, row], or [] when nobody shows both."""
    best = part[part.emotion.isin(pair)].groupby(["subject", "emotion"]).ratio.idxmax().unstack().reindex(columns=pair).dropna()
    if best.empty:
        return []
    total = best.apply(lambda column: part.ratio.reindex(column).to_numpy()).sum(axis=1)
    return [int(r) for r in best.loc[total.idxmax()]]


def _anybody(part, pair):
    """The clearest clip of each emotion of `pair`, or [] when one of them does not occur."""
    found = [part[part.emotion == emotion].ratio for emotion in pair]
    return [int(r.idxmax()) for r in found] if all(len(r) for r in found) else []


def _bars(ax, scores):
    """UF1 of three systems, tie kept and broken, with intervals over subjects and draws."""
    present = [s for s in LISTED["F1"] if (s, "broken") in scores]
    for offset, (condition, (name, colour)) in zip((-0.2, 0.2), draw.CONDITIONS.items()):
        for x, system in enumerate(present):
            score = scores.get((system, condition))
            if score is None:
                continue
            ax.bar(x + offset, score.value, width=0.38, color=colour, label=name if x == 0 else None, zorder=2)
            ax.errorbar(x + offset, score.value, yerr=[[score.value - score.low], [score.high - score.value]], fmt="none",
                        ecolor=draw.INK, elinewidth=1.1, capsize=3, zorder=3)
            ax.text(x + offset, score.high + 0.02, f"{score.value:.2f}", ha="center", va="bottom", fontsize=8)
    ax.set(xticks=range(len(present)), ylim=(0, 1.08), ylabel="UF1, five emotions", yticks=np.arange(0, 1.01, 0.2))
    ax.set_xticklabels([spoken(s).replace(" on ", "\non ") for s in present])
    ax.grid(axis="y", color="#E4E4E4", lw=0.6, zorder=0)
    ax.tick_params(length=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=2, handlelength=1.2, columnspacing=1.4)
    ax.set_xlabel("bars: 95 % interval over subjects\nand, for DEFT, draws of training", fontsize=7.5, color=draw.GREY, labelpad=6)
