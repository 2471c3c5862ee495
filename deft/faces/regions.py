"""36 soft facial regions from 68 landmarks.

After the main-directional-mean-optical-flow partition (MDMO; Liu et al., IEEE T-AC 7(4), 2016), which also cuts the
face into 36 regions that muscles move together. The regions here are soft ellipses rather than polygons: a landmark
that jitters by half a pixel then changes a region's mean flow smoothly. Names, order and the stable subset live in
`deft.clips.facs`; this file only says where each region lies.

Left and right are the person's: the person's left is at larger image x.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from deft.clips.facs import REGION_INDEX, REGIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# name -> (landmarks of the PERSON'S LEFT whose weighted mean is the anchor, offset (outward, down), radii (across,
# down)).
# Offsets and radii are in inter-ocular distances. The iBUG order: 22-26 brow from inside out, 42 inner and 45 outer
# canthus, 35 nostril wing, 54 lip corner, 9-16 jaw from the chin outwards.
PAIRED = {
    "forehead_inner": ({22: 1, 23: 1}, (-0.02, -0.36), (0.24, 0.24)),
    "forehead_outer": ({24: 1, 25: 1}, (0.06, -0.34), (0.26, 0.24)),
    "brow_inner": ({22: 1, 23: 1}, (0.00, 0.00), (0.22, 0.17)),
    "brow_outer": ({25: 2, 26: 1}, (-0.02, 0.00), (0.24, 0.17)),
    "temple": ({45: 1, 16: 1}, (0.00, -0.10), (0.18, 0.26)),
    "upper_lid": ({43: 1, 44: 1}, (0.00, -0.03), (0.24, 0.12)),
    "lower_lid": ({46: 1, 47: 1}, (0.00, 0.05), (0.24, 0.12)),
    "outer_canthus": ({45: 1}, (0.09, 0.02), (0.15, 0.17)),
    "cheek": ({46: 1, 47: 1}, (0.06, 0.34), (0.26, 0.24)),
    "nose_side": ({29: 1, 35: 1}, (0.06, -0.04), (0.15, 0.20)),
    "nasolabial": ({35: 1, 54: 1}, (0.08, -0.04), (0.19, 0.20)),
    "upper_lip": ({51: 1, 52: 2, 63: 1}, (0.02, -0.02), (0.20, 0.12)),
    "lip_corner": ({54: 1}, (0.02, 0.00), (0.18, 0.18)),
    "lower_lip": ({56: 2, 57: 1, 65: 1}, (0.02, 0.02), (0.20, 0.12)),
    "chin_side": ({55: 1, 9: 1, 10: 1}, (0.00, -0.02), (0.22, 0.20)),
    "jaw": ({54: 1, 11: 1, 12: 1}, (0.02, 0.02), (0.22, 0.28)),
}
MIDLINE = {
    "glabella": ({21: 1, 22: 1}, (0.0, 0.02), (0.15, 0.18)),
    "nose_bridge": ({27: 1, 28: 1}, (0.0, 0.04), (0.12, 0.18)),
    "nose_tip": ({29: 1, 30: 2}, (0.0, 0.00), (0.17, 0.17)),
    "chin": ({57: 2, 8: 3}, (0.0, 0.00), (0.24, 0.20)),
}
# The same landmark on the other side of the face, for the 68 iBUG points.
MIRROR = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        27,
        28,
        29,
        30,
        35,
        34,
        33,
        32,
        31,
        45,
        44,
        43,
        42,
        47,
        46,
        39,
        38,
        37,
        36,
        41,
        40,
        54,
        53,
        52,
        51,
        50,
        49,
        48,
        59,
        58,
        57,
        56,
        55,
        64,
        63,
        62,
        61,
        60,
        67,
        66,
        65,
    ]
)


def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Constant arrays in REGIONS order: anchor weights (36,68), offsets (36,2) and radii (36,2)."""
    anchors, offsets, radii = np.zeros((len(REGIONS), 68)), np.zeros((len(REGIONS), 2)), np.zeros((len(REGIONS), 2))
    for row, (name, side) in enumerate(REGIONS):
        marks, (outward, down), radius = PAIRED[name] if side else MIDLINE[name]
        for mark, weight in marks.items():
            anchors[row, mark if side != "R" else MIRROR[mark]] += weight
        offsets[row] = (-outward if side == "R" else outward, down)
        radii[row] = radius
    return anchors / anchors.sum(1, keepdims=True), offsets, radii


ANCHORS, OFFSETS, RADII = _table()


def check(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks as (68, 2) float64 of finite numbers; a ValueError that says what came instead."""
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(
            f"landmarks must be (68, 2) finite pixels (x, y), got shape {points.shape}"
            f"{'' if np.isfinite(points).all() else ' with NaN or infinity'}"
        )
    return points


def axes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Face axes of landmarks (68, 2) px: origin (2,) between the eyes, across (2,), down (2,) unit vectors,
    inter-ocular px.

    Raises ValueError for eyes less than 4 px apart.
    """
    points = check(landmarks)
    right, left = points[36:42].mean(0), points[42:48].mean(0)
    distance = float(np.linalg.norm(left - right))
    if distance < 4:
        raise ValueError(
            f"the eye centres are {distance:.1f} px apart; a face needs at least 4 px (are the landmarks in pixels?)"
        )
    across = (left - right) / distance
    return (left + right) / 2, across, np.array([-across[1], across[0]]), distance


def centres(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Region centres (36, 2) px and radii (36, 2) px (across, down) from landmarks (68, 2) px."""
    _, across, down, distance = axes(landmarks)
    middle = ANCHORS @ check(landmarks) + distance * (OFFSETS[:, :1] * across + OFFSETS[:, 1:] * down)
    return middle, RADII * distance


def masks(landmarks: np.ndarray, size: int = 128) -> np.ndarray:
    """Soft weights of the 36 regions.

    landmarks: (68, 2) px, x right, y down. size: side of the square frame in px.
    Returns (36, size, size) float32; each region sums to 1 (weights are (1 - d^2)^2 inside the ellipse d < 1, 0
    outside). Raises ValueError, naming the region, where one lies outside the frame."""
    middle, radius = centres(landmarks)
    _, across, down, _ = axes(landmarks)
    grid = np.arange(size)
    weights = np.zeros((len(REGIONS), size, size), np.float32)
    for row, ((cx, cy), (rx, ry)) in enumerate(zip(middle, radius)):
        reach = max(rx, ry) + 1  # only the box around the ellipse is touched: 36 full frames would cost 10x
        x0, x1 = np.searchsorted(grid, [cx - reach, cx + reach])
        y0, y1 = np.searchsorted(grid, [cy - reach, cy + reach])
        dx, dy = grid[x0:x1] - cx, grid[y0:y1, None] - cy
        d2 = ((dx * across[0] + dy * across[1]) / rx) ** 2 + ((dx * down[0] + dy * down[1]) / ry) ** 2
        box = np.square(np.clip(1 - d2, 0, None))
        total = box.sum()
        if total <= 0:
            name, side = REGIONS[row]
            raise ValueError(
                f"region {name}{' ' + side if side else ''} centred at ({cx:.0f}, {cy:.0f}) lies outside the "
                f"{size} px frame: align the clip first (deft.faces.align)"
            )
        weights[row, y0:y1, x0:x1] = box / total
    return weights


def face_mask(landmarks: np.ndarray, size: int = 128) -> np.ndarray:
    """Where the face is: (size, size) bool, the hull of the landmarks and of the forehead regions' upper rims."""
    _, _, down, _ = axes(landmarks)
    middle, radius = centres(landmarks)
    rims = [middle[row] - radius[row, 1] * down for row, (name, _) in enumerate(REGIONS) if name.startswith("forehead")]
    hull = cv2.convexHull(np.vstack([check(landmarks), rims]).astype(np.float32))
    return cv2.fillConvexPoly(np.zeros((size, size), np.uint8), np.round(hull).astype(np.int32), 1).astype(bool)


def region_rows() -> list[tuple[str, int, int]]:
    """The 36 regions as 20 rows, forehead to jaw: [(spoken name, index on the person's right, index on the left)].

    A midline region has the same index twice.
    """
    rows, middle = (
        [],
        {
            "glabella": "brow_inner",
            "nose_bridge": "outer_canthus",
            "nose_tip": "nose_side",
            "chin": "chin_side",
        },
    )
    for name in dict.fromkeys(name for name, side in REGIONS if side):
        rows.append((name, REGION_INDEX[name, "R"], REGION_INDEX[name, "L"]))
        rows += [(m, REGION_INDEX[m, ""], REGION_INDEX[m, ""]) for m, after in middle.items() if after == name]
    return [(name.replace("_", " "), right, left) for name, right, left in rows]


def chart(
    values: np.ndarray,
    landmarks: np.ndarray,
    ax: Axes | None = None,
    *,
    limit: float | None = None,
    cmap: str = "PuOr",
    image: np.ndarray | None = None,
    vectors: np.ndarray | None = None,
    scale: float = 4.0,
    title: str = "",
) -> Axes:
    """Draw one value per region on a face chart; returns the matplotlib axes.

    values: (36,) numbers, coloured symmetrically around 0 up to `limit`; what is 0 is left empty. landmarks: (68, 2)
    px. image: optional frame underneath. vectors: optional (36, 2) px, drawn as arrows magnified `scale` times."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Ellipse

    ax = ax or plt.subplots(figsize=(4, 4))[1]
    values = np.asarray(values, float)
    limit = limit or max(float(np.abs(values).max()), 1e-9)
    colours = plt.get_cmap(cmap)
    middle, radius = centres(landmarks)
    _, across, _, _ = axes(landmarks)
    angle = np.degrees(np.arctan2(across[1], across[0]))
    if image is not None:
        ax.imshow(image, cmap="gray" if np.ndim(image) == 2 else None)
    for centre, (rx, ry), value in zip(middle, radius, values):
        ax.add_patch(
            Ellipse(
                centre,
                1.5 * rx,
                1.5 * ry,
                angle=angle,
                facecolor=colours(0.5 + 0.5 * np.clip(value / limit, -1, 1), 0.85) if value else "none",
                edgecolor="0.3",
                linewidth=0.5,
            )
        )
    if image is None:
        points = np.asarray(landmarks)
        for first, last, closed in (
            (0, 17, 0),
            (17, 22, 0),
            (22, 27, 0),
            (27, 31, 0),
            (31, 36, 0),
            (36, 42, 1),
            (42, 48, 1),
            (48, 60, 1),
        ):
            line = points[first:last]
            ax.plot(*(np.vstack([line, line[:1]]) if closed else line).T, color="0.6", linewidth=0.8, zorder=0)
    if vectors is not None:
        ax.quiver(*middle.T, *(np.asarray(vectors) * scale).T, angles="xy", scale_units="xy", scale=1, width=0.006)
    ax.set(
        xlim=(middle[:, 0].min() - 12, middle[:, 0].max() + 12),
        ylim=(middle[:, 1].max() + 14, middle[:, 1].min() - 14),
        title=title,
    )
    ax.set_aspect("equal"), ax.set_xticks([]), ax.set_yticks([])
    return ax
