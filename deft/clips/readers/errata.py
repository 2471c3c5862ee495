"""Errata of the field: cells of published sheets that a public loader corrects, read as it reads them when asked.

`errata.csv` has a row per cell: data set, how many rows the sheet must have (another edition is left alone), row as a
spreadsheet counts, field, what is read, source. `row 147` as what is read: the cell of that row. A row number of 0 with
`drop (k)`: units marked (k) do not count. Off by default, since the published counts are of the sheets as they are;
every correction is a row of the data report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deft.clips.readers.report import ReaderError
from deft.clips.readers.sheets import Row, Table

FILE = Path(__file__).with_name("errata.csv")
COLUMNS = ("dataset", "rows", "row", "field", "read", "source")


def load(path: Path = FILE) -> pd.DataFrame:
    """-> DataFrame with COLUMNS; `rows` and `row` are numbers. ReaderError names a row without a source or a number."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise ReaderError(f"{path.name} has columns {list(table.columns)}; expected {list(COLUMNS)}")
    for number, line in enumerate(table.itertuples(), start=2):
        if not (line.source and line.read and line.rows.isdecimal() and line.row.isdecimal()):
            raise ReaderError(f"{path.name}, row {number}: a number, what is read or its source is missing")
    return table.astype({"rows": int, "row": int})


def amend(dataset: str, tables: Sequence[Table], path: Path = FILE) -> int:
    """Correct the cells of these tables in place; -> how many cells. A sheet of another length is reported and left."""
    known, done = load(path).query("dataset == @dataset"), 0
    for table in tables:
        if known.empty or len(table.rows) != known["rows"].iloc[0]:
            expected = (
                f"errata are known for a sheet of {known['rows'].iloc[0]} rows" if len(known) else "none are known"
            )
            table.odd("", f"errata were asked for: {expected}, this one has {len(table.rows)}; nothing was corrected")
            continue
        rows = {row.number: row for row in table.rows}
        before = {number: dict(row.values) for number, row in rows.items()}
        for line in known.itertuples():
            chosen = [rows[line.row]] if line.row in rows else list(rows.values()) if line.row == 0 else []
            for row in chosen:
                done += _amend(row, line.field, line.read, line.source, before)
    return done


def _amend(row: Row, field: str, read: str, source: str, before: dict[int, dict[str, object]]) -> int:
    old = row.values.get(field)
    if read == "drop (k)":
        kept = [part for part in str(old or "").split("+") if not re.search(r"\(k\)\s*$", part)]
        new = "+".join(kept)
    elif match := re.fullmatch("row ([0-9]+)", read):
        new = before.get(int(match[1]), {}).get(field)
    else:
        new = int(read) if read.isdecimal() else read
    if new == old or (read == "drop (k)" and "(k)" not in str(old)):
        return 0
    row.values[field] = new
    row.odd(field, f"an erratum of the field ({source}); read as {new!r}", value="" if old is None else old)
    return 1
