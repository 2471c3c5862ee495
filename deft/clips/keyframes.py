"""Which frames of a clip are kept, and which of them count as its peak: the apex and the hold frame after it.

A benchmark clip keeps nine frames: onset, two on the rise, apex, hold, three on the fall, offset. A clip of the corpus
keeps onset, apex and hold. Motion is read as the mean of apex and hold: averaging the two lifted the linear reader of
region flow from .695 to .740 UF1."""

from __future__ import annotations

import numpy as np

COUNT, APEX, HOLD = 9, 3, 4  # kept frames of a clip; positions of apex and hold among them (the onset stands at 0)
SHORT = (0, APEX, HOLD)  # positions that a clip of the corpus keeps: onset, apex, hold


def key_frames(
    onset: int, apex: int, offset: int, count: int = COUNT, position: int = APEX, cut_off: bool = False
) -> tuple[int, ...]:
    """The numbers of the `count` frames that are kept, apex at `position`, the others spread evenly: (0, 24, 64) -> (0,
    8, 16, 24, 32, ...).

    cut_off: the clip may end at its apex, which is then repeated. ValueError when the moments do not rise.
    """
    if not (onset < apex < offset or cut_off and onset < apex == offset):
        raise ValueError(f"onset {onset}, apex {apex}, offset {offset} must rise")
    rise, fall = np.linspace(onset, apex, position + 1), np.linspace(apex, offset, count - position)
    return tuple(int(frame) for frame in np.round(np.concatenate([rise, fall[1:]])))


def peak_positions(count: int) -> tuple[int, int]:
    """Positions of apex and hold in a stored clip of `count` frames; ValueError below three."""
    if count < len(SHORT):
        raise ValueError(f"a clip needs at least onset, apex and hold (3 frames), got {count}")
    return (APEX, HOLD) if count == COUNT else (1, 2)


def shown(count: int) -> list[int]:
    """Positions of onset, apex and hold in a stored clip of `count` frames."""
    return [0, *peak_positions(count)]


def at_peak(courses: np.ndarray, axis: int = 0) -> np.ndarray:
    """What is measured from the onset on (first entry: the frame after the onset) -> its two entries at apex and
    hold. axis: of time.
    """
    courses = np.asarray(courses)
    return np.take(courses, [position - 1 for position in peak_positions(courses.shape[axis] + 1)], axis)


def peak_mean(courses: np.ndarray, axis: int = 0) -> np.ndarray:
    """The mean of apex and hold along `axis`, e.g. region courses (T-1, 36, 5) -> (36, 5)."""
    return at_peak(courses, axis).mean(axis)
