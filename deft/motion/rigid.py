"""Remove the head's motion: a robust similarity fitted where the skin lies still on the bone.

Temples and nose (STABLE in `deft.clips.facs`) hardly move with any unit. A similarity (4 numbers) rather than an affine map
(6): shear and stretch of a turning head are far below the flow's noise over 50 ms, and every extra number adds noise to
all 36 regions. Weights come from Huber's function by iterative reweighting (IRLS), so that hair or a frame of glasses that
slides over the temple does not decide the fit.
"""
import numpy as np

from deft.clips.facs import REGIONS, STABLE
from deft.faces import regions

STABLE_ROWS = tuple(i for i, region in enumerate(REGIONS) if region in set(STABLE))
ROUNDS = 4
RIDGE = 1e-4  # prior on growth and turn: with noise they would otherwise tilt forehead and chin, far from the fitted pixels


class Fitter:
    """The rigid fit of one clip: its pixels are chosen once from the onset landmarks and reused for every frame."""

    def __init__(self, landmarks, size=128):
        """landmarks: (68, 2) px of the onset frame; size: side of the square frame, px."""
        origin, *_ = regions.axes(landmarks)
        soft = regions.masks(landmarks, size)[list(STABLE_ROWS)]
        weight = (soft / soft.max((1, 2), keepdims=True)).max(0)
        weight[::2] = 0  # every second row: flow is smooth over 2 px, so the other half adds time and no information
        self.pick = np.flatnonzero(weight.ravel() > 0.02)
        self.weight = weight.ravel()[self.pick].astype(np.float64)
        y, x = np.indices((size, size), dtype=np.float64)
        self.x, self.y = (x - origin[0]) / size, (y - origin[1]) / size
        px, py = self.x.ravel()[self.pick], self.y.ravel()[self.pick]
        one, zero = np.ones_like(px), np.zeros_like(px)
        self.basis = np.stack([np.stack([one, zero, px, -py], -1), np.stack([zero, one, py, px], -1)], 1)  # (P, 2, 4): shift x, shift y, growth, turn

    def fit(self, flow):
        """Parameters (4,) of the similarity that best explains flow (S, S, 2) on the stable pixels."""
        vectors = np.asarray(flow, np.float64).reshape(-1, 2)[self.pick]
        robust = self.weight
        ridge = np.diag([0.0, 0.0, RIDGE, RIDGE]) * self.weight.sum()
        flat = self.basis.reshape(-1, 4)
        for _ in range(ROUNDS):
            weighted = flat * np.repeat(robust, 2)[:, None]
            answer = np.linalg.solve(weighted.T @ flat + ridge, weighted.T @ vectors.ravel())
            error = np.linalg.norm(vectors - self.basis @ answer, axis=1)
            scale = 1.345 * max(np.median(error) / 1.18, 1e-3)  # 1.18: the median length of a 2-D normal vector of unit spread
            robust = self.weight * np.minimum(1.0, scale / np.maximum(error, 1e-9))
        return answer

    def remove(self, flow):
        """flow (S, S, 2) px -> (flow - rigid, rigid), both float32."""
        shift_x, shift_y, growth, turn = self.fit(flow)
        rigid = np.stack([shift_x + growth * self.x - turn * self.y, shift_y + turn * self.x + growth * self.y], -1).astype(np.float32)
        return flow - rigid, rigid


def remove(flow, landmarks):
    """Split flow (S, S, 2) px into (flow - rigid, rigid), both (S, S, 2) float32. landmarks: (68, 2) px of the onset frame."""
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 3 or flow.shape[0] != flow.shape[1] or flow.shape[2] != 2:
        raise ValueError(f"flow must be (S, S, 2) in the aligned square frame, got {flow.shape}")
    return Fitter(landmarks, flow.shape[0]).remove(flow)
