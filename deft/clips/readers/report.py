"""The data report: one row for every oddity that was met while a data set was read, and what was done about it."""

from __future__ import annotations

import re

import pandas as pd

COLUMNS = ("sheet", "row", "column", "value", "what", "file", "clip")


# In a row's `what`: the clip got a value that its cell does not have. Everything else was kept, left empty, or left
# out.
REPAIRED = re.compile(r"estimated as|[Rr]ead as '?\w|stands for it|taken in order|taken for|was used|was read")


def reason(what: str) -> str:
    """The kind of an oddity: its words without what is particular to one row (numbers, names between quotes, paths)."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\S*[/\\]\S*|\S*[0-9]\S*", "#", what)


def tally(report: pd.DataFrame) -> str:
    """ "63 oddities, 8 repaired": what a table computed from these clips says about them."""
    return f"{len(report)} oddities, {int(report['what'].str.contains(REPAIRED).sum())} repaired"


class ReaderError(ValueError):
    """A data set cannot be read at all; the message names what was looked for, what was found, and the remedy."""


class Report:
    """Collects oddities. A row of the sheet is counted as a spreadsheet shows it, from 1."""

    def __init__(self):
        self._rows: list[dict] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        what: str,
        *,
        sheet: str = "",
        row: int | None = None,
        column: str = "",
        value: object = "",
        file: str = "",
        clip: str = "",
    ) -> None:
        """what: the oddity and what was done. row: None when the oddity belongs to a whole sheet, file or folder."""
        text = "" if value is None else str(value)
        self._rows.append(
            {"sheet": sheet, "row": row, "column": column, "value": text, "what": what, "file": file, "clip": clip}
        )

    def name_clips(self, ids: dict[tuple[str, str, int], str]) -> None:
        """Fill in clip ids where rows were reported before their clip had one. ids: (file, sheet, row) -> id."""
        for row in self._rows:
            row["clip"] = row["clip"] or ids.get((row["file"], row["sheet"], row["row"]), "")

    def frame(self) -> pd.DataFrame:
        """-> DataFrame with `COLUMNS`; row is a nullable integer, everything else text."""
        table = pd.DataFrame(self._rows, columns=list(COLUMNS))
        return table.astype({name: "Int64" if name == "row" else str for name in COLUMNS})
