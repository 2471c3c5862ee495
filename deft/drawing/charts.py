"""Charts: motion per region against the noise floor, evidence per action unit, real experts beside simulated ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deft.clips import facs
from deft.drawing.style import INK, PAPER
from deft.faces.regions import region_rows
from deft.palette import BLUE, GREY, LEFT, ORANGE, RIGHT, TRUTH
from deft.unimer.check import Evidence


def region_chart(ax: Axes, motion: np.ndarray, noise: float, truth: np.ndarray | None = None) -> None:
    """Speed per region, the person's right side to the left as in the picture, with the noise floor drawn.

    motion: (36, 2) px, +x right, +y down, rigid part removed; noise: px; truth: (36, 2) px or None.
    Bars that reach what a statement needs (`Evidence.threshold_px`, dashed) take the colour of their side and carry an
    arrow; the others are grey."""
    speed, rows, arrows, needed = np.linalg.norm(motion, axis=-1), region_rows(), [], Evidence(noise=noise).threshold_px
    reach = max(1.15 * float(speed.max()), 1.5 * needed)
    if truth is not None:
        reach = max(reach, 1.1 * float(np.linalg.norm(truth, axis=-1).max()))
    ax.axvspan(-noise, noise, color="#DDDDDD", zorder=0, lw=0)
    for edge in (-needed, needed):
        ax.axvline(edge, color=GREY, lw=0.7, ls=(0, (2, 2)), zorder=1)
    for y, (_, right, left) in enumerate(rows):
        for i, sign in {(right, -1), (left, 1)}:
            moved = speed[i] >= needed
            ax.barh(
                y, sign * speed[i], height=0.62, color=(LEFT if sign > 0 else RIGHT) if moved else "#B5B5B5", zorder=2
            )
            if truth is not None:
                ax.plot([sign * np.linalg.norm(truth[i])] * 2, [y - 0.42, y + 0.42], color=TRUTH, lw=1.8, zorder=3)
            if moved:
                arrows.append((sign * reach * 1.14, y, *(motion[i] / speed[i])))
    if arrows:
        x, y, dx, dy = np.array(arrows).T
        ax.quiver(
            x,
            y,
            dx,
            -dy,
            angles="uv",
            pivot="mid",
            units="inches",
            scale_units="inches",
            scale=9,
            width=0.012,
            headwidth=4.5,
            headlength=5,
            headaxislength=4.5,
            color=INK,
            zorder=4,
        )
    ax.axvline(0, color=INK, lw=0.6)
    ax.set(xlim=(-reach * 1.28, reach * 1.28), ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
    ax.set_yticklabels([r[0] for r in rows], fontsize=7)
    ax.set_xlabel("person's right  ←  speed, px  →  person's left")
    ticks = [t for t in matplotlib.ticker.MaxNLocator(4).tick_values(0, reach) if t <= reach]
    ax.set_xticks(sorted({-t for t in ticks} | set(ticks)))
    ax.set_xticklabels([f"{abs(t):.2g}" for t in sorted({-t for t in ticks} | set(ticks))])
    ax.tick_params(length=2)


def unit_chart(
    ax: Axes,
    probability: np.ndarray,
    annotated: Collection[tuple[int, str]] = (),
    truth: np.ndarray | None = None,
    threshold: float = 0.5,
) -> None:
    """Evidence per unit and side, with what was annotated and, where it is known, what truly moved.

    probability: (17, 2) in [0, 1], sides L, R; annotated: {(unit, side)} with side L or R;
    truth: (17, 2) true intensity or None.
    """
    count = len(facs.UNITS)
    for y in range(count):
        ax.axhspan(y - 0.5, y + 0.5, color="#F4F4F4" if y % 2 else PAPER, lw=0, zorder=0)
    for s, (side, colour, shift) in enumerate((("L", LEFT, 0.19), ("R", RIGHT, -0.19))):
        where = np.arange(count) + shift
        ax.barh(where, probability[:, s], height=0.3, color=colour, zorder=2)
        for y, unit in enumerate(facs.UNITS):
            if (unit, side) in annotated:
                ax.plot(1.06, y + shift, marker="s", mfc="none", mec=INK, ms=4, mew=1, clip_on=False)
            if truth is not None and truth[y, s] > 0:
                ax.plot(1.14, y + shift, marker="D", color=TRUTH, mec="none", ms=3.6, clip_on=False)
    ax.axvline(threshold, color=INK, lw=0.7, ls=(0, (3, 3)), zorder=3)
    ax.set(xlim=(0, 1.2), ylim=(count - 0.5, -0.5), yticks=range(count), xticks=(0, 0.5, 1))
    ax.set_yticklabels([f"{facs.NAMES[u]} {u}" for u in facs.UNITS], fontsize=7)
    ax.set_xlabel("probability from motion")
    ax.tick_params(length=2)


def unit_legend(ax: Axes | Figure, annotated: bool = True, truth: bool = True, **place: object) -> None:
    """The key of `unit_chart`; place: keyword arguments of matplotlib's legend."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [
        Patch(color=LEFT, label="person's left"),
        Patch(color=RIGHT, label="person's right"),
        Line2D([], [], color=INK, lw=0.7, ls=(0, (3, 3)), label="one half"),
    ]
    if annotated:
        keys.append(Line2D([], [], ls="", marker="s", mfc="none", mec=INK, ms=4, label="annotated"))
    if truth:
        keys.append(Line2D([], [], ls="", marker="D", color=TRUTH, ms=3.6, label="truly moved"))
    ax.legend(handles=keys, **place)


def detector_chart(axes: Sequence[Axes], said: dict[str, dict[str, np.ndarray]], there: np.ndarray) -> None:
    """One panel per expert: densities of log odds of unit sides that moved and that did not, real ones filled,
    simulated ones as lines.

    said: {expert: {"real": (N, 17, 2) probabilities, "simulated": ...}}; there: (N, 17, 2) bool.
    """
    edges = np.linspace(-9, 9, 37)
    for ax, (name, pair) in zip(axes, said.items()):
        for kind, p in pair.items():
            odds = np.log(np.clip(p, 1e-4, 1 - 1e-4) / np.clip(1 - p, 1e-4, 1 - 1e-4))
            for mask, colour, words in ((there, BLUE, "moved"), (~there, ORANGE, "did not move")):
                look = {"histtype": "step", "lw": 1.4} if kind == "simulated" else {"alpha": 0.35}
                ax.hist(odds[mask], edges, density=True, color=colour, label=f"{words}, {kind}", **look)
        ax.set(title=name, xlabel="log odds of a unit side")
    axes[0].set_ylabel("density")
    axes[-1].legend(fontsize="small")
