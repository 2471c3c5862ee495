"""68 landmarks that another detector found, from a CSV.

Three forms are read: what OpenFace writes (columns x_0 .. x_67, y_0 .. y_67); a row per frame under headings such as
x0, y0 (from 0 or from 1, with or without a stroke, x and y in any order); 68 rows of x and y, one frame. The points are
in px of the frames as they are filmed, in the 68-point (iBUG) order. Built-in landmarks have met drawn people only, so
that those of a detector made for photographs are the better ones (docs/licensed.md).
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from deft.faces import align, landmarks
from deft.faces.detect import FaceError

POINTS = 68


def read(path: Path, frame: int = 0) -> np.ndarray:
    """The points (68, 2) px of one frame, counted from 0. FaceError names the file, what was found and the remedy."""
    frames = _frames(path)
    if frames is None:
        return checked(landmarks.read_openface(path, frame), path)
    if frame >= len(frames):
        raise FaceError(f"{path} has {len(frames)} rows of points; frame {frame}, counted from 0, is asked for")
    return checked(frames[frame], path)


def count(path: Path) -> int:
    """How many frames a file has points of."""
    frames = _frames(path)
    return len(_rows(path)) - 1 if frames is None else len(frames)


def checked(points: np.ndarray, path: Path) -> np.ndarray:
    """The points, if they can be a face in the 68-point order; FaceError says what cannot be."""
    if not np.isfinite(points).all():
        raise FaceError(f"{path}: NaN or infinite points; find the landmarks of this clip again, or take its file away")
    right, left = align.eye_centres(points)
    mouth, brows = points[48:60, 1].mean(), points[17:27, 1].mean()
    if not (right[0] + 4 <= left[0] and brows < min(right[1], left[1]) < mouth):
        raise FaceError(
            f"{path}: no upright face in the 68-point (iBUG) order: points 36-41 are the eye at smaller x, 42-47 the"
            " other, 17-26 the brows above them, 48-59 the mouth below; px of the picture, y down"
        )
    return points


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise FaceError(f"{path}: no such file; give a CSV with 68 points")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FaceError(f"{path} is not a CSV text file ({error})") from error


def _frames(path: Path) -> np.ndarray | None:
    """(T, 68, 2) px; None for a file of OpenFace, which has columns of its own (frame, success, confidence)."""
    rows = _rows(path)
    heads = [re.sub(r"[ _]", "", cell.lower()) for cell in rows[0]] if rows else []
    if "x_0" in (rows[0] if rows else ()):
        return None
    columns = {}
    for at, head in enumerate(heads):
        if match := re.fullmatch(r"(?:p|point|landmark)?([xy])([0-9]{1,2})|([0-9]{1,2})([xy])", head):
            columns[match[1] or match[4], int(match[2] or match[3])] = at
    first = next((n for n in (0, 1) if {(a, i + n) for a in "xy" for i in range(POINTS)} <= set(columns)), None)
    try:
        if first is not None:
            order = [columns[axis, i + first] for i in range(POINTS) for axis in "xy"]
            return np.array([[float(row[at]) for at in order] for row in rows[1:]]).reshape(-1, POINTS, 2)
        pairs = rows[1:] if heads and not _number(heads[0]) else rows
        if len(pairs) == POINTS and all(len(row) == 2 for row in pairs):
            return np.array([[float(cell) for cell in row] for row in pairs])[None]
    except (ValueError, IndexError) as error:
        raise FaceError(f"{path}: a value is missing or not a number ({error})") from error
    raise FaceError(
        f"{path} has neither columns x0 .. x67 and y0 .. y67 (a row per frame) nor 68 rows of x and y; found"
        f" {len(rows)} rows, the first of {len(heads)} cells: {', '.join(heads[:4]) or 'nothing'}"
    )


def _number(cell: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", cell) is not None
