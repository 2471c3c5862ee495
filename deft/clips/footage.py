"""A clip's frames on disk, decoded one after the other: a folder of pictures or a video, of any size and under any file
name.

A minute of 1080p is 20 GB of decoded frames, so `Footage` keeps at most `KEPT_BYTES` of them and decodes the file again
for each pass over a larger clip. Seeking and a container's own count of frames are unreliable: frames are decoded from
the start."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
MAX_FRAMES = (
    6_000  # of one clip: 30 s at 200 fps, and 400 MB of aligned frames; a longer file is a recording, not a clip
)
MAX_PIXELS = 40_000_000  # of one frame: above 8K
KEPT_BYTES = 256 * 2**20  # of decoded frames in memory
ROUNDING = 2, 0.05  # frames, share: a whole video may fall short of its container's count by the larger of the two
_ENDS = {
    ".jpg": (b"\xff\xd8", b"\xff\xd9"),
    ".jpeg": (b"\xff\xd8", b"\xff\xd9"),
    ".png": (b"\x89PNG", b"IEND\xaeB`\x82"),
}


class FootageError(ValueError):
    """The clip cannot be read, or not all of it; the message names the file and what to do."""


def readable(path: str | Path) -> str:
    """A path as text that every file and terminal can show: bytes that are not UTF-8 become escapes (\\xff)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which frame10 follows frame9."""
    return [
        (int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"([0-9]+)", str(name)) if part
    ]


@contextmanager
def video(path: Path) -> Iterator[cv2.VideoCapture]:
    """An open `cv2.VideoCapture`, released at the end. OpenCV ends the process on a path that is not UTF-8; such a
    file is opened through a link.
    """
    with tempfile.TemporaryDirectory(prefix="deft-") as folder:
        name = str(path)
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            name = os.path.join(folder, "video" + (path.suffix if path.suffix.isascii() else ""))
            os.symlink(os.path.abspath(path), name)
        capture = cv2.VideoCapture(name)
        try:
            yield capture
        finally:
            capture.release()


def decode(path: Path, bits: int = 8) -> np.ndarray:
    """A picture -> (H, W, 3) uint8 RGB. bits: those in use of a 16-bit picture; the upper 8 of them are kept.

    The file is read by Python: OpenCV opens no path that is not UTF-8. Raises FootageError.
    """
    picture = _raw(path)
    if picture.dtype != np.uint8:
        picture = np.right_shift(picture, max(bits - 8, 0)).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _raw(path):
    content = np.frombuffer(path.read_bytes() or b"\0", np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if picture is None or picture.dtype not in (np.uint8, np.uint16):
        picture = cv2.imdecode(content, cv2.IMREAD_COLOR)
    if picture is None:
        raise FootageError(f"{readable(path)} cannot be decoded as a picture: remove or replace it")
    return picture


class Footage:
    """The frames of one clip. `footage[t]` and iteration give (H, W, 3) uint8 RGB; `len` counts what can be decoded.

    fps: 1/s, None when the source does not say; size: (width, height) px; notes: what the reader should know, in
    sentences. Opening decodes every frame once. Raises FootageError for a path that is missing, damaged, cut short, has
    fewer than two frames, more than `max_frames`, or frames that differ in size."""

    def __init__(self, path: str | Path, max_frames: int = MAX_FRAMES, kept_bytes: int = KEPT_BYTES):
        self.path, self.name, self.limit = Path(path), readable(path), max_frames
        self.fps, self.notes, self.bits, self._files, self._held, self._all = None, [], 8, None, {}, None
        if not self.path.exists():
            raise FootageError(
                f"{self.name}: no such file or folder; give CLIP= the path of a video or of a folder of frames"
            )
        if self.path.is_dir():
            self._open_folder()
        kept, count, shapes = [], 0, set()
        for frame in self._decode():
            count, shapes = count + 1, shapes | {frame.shape[1::-1]}
            if len(shapes) > 1:
                raise FootageError(
                    f"{self.name}: frames differ in size ({', '.join(f'{w}x{h}' for w, h in sorted(shapes))}); export"
                    " them at one size"
                )
            if kept is not None:
                kept.append(frame)
            if count * frame.nbytes > kept_bytes:
                kept = None
        if count < 2:
            raise FootageError(
                f"{self.name} has {count} frame{'s' * (count != 1)}; motion needs at least an onset and a later frame"
            )
        self._count, self._all, self.size = count, kept, shapes.pop()

    def __len__(self):
        return self._count

    def __iter__(self):
        return iter(self._all) if self._all is not None else self._decode()

    def __getitem__(self, number):
        if not 0 <= number < self._count:
            raise IndexError(f"{self.name} has frames 0 to {self._count - 1}, not {number}")
        if self._all is not None:
            return self._all[number]
        if number not in self._held:
            self.hold([number])
        return self._held[number]

    def hold(self, numbers: Iterable[int]) -> None:
        """Decode these frames in one pass and keep them until the next call, for `footage[t]`."""
        wanted, held = set(numbers), {}
        if self._all is None and not wanted <= self._held.keys():
            for number, frame in enumerate(self._decode()):
                if number in wanted:
                    held[number] = frame
                if len(held) == len(wanted):
                    break
            self._held = held

    def _decode(self):
        return self._video() if self._files is None else (decode(file, self.bits) for file in self._files)

    def _open_folder(self):
        files = sorted(
            (p for p in self.path.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")),
            key=lambda p: natural(p.name),
        )
        if not files:
            raise FootageError(f"{self.name} holds no pictures ({', '.join(PICTURES)})")
        if len(files) > self.limit:
            raise FootageError(
                f"{self.name} holds {len(files)} pictures, more than {self.limit}: cut the clip around the movement"
            )
        for file in files:
            if wrong := broken(file):
                raise FootageError(f"{readable(file)} {wrong}: copy it again, or remove it")
            self._check_size(*_size(file), readable(file))
        self._files = files
        if _raw(files[0]).dtype == np.uint16:
            # Cameras of 10 or 12 bits save 16-bit files: taken as 16 bits, four grey levels would be left.
            self.bits = max(8, max(int(_raw(file).max()) for file in files).bit_length())
            self.notes.append(
                f"The pictures hold 16 bits, of which {self.bits} are used; the upper 8 of these were taken."
            )

    def _check_size(self, width, height, name):
        if width * height > MAX_PIXELS:
            raise FootageError(
                f"{name}: a frame of {width}x{height} is larger than {MAX_PIXELS // 10**6} megapixels: crop it to the"
                " face or export it smaller"
            )

    def _video(self):
        again = "re-encode it (ffmpeg -i in -c:v libx264 out.mp4) or give a folder of frames"
        with video(self.path) as capture:
            if not capture.isOpened():
                raise FootageError(
                    f"{self.name} cannot be decoded: not a video, damaged, or a codec OpenCV lacks; {again}"
                )
            self._check_size(
                int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), self.name
            )
            fps, claimed, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0
            while True:
                found, picture = capture.read()
                if not found:
                    break
                count += 1
                if count > self.limit:
                    raise FootageError(
                        f"{self.name} has more than {self.limit} frames: cut the clip around the movement"
                    )
                yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        if not count:
            raise FootageError(f"{self.name} opens, but not one frame can be decoded; {again}")
        if count < claimed - max(ROUNDING[0], ROUNDING[1] * claimed):
            raise FootageError(
                f"{self.name} is cut short: it says {claimed} frames, {count} can be decoded; copy it again from its"
                " source. If the rest is lost, re-encode what is whole (ffmpeg -i in -c:v libx264 out.mp4)"
            )
        if count < claimed and not self.notes:
            self.notes.append(f"The file says {claimed} frames, {count} can be decoded: its end may be missing.")
        self.fps = float(fps) if 1 <= fps <= 10_000 else None


def _size(path):
    """(width, height) from a picture's header; (0, 0) when only decoding will tell."""
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
            with Image.open(file) as picture:
                return picture.size
    except Image.DecompressionBombError:
        return 2**16, 2**16
    except OSError:
        return 0, 0  # Pillow does not know the format; OpenCV's own limit of 2^30 pixels holds


def broken(path: Path) -> str | None:
    """What is wrong with a picture file, in words, or None. Only a file without its proper ends is decoded."""
    try:
        data_ends = _ENDS.get(path.suffix.lower())
        with open(path, "rb") as file:
            start = file.read(8)
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - 64))
            end = file.read()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if size == 0:
        return "is empty"
    if path.suffix.lower() == ".bmp" and start[:2] == b"BM":
        return "is cut short" if int.from_bytes(start[2:6], "little") > size else None
    if data_ends and start.startswith(data_ends[0]):
        return None if data_ends[1] in end else "is cut short"
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    return "cannot be decoded as a picture" if decoded is None else None


class Frames(Footage):
    """Footage that is in memory. frames: (H, W, 3) RGB or (H, W) uint8 each, of one size; FootageError for others."""

    path, name, fps, notes = None, "the clip", None, ()

    def __init__(self, frames: Iterable[np.ndarray]):
        pictures = [np.asarray(frame) for frame in frames]
        if len(pictures) < 2:
            raise FootageError(
                f"{self.name} has {len(pictures)} frame{'s' * (len(pictures) != 1)}; motion needs at least an onset and"
                " a later frame"
            )
        for number, picture in enumerate(pictures):
            if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or picture.ndim == 3 and picture.shape[2] != 3:
                raise FootageError(
                    f"frame {number} is {picture.dtype} {picture.shape}: frames must be uint8, (H, W, 3) RGB or (H, W)"
                )
            if picture.shape[:2] != pictures[0].shape[:2]:
                raise FootageError(
                    f"frame {number} is {picture.shape[:2]} px and frame 0 {pictures[0].shape[:2]}: all frames must"
                    " have one size"
                )
        self._all = [
            picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) for picture in pictures
        ]
        self._count, self.size = len(self._all), self._all[0].shape[1::-1]
