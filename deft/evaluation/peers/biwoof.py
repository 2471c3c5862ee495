"""Bi-WOOF + SVM: bi-weighted oriented optical flow of onset and apex (Liong et al., Signal Processing: Image
Communication 62, 2018).

What the source specifies: the face in 5 x 5 blocks, in each a histogram of 8 flow directions in which a pixel votes
with the length of its vector, divided by its sum, times the optical strain of the block; the 200 numbers divided by
their Euclidean length. It uses apex and onset alone. We use the blocks over the face box of the aligned frame, and
bins centred on multiples of 45 deg, because purely horizontal or vertical motion would else lie on an edge.

Checked: uniform translation has no strain and gives the zero vector, not a division by zero; one moving block fills
its own 8 numbers alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from deft.evaluation.peers import handcrafted, svm
from deft.evaluation.peers.inputs import Inputs, strain

BLOCKS, BINS = 5, 8


def vector(flow: np.ndarray) -> np.ndarray:
    """Flow (H, W, 2) px -> (200,) of Euclidean length 1, blocks row by row, in each the 8 directions from right
    clockwise on the screen; zeros without strain."""
    flow = np.asarray(flow, np.float64)
    place = handcrafted.blocks(*flow.shape[:2], BLOCKS, BLOCKS).ravel()
    direction = np.rint(np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi / BINS)).astype(int).ravel() % BINS
    votes = np.bincount(
        place * BINS + direction, np.hypot(flow[..., 0], flow[..., 1]).ravel(), BLOCKS**2 * BINS
    ).reshape(-1, BINS)
    weight = np.bincount(place, strain(flow).ravel(), BLOCKS**2)
    out = (votes / np.maximum(votes.sum(1, keepdims=True), 1e-12) * weight[:, None]).ravel()
    length = np.linalg.norm(out)
    return out / length if length > 1e-9 else np.zeros_like(out)


def describe(inputs: Inputs, row: int) -> np.ndarray:
    """One clip -> (200,), from the flow onset -> apex in the face box."""
    return vector(inputs.rise[row][handcrafted.FACE])


def peer(classes: Sequence[str], seed: int = 0) -> svm.Svm:
    """The system `biwoof`. seed: unused, nothing is drawn."""
    return svm.Svm("biwoof", partial(handcrafted.read, describe), tuple(classes))
