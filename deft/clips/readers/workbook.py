"""A workbook's cells as they are stored: values, which of them are formulas, which are filled from merged cells.

Workbooks come from strangers: their unpacked size is limited before anything is parsed, and formulas are never computed
(their stored value is used). Merged cells, which a spreadsheet stores once, are filled. Both are told, so that they can
be reported."""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass
from pathlib import Path

from deft.clips.readers.report import ReaderError

MAX_UNPACKED = 200 * 2**20  # bytes; the largest sheet of the field unpacks to about 2 MiB
MAX_ROWS, MAX_COLUMNS = 100_000, 200
SUFFIXES = (".xlsx", ".xlsm", ".csv")


@dataclass
class Sheet:
    """Cells of one sheet: `cells[r][c]`, r and c from 0; `formulas` and `merged`: (r, c) -> what stands there."""

    file: str
    name: str
    cells: list[list[object]]
    formulas: dict[tuple[int, int], str]
    merged: dict[tuple[int, int], str]


def sheets(path: Path) -> list[Sheet]:
    """All sheets of a workbook (.xlsx, .xlsm) or the one of a .csv; ReaderError names the file and why it cannot be
    read.
    """
    if path.suffix.lower() == ".csv":
        return [_csv(path)]
    if path.suffix.lower() not in SUFFIXES:
        raise ReaderError(f"{path}: not a sheet that can be read; wanted {', '.join(SUFFIXES)} (save it as .xlsx)")
    try:
        return _workbook(path)
    except ReaderError:
        raise
    except Exception as error:  # the parser raises whatever a broken file provokes: the file is named, the cause kept
        raise ReaderError(
            f"{path}: cannot be read as a spreadsheet ({type(error).__name__}: {error}); download it again, or open it"
            " and save it as .xlsx"
        ) from error


def _workbook(path: Path) -> list[Sheet]:
    import openpyxl

    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_UNPACKED:
        raise ReaderError(
            f"{path}: unpacks to {size // 2**20} MiB, more than an annotation sheet can be ({MAX_UNPACKED // 2**20});"
            " not opened"
        )
    merged = openpyxl.load_workbook(path)  # only this way of reading knows of merged cells
    shown = openpyxl.load_workbook(
        path, read_only=True, data_only=True
    )  # what the cells showed when the file was saved
    written = openpyxl.load_workbook(path, read_only=True)  # formulas as text, never computed
    try:
        return [
            _worksheet(path, shown[name], written[name], merged[name].merged_cells.ranges)
            for name in shown.sheetnames
            if hasattr(merged[name], "merged_cells")
        ]  # a sheet that is a chart has no cells
    finally:
        shown.close()
        written.close()


def _worksheet(path: Path, shown, written, areas) -> Sheet:
    # The stated extent is often wrong: too small from some programs, a million rows where a whole column was coloured.
    shown.reset_dimensions()
    written.reset_dimensions()
    cells = []
    for r, row in enumerate(shown.iter_rows(values_only=True)):
        used = max((c for c, value in enumerate(row) if value is not None), default=-1) + 1
        if used and r >= MAX_ROWS or used > MAX_COLUMNS:
            raise ReaderError(
                f"{path}, sheet {shown.title}, row {r + 1}: something beyond row {MAX_ROWS} or column {MAX_COLUMNS},"
                " where no annotation sheet reaches; delete what is foreign"
            )
        if r < MAX_ROWS:
            cells.append(list(row[:used]))
    width = max(map(len, cells), default=0)
    cells = [row + [None] * (width - len(row)) for row in cells]
    while cells and not any(value is not None for value in cells[-1]):
        cells.pop()  # coloured rows below the last one
    formulas, merged = {}, {}
    for r, row in enumerate(written.iter_rows()):
        for c, cell in enumerate(row):
            if cell.data_type == "f":
                formulas[r, c] = str(getattr(cell.value, "text", cell.value))
    last = max((r for r, _ in formulas), default=-1)
    wide = max((c for _, c in formulas), default=-1) + 1
    if last >= MAX_ROWS or wide > MAX_COLUMNS:
        raise ReaderError(
            f"{path}, sheet {shown.title}, row {last + 1}: a formula beyond row {MAX_ROWS} or column {MAX_COLUMNS};"
            " delete what is foreign"
        )
    width = max(width, wide)
    cells = [row + [None] * (width - len(row)) for row in cells] + [
        [None] * width for _ in range(last + 1 - len(cells))
    ]
    for area in areas:
        top, left = area.min_row - 1, area.min_col - 1
        for r in range(top, min(area.max_row, len(cells))):
            for c in range(left, min(area.max_col, width)):
                if (r, c) != (top, left):
                    cells[r][c] = cells[top][left]
                    merged[r, c] = area.coord
    return Sheet(path.name, shown.title, cells, formulas, merged)


def _csv(path: Path) -> Sheet:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = []
            for line in csv.reader(file):
                rows.append([cell if cell != "" else None for cell in line])
                if len(rows) > MAX_ROWS or len(line) > MAX_COLUMNS:
                    raise ReaderError(
                        f"{path}, line {len(rows)}: larger than an annotation sheet ({MAX_ROWS} x {MAX_COLUMNS})"
                    )
    except UnicodeDecodeError as error:
        raise ReaderError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV UTF-8") from error
    except csv.Error as error:
        raise ReaderError(f"{path}, line {len(rows) + 1}: cannot be read as CSV ({error})") from error
    width = max(map(len, rows), default=0)
    return Sheet(path.name, "", [row + [None] * (width - len(row)) for row in rows], {}, {})
