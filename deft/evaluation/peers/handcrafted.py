"""What the hand-crafted peers share: the face box, its blocks, and the features of many clips, each described once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from deft.evaluation.peers.inputs import Inputs

FACE = slice(14, 114), slice(24, 104)  # rows (hair line to chin) and columns (temple to temple) of the aligned frame
_known: dict[tuple, np.ndarray] = {}  # (what describes it, digest of the clip) -> its row: folds share their clips


def blocks(height: int, width: int, rows: int, columns: int) -> np.ndarray:
    """(height, width) int: the number of the block, 0 .. rows * columns - 1, that each pixel lies in; block sizes
    differ by at most one px."""
    return (np.arange(height) * rows // height)[:, None] * columns + (np.arange(width) * columns // width)[None]


def read(describe: Callable[[Inputs, int], np.ndarray], inputs: Inputs) -> np.ndarray:
    """describe(inputs, row) -> (D,) or (V, D) of every clip: (N, D) or (N, V, D) float32. A clip that was described
    before is not described again: a clip belongs to the training part of several folds, and MDMO takes .1 s for one."""
    found = []
    for row in range(len(inputs)):
        clip = hashlib.blake2b(digest_size=16)
        for part in (inputs.gray, inputs.landmarks, inputs.courses, inputs.rise, inputs.fall):
            clip.update(np.ascontiguousarray(part[row]).tobytes())
        key = describe.__module__, describe.__qualname__, clip.digest()
        if key not in _known:
            _known[key] = np.asarray(describe(inputs, row), np.float32)
        found.append(_known[key])
    return np.stack(found)
