"""The frames of one clip, found now and decoded later: numbered pictures in a folder, or a stretch of a video.

Whole data sets do not fit into memory (CASME II alone is about 15 GB of decoded frames), so a reel keeps paths. A
picture is checked for being whole by its first and last bytes, a video by decoding it once from its start: seeking and
the container's own count are unreliable."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deft.clips.footage import PICTURES, broken, readable, video
from deft.clips.readers.library import Library, Place
from deft.clips.readers.report import Report

MAX_FRAMES = 20_000  # of one clip
NO_FRAMES = (0, 0, 0, 3)  # shape of `clip.frames` when there are none


class FramesError(ValueError):
    """Frames that were there when the sheet was read cannot be decoded; the message names the file."""


@dataclass(frozen=True)
class Reel:
    """numbers: (T,) frame numbers as the source counts them; files: one picture each, or () when they are in `video`.

    positions: (T,) which frames of the video, from 0.
    """

    numbers: tuple[int, ...] = ()
    files: tuple[Path, ...] = ()
    video: Path | None = None
    positions: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self) -> np.ndarray:
        """-> (T, H, W, 3) uint8 RGB. Raises FramesError for a picture or video that cannot be decoded or changes its
        size.
        """
        if not self.numbers:
            return np.zeros(NO_FRAMES, np.uint8)
        pictures = (
            [_picture(path) for path in self.files] if self.video is None else _stretch(self.video, self.positions)
        )
        sizes = {picture.shape for picture in pictures}
        if len(sizes) > 1:
            where = self.video or self.files[0].parent
            raise FramesError(
                f"{where}: frames differ in size ({', '.join(f'{w}x{h}' for h, w, _ in sorted(sizes))}); export them at"
                " one size"
            )
        return np.stack(pictures)


def _picture(path: Path) -> np.ndarray:
    # Read by Python, decoded from memory: OpenCV opens no path with non-Latin letters on Windows.
    picture = cv2.imdecode(np.frombuffer(path.read_bytes() or b"\0", np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise FramesError(f"{path}: cannot be decoded as a picture; copy it again from the release")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _stretch(path: Path, positions: tuple[int, ...]) -> list[np.ndarray]:
    with video(path) as capture:
        wanted, pictures = set(positions), {}
        for at in range(max(positions) + 1):
            if not capture.grab():
                raise FramesError(
                    f"{readable(path)}: ends after {at} frames, frame {max(positions) + 1} is needed; copy it again"
                    " from the release"
                )
            if at in wanted:
                found, picture = capture.retrieve()
                if not found:
                    raise FramesError(
                        f"{readable(path)}: frame {at + 1} cannot be decoded; copy it again from the release"
                    )
                pictures[at] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return [pictures[at] for at in positions]


class Finder:
    """Turns (place, first, last) into a reel. Folders are listed and videos counted once for all clips that share
    them.
    """

    def __init__(self, library: Library, report: Report, first: int = 1):
        """first: the number of a video's first frame."""
        self.library, self.report, self.first = library, report, first
        self._folders: dict[Path, dict[int, Path]] = {}
        self._videos: dict[Path, int] = {}

    def span(self, place: Place) -> tuple[int, int] | None:
        """First and last frame number of a place, None when it has no usable frame."""
        if place.video:
            count = self._count(place.path)
            return (self.first, self.first + count - 1) if count else None
        numbers = self._numbered(place.path)
        return (min(numbers), max(numbers)) if numbers else None

    def overlaps(self, place: Place, first: int, last: int) -> bool:
        """Does a place have any of the numbers first..last?"""
        span = self.span(place)
        return span is not None and span[0] <= last and span[1] >= first

    def reel(self, place: Place, first: int, last: int, odd: Callable[[str], None]) -> Reel:
        """Frames first..last (as the source counts) of a place. odd(what): called for what is missing or broken."""
        wanted = range(first, last + 1)
        span = self.span(place)
        name = place.name
        if span is None:
            odd(f"{name}: no usable frame")
            return Reel()
        if len(wanted) > MAX_FRAMES:
            odd(f"frames {first}..{last}: more than a clip can have ({MAX_FRAMES}); no frame was taken")
            return Reel()
        if place.video:
            known, files = set(range(span[0], span[1] + 1)), {}
        else:
            files = self._numbered(place.path)
            known = set(files)
        there = [number for number in wanted if number in known]
        if len(there) < len(wanted) == len(known) and (place.cropped or not there):
            # Cropped releases often start counting anew: the same number of frames, in the same order.
            odd(f"{name}: frames are numbered {span[0]}..{span[1]} instead of {first}..{last}; taken in order")
            taken = sorted(known)
        elif not there:
            odd(f"{name}: none of the frames {first}..{last}; it has {span[0]}..{span[1]}")
            return Reel()
        else:
            taken = there
            if lost := [number for number in wanted if number not in known]:
                odd(f"{name}: {len(lost)} of {len(wanted)} frames missing ({_some(lost)}); the others were kept")
            wanted = there
        if place.video:
            return Reel(tuple(wanted), (), place.path, tuple(number - self.first for number in taken))
        whole = {}
        for number, at in zip(wanted, taken):
            if wrong := broken(files[at]):
                odd(f"{self.library.relative(files[at])}: {wrong}; the frame was left out")
            else:
                whole[number] = files[at]
        return Reel(tuple(whole), tuple(whole.values()))

    def _numbered(self, folder: Path) -> dict[int, Path]:
        """Frame number -> picture. The number is the last run of digits in the name: img46, reg_img46, 006_05562 ->
        46, 46, 5562.
        """
        if folder in self._folders:
            return self._folders[folder]
        name = self.library.relative(folder)
        numbered: dict[int, Path] = {}
        pictures = sorted(
            (p for p in folder.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")),
            key=lambda p: (_number(p) or 0, p.name),
        )
        series = Counter(_series(p) for p in pictures)
        for path in pictures:
            number = _number(path)
            if number is None:
                self.report.add(
                    "picture without a number in its name; it is no frame", column="frames", value=path.name, file=name
                )
            elif number not in numbered:
                numbered[number] = path
            else:
                # Two series in one folder (img46 beside reg_img46): the longer one is the clip.
                keep, drop = sorted((numbered[number], path), key=lambda p: (-series[_series(p)], p.name))
                numbered[number] = keep
                self.report.add(
                    f"second picture with number {number}; {keep.name} was used",
                    column="frames",
                    value=drop.name,
                    file=name,
                )
        self._folders[folder] = numbered
        return numbered

    def _count(self, path: Path) -> int:
        """Frames that decode, from the start to the first that does not."""
        if path not in self._videos:
            count = 0
            with video(path) as capture:
                claimed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
                while capture.isOpened() and capture.grab():
                    count += 1
            name = self.library.relative(path)
            if not count:
                self.report.add(
                    "video that cannot be decoded: damaged, or a codec OpenCV lacks; copy it again or convert it"
                    " (ffmpeg -i in -c:v libx264 out.mp4)",
                    column="frames",
                    value=path.name,
                    file=name,
                )
            elif claimed > count:
                self.report.add(
                    f"video cut short: it says {claimed} frames, {count} can be decoded",
                    column="frames",
                    value=path.name,
                    file=name,
                )
            self._videos[path] = count
        return self._videos[path]


def _number(path: Path) -> int | None:
    runs = re.findall(r"[0-9]+", path.stem)
    return int(runs[-1]) if runs else None


def _series(path: Path) -> str:
    return re.sub(r"[0-9]+(?=[^0-9]*$)", "#", path.stem).lower() + path.suffix.lower()


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown + (", ..." if len(numbers) > 5 else "")
