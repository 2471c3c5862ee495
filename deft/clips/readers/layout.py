"""What the data sets have in common: a layout says where things stand, an entry is what one row says (`assemble` makes
the clip).

Each data set is one file beside this one with a `LAYOUT` and, where its sheets have habits of their own, functions
`entries` and `open_tables` that take the place of those here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deft.clips.readers import sheets
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
        match = re.fullmatch(r"[^\W\d]*[ ._-]?(?:NO\.?)?([0-9]{1,9})", text, re.IGNORECASE)
        return f"{self.prefix}{int(match[1]):0{self.width}d}" if match else text


@dataclass(frozen=True)
class Layout:
    """Where a data set keeps what. files: patterns of the sheet's plain name, best first; named: its names as
    published.

    rate: frames per second, None when the sheet has it. where: entry -> folder names under which its frames may lie,
    see `Library.find`. key: what tells rows apart. camera: of several cameras filming the same clip names, the one that
    is read."""

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
    nth: int = 1  # which of the clips that share subject and file name, in the order of the sheet
    begins: int | None = None  # number of the first frame of its recording, where the sheet says it
    id: str = ""
    has_apex: bool = True
    columns: dict[str, str] = field(
        default_factory=dict
    )  # where a field stands in another column than usual: onset -> onset2
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
        yield Entry(
            row,
            subject,
            row.text("filename"),
            row.whole("onset"),
            row.whole("apex", quiet=True),
            row.whole("offset"),
            row.values.get("units"),
            row.text("emotion"),
            objective_class(row),
            layout.rate,
            has_apex=table.has("apex"),
        )


def subject_ids(table: Table, form: Subjects | None) -> list[str]:
    """Canonical subjects, row by row; a row that writes them otherwise than most rows of the sheet do is reported.

    form: None when the data set has no form of its own: then the first spelling of a subject is the one for all its
    rows."""
    written = [row.text("subject") for row in table.rows]
    if form is None:
        spellings: dict[str, str] = {}
        read = [
            spellings.setdefault(Subjects().canonical(text) if _PLAIN_ID.fullmatch(text) else text, text)
            for text in written
        ]
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
            row.odd(
                "subject",
                f"written otherwise than in {'an earlier row' if form is None else 'most rows'}; read as {subject}",
            )
    return read


_PLAIN_ID = re.compile(
    r"(s|sub|subject|p)?[ ._-]?[0-9]+", re.IGNORECASE | re.ASCII
)  # 1, 01, s1: the same subject; anna1 is not


def _habit(text: str, form: Subjects) -> tuple[str | None, str | None]:
    """How a subject is written -> (prefix, padding); None where a text does not tell: 10 is written the same with
    and without padding.
    """
    if not text:
        return None, None
    prefix, digits = re.fullmatch(r"(.*?)([0-9]*)", text, re.DOTALL).groups()
    return prefix.lower(), (
        f"{len(digits)} digits" if digits.startswith("0") else "none" if len(digits) < form.width else None
    )


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


def open_tables(layout: Layout, root: Path, report: Report) -> list[Table]:
    """The sheet of a data set that keeps everything in one."""
    path = sheets.find(root, layout.files, layout.named, report)
    return [
        sheets.table(path, layout.columns, report, layout.sheets, layout.only_named, layout.positions, layout.preamble)
    ]
