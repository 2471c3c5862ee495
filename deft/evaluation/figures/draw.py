"""What the figures share: colours that survive colour blindness, faces, magnified motion, and the two charts.

Colours are Okabe & Ito's (2008) set. The magnified pictures follow the measured flow, after Liu et al., "Motion
magnification" (2005); the idea of following a still velocity field in small steps, so that the picture never folds over
itself, is from diffeomorphic registration (Arsigny et al. 2006).
"""

import contextlib

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from deft import artifacts
from deft.clips import facs
from deft.faces import regions
from deft.motion import flow as flows
from deft.palette import BLUE, GREEN, GREY, LEFT, ORANGE, PINK, RED, RIGHT, SKY, TEXT, TRUTH, YELLOW  # noqa: F401 (figures say draw.RED)
from deft.unimer.check import Evidence

INK, PAPER = "#222222", "#FFFFFF"
CONDITIONS = {"kept": ("tie kept", SKY), "broken": ("tie broken", RED)}
MAGNIFY = 8          # times: the factor by which motion is exaggerated in every picture that exaggerates it
SETTINGS = {
    **TEXT, "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": "#888888", "axes.linewidth": 0.7, "xtick.color": INK, "ytick.color": INK, "text.color": INK,
    "axes.labelcolor": INK, "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "pdf.fonttype": 42, "text.parse_math": False,
}


@contextlib.contextmanager
def style():
    """The look of every figure, for the time of drawing only: the caller's own settings are left alone."""
    with matplotlib.rc_context(SETTINGS):
        yield


def canvas(width, height):
    """width, height: inches. A figure that belongs to no window, so that nothing has to be closed."""
    return Figure(figsize=(width, height), dpi=150)


def heading(fig, id, *notes, x=0.012):
    """Id and title from the register at the top left, then up to two lines that say how to read the figure."""
    height = fig.get_figheight()
    fig.text(x, 1 - 0.08 / height, f"{id} · {artifacts.get(id).title}", fontsize=12, weight="bold", va="top")
    for line, note in enumerate(notes):
        fig.text(x, 1 - (0.36 + 0.19 * line) / height, note, fontsize=8.5, color=GREY, va="top")


# ---------------------------------------------------------------------------------------------------- pictures

def magnify(image, flow, times=MAGNIFY, steps=24, blur=1.5):
    """The onset frame with its motion exaggerated.

    image: (H, W[, 3]) uint8, onset; flow: (H, W, 2) float, px, onset -> apex. Returns the same shape and type as image.
    Follows the smoothed flow backwards in small steps, so even an exaggerated motion never folds; blur is in px.
    """
    smooth = cv2.GaussianBlur(np.asarray(flow, np.float32), (0, 0), blur)
    rows, columns = np.mgrid[:image.shape[0], :image.shape[1]].astype(np.float32)
    x, y = columns.copy(), rows.copy()
    for _ in range(steps):
        velocity = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x -= velocity[..., 0] * (times / steps)
        y -= velocity[..., 1] * (times / steps)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def difference(first, second, times=MAGNIFY):
    """(H, W[, 3]) uint8 twice -> (H, W) uint8: mid-grey plus `times` the change in brightness."""
    grey = [np.asarray(f, np.float32).mean(-1) if f.ndim == 3 else np.asarray(f, np.float32) for f in (first, second)]
    return np.clip(128 + times * (grey[1] - grey[0]), 0, 255).astype(np.uint8)


def face_mask(landmarks, size=128):
    """(size, size) float32 in [0, 1], soft at its rim: 1 where the 36 regions lie. Hair and background drift as they like."""
    union = (regions.masks(landmarks, size) > 0).any(0).astype(np.uint8)
    whole = cv2.morphologyEx(np.pad(union, 16), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25)))[16:-16, 16:-16]
    return cv2.GaussianBlur(whole.astype(np.float32), (0, 0), 2.5)


def enlarge(flow, size):
    """Flow sampled on a coarser grid of the same picture -> (size, size, 2) px: the unit stays the full picture's px."""
    return cv2.resize(np.asarray(flow, np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def show(ax, image, title="", **text):
    """One picture without axes; grey pictures keep one fixed scale, 0 to 255."""
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color="#CCCCCC", linewidth=0.5)  # a border, or a flow picture without motion is a hole
    if title:
        ax.set_title(title, pad=3, **text)


def show_wheel(ax, limit):
    """The colour wheel of one figure's flow pictures; limit: px at its rim."""
    ax.imshow(flows.wheel())
    ax.set_axis_off()
    ax.text(0.5, -0.04, f"rim = {limit:.2g} px", transform=ax.transAxes, ha="center", va="top", fontsize=7)
    ax.set_title("direction, speed", fontsize=7, pad=2)


def flow_limit(*fields, share=99.5):
    """One colour limit for all flow pictures of a figure, px: the given percentile of their speeds."""
    speeds = np.concatenate([np.linalg.norm(np.asarray(f, np.float32), axis=-1).ravel() for f in fields])
    return max(float(np.percentile(speeds, share)), 1e-3)


# ------------------------------------------------------------------------------------------------------ charts

def region_rows():
    """The 36 regions as 20 rows, forehead to jaw: [(spoken name, index on the person's right, index on the left)].

    A midline region has the same index twice.
    """
    index = {pair: i for i, pair in enumerate(facs.REGIONS)}
    rows, middle = [], {"glabella": "brow_inner", "nose_bridge": "outer_canthus", "nose_tip": "nose_side", "chin": "chin_side"}
    for name in dict.fromkeys(name for name, side in facs.REGIONS if side):
        rows.append((name, index[name, "R"], index[name, "L"]))
        rows += [(m, index[m, ""], index[m, ""]) for m, after in middle.items() if after == name]
    return [(name.replace("_", " "), right, left) for name, right, left in rows]


def region_chart(ax, motion, noise, truth=None):
    """Speed per region, the person's right side to the left as in the picture, with the noise floor drawn.

    motion: (36, 2) px, +x right, +y down, rigid part removed; noise: px; truth: (36, 2) px or None.
    Bars that reach what a statement needs (`Evidence.threshold_px`, dashed) are coloured and carry an arrow; the others are grey.
    """
    speed, rows, arrows, needed = np.linalg.norm(motion, axis=-1), region_rows(), [], Evidence(noise=noise).threshold_px
    reach = max(1.15 * float(speed.max()), 1.5 * needed)
    if truth is not None:
        reach = max(reach, 1.1 * float(np.linalg.norm(truth, axis=-1).max()))
    ax.axvspan(-noise, noise, color="#DDDDDD", zorder=0, lw=0)
    for edge in (-needed, needed):
        ax.axvline(edge, color=GREY, lw=0.7, ls=(0, (2, 2)), zorder=1)
    for y, (name, right, left) in enumerate(rows):
        for i, sign in {(right, -1), (left, 1)}:
            moved = speed[i] >= needed
            ax.barh(y, sign * speed[i], height=0.62, color=BLUE if moved else "#B5B5B5", zorder=2)
            if truth is not None:
                ax.plot([sign * np.linalg.norm(truth[i])] * 2, [y - 0.42, y + 0.42], color=TRUTH, lw=1.8, zorder=3)
            if moved:
                arrows.append((sign * reach * 1.14, y, *(motion[i] / speed[i])))
    if arrows:
        x, y, dx, dy = np.array(arrows).T
        ax.quiver(x, y, dx, -dy, angles="uv", pivot="mid", units="inches", scale_units="inches", scale=9, width=0.012,
                  headwidth=4.5, headlength=5, headaxislength=4.5, color=BLUE, zorder=4)
    ax.axvline(0, color=INK, lw=0.6)
    ax.set(xlim=(-reach * 1.28, reach * 1.28), ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
    ax.set_yticklabels([r[0] for r in rows], fontsize=7)
    ax.set_xlabel("person's right  ←  speed, px  →  person's left")
    ticks = [t for t in matplotlib.ticker.MaxNLocator(4).tick_values(0, reach) if t <= reach]
    ax.set_xticks(sorted({-t for t in ticks} | set(ticks)))
    ax.set_xticklabels([f"{abs(t):.2g}" for t in sorted({-t for t in ticks} | set(ticks))])
    ax.tick_params(length=2)


def unit_chart(ax, probability, annotated=(), truth=None, threshold=0.5):
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
    ax.set_yticklabels([f"AU{u}" for u in facs.UNITS], fontsize=7)
    ax.set_xlabel("probability from motion")
    ax.tick_params(length=2)


def unit_legend(ax, annotated=True, truth=True, **place):
    """The key of `unit_chart`."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [Patch(color=LEFT, label="person's left"), Patch(color=RIGHT, label="person's right"),
            Line2D([], [], color=INK, lw=0.7, ls=(0, (3, 3)), label="one half")]
    if annotated:
        keys.append(Line2D([], [], ls="", marker="s", mfc="none", mec=INK, ms=4, label="annotated"))
    if truth:
        keys.append(Line2D([], [], ls="", marker="D", color=TRUTH, ms=3.6, label="truly moved"))
    ax.legend(handles=keys, **place)
