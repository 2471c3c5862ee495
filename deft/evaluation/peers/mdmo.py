"""MDMO + SVM: the main directional mean optical flow of 36 regions (Liu et al., IEEE T-AC 7(4), 2016).

What the source specifies: flow from the first frame to every other, the head's motion removed by an affine fit; in
each region and frame the fullest of 8 direction bins, and the mean length and angle of the vectors in it; their
Cartesian mean over the frames; lengths divided by the largest of the clip, which removes the amplitude; lengths weigh
.8, angles .2; 72 numbers; C 28. We use our 36 soft regions, in which a pixel votes with its weight, and the project's
flow and rigid fit (`deft.motion.courses.flows`), as every peer. The page does not say in which unit the angle enters;
we use half turns, -1 to 1, so that both halves have the same range. It does not name a kernel; we use a polynomial of
degree 2, because a linear reader of angles cannot tell a middle one from those on both sides of it, and no
standardising, which would undo the weights. Two weaknesses are the feature's own and stay: an angle jumps at 180 deg,
and a region that does not move has one too. A public re-implementation is no oracle: it weights frames by sums of
angles, counts 292.5 .. 337.5 deg as "right" and skips the alignment.

Checked: (1, 0) everywhere gives 1 and 0; -40 deg keeps its bin against a smaller crowd at 0 deg; (1, 0), then (0, 1),
gives .7071 at 45 deg.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from deft.evaluation.peers import handcrafted, svm
from deft.evaluation.peers.inputs import Inputs
from deft.faces import regions
from deft.motion import courses

BINS, LENGTH, ANGLE = 8, 0.8, 0.2  # directions; weights of length and angle


def main_direction(flow: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean vector of the fullest direction bin, per frame and region.

    flow: (T, H, W, 2) px, +x right, +y down. weights: (R, H, W) votes of the pixels. Bins are centred on multiples of
    45 deg. Length and angle are averaged apart, as the source does. Returns (T, R, 2) [u, v] px; of bins that are
    equally full, the first from "right" clockwise on the screen. A still pixel votes "right".
    """
    votes = weights.reshape(len(weights), -1).astype(np.float64)
    used = votes.any(0)
    votes, vectors = votes[:, used].T, np.asarray(flow, np.float64).reshape(len(flow), -1, 2)[:, used]
    rho, theta = np.hypot(vectors[..., 0], vectors[..., 1]), np.arctan2(vectors[..., 1], vectors[..., 0])
    turn = 2 * np.pi / BINS
    nearest = np.rint(theta / turn)
    here = nearest.astype(int) % BINS
    crowd, length, beside = (np.zeros((BINS, len(flow), len(weights))) for _ in range(3))
    for number in range(BINS):
        mine = here == number
        crowd[number], length[number] = mine @ votes, (mine * rho) @ votes
        beside[number] = (
            mine * (theta - nearest * turn)
        ) @ votes  # angle from the middle of the bin: no jump at 180 deg
    best = crowd.argmax(0)[None]
    full, length, beside = (np.take_along_axis(part, best, 0)[0] for part in (crowd, length, beside))
    length, angle = length / full, best[0] * turn + beside / full
    return np.stack([length * np.cos(angle), length * np.sin(angle)], -1)


def mdmo(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Main directions (T, R, 2) px -> lengths (R,) of their mean over time, px, and its angles (R,) in radians, -pi
    .. pi, down positive."""
    mean = np.asarray(directions).mean(0)
    return np.hypot(mean[:, 0], mean[:, 1]), np.arctan2(mean[:, 1], mean[:, 0])


def vector(flow: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Flow (T, H, W, 2) px and regions (R, H, W) -> (2R,): .8 times length over the largest length, .2 times angle
    over pi. A still clip gives zeros."""
    length, angle = mdmo(main_direction(flow, weights))
    return np.concatenate([LENGTH * length / max(length.max(), 1e-12), ANGLE * angle / np.pi])


def describe(inputs: Inputs, row: int) -> np.ndarray:
    """One clip -> (72,)."""
    weights = regions.masks(inputs.landmarks[row], inputs.gray.shape[-1])
    return vector(courses.flows(inputs.gray[row], inputs.landmarks[row], weights=weights)[0], weights)


def peer(classes: Sequence[str], seed: int = 0) -> svm.Svm:
    """The system `mdmo`. seed: unused, nothing is drawn."""
    return svm.Svm("mdmo", partial(handcrafted.read, describe), tuple(classes), standardise=False, kernel="poly")
