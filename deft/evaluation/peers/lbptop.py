"""LBP-TOP + SVM: histograms of local binary patterns on three orthogonal planes of a clip (Zhao and Pietikainen, PAMI
29(6), 2007).

The baseline of CASME II, SMIC and SAMM. What the public code specifies: 8 neighbours at radius 3, nearest pixel, a
bit is set where the neighbour is at least as bright as the centre, 59 bins (58 uniform patterns and the rest), 8 x 8
blocks that overlap by .7, 10 frames, 11,328 raw counts. Ours is the small form: five of the nine kept frames, radii
(3, 3, 1), 5 x 5 blocks over the face without overlap, each histogram divided by its sum, 4,425 numbers. With five
frames the temporal radius can only be 1 or 2; 1 keeps three centre frames. The source interpolates to ten equally
spaced frames; we take every second kept frame, onset, rise, hold, fall and offset, which stand at the same phase in
every clip.

Checked: a constant image gives 255, a strict peak 0, the ramp I = x 199; by hand, with 4 neighbours at radius 1, all
codes of 20 random images equal those of scikit-image 0.26 (`local_binary_pattern`, method "default"); every plane
counts each interior voxel once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from deft.evaluation.peers import handcrafted, svm
from deft.evaluation.peers.inputs import Inputs

RADII, NEIGHBOURS, BLOCKS = (3, 3, 1), 8, 5  # px along x and y, frames; points on the circle; blocks per side
PLANES = {
    "XY": (2, 1),
    "XT": (2, 0),
    "YT": (1, 0),
}  # plane -> axes of a volume (T, H, W) that point right and down in it


def codes(volume: np.ndarray, radii: tuple[int, int, int] = RADII, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Codes of the interior voxels on the three planes of a volume.

    volume: (T, H, W) numbers. radii: (x, y, t). Returns (3, T - 2t, H - 2y, W - 2x) int, planes in the order of
    PLANES. Bit p belongs to the neighbour at angle 2 pi p / neighbours, anticlockwise from right (the second axis
    points down), at the nearest voxel. ValueError for a volume without interior.
    """
    volume = np.asarray(volume)
    reach = radii[::-1]  # in the order of the axes: t, y, x
    if volume.ndim != 3 or any(side < 2 * radius + 1 for side, radius in zip(volume.shape, reach)):
        raise ValueError(
            f"radii x, y, t = {radii} need a volume (T, H, W) of at least {tuple(2 * radius + 1 for radius in reach)}, "
            f"got {volume.shape}"
        )

    def moved(step: Sequence[int]) -> np.ndarray:
        return volume[tuple(slice(radius + s, side - radius + s) for radius, side, s in zip(reach, volume.shape, step))]

    centre, out = moved((0, 0, 0)), []
    for right, down in PLANES.values():
        code = np.zeros(centre.shape, np.int64)
        for bit in range(neighbours):
            angle, step = 2 * np.pi * bit / neighbours, [0, 0, 0]
            step[right], step[down] = round(reach[right] * np.cos(angle)), -round(reach[down] * np.sin(angle))
            code |= (moved(step) >= centre).astype(np.int64) << bit
        out.append(code)
    return np.stack(out)


def uniform(neighbours: int = NEIGHBOURS) -> np.ndarray:
    """(2^neighbours,) bin of every code: uniform patterns (at most two changes around the circle) one each, all
    others the last; 59 bins for 8."""
    code = np.arange(2**neighbours)
    turned = (code >> 1) | ((code & 1) << (neighbours - 1))
    plain = np.array([int(changes).bit_count() <= 2 for changes in code ^ turned])
    return np.where(plain, np.cumsum(plain) - 1, plain.sum())


def histograms(volume: np.ndarray, radii: tuple[int, int, int] = RADII) -> np.ndarray:
    """(T, H, W) -> counts (3 planes, 25 blocks, 59 bins); each plane sums to the number of interior voxels."""
    bins = uniform()
    found = bins[codes(volume, radii)]
    width = int(bins.max()) + 1
    place = handcrafted.blocks(*found.shape[2:], BLOCKS, BLOCKS) * width
    return np.stack(
        [np.bincount((place + plane).ravel(), minlength=BLOCKS**2 * width).reshape(-1, width) for plane in found]
    )


def describe(inputs: Inputs, row: int) -> np.ndarray:
    """One clip -> (4425,): every block's histogram of every plane, each summing to 1."""
    counts = histograms(inputs.gray[row][(slice(None, None, 2), *handcrafted.FACE)])
    return (counts / counts.sum(axis=2, keepdims=True)).ravel()


def peer(classes: Sequence[str], seed: int = 0) -> svm.Svm:
    """The system `lbptop`. seed: unused, nothing is drawn."""
    return svm.Svm("lbptop", partial(handcrafted.read, describe), tuple(classes))
