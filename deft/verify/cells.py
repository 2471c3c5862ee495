"""Tables as cells: {(row, column): text}, with the kinds that `deft.artifacts` declares. Standard library only."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from deft import artifacts
from deft.run import RunError

EXACT_TOLERANCE = 1e-3  # of a number up to 1; relative to larger ones (degrees of angle, frames a second)
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$")


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text as in the CSV, and its kind (`artifacts.CELL_KINDS`)."""

    text: str
    kind: str

    @property
    def number(self) -> float | None:
        """The cell as a number; None for words and for an empty cell."""
        return float(self.text) if NUMBER.match(self.text) else None


def tables() -> list[artifacts.Artifact]:
    """The registered tables."""
    return [a for a in artifacts.REGISTRY if a.kind == "table"]


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV as {column: text}; an empty or ragged file is named."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{path}: not a readable table ({error}); remove it and run `make reproduce`") from error
    if not lines:
        raise RunError(f"{path} is empty; remove it and run `make reproduce`")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(lines[0]):
            raise RunError(
                f"{path}, row {number}: {len(line)} cells under {len(lines[0])} columns; remove it and run `make"
                " reproduce`"
            )
    return [dict(zip(lines[0], line)) for line in lines[1:]]


def read(id: str, path: Path) -> dict[tuple[str, str], Cell]:
    """Every filled cell of a registered table outside its key columns, by (row name, column). Rows of another benchmark
    are not of this run: `integrity.taken` holds them against the reference that they name.
    """
    what, found = artifacts.get(id).cells, {}
    for number, row in enumerate(rows(path), start=2):
        if absent := [key for key in what.keys if key not in row]:
            raise RunError(f"{path} lacks the column {absent[0]!r}, which names its rows; run `make reproduce`")
        if row.get("kind") == artifacts.COMMITTED:
            continue
        name = what.name(row)
        for column, text in row.items():
            if column in what.keys or text == "":
                continue
            if (name, column) in found:
                raise RunError(f"{path}, row {number}: a second row {name!r}; run `make reproduce`")
            found[name, column] = Cell(text, what.kind(row, column))
    return found


def read_all(folder: Path) -> dict[str, dict[tuple[str, str], Cell]]:
    """{table: cells} of every registered table whose CSV lies in `folder`."""
    return {a.id: read(a.id, folder / f"{a.id}.csv") for a in tables() if (folder / f"{a.id}.csv").is_file()}


def exact_difference(reference: Cell | None, mine: Cell | None, where: str = "the reference") -> str:
    """Why an exact cell is not that of the reference (or of `where`), in words; empty when it is."""
    if reference is None or mine is None:
        return (
            f"is {mine.text!r}, {where} has no such cell"
            if reference is None
            else f"is missing, {where} has {reference.text!r}"
        )
    old, new = reference.number, mine.number
    if old is None or new is None:
        return "" if reference.text == mine.text else f"is {mine.text!r}, {where} has {reference.text!r}"
    allowed = EXACT_TOLERANCE * max(1.0, abs(old))
    return (
        ""
        if abs(new - old) <= allowed + 1e-9
        else f"is {mine.text}, {where} has {reference.text} (exact: at most {allowed:.4g} apart)"
    )
