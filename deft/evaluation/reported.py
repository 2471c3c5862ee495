"""Published numbers, each with its source, read from reported.csv; what has no source says `not available`.

A reader who holds a paper adds its row to the file.  A number without a source is refused: the three kinds of number
(reported, reproduced, simulated) never mix, and a reported one that nobody can look up is none of them.
"""
from __future__ import annotations

from pathlib import Path

import pandas as pd

FILE = Path(__file__).with_name("reported.csv")
NOT_AVAILABLE = "not available"
COLUMNS = ("protocol", "method", "uf1", "uar", "other", "source")


def load(path: Path = FILE) -> pd.DataFrame:
    """-> DataFrame with COLUMNS; uf1 and uar are floats in [0, 1], NaN where not available; the rest is text."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"{path.name} has columns {list(table.columns)}; expected {list(COLUMNS)}")
    for column in ("uf1", "uar"):
        table[column] = [_number(value, path.name, row, column) for row, value in enumerate(table[column], start=2)]
    for row, line in enumerate(table.itertuples(), start=2):
        if (line.uf1 == line.uf1 or line.uar == line.uar or line.other) and not line.source.strip():
            raise ValueError(f"{path.name}, row {row}: {line.method!r} has a number but no source; add where it is printed, "
                             f"or write {NOT_AVAILABLE!r}")
    return table


def _number(value: str, name: str, row: int, column: str) -> float:
    if value.strip() == NOT_AVAILABLE:
        return float("nan")
    try:
        number = float(value)
    except ValueError as error:
        raise ValueError(f"{name}, row {row}, column {column}: {value!r} is neither a number nor {NOT_AVAILABLE!r}") from error
    if not 0 <= number <= 1:
        raise ValueError(f"{name}, row {row}, column {column}: {value} is not between 0 and 1; write percentages as fractions")
    return number
