"""F6: which emotion is taken for which, while the tie holds and after it is broken."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from deft import drawing as draw
from deft.clips import facs
from deft.evaluation import metrics
from deft.evaluation.figures import data
from deft.systems import FIELD, LISTED, spoken


def f6(profile: str) -> tuple[Figure, str]:
    """Row-normalised confusion matrices, every cell with its clips, the mean over the system's draws; and what is
    found.
    """
    answers, scores = data.predictions(profile), data.recognition(profile)
    systems = [s for s in LISTED["F6"] if (answers.system == s).any()]
    if not systems:
        raise data.FigureError(
            f"predictions.jsonl holds none of {', '.join(LISTED['F6'])}; run notebook 08_answers first"
        )
    theirs = [s for s in FIELD if (s, "broken") in scores]
    if theirs:  # the best system of another paper takes the last place
        systems = [*systems[: len(LISTED["F6"]) - 1], max(theirs, key=lambda s: scores[s, "broken"].value)]
    found = []
    with draw.style():
        fig = draw.canvas(4.45)
        grid = fig.add_gridspec(
            2, len(systems), left=0.095, right=0.905, top=0.915, bottom=0.16, wspace=0.08, hspace=0.27
        )
        for c, system in enumerate(systems):
            for r, (condition, (words, _)) in enumerate(draw.CONDITIONS.items()):
                ax = fig.add_subplot(grid[r, c])
                part = answers[(answers.system == system) & (answers.condition == condition)]
                counts = metrics.confusion(part.truth, part.prediction, facs.EMOTIONS)
                image = _matrix(ax, counts, max(part.seed.nunique(), 1), first=c == 0, last=r == 1)
                score = scores.get((system, condition))
                ax.set_title(f"{spoken(system)}, {words}" + (f"\nUF1 {score.text(2)}" if score else ""), fontsize=7.2)
            wrong = counts[:, :-1] * ~np.eye(len(counts), dtype=bool)
            true, said = np.unravel_index(wrong.argmax(), wrong.shape)
            found.append(
                f"{spoken(system)} {facs.EMOTIONS[true]} for {facs.EMOTIONS[said]}"
                f" ({wrong.max() / max(wrong.sum(), 1):.0%} of its confusions)"
            )
        bar = fig.colorbar(image, cax=fig.add_axes([0.92, 0.3, 0.012, 0.45]))
        bar.set_label("share of the true emotion's clips")
        bar.outline.set_visible(False)
    return fig, f"With the tie broken, what is most often mistaken: {'; '.join(found)}."


def _matrix(ax, counts, draws, first, last):
    """One matrix; returns its mesh for the colour bar."""
    shown = counts if counts[:, -1].any() else counts[:, :-1]
    share = shown / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [*facs.EMOTIONS, "no class"][: shown.shape[1]]
    sns.heatmap(
        pd.DataFrame(share, facs.EMOTIONS, names),
        vmin=0,
        vmax=1,
        cmap="cividis",
        annot=shown / draws,
        fmt=".0f",
        annot_kws={"size": draw.SMALLEST},
        cbar=False,
        square=True,
        xticklabels=names if last else False,
        yticklabels=facs.EMOTIONS if first else False,
        ax=ax,
    )
    ax.tick_params(length=0)
    if last:
        ax.set_xticklabels(names, rotation=40, ha="right", rotation_mode="anchor")
    if first:
        ax.set_yticklabels(facs.EMOTIONS, rotation=0)
    return ax.collections[0]
