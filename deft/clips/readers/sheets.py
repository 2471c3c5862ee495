"""Annotation sheets: found by their file's name, columns found by their headings, every cell that is no plain value
reported.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deft.clips.readers.library import Library
from deft.clips.readers.report import ReaderError, Report
from deft.clips.readers.workbook import SUFFIXES, Sheet, sheets

HEADER_WITHIN = 40  # rows in which a heading is looked for; SAMM's stands on row 14
ERRORS = (
    "#REF!",
    "#DIV/0!",
    "#N/A",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#VALUE!",
)  # what a spreadsheet shows for a broken formula


@dataclass(frozen=True)
class Column:
    """A column that is looked for. names: headings it goes by, compared without case, blanks and punctuation."""

    field: str
    names: tuple[str, ...]
    needed: bool = False  # without it no row can be told from another
    quiet: bool = False  # its absence needs no report


@dataclass
class Row:
    """One row of a sheet. values: field -> cell value (None when empty or absent); notes: what was odd about this
    row.
    """

    table: Table
    number: int
    values: dict[str, object]
    notes: list[str] = field(default_factory=list)

    def odd(self, column: str, what: str, value: object = None, clip: str = "") -> None:
        """Report an oddity of the cell in `column` (a field of the table) and mark the row with it."""
        value = self.values.get(column) if value is None else value
        heading = self.table.headings.get(column, column)
        self.table.report.add(
            what, sheet=self.table.sheet, row=self.number, column=heading, value=value, file=self.table.file, clip=clip
        )
        self.notes.append(f"{heading}: {what}")

    def text(self, column: str) -> str:
        """The cell as text without surrounding blanks; whole numbers without a decimal point; "" when empty."""
        value = self.values.get(column)
        if value is None:
            return ""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return unicodedata.normalize("NFC", str(value)).strip()

    def whole(self, column: str, what: str = "is no frame number", quiet: bool = False) -> int | None:
        """The cell as a whole number >= 0, or None; a cell that holds something else is reported (by the caller if
        quiet).
        """
        value = self.values.get(column)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        text = self.text(column)
        if not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,12}(\.0+)?", text, re.ASCII):
            return int(text.partition(".")[0])
        if not quiet:
            self.odd(column, f"{text!r} {what}; left empty")
        return None


@dataclass
class Table:
    """Rows of one sheet under one heading. headings: field -> heading as written there."""

    file: str
    sheet: str
    headings: dict[str, str]
    rows: list[Row]
    report: Report
    about: dict[str, object] = field(default_factory=dict)  # what a reader knows about the whole sheet

    def has(self, column: str) -> bool:
        """Whether the sheet has a column for this field."""
        return column in self.headings

    def odd(self, column: str, what: str, value: object = "") -> None:
        """Report something about the whole sheet."""
        self.report.add(what, sheet=self.sheet, column=self.headings.get(column, column), value=value, file=self.file)


def plain(text: object) -> str:
    """For comparing names: NFKC, lower case, letters and digits only. "Onset Frame", "onset_frame", "OnsetFrame" are
    one.
    """
    return "".join(c for c in unicodedata.normalize("NFKC", str(text)).casefold() if c.isalnum())


# ---------------------------------------------------------------- finding the file


def spreadsheets(root: Path, depth: int = 3) -> list[Path]:
    """Spreadsheets in `root` and its folders down to `depth`; the lock files of an open Excel (~$...) do not count."""
    found, level, seen = [], [root], set()
    for _ in range(depth):
        below = []
        for folder in level:
            if (real := folder.resolve()) in seen:
                continue  # a link back
            seen.add(real)
            for entry in sorted(folder.iterdir()):
                if (
                    entry.is_file()
                    and entry.suffix.lower() in (*SUFFIXES, ".xls")
                    and not entry.name.startswith(("~$", "."))
                ):
                    found.append(entry)
                elif entry.is_dir():
                    below.append(entry)
        # Frame folders are many and hold no sheet: only folders beside or above them are worth a look.
        level = below if len(below) <= 500 else []
    return found


def find(root: Path, patterns: Sequence[str], named: Sequence[str], report: Report) -> Path:
    """The sheet under `root` whose plain name matches the first of `patterns` (regular expressions) that any matches.

    named: the file names as published, for the message. Raises ReaderError when there is none.
    """
    if root.is_file():
        return root
    if not root.is_dir():
        raise ReaderError(
            f"{root}: no such folder; it should hold {' or '.join(named)} (set DEFT_DATA, or say where with --root)"
        )
    for pattern in patterns:
        if path := matching(root, pattern, report):
            return path
    found = ", ".join(_relative(path, root) for path in spreadsheets(root)[:8]) or "no spreadsheet at all"
    raise ReaderError(
        f"{root}: no annotation sheet; looked for {', '.join(named)} here and in the folders below, found {found}. "
        f"It comes with the licence of the data set; put it into this folder under its own name{Library(root).packed()}"
    )


def matching(root: Path, pattern: str, report: Report) -> Path | None:
    """The sheet in `root`, or `root` itself, whose plain name matches one pattern; further ones are reported, none
    is None.
    """
    there = [root] if root.is_file() else spreadsheets(root)
    hits = [path for path in there if re.fullmatch(pattern, plain(path.stem))]
    readable = [path for path in hits if path.suffix.lower() in SUFFIXES]
    if hits and not readable:
        raise ReaderError(f"{hits[0]}: the old .xls format is not read; open it and save it as .xlsx")
    for other in readable[1:]:
        report.add(
            f"another sheet of the same name; {readable[0].name} was read, this one was not",
            file=_relative(other, root),
        )
    return readable[0] if readable else None


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name


# ---------------------------------------------------------------- rows under a heading


def table(
    path: Path,
    columns: Sequence[Column],
    report: Report,
    names: Sequence[str] = (),
    only_named: bool = False,
    positions: Sequence[str] | None = None,
    preamble: int = 0,
) -> Table:
    """The rows under the heading that has the most of `columns`.

    names: names of the sheet, in order of preference; when none is there, any sheet with the heading is read and that
    is reported, unless only_named. positions: fields of the columns from left to right, for sheets without a heading;
    preamble: how many rows such a sheet begins with. A missing column that is not `needed` is reported and its field
    stays None; a missing needed one is a ReaderError."""
    book = sheets(path)
    chosen = [sheet for name in names for sheet in book if plain(sheet.name) == plain(name)]
    others = [
        sheet
        for sheet in book
        if sheet not in chosen and (not only_named or re.fullmatch(r"(sheet|tabelle|工作表)?\d*", plain(sheet.name)))
    ]
    best = None
    for sheet in chosen + others:
        where, found = _heading(sheet, columns)
        if best is None or len(found) > len(best[2]):
            best = (sheet, where, found)
        if chosen and sheet is chosen[-1] and len(best[2]) >= 2:
            break
    if best is None:
        raise ReaderError(
            f"{path}: no sheet named {' or '.join(names)}; it has {', '.join(s.name for s in book) or 'none'}"
        )
    sheet, where, found = best
    lacking = [column for column in columns if column.needed and column.field not in found]
    if lacking and positions is not None:
        return _positional(chosen[0] if chosen else sheet, positions, preamble, report)
    if lacking:
        there = [str(cell) for cell in (sheet.cells[where] if sheet.cells else []) if cell is not None]
        raise ReaderError(
            f"{path}, sheet {sheet.name!r}, row {where + 1}: no column"
            f" {' and no column '.join(_asked(c) for c in lacking)}; found {', '.join(map(repr, there)) or 'nothing'}."
            " Rename the column to one of those, or use the sheet as published"
        )
    result = Table(
        sheet.file, sheet.name, {f: str(sheet.cells[where][c]).strip() for f, c in found.items()}, [], report
    )
    if names and sheet not in chosen and len(book) > 1:
        report.add(f"no sheet named {' or '.join(names)}; this one was read instead", sheet=sheet.name, file=sheet.file)
    heads = [str(cell) for cell in sheet.cells[where] if cell is not None]
    for column in columns:
        if column.field not in found and not column.quiet:
            near = difflib.get_close_matches(
                column.names[0], [h for h in heads if h.strip() not in result.headings.values()], n=1
            )
            report.add(
                f"no column {_asked(column)}; found {', '.join(heads)}"
                + (f" (is it {near[0]!r}?)" if near else "")
                + "; left empty for every clip",
                sheet=sheet.name,
                row=where + 1,
                column=column.names[0],
                file=sheet.file,
            )
    _fill(result, sheet, range(where + 1, len(sheet.cells)), found)
    return result


def _asked(column: Column) -> str:
    return " or ".join(map(repr, column.names))


def _heading(sheet: Sheet, columns: Sequence[Column]) -> tuple[int, dict[str, int]]:
    """-> (row index, field -> column index) of the row that names the most columns; of two such rows the first."""
    best: tuple[int, dict[str, int]] = (0, {})
    for r, cells in enumerate(sheet.cells[:HEADER_WITHIN]):
        heads = [plain(cell) if isinstance(cell, str) else None for cell in cells]
        found: dict[str, int] = {}
        for column in columns:
            at = next((heads.index(plain(name)) for name in column.names if plain(name) in heads), None)
            if at is not None and at not in found.values():
                found[column.field] = at
        if len(found) > len(best[1]):
            best = (r, found)
    return best


def _positional(sheet: Sheet, positions: Sequence[str], preamble: int, report: Report) -> Table:
    """A sheet without a heading: from the first row that has a frame number; a preamble of another length than known
    is reported.
    """
    found = {name: c for c, name in enumerate(positions) if name}
    result = Table(sheet.file, sheet.name, {name: f"column {c + 1} ({name})" for name, c in found.items()}, [], report)
    width = max((len(cells) for cells in sheet.cells), default=0)
    moments = [found[name] for name in ("onset", "apex", "offset")]
    start = next(
        (r for r, cells in enumerate(sheet.cells) if any(c < len(cells) and _numeric(cells[c]) for c in moments)), None
    )
    if start is None or width <= found["offset"]:
        raise ReaderError(
            f"{sheet.file}, sheet {sheet.name!r}: expected columns without a heading in the order"
            f" {', '.join(p or '(blank)' for p in positions)}; no row has a frame number in column {found['onset'] + 1}"
            f" (onset) or after, the sheet has {width} columns"
        )
    if start != preamble:
        report.add(
            (
                f"rows 1 to {start} have no frame numbers and were taken for a preamble ({preamble} rows are usual);"
                " not read"
                if start
                else f"no preamble ({preamble} rows are usual); read from row 1"
            ),
            sheet=sheet.name,
            row=start + 1,
            file=sheet.file,
        )
    _fill(result, sheet, range(start, len(sheet.cells)), {name: c for name, c in found.items() if c < width})
    return result


def _numeric(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        or isinstance(value, str)
        and value.strip().isdecimal()
    )


def _fill(result: Table, sheet: Sheet, numbers: Iterable[int], found: dict[str, int]) -> None:
    for r in numbers:
        values = {name: _value(sheet.cells[r][c]) for name, c in found.items()}
        if all(value is None for value in values.values()) and not any(
            (r, c) in sheet.formulas for c in found.values()
        ):
            continue
        row = Row(result, r + 1, values)
        for name, c in found.items():
            if (r, c) in sheet.formulas:
                value = values[name]
                row.odd(
                    name,
                    f"formula {sheet.formulas[r, c]}; "
                    + (
                        "it has no stored value: read as empty"
                        if value is None
                        else f"its stored value {value} was used"
                    ),
                    value=sheet.formulas[r, c],
                )
            if (r, c) in sheet.merged:
                row.odd(name, f"merged cells {sheet.merged[r, c]}: the value of the first one was used")
            if values[name] in ERRORS:
                row.odd(name, f"the spreadsheet's error value {values[name]}; read as empty")
                values[name] = None
        result.rows.append(row)


def _value(cell: object) -> object:
    if isinstance(cell, str):
        return cell if cell.strip() else None
    return None if isinstance(cell, float) and cell != cell else cell
