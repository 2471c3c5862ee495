"""What lies under the folder of a data set: folders of pictures, videos, archives. Listed once, opened only when asked.

Names are compared without case and without zero-padding (`s03_ne_01` is `s3_ne_01`, `006` is `6`), in one Unicode form:
sheets and folders of the same data set disagree in just these ways.
"""

from __future__ import annotations

import os
import re
import tarfile
import unicodedata
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from deft.clips.footage import PICTURES
from deft.clips.readers.report import ReaderError, Report

VIDEOS = (".avi", ".mp4", ".mov", ".mkv", ".m4v", ".wmv")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".rar", ".7z", ".bz2", ".xz")
MAX_FOLDERS, MAX_MEMBERS = 200_000, 1_000_000
CROPPED = re.compile(r"crop|aligned|regist", re.IGNORECASE)


def same(name: str) -> str:
    """The form in which names are compared."""
    text = unicodedata.normalize("NFC", name).strip().casefold()
    return re.sub(r"(?<![0-9])0+(?=[0-9])", "", text)


@dataclass(frozen=True)
class Place:
    """Where frames of a clip lie: a folder of pictures or a video file. name: its path below the root."""

    path: Path
    name: str
    video: bool

    @property
    def cropped(self) -> bool:
        """Whether its path says that faces were cropped."""
        return bool(CROPPED.search(self.name))


class Library:
    """Folders that hold pictures, videos and archives below `root`. Links are followed, each folder once."""

    def __init__(self, root: Path):
        self.root = root if root.is_dir() else root.parent

    @cached_property
    def _listing(self) -> tuple[dict[str, list[Place]], list[Path]]:
        places: dict[str, list[Place]] = {}
        archives: list[Path] = []
        waiting, seen = [self.root], set()
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            if len(seen) > MAX_FOLDERS:
                raise ReaderError(f"{self.root}: more than {MAX_FOLDERS} folders; point at the folder of one data set")
            pictures = False
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                raise ReaderError(
                    f"{folder}: cannot be listed ({error.strerror}); give yourself the right to read it"
                ) from error
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                if suffix in PICTURES:
                    pictures = True
                elif suffix in VIDEOS:
                    places.setdefault(same(os.path.splitext(entry.name)[0]), []).append(self._place(entry.path, True))
                elif suffix in ARCHIVES and entry.is_file():
                    archives.append(Path(entry.path))
                elif entry.is_dir():
                    waiting.append(Path(entry.path))
            if pictures:
                places.setdefault(same(folder.name), []).append(self._place(folder, False))
        return places, archives

    def _place(self, path: str | Path, video: bool) -> Place:
        return Place(Path(path), self.relative(Path(path)), video)

    @property
    def empty(self) -> bool:
        """No picture and no video anywhere."""
        return not self._listing[0]

    @property
    def archives(self) -> list[Path]:
        """Archive files below the root; they are never opened."""
        return self._listing[1]

    def packed(self) -> str:
        """Words for an error where frames are missing: which archives lie here, "" when none do."""
        if not self.archives:
            return ""
        more = f" and {len(self.archives) - 3} more" if len(self.archives) > 3 else ""
        return (
            f"; {', '.join(self.relative(path) for path in self.archives[:3])}{more}: not unpacked yet? Archives are"
            " never opened here"
        )

    def find(self, tail: tuple) -> list[Place]:
        """Places whose path ends with the folder names of `tail`; the last may be a video. `...` after it: its name
        may go on.
        """
        places, open_end = self._listing[0], tail[-1] is ...
        wanted = [same(part) for part in (tail[:-1] if open_end else tail)]
        last = wanted[-1]
        hits = (
            [place for name in places if name.startswith(last) for place in places[name]]
            if open_end
            else places.get(last, [])
        )
        return [place for place in hits if self._above(place, len(wanted) - 1) == wanted[:-1]]

    def _above(self, place: Place, count: int) -> list[str]:
        parts = Path(place.name).parts[:-1]
        return [same(part) for part in parts[len(parts) - count :]] if count else []

    def relative(self, path: Path) -> str:
        """A path as text below the root; of a path elsewhere its name."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else path.name

    def report_archives(self, report: Report) -> None:
        """Archives are never unpacked here; those whose members would be written elsewhere are named as dangerous."""
        for path in self.archives:
            name = self.relative(path)
            try:
                bad = _escaping(path)
            except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
                report.add(f"archive that cannot be read ({error}); not opened further", file=name)
                continue
            for member in bad[:5]:
                report.add(
                    "archive with a member that would be written outside its folder; do not unpack it, ask for a clean"
                    " copy",
                    value=member,
                    file=name,
                )
            if not bad:
                report.add("archive left as it is; unpack it yourself if the frames are in it", file=name)


def _escaping(path: Path) -> list[str]:
    """Members of a .zip or .tar whose path is absolute or climbs with `..`, or that are links."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [
                (member.filename, (member.external_attr >> 16) & 0o170000 == 0o120000)
                for member in archive.infolist()[:MAX_MEMBERS]
            ]
    elif path.name.lower().endswith((".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")):
        names = []
        with tarfile.open(path) as archive:
            for member in archive:
                names.append((member.name, member.issym() or member.islnk()))
                if len(names) >= MAX_MEMBERS:
                    break
    else:
        return []
    return [name for name, link in names if link or climbs(name)]


def climbs(name: str) -> bool:
    """True for a path that is absolute (also in the Windows way) or has a `..` in it."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name) is not None
