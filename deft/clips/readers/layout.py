"""What the data sets have in common: a layout says where things stand, an entry is what one row says, a clip is made of it.

Each data set is one file beside this one with a `LAYOUT` and, where its sheet has habits of its own, an `entries` function.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deft.clips import labels
from deft.clips.facs import parse_action_units
from deft.clips.readers import sheets
from deft.clips.readers.library import Library, Place
from deft.clips.readers.recorded import RecordedClip
from deft.clips.readers.reel import NO_FRAMES, Finder, Reel
from deft.clips.readers.report import Report
from deft.clips.readers.sheets import Column, Row, Table

SUBJECT = Column("subject", ("Subject", "Subject ID", "sub", "sub_ID", "SubjectNumber", "Participant"), needed=True)
FILENAME = Column("filename", ("Filename", "File name", "Clip", "Video"), needed=True)
ONSET = Column("onset", ("OnsetFrame", "Onset", "OnsetF", "Onset Frame Number"))
APEX = Column("apex", ("ApexFrame", "Apex", "ApexF", "ApexF1"))
OFFSET = Column("offset", ("OffsetFrame", "Offset", "OffsetF"))
UNITS = Column("units", ("Action Units", "Action Unit", "AU", "AUs"))
EMOTION = Column("emotion", ("Estimated Emotion", "Emotion", "Emotions", "Expression"))
OBJECTIVE = Column("objective", ("Objective Classes", "Objective Class"))


@dataclass(frozen=True)
class Subjects:
    """The canonical form of subject ids: `prefix` and a number of at least `width` digits ("s", 2: s03)."""

    prefix: str = ""
    width: int = 0

    def canonical(self, text: str) -> str:
        """`1`, `01`, `s1`, `sub01` are one subject; what is no letters-then-number stays as it is."""
        match = re.fullmatch(r"[^\W\d]*[ ._-]?(?:NO\.?)?([0-9]+)", text, re.IGNORECASE)
        return f"{self.prefix}{int(match[1]):0{self.width}d}" if match else text


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps what. files: patterns of the sheet's plain name, best first; named: its names as published.

    rate: frames per second, None when the sheet has it. where: entry -> folder names under which its frames may lie, see `Library.find`.
    key: what tells rows apart. camera: of several cameras filming the same clip names, the one that is read.
    """

    files: tuple[str, ...]
    named: tuple[str, ...]
    columns: tuple[Column, ...]
    rate: float | None
    where: Callable[[Entry], Sequence[tuple]]
    subjects: Subjects | None = None
    sheets: tuple[str, ...] = ()
    only_named: bool = False
    positions: tuple[str, ...] | None = None  # fields from left to right, in a sheet without a heading,
    preamble: int = 0  # after so many rows
    key: tuple[str, ...] = ("subject", "filename")
    camera: str = ""
    first: int = 1  # number of a video's first frame


@dataclass
class Entry:
    """What a sheet says about one clip, frame numbers as the source counts them."""

    row: Row
    subject: str
    filename: str
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None
    units: object = None
    emotion: str = ""
    objective: int | None = None
    rate: float | None = None
    kind: str = "micro"
    split: str = ""
    edition: str = ""
    coarse: str = ""
    frames_at: str = ""  # a path the sheet itself gives
    folder: str = ""  # a folder name that only another sheet knows
    id: str = ""
    has_apex: bool = True
    columns: dict[str, str] = field(default_factory=dict)  # where a field stands in another column than usual: onset -> onset2
    apex_estimated: bool = False
    marks: list[str] = field(default_factory=list)  # what was done to this entry alone, beside the notes of its row

    def odd(self, column: str, what: str, value: object = None) -> None:
        """Report an oddity of this entry and mark the clip with it."""
        before = len(self.row.notes)
        self.row.odd(self.columns.get(column, column), what, value, clip=self.id)
        self.marks += self.row.notes[before:]
        del self.row.notes[before:]  # another interval of the same row is another clip


    def cell(self, column: str) -> object:
        """What the sheet has for a field, "" when it is empty."""
        value = self.row.values.get(self.columns.get(column, column))
        return "" if value is None else value


def entries(table: Table, layout: Layout) -> Iterator[Entry]:
    """One entry per row of a sheet whose columns carry the common fields."""
    for row, subject in zip(table.rows, subject_ids(table, layout.subjects)):
        yield Entry(row, subject, row.text("filename"), row.whole("onset"), row.whole("apex", quiet=True), row.whole("offset"),
                    row.values.get("units"), row.text("emotion"), objective_class(row), layout.rate, has_apex=table.has("apex"))


def subject_ids(table: Table, form: Subjects | None) -> list[str]:
    """Canonical subjects, row by row; a row that writes them otherwise than most rows of the sheet do is reported.

    form: None when the data set has no form of its own: then the first spelling of a subject is the one for all its rows.
    """
    written = [row.text("subject") for row in table.rows]
    if form is None:
        spellings: dict[str, str] = {}
        read = [spellings.setdefault(Subjects().canonical(text) if _PLAIN_ID.fullmatch(text) else text, text) for text in written]
        strange = [text != subject for text, subject in zip(written, read)]
    else:
        read = [form.canonical(text) for text in written]
        habits = [_habit(text, form) for text in written]
        usual = [Counter(habit[i] for habit in habits if habit[i] is not None).most_common(1) for i in (0, 1)]
        strange = [any(habit[i] is not None and habit[i] != usual[i][0][0] for i in (0, 1)) for habit in habits]
    for row, text, subject, odd in zip(table.rows, written, read, strange):
        if not text:
            row.odd("subject", "no subject; left empty", "")
        elif odd:
            row.odd("subject", f"written otherwise than in {'an earlier row' if form is None else 'most rows'}; read as {subject}")
    return read


_PLAIN_ID = re.compile(r"(s|sub|subject|p)?[ ._-]?[0-9]+", re.IGNORECASE | re.ASCII)  # 1, 01, s1: the same subject; anna1 is not


def _habit(text: str, form: Subjects) -> tuple[str | None, str | None]:
    """How a subject is written -> (prefix, padding); None where a text does not tell: 10 is written the same with and without padding."""
    if not text:
        return None, None
    prefix, digits = re.fullmatch(r"(.*?)([0-9]*)", text, re.DOTALL).groups()
    return prefix.lower(), f"{len(digits)} digits" if digits.startswith("0") else "none" if len(digits) < form.width else None


def objective_class(row: Row) -> int | None:
    """1..7, also from roman numbers (CAS(ME)^3) and text; anything else is reported."""
    text = row.text("objective").upper()
    if not text:
        return None
    romans = ("I", "II", "III", "IV", "V", "VI", "VII")
    if text in romans:
        return romans.index(text) + 1
    if re.fullmatch("[1-7]", text):
        return int(text)
    row.odd("objective", "is no objective class (1..7 or I..VII); left empty")
    return None


def frame_rate(entry: Entry, least: float, most: float) -> float | None:
    """Frames per second from the row, or None; what no camera of this kind can be is reported."""
    text = entry.row.text("rate")
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0  # no number: refused below, with the cell
    if least <= rate <= most:
        return rate
    entry.odd("rate", f"is no frame rate ({least:g}..{most:g} per second); the times of this clip are not known", text)
    return None


def spell_emotions(found: list[Entry]) -> None:
    """Emotions in lower case. A spelling that is rare in its sheet (`Others` among `others`) is reported."""
    spellings: dict[str, Counter] = {}
    for entry in found:
        spellings.setdefault(entry.emotion.lower(), Counter())[entry.emotion] += 1
    for entry in found:
        usual = spellings[entry.emotion.lower()].most_common(1)[0][0]
        if entry.emotion != usual:
            entry.odd("emotion", f"written {usual!r} in most rows; read as {entry.emotion.lower()!r}")
        entry.emotion = entry.emotion.lower()


def check_moments(entry: Entry) -> None:
    """Onset <= apex <= offset, or a report of which is not; an apex that cannot be used becomes the middle, and is marked.

    The middle is what the field uses where a sheet has no apex (SMIC); `deft.motion` can find a better one in the frames.
    """
    onset, apex, offset = entry.onset, entry.apex, entry.offset
    for name in ("onset", "offset"):
        if getattr(entry, name) is None and entry.cell(name) == "" and entry.row.table.has(name):
            entry.odd(name, f"no {name}; left empty", "")
    if onset is not None and offset is not None and offset < onset:
        if apex is not None and apex >= onset:
            entry.odd("offset", f"lies before the onset {onset} and the apex {apex}; left empty")
            entry.offset = offset = None
        elif apex is not None and apex <= offset:
            entry.odd("onset", f"lies after the apex {apex} and the offset {offset}; left empty")
            entry.onset = onset = None
        else:
            entry.odd("offset", f"lies before the onset {onset}; both left empty")
            entry.onset = entry.offset = onset = offset = None
    middle = (onset + offset) // 2 if onset is not None and offset is not None else None
    outside = apex is not None and ((onset is not None and apex < onset) or (offset is not None and apex > offset))
    if apex is None or outside:
        written = entry.cell("apex")
        why = f"apex {apex} lies outside onset..offset ({onset}..{offset})" if outside else f"{written!r} is no frame number" if written != "" else "no apex"
        done = f"estimated as the middle of onset and offset, {middle}" if middle is not None else "left empty"
        if entry.has_apex:
            entry.odd("apex", f"{why}; {done}", written)
        else:
            entry.marks.append(f"apex: the sheet has none; {done}")  # reported once for the whole sheet
        entry.apex, entry.apex_estimated = middle, middle is not None
    elif apex == onset:
        entry.odd("apex", "apex = onset; kept as written")
    elif apex == offset:
        entry.odd("apex", "apex = offset; kept as written")


def name_entries(dataset: str, found: list[Entry], key: Sequence[str]) -> None:
    """Ids from the key; a key that occurs twice is reported and its later rows get the row number as well."""
    first: dict[tuple, Entry] = {}
    for entry in found:
        values = tuple(str(getattr(entry, name)) if getattr(entry, name) is not None else "" for name in key)
        entry.id = "_".join((dataset, *values))
        if not entry.filename:
            entry.odd("filename", "no file name; the clip is kept, its frames cannot be found")
        before = first.setdefault(values, entry)
        if before is not entry:
            entry.odd("filename", f"same {', '.join(key)} as row {before.row.number}; both were kept", ", ".join(values))
            entry.id += f"_row{entry.row.number}"


# ---------------------------------------------------------------- frames

def places(entry: Entry, layout: Layout, library: Library) -> list[Place]:
    """Where the frames of an entry may lie; with several cameras, only what does not belong to another one."""
    for tail in layout.where(entry):
        if all(tail) and (hits := library.find(tail)):
            ours = [hit for hit in hits if not layout.camera or _camera_fits(hit.name, layout.camera)]
            if ours:
                return ours
    return []


def _camera_fits(path: str, camera: str) -> bool:
    named = set(re.split(r"[^a-z0-9]+", path.lower())) & {"hs", "vis", "nir"}
    return not named or camera in named


def film(entry: Entry, layout: Layout, finder: Finder) -> Reel:
    """The reel of one entry, onset to offset; everything missing or broken is reported on the way."""
    def odd(what: str) -> None:
        entry.odd("frames", what, "")

    found = places(entry, layout, finder.library)
    if not found:
        tails = " or ".join("/".join("*" if part is ... else part for part in tail) for tail in layout.where(entry) if all(tail))
        odd(f"no frames; looked for a folder or video {tails or '(the row gives no name)'}")
        return Reel()
    # Pictures before videos (they are what was annotated), whole frames before cropped ones (faces are aligned here).
    found = sorted(found, key=lambda place: (place.video, place.cropped, str(place.path)))
    rivals = [place for place in found[1:] if (place.video, place.cropped) == (found[0].video, found[0].cropped)]
    if rivals:
        odd(f"several places: {', '.join(place.name for place in found[:3])}; the first was used")
    moments = [moment for moment in (entry.onset, entry.apex, entry.offset) if moment is not None]
    span = (min(moments), max(moments)) if len(moments) > 1 else finder.span(found[0])
    if span is None:
        odd(f"{found[0].name}: no usable frame")
        return Reel()
    return finder.reel(found[0], *span, odd)


def position(number: int | None, name: str, reel: Reel, entry: Entry) -> int | None:
    """Where a frame number stands in the reel; for a missing frame the nearest one, and that is reported."""
    if number is None or not len(reel):
        return None
    if number in reel.numbers:
        return reel.numbers.index(number)
    nearest = min(range(len(reel)), key=lambda t: abs(reel.numbers[t] - number))
    entry.odd(name, f"frame {number} is missing; frame {reel.numbers[nearest]} stands for it")
    return nearest


# ---------------------------------------------------------------- clips

def clip(dataset: str, entry: Entry, layout: Layout, finder: Finder | None) -> RecordedClip:
    """One entry -> one clip. finder: None when no frames are wanted."""
    check_moments(entry)
    parsed = parse_action_units(entry.units)
    for text in parsed.unparsed:
        entry.odd("units", f"{text!r} is no action unit; kept verbatim", entry.units)
    if entry.emotion and not labels.known(dataset, entry.emotion):
        entry.odd("emotion", f"{entry.emotion!r} is not in the label table of {dataset}; kept, without a coarse class")
    elif not entry.emotion and not entry.coarse and entry.row.table.has("emotion"):
        entry.odd("emotion", "no emotion; left empty", "")
    moments = {"onset": entry.onset, "apex": entry.apex, "offset": entry.offset}
    reel = film(entry, layout, finder) if finder else Reel()
    if len(reel):
        moments = {name: position(number, name, reel, entry) for name, number in moments.items()}
    return RecordedClip(
        frames=reel if len(reel) else np.zeros(NO_FRAMES, np.uint8), times_ms=_times(reel, moments["onset"], entry.rate), fps=entry.rate,
        id=entry.id, dataset=dataset, subject=entry.subject, action_units=parsed.units, emotion=entry.emotion,
        coarse=entry.coarse or labels.classes(dataset, entry.emotion, 3) or "", notes=(*_said(entry), *entry.row.notes, *entry.marks),
        filename=entry.filename, kind=entry.kind, objective=entry.objective, unparsed=parsed.unparsed, apex_estimated=entry.apex_estimated,
        numbers=reel.numbers, file=entry.row.table.file, sheet=entry.row.table.sheet, row=entry.row.number, edition=entry.edition,
        split=entry.split, **moments)


def _said(entry: Entry) -> tuple[str, ...]:
    return (f"edition {entry.edition}",) if entry.edition else ()


def _times(reel: Reel, onset: int | None, rate: float | None) -> np.ndarray:
    """(T,) ms, 0 = onset (the first frame when the onset is not known); NaN when the frame rate is not known."""
    numbers = np.asarray(reel.numbers, np.float64)
    if not len(numbers):
        return numbers
    return (numbers - numbers[onset or 0]) * (1000.0 / rate if rate else np.nan)


def open_tables(layout: Layout, root: Path, report: Report) -> list[Table]:
    """The sheet of a data set that keeps everything in one."""
    path = sheets.find(root, layout.files, layout.named, report)
    return [sheets.table(path, layout.columns, report, layout.sheets, layout.only_named, layout.positions, layout.preamble)]
