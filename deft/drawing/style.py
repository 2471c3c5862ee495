"""The frame of a figure: its look, canvas and heading. Colours: `deft.palette`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import matplotlib
from matplotlib.figure import Figure

from deft import artifacts
from deft.palette import GREY, RED, SKY, TEXT

INK, PAPER = "#222222", "#FFFFFF"
CONDITIONS = {"kept": ("tie kept", SKY), "broken": ("tie broken", RED)}
SETTINGS = {
    **TEXT, "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#888888", "axes.linewidth": 0.7, "xtick.color": INK, "ytick.color": INK, "text.color": INK,
    "axes.labelcolor": INK, "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "pdf.fonttype": 42, "text.parse_math": False,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for the time of drawing only: the caller's own settings are left alone."""
    with matplotlib.rc_context(SETTINGS):
        yield


def canvas(width: float, height: float) -> Figure:
    """An empty figure; width, height: inches. It belongs to no window, so nothing has to be closed."""
    return Figure(figsize=(width, height), dpi=150)


def heading(fig: Figure, id: str, *notes: str, x: float = 0.012) -> None:
    """Id and title from the register at the top left, then up to two lines that say how to read the figure."""
    height = fig.get_figheight()
    fig.text(x, 1 - 0.08 / height, f"{id} · {artifacts.get(id).title}", fontsize=12, weight="bold", va="top")
    for line, note in enumerate(notes):
        fig.text(x, 1 - (0.36 + 0.19 * line) / height, note, fontsize=8.5, color=GREY, va="top")
