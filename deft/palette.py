"""One set of colours for figures, pages and notebooks, and the arrows on flow pictures.

Okabe and Ito's set (2008), which survives colour blindness. Left and right are the person's. The hue of a flow picture
does not survive it, so arrows say the direction once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
    "#6E6E6E",
)
TEXT = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
}  # matplotlib settings of every page
LEFT, RIGHT, TRUTH = BLUE, GREEN, ORANGE  # the person's left, the person's right, what truly moved


def arrows(ax: Axes, flow: np.ndarray, limit: float, count: int = 12) -> None:
    """Draw `count` x `count` arrows over a flow picture on the axes `ax`: the mean motion of each cell.

    flow: (H, W, 2) px, +x right, +y down, the field under the picture. limit: px; an arrow of this length spans a cell,
    and cells that move less than an eighth of it stay empty."""
    height, width = (side // count for side in flow.shape[:2])
    cells = (
        np.asarray(flow, np.float32)[: height * count, : width * count]
        .reshape(count, height, count, width, 2)
        .mean((1, 3))
    )
    y, x = np.indices((count, count))
    seen = np.hypot(*np.moveaxis(cells, -1, 0)) > limit / 8
    ax.quiver(
        ((x + 0.5) * width)[seen],
        ((y + 0.5) * height)[seen],
        *np.moveaxis(cells[seen], -1, 0),
        angles="xy",
        scale_units="xy",
        scale=limit / width,
        pivot="mid",
        width=0.006,
        headwidth=4,
        color="#222222",
    )
