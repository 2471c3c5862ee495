"""Dynamic images with phase-aware augmentation: a clip as one picture per phase (after arXiv 2510.15466).

A dynamic image is the weighted sum of a clip's frames that ranks them in time (approximate rank pooling: Bilen et
al., CVPR 2016). The abstract says: one dynamic image for the rise and one for the fall beside the one of the whole
clip, as augmentation of six backbones. A summary adds that flips may hurt. Everything else is unknown. The small form
trains on the three pictures of each clip, all with its label, and answers with the mean of their logits.

The classifier is the linear SVM of the other hand-crafted peers on pooled blocks, because the question is what the
three pictures add, and a backbone that is trained from scratch on a few hundred clips would answer another one. A
movement that returns gives the fall the opposite sign of the rise, and a linear reader of signed pictures cannot give
both one label. So brightening and darkening are pooled apart, as the first layer of a network with ReLU would.
`augment=False` reads the whole clip alone: the plain dynamic image, for the comparison.

Checked: weights for T = 3 are -1.3333, .6667, .6667, for T = 5 -3.7, .3, 1.3, 1.3, .8; they sum to 0, so a static
clip gives 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from deft.clips.keyframes import peak_positions
from deft.evaluation.peers import handcrafted, svm
from deft.evaluation.peers.inputs import Inputs

ROWS, COLUMNS, SMOOTH = 10, 8, 1.0  # blocks of 10 px over the face box; px, against sensor noise before rectifying


def weights(count: int) -> np.ndarray:
    """(T,) weights of approximate rank pooling: 2 (T - t + 1) - (T + 1) (H_T - H_(t-1)), t = 1 .. T, H_t the harmonic
    numbers; they sum to 0."""
    t = np.arange(1, count + 1)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / t)])
    return 2 * (count - t + 1) - (count + 1) * (harmonic[-1] - harmonic[:-1])


def dynamic_image(frames: np.ndarray) -> np.ndarray:
    """(T, H, W) grey levels -> (H, W) float32 grey levels, brighter at the end positive. The weights are divided by
    the sum of the positive ones, so that phases of different length have one scale. ValueError for fewer than two
    frames.
    """
    if len(frames) < 2:
        raise ValueError(f"a dynamic image ranks frames in time and needs at least 2, got {len(frames)}")
    share = weights(len(frames))
    return np.tensordot(share / share[share > 0].sum(), np.asarray(frames, np.float64), 1).astype(np.float32)


def pooled(image: np.ndarray) -> np.ndarray:
    """(H, W) -> (160,): mean brightening, then mean darkening, of each block, grey levels >= 0."""
    image = cv2.GaussianBlur(image, (0, 0), SMOOTH)
    place = handcrafted.blocks(*image.shape, ROWS, COLUMNS).ravel()
    size = np.bincount(place)
    return np.concatenate([np.bincount(place, np.maximum(part, 0).ravel()) / size for part in (image, -image)])


def whole(inputs: Inputs, row: int) -> np.ndarray:
    """One clip -> (160,): its dynamic image, pooled."""
    return pooled(dynamic_image(inputs.gray[row][(slice(None), *handcrafted.FACE)]))


def phases(inputs: Inputs, row: int) -> np.ndarray:
    """One clip -> (3, 160): the whole, onset to apex, apex to offset."""
    frames = inputs.gray[row][(slice(None), *handcrafted.FACE)]
    apex = peak_positions(len(frames))[0]
    return np.stack([pooled(dynamic_image(part)) for part in (frames, frames[: apex + 1], frames[apex:])])


def peer(classes: Sequence[str], seed: int = 0, augment: bool = True) -> svm.Svm:
    """The system `dynamic-image`. augment: phases as further pictures. seed: unused, nothing is drawn."""
    return svm.Svm("dynamic-image", partial(handcrafted.read, phases if augment else whole), tuple(classes))
