"""The pictures of a report, each as PNG bytes: frames, energy over time, magnified movement, flow, regions, units."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from deft import drawing as draw
from deft.motion.moments import Moments

STEPS = 8  # pictures from onset to apex in the moving picture
STRIP = 9  # frames shown between onset and offset


def strip(frames: np.ndarray, moments: Moments) -> bytes:
    """frames: (T, 128, 128, 3) uint8 aligned -> a row of frames from onset to offset, the three moments named."""
    names = {moments.onset: "onset", moments.apex: "apex", moments.offset: "offset"}
    between = np.linspace(moments.onset, max(moments.offset, moments.onset + 1), STRIP).round().astype(int)
    shown = sorted({int(t) for t in between if t < len(frames)} | set(names))
    with draw.style():
        height = draw.WIDTH / len(shown) + 0.3
        fig = draw.canvas(height)
        for i, t in enumerate(shown):
            ax = fig.add_axes([i / len(shown), 0, 0.97 / len(shown), 1 - 0.22 / height])
            draw.show(
                ax,
                frames[t],
                f"{names.get(t, '')} {t}".strip(),
                fontweight="bold" if t in names else "normal",
                fontsize=draw.SMALLEST,
            )
        return draw.png(fig)


def energy(moments: Moments, fps: float) -> bytes:
    """Motion energy over the clip with its moments; fps: 1/s."""
    with draw.style():
        fig = draw.canvas(2.1)
        ax = fig.add_axes([0.08, 0.22, 0.9, 0.66])
        ax.plot(moments.energy, color=draw.BLUE, lw=1.4, marker="o", ms=2.2)
        ax.axvspan(moments.onset, moments.offset, color="#EFEFEF", zorder=0, lw=0)
        top = max(float(moments.energy.max()) * 1.25, 1e-3)
        for name, colour, where in (
            ("onset", draw.GREEN, moments.onset),
            ("apex", draw.RED, moments.apex),
            ("offset", draw.PINK, moments.offset),
        ):
            ax.axvline(where, color=colour, lw=1.4)
            ax.text(where, top, f"{name} {where}", color=draw.INK, ha="center", va="bottom")
        ax.set(
            xlim=(-0.5, len(moments.energy) - 0.5),
            ylim=(min(0, float(moments.energy.min())), top),
            ylabel="energy, px",
            xlabel=f"frame (1 frame = {1000 / fps:.3g} ms)",
        )
        return draw.png(fig)


def moving(onset: np.ndarray, field: np.ndarray, times: float | Sequence[float], milliseconds: int = 70) -> bytes:
    """An animated PNG: the onset frame carried along `times` its flow to the apex and back; several `times` stand side
    by side.

    onset: (S, S, 3) uint8; field: (N, N, 2) px of the N-px face; times: one number or several.
    """
    side = len(onset)
    large = draw.enlarge(field, side) * (side / len(field))
    there = [
        np.hstack(
            [
                draw.magnify(onset, large, each * (1 - np.cos(np.pi * k / STEPS)) / 2, blur=1.5 * side / len(field))
                for each in np.atleast_1d(times)
            ]
        )
        for k in range(STEPS + 1)
    ]
    frames = [Image.fromarray(f) for f in there + there[-2:0:-1]]
    wait = [milliseconds] * len(frames)
    wait[0] = wait[STEPS] = 6 * milliseconds
    buffer = io.BytesIO()
    frames[0].save(buffer, format="PNG", save_all=True, append_images=frames[1:], duration=wait, loop=0)
    return buffer.getvalue()


def flow(onset: np.ndarray, apex: np.ndarray, field: np.ndarray) -> bytes:
    """Onset, apex (S, S, 3) uint8, their difference, the flow (S, S, 2) px in colour and its wheel, in one row."""
    limit = draw.flow_limit(field)
    with draw.style():
        fig = draw.canvas(1.98)
        places = [fig.add_axes([0.225 * i, 0.02, 0.215, 0.86]) for i in range(4)]
        pictures = ((onset, "onset"), (apex, "apex"), (draw.difference(onset, apex), f"difference ×{draw.MAGNIFY}"))
        for ax, (picture, title) in zip(places, pictures):
            draw.show_face(ax, picture, title)
        draw.show_flow(places[3], field, limit, "flow, onset to apex")
        draw.show_wheel(fig.add_axes([0.915, 0.3, 0.08, 0.34]), limit)
        return draw.png(fig)


def points(onset: np.ndarray, landmarks: np.ndarray) -> bytes:
    """Landmarks and regions on the onset frame. onset: (S, S, 3) uint8, larger than the aligned face; landmarks: (68,
    2) px of it."""
    with draw.style():
        fig = draw.canvas(3.4, 3.4)
        ax = fig.add_axes([0, 0, 1, 1])
        draw.show_points(ax, onset, landmarks)
        return draw.png(fig)


def regions(motion: np.ndarray, noise: float) -> bytes:
    """Chart of the regions. motion: (36, 2) px at the apex; noise: px."""
    with draw.style():
        fig = draw.canvas(4.4, 5.6)
        draw.region_chart(fig.add_axes([0.18, 0.12, 0.8, 0.86]), motion, noise)
        return draw.png(fig)


def units(probability: np.ndarray) -> bytes:
    """Chart of the units. probability: (17, 2), sides L, R."""
    with draw.style():
        fig = draw.canvas(3.4, 4.8)
        ax = fig.add_axes([0.28, 0.12, 0.42, 0.86])
        draw.unit_chart(ax, probability)
        draw.unit_legend(ax, annotated=False, truth=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
        return draw.png(fig)
