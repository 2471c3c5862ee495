"""F1: the problem. Looks are what a picture shows; the motion that carries the emotion is too small to see (claim C1)."""

import itertools

import numpy as np

from deft.evaluation.figures import data, draw

SYSTEMS = ("lr-pixels", "lr-flow", "deft")
COLUMNS = ("onset", "apex", f"difference ×{draw.MAGNIFY}", f"apex, motion ×{draw.MAGNIFY}", "flow")


def f1(profile):
    """Faces of two looks and two emotions with their motion magnified, and what three systems make of them."""
    table = data.index(profile)
    chosen = choose(table, np.asarray(data.array(profile, "motion", "peak", "03_motion")[..., 3], np.float32).mean((1, 2)),
                    np.asarray(data.array(profile, "motion", "noise", "03_motion")))
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
        draw.heading(fig, "F1", "Onset and apex look the same. Rows that share a look share their pixels; rows that share an emotion share their motion.")
    return fig


def choose(table, speed, noise):
    """Rows of four clips: the two most frequent looks x the two most frequent emotions that both looks show, each the clip whose motion
    stands out most from its noise floor. Broken-tie clips only, where every look shows every emotion.

    speed, noise: (N,) px. Returns fewer rows when the benchmark is too small for all four.
    """
    free = table[(table.condition == "broken") & (table.distractor == "")]
    looks = free.look.value_counts().index[:2]
    both = [e for e in free.emotion.value_counts().index if all(((free.look == k) & (free.emotion == e)).any() for k in looks)]
    ratio = speed / np.maximum(noise, 1e-6)
    rows = [free[(free.look == k) & (free.emotion == e)].index for k, e in itertools.product(looks, both[:2])]
    if not rows:
        raise data.FigureError("no two looks of the benchmark share an emotion; render more clips (notebook 01_clips)")
    return [int(r[np.argmax(ratio[r])]) for r in rows]


def _bars(ax, scores):
    """UF1 of three systems, tie kept and broken, with subject-bootstrap intervals."""
    present = [s for s in SYSTEMS if (s, "broken") in scores]
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
    ax.set_xticklabels([draw.clean(s).replace(" on ", "\non ") for s in present])
    ax.grid(axis="y", color="#E4E4E4", lw=0.6, zorder=0)
    ax.tick_params(length=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.01), ncols=2, handlelength=1.2, columnspacing=1.4)
    ax.set_xlabel("bars: 95 % interval over subjects", fontsize=7.5, color=draw.GREY, labelpad=6)
