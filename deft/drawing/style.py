"""The frame of a figure: its look and its canvas. Colours: `deft.palette`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import matplotlib
from matplotlib.figure import Figure

from deft.palette import RED, SKY, TEXT

INK, PAPER = "#222222", "#FFFFFF"
WIDTH = 7.1  # inches: two columns of a journal; a figure is printed at the size at which it is drawn
SMALLEST = 7  # pt: no words of a figure are smaller
CONDITIONS = {"kept": ("tie kept", SKY), "broken": ("tie broken", RED)}
SETTINGS = {
    **TEXT,
    "font.family": "DejaVu Sans",
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": SMALLEST,
    "ytick.labelsize": SMALLEST,
    "legend.fontsize": SMALLEST,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for the time of drawing only: the caller's own settings are left alone."""
    with matplotlib.rc_context(SETTINGS):
        yield


def canvas(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; height, width: inches. It belongs to no window, so nothing has to be closed."""
    return Figure(figsize=(width, height), dpi=150)


def png(fig: Figure) -> bytes:
    """A figure as the bytes of a PNG, cut to what is drawn."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=180, bbox_inches="tight", pad_inches=0.06)
    return buffer.getvalue()
