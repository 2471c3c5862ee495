"""A workbook's cells as they are stored: values, which of them are formulas, which are filled from merged cells.

Workbooks come from strangers: their unpacked size is limited before anything is parsed, and formulas are never computed (their
stored value is used). Merged cells, which a spreadsheet stores once, are filled. Both are told, so that they can be reported.
"""

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
    """All sheets of a workbook (.xlsx, .xlsm) or the one of a .csv; ReaderError names the file and why it cannot be read."""
    if path.suffix.lower() == ".csv":
        return [_csv(path)]
    if path.suffix.lower() not in SUFFIXES:
        raise ReaderError(f"{path}: not a sheet that can be read; wanted {', '.join(SUFFIXES)} (save it as .xlsx)")
    import openpyxl

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_UNPACKED:
            raise ReaderError(f"{path}: unpacks to {size // 2**20} MiB, more than an annotation sheet can be ({MAX_UNPACKED // 2**20}); not opened")
        values = openpyxl.load_workbook(path, data_only=True)  # what the cells showed when the file was saved
        written = openpyxl.load_workbook(path, data_only=False)  # formulas as text, never computed
    except ReaderError:
        raise
    except Exception as error:  # the parser raises whatever a broken file provokes: the file is named, the cause kept
        raise ReaderError(f"{path}: cannot be read as a spreadsheet ({type(error).__name__}: {error}); download it again, or open it and save it as .xlsx") from error
    return [_worksheet(path, values[name], written[name]) for name in values.sheetnames if hasattr(values[name], "iter_rows")]


def _worksheet(path: Path, values, written) -> Sheet:
    if values.max_row > MAX_ROWS or values.max_column > MAX_COLUMNS:
        raise ReaderError(f"{path}, sheet {values.title}: {values.max_row} rows x {values.max_column} columns, more than an annotation "
                          f"sheet has ({MAX_ROWS} x {MAX_COLUMNS}); delete what is empty or foreign")
    cells = [list(row) for row in values.iter_rows(values_only=True)]
    formulas = {(cell.row - 1, cell.column - 1): str(getattr(cell.value, "text", cell.value))
                for row in written.iter_rows() for cell in row if cell.data_type == "f"}
    merged = {}
    for area in written.merged_cells.ranges:
        top, left = area.min_row - 1, area.min_col - 1
        for r in range(top, min(area.max_row, len(cells))):
            for c in range(left, min(area.max_col, len(cells[r]))):
                if (r, c) != (top, left):
                    cells[r][c] = cells[top][left]
                    merged[r, c] = area.coord
    return Sheet(path.name, values.title, cells, formulas, merged)


def _csv(path: Path) -> Sheet:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = []
            for line in csv.reader(file):
                rows.append([cell if cell != "" else None for cell in line])
                if len(rows) > MAX_ROWS or len(line) > MAX_COLUMNS:
                    raise ReaderError(f"{path}, line {len(rows)}: larger than an annotation sheet ({MAX_ROWS} x {MAX_COLUMNS})")
    except UnicodeDecodeError as error:
        raise ReaderError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV UTF-8") from error
    except csv.Error as error:
        raise ReaderError(f"{path}, line {len(rows) + 1}: cannot be read as CSV ({error})") from error
    width = max(map(len, rows), default=0)
    return Sheet(path.name, "", [row + [None] * (width - len(row)) for row in rows], {}, {})
