"""Onset, apex and offset of a clip nobody annotated, found from its motion energy.

The rule, in words (it is printed in every report):
1. Energy between two frames = mean speed of the five most moving regions minus that of the regions that should be still.
2. Apex: the frame whose energy, measured from the frame a quarter of a second earlier (or from the first frame), is largest.
3. Onset: walking back from the apex for at most a quarter of a second, the nearest frame that is already as far from the
   apex as 90 % of the farthest one. Offset: the same, forwards, within 0.35 s.
The comparison over a fixed lag is that of Moilanen et al. (2014), "Spotting rapid facial movements"; a quarter of a second
is the longest onset of a micro-expression (reference: Yan et al. 2013). The share of 90 % is our choice: less cuts the
beginning of the movement off, more lets noise decide.
"""

from dataclasses import dataclass

import numpy as np

from deft.clips import facs
from deft.motion import flow as flows
from deft.motion import rigid

RISE, FALL, SHARE, REGIONS_USED = 0.25, 0.35, 0.90, 5   # s, s, of the farthest frame, of the 36 regions


@dataclass(frozen=True)
class Moments:
    """Positions in the clip; energy: (T,) px, from a quarter of a second earlier; found: names of what was not given."""

    onset: int
    apex: int
    offset: int
    energy: np.ndarray
    found: tuple[str, ...]


def energy(first, second, landmarks, weights, method="dis"):
    """Motion between two aligned frames, px. weights: (36, H, W) region weights that each sum to 1."""
    moved, _ = rigid.remove(flows.estimate(first, second, method=method), landmarks)
    speed = np.tensordot(weights, np.linalg.norm(moved, axis=-1), axes=2)
    stable = np.isin(np.arange(len(speed)), [facs.REGION_INDEX[r] for r in facs.STABLE])
    return float(np.sort(speed[~stable])[-REGIONS_USED:].mean() - speed[stable].mean())


def find(gray, landmarks, weights, fps, onset=None, apex=None, offset=None, method="dis"):
    """The moments of one clip; what is given is kept.

    gray: (T, H, W) uint8, aligned; landmarks: (68, 2) in the same frame; fps: frames per second.
    """
    count, rise, fall = len(gray), max(2, round(RISE * fps)), max(2, round(FALL * fps))
    found = tuple(name for name, value in (("onset", onset), ("apex", apex), ("offset", offset)) if value is None)
    series = np.array([0.0] + [energy(gray[onset if onset is not None else max(0, t - rise)], gray[t], landmarks, weights, method)
                               for t in range(1, count)])
    if apex is None:
        first, last = (onset or 0) + 1, count if offset is None else offset + 1
        apex = first + int(np.argmax(np.convolve(series, np.ones(3) / 3, mode="same")[first:last]))
    if onset is None:
        onset = _edge(gray, apex, range(apex - 1, max(-1, apex - 1 - rise), -1), landmarks, weights, method)
    if offset is None:
        offset = _edge(gray, apex, range(apex + 1, min(count, apex + 1 + fall)), landmarks, weights, method)
    return Moments(int(onset), int(apex), int(offset), series, found)


def _edge(gray, apex, frames, landmarks, weights, method):
    """The frame nearest to the apex that is already SHARE as far from it as the farthest of `frames`."""
    if not len(frames):
        return apex
    away = np.array([energy(gray[t], gray[apex], landmarks, weights, method) for t in frames])
    return frames[int(np.argmax(away >= SHARE * away.max()))]
