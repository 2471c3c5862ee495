"""A clip without annotation: its face and landmarks, the aligned frames, and the moments of its movement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deft.clips.footage import Footage, Frames
from deft.faces import align, detect, imported, landmarks, regions
from deft.faces.mesh import Mesh
from deft.motion import moments


class ClipError(ValueError):
    """The clip cannot be analysed; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Located(align.Aligned):
    """source: (68, 2) px of the clip's own frame; at: the frame they are of; box: (x, y, w, h) px of the face there;
    face, how: where face and landmarks come from, in words."""

    source: np.ndarray
    at: int
    box: tuple
    face: str
    how: str


def check_order(onset: int | None, apex: int | None, offset: int | None) -> None:
    """The moments that are known must rise: onset < apex <= offset. Raises ClipError."""
    for (early, a), (late, b), strict in (
        (("ONSET", onset), ("APEX", apex), True),
        (("APEX", apex), ("OFFSET", offset), False),
        (("ONSET", onset), ("OFFSET", offset), True),
    ):
        if a is not None and b is not None and (a >= b if strict else a > b):
            raise ClipError(
                f"{early} {a} is not before {late} {b}: frame numbers count from 0 and must rise from onset over apex"
                " to offset; correct them, or leave one out and it is found from the motion"
            )


def check_inside(count: int, **moments: int | None) -> None:
    """Every given frame number must exist in a clip of `count` frames, and leave room for a movement. Raises
    ClipError.
    """
    for name, value in moments.items():
        if value is not None and not 0 <= value < count:
            raise ClipError(
                f"{name.upper()} {value} is outside the clip: it has {count} decoded frames, numbered 0 to {count - 1}"
            )
    if moments.get("onset") == count - 1:
        raise ClipError(
            f"ONSET {count - 1} is the last frame of the clip: nothing moves after it; frame numbers count from 0"
        )
    for name in ("apex", "offset"):
        if moments.get(name) == 0:
            raise ClipError(
                f"{name.upper()} 0 is the first frame of the clip: the onset must lie before it; frame numbers count"
                f" from 0, leave {name.upper()}= out if you do not know it"
            )


def locate(
    footage: Footage | Frames,
    fps: float,
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    csv: Path | None = None,
    cascade: landmarks.Cascade | Mesh | None = None,
) -> tuple[Located, moments.Moments, list[str]]:
    """The landmarks of the onset frame, and the moments as they are found with them; what the reader must know, in
    sentences.

    fps: 1/s. onset, apex, offset: frame numbers that are known. csv: landmarks of another detector
    (`deft.faces.imported`); cascade: else, what refines those that face and eyes give. An onset that is not given is
    found with the landmarks of frame 0; where the face had moved until then, these lie elsewhere. So the face is found
    again at that onset, and the moments once more.
    Raises ClipError when it does not keep its place until the apex."""

    def find():
        found = moments.find(face.gray, face.landmarks, regions.masks(face.landmarks), fps, onset, apex, offset)
        check_order(found.onset, found.apex, found.offset)
        return found

    detect.check_uncut(footage)
    footage.hold({onset or 0, len(footage) // 2, len(footage) - 1})
    first = face = _align(footage, csv, onset or 0, cascade)
    when, notes = find(), []
    if when.onset != face.at:
        footage.hold({when.onset, len(footage) // 2, len(footage) - 1})
        face = _align(footage, csv, when.onset, cascade)
        when = find()
        if detect.union_share(first.box, face.box) < detect.STEADY:
            notes.append(
                f"The face lies elsewhere in frame {first.at} than at the onset; it was found again in frame {face.at},"
                " and the moments after that."
            )
    footage.hold({when.onset, when.apex})
    for name, at in (("onset", when.onset), ("apex", when.apex)):
        try:
            box = face.box if at == face.at else _face(footage, csv, at)[1]
        except detect.FaceError as error:
            if name == "onset" or "faces found" in str(error):
                raise
            notes.append(
                f"No face was found at the apex, frame {at}: whether the head kept its place until then is unknown."
            )
            continue
        share = detect.union_share(face.box, box)
        if share < detect.STEADY:
            raise ClipError(
                f"the face does not keep its place: its boxes in frame {face.at} and at the {name}, frame {at}, share"
                f" {share:.0%} of their area ({detect.STEADY:.0%} are needed). Cut the clip to a part in which the head"
                " is still, or give ONSET and APEX within one"
            )
    return face, when, notes


def _face(footage, csv, at):
    """(found face or landmarks, its box) of one frame."""
    if csv is not None:
        found = imported.read(csv, at)
        return found, (*found.min(0), *np.ptp(found, axis=0))
    try:
        found = detect.find_face(footage[at])
    except detect.FaceError as error:
        raise detect.FaceError(f"frame {at}: {error}") from error
    return found, found.box


def _align(footage, csv, at, cascade):
    """Face and landmarks of frame `at`, and one similarity for the whole clip, of which only the aligned faces are
    kept.
    """
    found, box = _face(footage, csv, at)
    if csv is not None:
        face, how = "you", "from your file"
    else:
        detect.check_stays(footage, found, at)
        face, how = (
            "a cascade",
            ("placed by face and eyes" if found.eyes_found else "placed by the face alone: the eyes were not found"),
        )
        if cascade:
            how += f", {cascade.words}"
        found = landmarks.from_face(footage[at], found, cascade)
    aligned = align.align_clip(footage, found)
    return Located(
        aligned.rgb, aligned.gray, aligned.landmarks.astype(np.float32), aligned.matrix, found, at, box, face, how
    )
