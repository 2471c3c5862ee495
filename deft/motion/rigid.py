"""Remove the head's motion: a similarity, fitted robustly to the flow of regions that no muscle moves.

Temples and nose (STABLE in `deft.clips.facs`) hardly move with any unit: the fit starts from them alone, with full
weight. They are also few and near the middle, so that with noise the fit tilts forehead and chin. The other regions
therefore help with a fifth of the weight, as far as they lie still in this frame: Tukey's redescending weights (Beaton
and Tukey, Technometrics 16, 1974) give weight zero to pixels that a muscle moves, to hair, or to a frame of glasses
that slides. Measured at noise 5, JPEG 60: still regions seem to move .065 px instead of .082.

A similarity (4 numbers) rather than an affine map (6): shear and stretch of a turning head are far below the flow's
noise over 50 ms, and every extra number adds noise to all 36 regions."""

from __future__ import annotations

import numpy as np

from deft.clips.facs import REGIONS, STABLE
from deft.faces import regions

STABLE_ROWS = tuple(i for i, region in enumerate(REGIONS) if region in set(STABLE))
ROUNDS = 7
HELP = 0.2  # weight of a region that is not stable by anatomy
CUT = 3.0  # robust standard deviations beyond which a pixel has weight zero
RIDGE = 1e-4  # prior on growth and turn


class Fitter:
    """The rigid fit of one clip: its pixels are chosen once from the onset landmarks and reused for every frame."""

    def __init__(self, landmarks: np.ndarray, size: int = 128, weights: np.ndarray | None = None):
        """landmarks: (68, 2) px of the onset frame; size: side S of the square frame, px; weights: region masks (36,
        S, S) if known.
        """
        origin, *_ = regions.axes(landmarks)
        soft = regions.masks(landmarks, size) if weights is None else weights
        soft = soft[:, ::4] / soft.max(
            (1, 2), keepdims=True
        )  # every fourth row: flow is smooth over 4 px, the others add time and no information
        stable, weight = np.zeros((2, size, size), np.float32)
        stable[::4] = soft[list(STABLE_ROWS)].max(0)
        weight[::4] = np.maximum(HELP * soft.max(0), stable[::4])
        self.pick = np.flatnonzero(weight.ravel() > 0.02 * HELP)
        self.weight, self.stable = (
            weight.ravel()[self.pick].astype(np.float64),
            stable.ravel()[self.pick].astype(np.float64),
        )
        y, x = np.indices((size, size), dtype=np.float64)
        self.x, self.y = (x - origin[0]) / size, (y - origin[1]) / size
        px, py = self.x.ravel()[self.pick], self.y.ravel()[self.pick]
        one, zero = np.ones_like(px), np.zeros_like(px)
        self.basis = np.stack(
            [np.stack([one, zero, px, -py], -1), np.stack([zero, one, py, px], -1)], 1
        )  # (P, 2, 4): shift x, shift y, growth, turn

    def fit(self, flow: np.ndarray) -> np.ndarray:
        """Parameters (4,) of the similarity that best explains flow (S, S, 2) px on the pixels that lie still.

        shift x and shift y in px, growth and turn in px per frame side, about the point between the eyes.
        """
        vectors = np.asarray(flow, np.float64).reshape(-1, 2)[self.pick]
        robust = self.stable
        ridge = np.diag([0.0, 0.0, RIDGE, RIDGE]) * self.weight.sum()
        flat = self.basis.reshape(-1, 4)
        for _ in range(ROUNDS):
            weighted = flat * np.repeat(robust, 2)[:, None]
            answer = np.linalg.solve(weighted.T @ flat + ridge, weighted.T @ vectors.ravel())
            error = np.linalg.norm(vectors - (flat @ answer).reshape(-1, 2), axis=1)
            scale = CUT * max(
                np.median(error) / 1.18, 1e-3
            )  # 1.18: the median length of a 2-D normal vector of unit spread
            robust = self.weight * np.square(np.clip(1 - (error / scale) ** 2, 0, None))
        return answer

    def remove(self, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """flow (S, S, 2) px -> (flow - rigid, rigid), both float32."""
        shift_x, shift_y, growth, turn = self.fit(flow)
        rigid = np.stack(
            [shift_x + growth * self.x - turn * self.y, shift_y + turn * self.x + growth * self.y], -1
        ).astype(np.float32)
        return flow - rigid, rigid


def remove(flow: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split flow (S, S, 2) px into (flow - rigid, rigid), both (S, S, 2) float32. landmarks: (68, 2) px of the onset
    frame.

    Raises ValueError for flow of another shape.
    """
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 3 or flow.shape[0] != flow.shape[1] or flow.shape[2] != 2:
        raise ValueError(f"flow must be (S, S, 2) in the aligned square frame, got {flow.shape}")
    return Fitter(landmarks, flow.shape[0]).remove(flow)
