"""F6: which emotion is taken for which, by DEFT and the two systems it must beat, while the tie holds and after it is broken."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from deft.clips import facs
from deft.evaluation import metrics
from deft import drawing as draw
from deft.evaluation.figures import data
from deft.systems import LISTED, spoken


def f6(profile: str) -> Figure:
    """Row-normalised confusion matrices; every cell also prints its clips, the mean over the system's draws."""
    answers = data.predictions(profile)
    systems = [s for s in LISTED["F6"] if (answers.system == s).any()]
    if not systems:
        raise data.FigureError(f"predictions.jsonl holds none of {', '.join(LISTED['F6'])}; run notebook 08_answers first")
    scores = data.recognition(profile)
    with draw.style():
        fig = draw.canvas(3.0 * len(systems) + 1.5, 6.6)
        grid = fig.add_gridspec(2, len(systems), left=0.11, right=0.9, top=0.85, bottom=0.14, wspace=0.12, hspace=0.3)
        for r, condition in enumerate(draw.CONDITIONS):
            for c, system in enumerate(systems):
                ax = fig.add_subplot(grid[r, c])
                part = answers[(answers.system == system) & (answers.condition == condition)]
                draws = part.seed.nunique() if len(part) else 0
                image = _matrix(ax, part, max(draws, 1), first=c == 0, last=r == 1)
                score = scores.get((system, condition))
                ax.set_title(f"{spoken(system)} · {draw.CONDITIONS[condition][0]}"
                             + (f"\nUF1 {score.text(2)} · {draws} draw{'s' * (draws != 1)}" if score else ""), fontsize=8.5)
        bar = fig.colorbar(image, cax=fig.add_axes([0.925, 0.3, 0.014, 0.4]))
        bar.set_label("share of the true emotion's clips")
        bar.outline.set_visible(False)
        draw.heading(fig, "F6", "Rows: true emotion; columns: answer. Colour: share of the row; number: clips, mean over draws of training. Above, for comparison: the tie kept.", x=0.03)
    return fig


def _matrix(ax, part, draws, first, last):
    classes = facs.EMOTIONS
    counts = metrics.confusion(part.truth, part.prediction, classes) if len(part) else np.zeros((len(classes), len(classes) + 1), int)
    outside = counts[:, -1].sum()
    shown = counts if outside else counts[:, :-1]
    share = shown / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(share, cmap="cividis", vmin=0, vmax=1)
    for (y, x), n in np.ndenumerate(shown):
        ax.text(x, y, f"{n / draws:.0f}", ha="center", va="center", fontsize=8, color="white" if share[y, x] < 0.55 else "black")
    names = [*classes, "no class"][: shown.shape[1]]
    ax.set(xticks=range(len(names)), yticks=range(len(classes)))
    ax.set_xticklabels(names if last else [], rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticklabels(classes if first else [])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image
