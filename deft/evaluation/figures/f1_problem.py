"""F1: the problem. Looks are what a picture shows; the motion that carries the emotion is too small to see (claim
C1).
"""

from __future__ import annotations

import itertools
import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deft import drawing as draw
from deft.clips import facs
from deft.clips.benchmark import LOOKS
from deft.evaluation import source
from deft.evaluation.figures import data
from deft.evaluation.figures.f9_results import forest
from deft.systems import LISTED, spoken

COLUMNS = ("onset", "apex", f"difference ×{draw.MAGNIFY}", f"motion ×{draw.MAGNIFY}", "flow")
SIDE, LEFT = 0.78, 1.08  # inches: a picture, and what stands to the left of the first


def f1(profile: str) -> tuple[Figure, str]:
    """Faces of two looks and two emotions with their motion magnified, and what four systems make of them; and what
    is found.
    """
    table, scores = data.index(profile), data.recognition(profile)
    table["motion"] = [
        ", ".join(facs.NAMES[facs.UNITS[u]] for u in np.flatnonzero(moved))
        for moved in data.clips(profile).array("units_true").any(-1)
    ]
    speed = np.sort(
        np.linalg.norm(source.peak_flow(data.array(profile, "motion", "courses", "03_motion")), axis=-1), axis=1
    )[:, -5:].mean(1)
    chosen = choose(table, speed / np.maximum(data.array(profile, "motion", "noise", "03_motion"), 1e-6))
    clips = [data.pictures(profile, table, row) for row in chosen]
    limit = draw.flow_limit(*(c.flow for c in clips))
    with draw.style():
        height = 0.5 + (SIDE + 0.03) * len(clips)
        fig = draw.canvas(height)
        for r, clip in enumerate(clips):
            onset, apex = clip.rgb[0], clip.rgb[1]
            y = height - 0.22 - SIDE - (SIDE + 0.03) * r
            for c, image in enumerate(
                (onset, apex, draw.difference(onset, apex), draw.magnify(onset, clip.flow), None)
            ):
                ax = fig.add_axes(
                    [(LEFT + (SIDE + 0.03) * c) / draw.WIDTH, y / height, SIDE / draw.WIDTH, SIDE / height]
                )
                title = COLUMNS[c] if r == 0 else ""
                draw.show_face(ax, image, title) if image is not None else draw.show_flow(ax, clip.flow, limit, title)
            fig.text(
                (LEFT - 0.06) / draw.WIDTH,
                (y + SIDE - 0.02) / height,
                clip.row.emotion,
                weight="bold",
                ha="right",
                va="top",
            )
            fig.text(
                (LEFT - 0.06) / draw.WIDTH,
                (y + SIDE - 0.17) / height,
                "\n".join(textwrap.wrap(clip.row.motion, 15)),
                fontsize=draw.SMALLEST,
                ha="right",
                va="top",
            )
            if r % 2 == 0:
                hair = LOOKS[clip.row.look].hair
                fig.text(
                    0.1 / draw.WIDTH,
                    (y - 0.015) / height,
                    hair if hair == "bald" else f"{hair} hair",
                    weight="bold",
                    rotation=90,
                    va="center",
                )
        draw.show_wheel(fig.add_axes([6.1 / draw.WIDTH, 0.36 / height, 0.5 / draw.WIDTH, 0.5 / height]), limit)
        ax = fig.add_axes([5.86 / draw.WIDTH, 1.5 / height, 1.18 / draw.WIDTH, (height - 1.98) / height])
        shown = [s for s in LISTED["F1"] if (s, "broken") in scores]
        for shift, (condition, (words, colour)) in zip((-0.17, 0.17), draw.CONDITIONS.items()):
            forest(ax, {textwrap.fill(spoken(s), 11): scores.get((s, condition)) for s in shown}, colour, shift, words)
        ax.set(xlim=(0, 1.15), xlabel="UF1, five emotions", xticks=(0, 0.5, 1))
        ax.legend(
            loc="lower right",
            bbox_to_anchor=(1.05, 1.0),
            ncols=2,
            handlelength=1,
            columnspacing=0.8,
            handletextpad=0.4,
            borderaxespad=0.2,
        )
    fall = {s: scores[s, "kept"].value - scores[s, "broken"].value for s in shown if (s, "kept") in scores}
    worst = max(fall, key=fall.get)
    others = ", ".join(f"{spoken(s)} by {'+−'[fall[s] > 0]}{abs(fall[s]):.2f}" for s in fall if s != worst)
    return (
        fig,
        (
            f"When looks no longer go with emotions, {spoken(worst)} falls from UF1 {scores[worst, 'kept'].value:.2f}"
            f" to {scores[worst, 'broken'].value:.2f}; the others change: {others}."
        ),
    )


def choose(table: pd.DataFrame, ratio: np.ndarray) -> list[int]:
    """Rows of four clips: the two most frequent looks x two emotions, motion that stands out most from the noise floor.

    table: the index with `motion`, what moved, in words. ratio: (N,) motion over noise. Broken-tie clips without
    distractors, where every look shows every emotion. An emotion moves the same in both looks and a look is one person;
    where a small profile has no such clips, first the one is given up, then the other. The first pair of emotions that
    both looks show, most frequent first."""
    free = table.assign(ratio=ratio, row=table.index)[(table.condition == "broken") & (table.distractor == "")]
    looks = [free[free.look == look] for look in free.look.value_counts().index[:2]]
    for person, motion in ((["subject"], ["motion_x", "motion_y"]), (["subject"], []), ([], [])):
        for pair in itertools.combinations(free.emotion.value_counts().index, 2):
            found = []
            for part in looks:
                a, b = (part[part.emotion == emotion].assign(any="") for emotion in pair)
                both = a.merge(b, on=person or "any")
                both["total"] = both.ratio_x + both.ratio_y
                found.append(both.sort_values("total", ascending=False).assign(any="").drop_duplicates(motion or "any"))
            both = found[0].merge(found[1], on=motion or "any") if len(found) == 2 else ()
            if len(both):
                best = both.loc[(both.total_x + both.total_y).idxmax()]
                return [int(best[name]) for name in ("row_x_x", "row_y_x", "row_x_y", "row_y_y")]
    raise data.FigureError(
        "no two looks of the benchmark share two emotions with the tie broken; render more clips (notebook 01_clips)"
    )
