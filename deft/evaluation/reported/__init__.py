"""Published numbers, each with its source and how it was selected, read from reported.csv; what nobody looked up yet
says `not available`.

A reader who holds a paper adds its row to the file.  A row without a source is refused: the three kinds of number
(reported, reproduced, simulated) never mix, and a reported one that nobody can look up is none of them.  Column
`selection` says which epoch the number belongs to: the best epoch on the test clips is a number of another kind than a
fixed one (the same network, rerun: .774 against .713 UF1).  A number of which the source does not say it is `unknown`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

FILE = Path(__file__).with_name("reported.csv")
NOT_AVAILABLE = "not available"
COLUMNS = ("protocol", "method", "uf1", "uar", "selection", "other", "source")
SELECTIONS = (
    "fixed epochs",
    "validation",
    "best epoch on test",
    "unknown",
)  # of a number; a row without one says NOT_AVAILABLE


def load(path: Path = FILE) -> pd.DataFrame:
    """-> DataFrame with COLUMNS; uf1 and uar are floats in [0, 1], NaN where not available; the rest is text.

    ValueError names the row: no source, a number outside [0, 1], or a number whose `selection` is none of SELECTIONS.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise ValueError(f"{path.name} has columns {list(table.columns)}; expected {list(COLUMNS)}")
    for column in ("uf1", "uar"):
        table[column] = [_number(value, path.name, row, column) for row, value in enumerate(table[column], start=2)]
    for row, line in enumerate(table.itertuples(), start=2):
        if not line.source.strip():
            raise ValueError(f"{path.name}, row {row}: {line.method!r} has no source; add where its number is printed")
        number = line.uf1 == line.uf1 or line.uar == line.uar or bool(line.other.strip())
        allowed = SELECTIONS if number else (NOT_AVAILABLE,)
        if line.selection not in allowed:
            raise ValueError(
                f"{path.name}, row {row}, column selection: {line.selection!r} of {line.method!r} is none of"
                f" {', '.join(allowed)}; say how the epoch of the number was selected"
            )
    return table


def note(line: NamedTuple) -> str:
    """What a table says beside the number of one row of `load()` (as `itertuples` gives it): how it was selected,
    then what else is known.
    """
    how = "" if line.selection == NOT_AVAILABLE else f"selection: {line.selection}"
    return "; ".join(part for part in (how, line.other) if part)


def _number(value: str, name: str, row: int, column: str) -> float:
    if value.strip() == NOT_AVAILABLE:
        return float("nan")
    try:
        number = float(value)
    except ValueError as error:
        raise ValueError(
            f"{name}, row {row}, column {column}: {value!r} is neither a number nor {NOT_AVAILABLE!r}"
        ) from error
    if not 0 <= number <= 1:
        raise ValueError(
            f"{name}, row {row}, column {column}: {value} is not between 0 and 1; write percentages as fractions"
        )
    return number
