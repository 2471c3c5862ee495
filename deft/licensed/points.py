"""Which file of a folder has the landmarks of which clip, and which of its rows is the clip's onset."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deft.clips.footage import PICTURES
from deft.clips.readers import RecordedClip
from deft.clips.readers.library import same
from deft.faces import imported
from deft.faces.detect import FaceError


@dataclass(frozen=True)
class Folder:
    """Which file has the points of which clip. files: {clip id: CSV}; clips without one have no landmarks."""

    path: Path
    files: dict[str, Path]

    @classmethod
    def of(cls, path: Path, clips: Iterable[RecordedClip]) -> Folder:
        """Looks below `path`, without case and zero-padding, for <id>.csv, <subject>/<filename>.csv,
        <subject>_<filename>.csv, or, in `path` itself, <filename>.csv where only one subject has clips of that name
        (further down it may be a subject's who is not among `clips`). FaceError when there is none of all.
        """
        if not path.is_dir():
            raise FaceError(f"{path}: no such folder; LANDMARKS= names one with a CSV of 68 points per clip")
        tails: dict[tuple[str, ...], Path] = {}
        plain: dict[str, Path] = {}
        for file in sorted(path.rglob("*.csv")):
            parts = tuple(same(part) for part in file.relative_to(path).with_suffix("").parts)
            for length in (1, 2):
                tails.setdefault(parts[-length:], file)
            if len(parts) == 1:
                plain.setdefault(parts[0], file)
        clips = list(clips)
        owners: dict[str, set] = {}
        for clip in clips:
            owners.setdefault(same(clip.filename), set()).add(clip.subject)
        found = {}
        for clip in clips:
            name, subjects = same(clip.filename), [same(clip.subject), same(f"sub{clip.subject}")]
            wanted = [(same(clip.id),), *((one, name) for one in subjects)]
            wanted += [(same(f"{one}_{clip.filename}"),) for one in (clip.subject, f"sub{clip.subject}")]
            alone = plain.get(name) if len(owners[name]) == 1 else None
            if file := next((tails[tail] for tail in wanted if tail in tails), alone):
                found[clip.id] = file
        if not found:
            raise FaceError(
                f"{path}: no CSV for any of {len(clips)} clips; a file is named <subject>/<filename>.csv or <clip>.csv,"
                f" for instance {clips[0].subject}/{clips[0].filename}.csv"
            )
        return cls(path, found)

    def points(self, clip: RecordedClip) -> np.ndarray:
        """The points (68, 2) px of the clip's onset. FaceError: no file, or its rows are of other frames.

        A file has points of one frame (the onset), of the clip from onset to offset, or of all frames of its folder or
        video; which, is told by how many rows there are.
        """
        if (file := self.files.get(clip.id)) is None:
            raise FaceError(f"no landmarks below {self.path}; add {clip.subject}/{clip.filename}.csv")
        rows, reel = imported.count(file), clip.__dict__.get("_source")
        if rows in (1, len(clip.numbers)):
            return imported.read(file, 0 if rows == 1 else clip.onset)
        if positions := getattr(reel, "positions", ()):
            if rows > max(positions):
                return imported.read(file, positions[clip.onset])
            whole = f"its video has more than {max(positions)}"
        else:
            place = reel.files[clip.onset]
            names = [p.name for p in place.parent.iterdir() if p.suffix.lower() in PICTURES and p.name[0] != "."]
            names.sort(key=lambda name: (int((re.findall("[0-9]+", name) or [0])[-1]), name))
            if rows == len(names):
                return imported.read(file, names.index(place.name))
            whole = f"its folder has {len(names)}"
        raise FaceError(
            f"{file} has points of {rows} frames; the clip has {len(clip.numbers)}, {whole}: give a row for the onset"
            " alone, for each frame of the clip, or for all"
        )
