"""Find the one face of a clip, and raise an error where later stages would go wrong unnoticed.

The cascades are Viola and Jones (CVPR 2001) as shipped inside OpenCV 4 wheels; nothing is downloaded. A
micro-expression clip is one uncut shot of one face, so several faces and cuts are errors with a remedy, not cases to
guess at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from deft.clips.footage import Footage

WORKING = 320  # px, longer side of the picture the cascades see
SMALLEST = 32  # px there: a face fills a tenth of the picture's longer side or more
FRONTAL = ("haarcascade_frontalface_default.xml", "haarcascade_frontalface_alt2.xml", "haarcascade_frontalface_alt.xml")
MINOR = 0.4  # of the largest face's side: what is smaller is background clutter or a picture on a wall
AGREE = 3  # of the nine votes (three cascades, three versions of the picture)
STEADY = 0.7  # share of their union that two boxes of a face that keeps its place have at least


class FaceError(ValueError):
    """The clip cannot be analysed; the message says what was found and what to do."""


@dataclass(frozen=True)
class Face:
    """A found face. box: (x, y, w, h) px. eyes: (2, 2) px, person's right (smaller x) first; `eyes_found` is False
    when assumed.
    """

    box: tuple[int, int, int, int]
    eyes: np.ndarray
    eyes_found: bool


# ---------------------------------------------------------------- finding


@lru_cache(maxsize=8)
def _cascade(name: str, _thread: int) -> cv2.CascadeClassifier:
    found = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / name))
    if found.empty():
        raise FaceError(
            f"OpenCV {cv2.__version__} ships no {name}; install opencv-contrib-python-headless 4.x (make env)"
        )
    return found


def cascade(name: str) -> cv2.CascadeClassifier:
    """A cascade by file name; one per thread, because a classifier keeps buffers. FaceError: this OpenCV ships none."""
    import threading

    return _cascade(name, threading.get_ident())


def union_share(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection of two boxes (x, y, w, h) over their union, 0 to 1."""
    shared = overlap(a, b) * min(a[2] * a[3], b[2] * b[3])
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection of two boxes (x, y, w, h) over the smaller of them, 0 to 1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0) / max(min(a[2] * a[3], b[2] * b[3]), 1)


def _candidates(view: np.ndarray, smallest: int) -> list[tuple[int, ...]]:
    """What three cascades take for faces of `smallest` px or more."""
    size = (smallest, smallest)
    return [
        tuple(map(int, box)) for name in FRONTAL for box in cascade(name).detectMultiScale(view, 1.08, 3, minSize=size)
    ]


def _agreed(found: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The boxes that several of nine voters agree on. They are grouped when they share half their union; a group that
    lies in a better one is dropped, and so are faces under `MINOR` of the largest one's side.
    """
    groups = []
    for box in sorted(found, key=lambda box: -box[2]):
        near = [group for group in groups if union_share(box, np.median(group, 0)) > 0.5]
        near[0].append(box) if near else groups.append([box])
    kept = []
    for group in sorted(groups, key=lambda group: -len(group)):
        box = tuple(int(v) for v in np.median(group, 0))
        if len(group) >= AGREE and all(overlap(box, other) < 0.3 for other in kept):
            kept.append(box)
    return [box for box in kept if box[2] >= MINOR * max(box[2] for box in kept)]


def _votes(gray: np.ndarray) -> list[tuple[int, ...]]:
    """Boxes of the faces of a picture: three cascades look at three versions of it (as it is, smoothed, equalised).

    One cascade alone misses a fringe over glasses or takes a shoulder for a face; a box that several of the nine agree
    on is a face. Windows of half the size are four times as many, so what `_agreed` would drop is not looked for, and
    where the picture as it is shows one place alone, the others vote on that size only."""
    views = (cv2.GaussianBlur(gray, (0, 0), 2), cv2.equalizeHist(gray))
    smallest = 3 * SMALLEST // 2
    found = _candidates(gray, smallest)
    largest = max(found, key=lambda box: box[2], default=(0, 0, 0, 0))
    if (needed := max(SMALLEST, int(0.7 * MINOR * largest[2]))) < smallest:  # the nine may agree on a smaller box
        found, smallest = _candidates(gray, needed), needed
    if all(union_share(box, largest) > 0.5 for box in found):
        smallest = max(smallest, largest[2] // 2)
    faces = _agreed(found + [box for view in views for box in _candidates(view, smallest)])
    if faces or smallest == SMALLEST:
        return faces
    return _agreed([box for view in (gray, *views) for box in _candidates(view, SMALLEST)])


def find_face(frame: np.ndarray) -> Face:
    """The one face of a frame (H, W, 3) RGB or (H, W) uint8, in px of that frame. No face, or several, is a FaceError.

    A face under `MINOR` of the largest one's side is ignored."""
    small, box, scale, border = _only(frame)
    eyes, found = _eyes(cv2.createCLAHE(2.0, (8, 8)).apply(small), box)
    return Face(_full(box, scale, border), (eyes - border) / scale, found)


def _full(box: tuple[int, ...], scale: float, border: int) -> tuple[int, ...]:
    """A box of the working picture in px of the frame."""
    x, y, w, h = box
    return tuple(int(round(v)) for v in ((x - border) / scale, (y - border) / scale, w / scale, h / scale))


def _only(frame: np.ndarray) -> tuple[np.ndarray, tuple[int, ...], float, int]:
    """The working picture of a frame (gray, its border added), the box there of its only face, scale and border."""
    frame = np.asarray(frame)
    gray = (
        cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        if frame.ndim == 3
        else np.ascontiguousarray(frame)
    )
    height, width = gray.shape
    scale = WORKING / max(height, width)
    # A tight crop has no room around the face for the cascade's window: a border of a quarter is added, then taken off
    # again.
    border = WORKING // 4
    small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    small = cv2.copyMakeBorder(small, border, border, border, border, cv2.BORDER_REPLICATE)
    boxes = _votes(small)
    if not boxes:
        raise FaceError(
            f"no face found in the frame that is aligned ({width}x{height}): the face must be frontal, upright and"
            " wider than about 60 px; crop closer or give OpenFace landmarks"
        )
    if len(boxes) > 1:
        places = "; ".join(
            f"x {int((x - border) / scale)}, y {int((y - border) / scale)}, {int(w / scale)} px wide"
            for x, y, w, _ in boxes
        )
        raise FaceError(f"{len(boxes)} faces found ({places}): crop the video to one person")
    return small, boxes[0], scale, border


def _eyes(gray: np.ndarray, box: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """Eye centres (2, 2) inside a face box, and whether both were seen; unseen ones sit where eyes sit in a
    cascade's box.
    """
    x, y, w, h = box
    assumed = np.array([[x + 0.31 * w, y + 0.39 * h], [x + 0.69 * w, y + 0.39 * h]])
    eyes, seen = assumed.copy(), 0
    for side in (0, 1):
        left = int(x + (0.06 + 0.44 * side) * w)
        part = gray[int(y + 0.18 * h) : int(y + 0.58 * h), left : int(left + 0.44 * w)]
        for name in ("haarcascade_eye_tree_eyeglasses.xml", "haarcascade_eye.xml"):
            found = cascade(name).detectMultiScale(
                part, 1.05, 4, minSize=(int(0.12 * w), int(0.12 * w)), maxSize=(int(0.4 * w), int(0.4 * w))
            )
            middles = [np.array([left + ex + ew / 2, int(y + 0.18 * h) + ey + eh / 2]) for ex, ey, ew, eh in found]
            middles = [
                m for m in middles if np.linalg.norm(m - assumed[side]) < 0.14 * w
            ]  # brows and nostrils answer too
            if middles:
                eyes[side] = min(middles, key=lambda m: np.linalg.norm(m - assumed[side]))
                seen += 1
                break
    slope = abs(eyes[1, 1] - eyes[0, 1]) / max(eyes[1, 0] - eyes[0, 0], 1)
    return (eyes, True) if seen == 2 and slope < 0.35 else (assumed, False)


# ---------------------------------------------------------------- checking


def check_uncut(frames: Iterable[np.ndarray], box: tuple[int, ...] | None = None) -> None:
    """Raise FaceError when neighbouring frames jump as they do at a cut.

    frames: (T, H, W, 3) uint8, or anything that yields such frames one by one. A cut changes most of the picture at
    once: the mean absolute difference of the small blurred frames then exceeds 12 grey levels *and* 8 times the clip's
    median change; movement of a face or flicker does neither."""
    small = np.stack(
        [
            cv2.GaussianBlur(
                cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), (48, 48), interpolation=cv2.INTER_AREA), (0, 0), 1.0
            )
            for f in frames
        ]
    ).astype(np.float32)
    small -= small.mean((1, 2), keepdims=True)  # a lamp that is switched on is not a cut
    change = np.abs(np.diff(small, axis=0)).mean((1, 2))
    worst = int(change.argmax())
    if change[worst] > max(12.0, 8 * float(np.median(change))):
        raise FaceError(
            f"the video is cut between frames {worst} and {worst + 1} (frames counted from 0): give one uncut shot"
        )


def find_in_clip(frames: np.ndarray | Footage, onset: int = 0) -> Face:
    """The face of a clip (T, H, W, 3) uint8 RGB, an array or a `deft.clips.footage.Footage`; onset: position of the
    onset frame.

    FaceError unless the clip is uncut, has one face in the onset frame, and still has it in the middle and at the end.
    """
    check_uncut(frames)
    face = find_face(frames[onset])
    check_stays(frames, face, onset)
    return face


def check_stays(frames: np.ndarray | Footage, face: Face, onset: int) -> None:
    """Raise FaceError when the face of the onset frame is not there in the middle or at the end, or is not alone
    there.
    """
    for position in sorted({len(frames) // 2, len(frames) - 1} - {onset}):
        try:
            _, *found = _only(frames[position])
        except FaceError as error:
            if "faces found" in str(error):
                raise FaceError(f"frame {position}: {error}") from error
            continue  # a missed detection in a later frame is the cascade's; the onset decides
        later = _full(*found)
        if overlap(face.box, later) < 0.4:
            raise FaceError(
                f"the face jumps from {face.box} in frame {onset} to {later} in frame {position}: a cut, another"
                " person, or a large head movement; give a shorter clip"
            )
