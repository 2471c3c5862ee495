"""CASME II (Yan et al. 2014, PLoS ONE 9(1)): 255 clips of 26 subjects, 200 fps. Seen in both editions.

    CASME2-coding-20140508.xlsx or CASME2-coding-20190701.xlsx
    sub01/EP02_01f/img46.jpg, cropped sub01/EP02_01f/reg_img46.jpg, or sub01/EP02_01f.avi; re-packed by loaders as
    1/EP02_01f/ or sub01_EP02_01f/

The 2019 edition has a column of objective classes, 57 other action-unit cells, and calls three clips of subject 24
surprise instead of sadness. Which one was read is told by that column, not by the file's name, and stands on every
clip."""

import re
from collections.abc import Iterator
from pathlib import Path

from deft.clips.readers import layout, sheets, workbook
from deft.clips.readers.layout import (
    APEX,
    EMOTION,
    FILENAME,
    OBJECTIVE,
    OFFSET,
    ONSET,
    SUBJECT,
    UNITS,
    Entry,
    Layout,
    Subjects,
)
from deft.clips.readers.report import Report
from deft.clips.readers.sheets import Table, plain

# The composite protocol is defined on the 2014 edition, so that one is preferred where both are.
EDITIONS = ("2014", "2019")

LAYOUT = Layout(
    files=("casme2coding2014.*", "casme2coding2019.*", "casme2(coding|label).*"),
    named=("CASME2-coding-20140508.xlsx", "CASME2-coding-20190701.xlsx"),
    columns=(SUBJECT, FILENAME, ONSET, APEX, OFFSET, UNITS, EMOTION),
    rate=200.0,
    subjects=Subjects("", 2),
    where=lambda entry: (
        ("sub" + entry.subject, entry.filename),
        (entry.subject, entry.filename),
        (f"sub{entry.subject}_{entry.filename}",),
        (f"{entry.subject}_{entry.filename}",),
    ),
)


def open_tables(layout: Layout, root: Path, report: Report) -> list[Table]:
    """The sheet of one edition; a second edition beside it is reported."""
    path = sheets.find(root, layout.files, layout.named, report)
    if root.is_dir():
        for other in sheets.spreadsheets(root):
            if (
                other != path
                and re.fullmatch("casme2coding20(14|19).*", plain(other.stem))
                and plain(other.stem) != plain(path.stem)
            ):
                report.add(
                    f"another edition lies beside {path.name}, which was read; give this file as the root to read it",
                    file=other.name,
                )
    # The column of 2019 is asked for only where it stands: in 2014 it is not missing.
    newer = any(
        "objectiveclass" in plain(cell)
        for sheet in workbook.sheets(path)
        for cells in sheet.cells[:3]
        for cell in cells
        if cell is not None
    )
    table = sheets.table(path, (*layout.columns, OBJECTIVE) if newer else layout.columns, report)
    named = next((year for year in EDITIONS if year in path.stem), "")
    if named and named != edition(table):
        table.odd(
            "objective",
            f"the file is named {named}, its columns are those of {edition(table)}; read as {edition(table)}",
            path.name,
        )
    return [table]


def edition(table: Table) -> str:
    """ "2019" where the sheet has the column of objective classes, else "2014"."""
    return "2019" if table.has("objective") else "2014"


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row, with the edition of its sheet."""
    for entry in layout.entries(table, form):
        entry.edition = edition(table)
        yield entry
