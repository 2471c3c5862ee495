"""Faces, their motion magnified, and flow in colour.

The magnified pictures follow the measured flow, after Liu et al., "Motion magnification" (2005); the idea of following
a still velocity field in small steps, so that the picture never folds over itself, is from diffeomorphic registration
(Arsigny et al. 2006)."""

from __future__ import annotations

import cv2
import numpy as np
from matplotlib.axes import Axes

from deft.faces import regions
from deft.motion import flow as flows
from deft.palette import BLUE, PINK, arrows

MAGNIFY = 8  # times: the factor by which motion is exaggerated in every picture that exaggerates it
FACE = (
    0.085,
    0.915,
    0.05,
    0.88,
)  # shares of the aligned picture: left, right, top and bottom of the face. Below it, alignment repeats the last row


def magnify(
    image: np.ndarray, flow: np.ndarray, times: float = MAGNIFY, steps: int = 24, blur: float = 1.5
) -> np.ndarray:
    """The onset frame with its motion exaggerated.

    image: (H, W[, 3]) uint8, onset; flow: (H, W, 2) float, px, onset -> apex. Returns the same shape and type as image.
    Follows the smoothed flow backwards in small steps, so even an exaggerated motion never folds; blur is in px.
    """
    smooth = cv2.GaussianBlur(np.asarray(flow, np.float32), (0, 0), blur)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    x, y = columns.copy(), rows.copy()
    for _ in range(steps):
        velocity = cv2.remap(smooth, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x -= velocity[..., 0] * (times / steps)
        y -= velocity[..., 1] * (times / steps)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def difference(first: np.ndarray, second: np.ndarray, times: float = MAGNIFY) -> np.ndarray:
    """(H, W[, 3]) uint8 twice -> (H, W) uint8: mid-grey plus `times` the change in brightness."""
    grey = [np.asarray(f, np.float32).mean(-1) if f.ndim == 3 else np.asarray(f, np.float32) for f in (first, second)]
    return np.clip(128 + times * (grey[1] - grey[0]), 0, 255).astype(np.uint8)


def face_mask(landmarks: np.ndarray, size: int = 128) -> np.ndarray:
    """(size, size) float32 in [0, 1], soft at its rim: 1 where the 36 regions of landmarks (68, 2) px lie, 0 on hair
    and background.
    """
    union = (regions.masks(landmarks, size) > 0).any(0).astype(np.uint8)
    whole = cv2.morphologyEx(
        np.pad(union, 16), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))
    )[16:-16, 16:-16]
    return cv2.GaussianBlur(whole.astype(np.float32), (0, 0), 2.5)


def enlarge(flow: np.ndarray, size: int) -> np.ndarray:
    """Flow sampled on a coarser grid of the same picture -> (size, size, 2) px: the unit stays the full picture's
    px.
    """
    return cv2.resize(np.asarray(flow, np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def show(ax: Axes, image: np.ndarray, title: str = "", **text: object) -> None:
    """One picture (H, W[, 3]) uint8 without axes; grey pictures keep one fixed scale, 0 to 255. text: settings of
    the title.
    """
    ax.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(
        visible=True, color="#CCCCCC", linewidth=0.5
    )  # a border, or a flow picture without motion is a hole
    if title:
        ax.set_title(title, pad=3, **text)


def show_face(ax: Axes, image: np.ndarray, title: str = "", **text: object) -> None:
    """`show`, cut to the face of an aligned picture (S, S[, 3])."""
    show(ax, image, title, **text)
    left, right, top, bottom = (share * len(image) for share in FACE)
    ax.set(xlim=(left, right), ylim=(bottom, top))


def show_points(ax: Axes, image: np.ndarray, landmarks: np.ndarray) -> None:
    """Landmarks (68, 2) px and the outlines of the 36 regions on an aligned picture (S, S[, 3]): where it is measured.

    Where they lie beside brows, eyes, nose and mouth, every number that follows is wrong."""
    regions.chart(np.zeros(len(regions.REGIONS)), landmarks, ax, image=image)
    for ellipse in ax.patches:  # seen on dark and on light skin
        ellipse.set(edgecolor=BLUE, linewidth=0.8)
    ax.plot(*np.asarray(landmarks).T, ".", color=PINK, markersize=1.8)
    ax.set(xlim=(0, len(image) - 1), ylim=(len(image) - 1, 0))


def show_flow(ax: Axes, flow: np.ndarray, limit: float, title: str = "") -> None:
    """The face's flow (S, S, 2) px as colour and arrows; limit: px of full colour, and of an arrow as long as its
    cell.
    """
    show_face(ax, flows.colour(flow, limit), title)
    arrows(ax, flow, limit)


def show_wheel(ax: Axes, limit: float) -> None:
    """The colour wheel of one figure's flow pictures; limit: px at its rim."""
    ax.imshow(flows.wheel())
    ax.set_axis_off()
    ax.text(0.5, -0.04, f"rim = {limit:.2g} px", transform=ax.transAxes, ha="center", va="top", fontsize=7)
    ax.set_title("direction, speed", fontsize=7, pad=2)


def flow_limit(*fields: np.ndarray, share: float = 99.5) -> float:
    """One colour limit for all flow pictures (H, W, 2) of a figure, px: the given percentile of their speeds."""
    speeds = np.concatenate([np.linalg.norm(np.asarray(f, np.float32), axis=-1).ravel() for f in fields])
    return max(float(np.percentile(speeds, share)), 1e-3)
