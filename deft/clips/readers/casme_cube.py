"""CAS(ME)^3 (Li et al. 2022, IEEE T-PAMI): part A 860 micro-expressions of 94 subjects, part C 165, both 30 fps. Seen.

    cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx, sheet label    spNO.1/a/color/166.jpg
    CAS(ME)3_part_C_ME.xlsx, sheet mockCrimeME                (folder of part C inferred: subject, count)

Part A: every cell is text, objective classes are roman, `Others` and `others` both occur, a file name holds several
clips (the key needs the onset), one file name is upper case, some rows are broken. Part C: units between commas, also
full-width ones; no apex."""

from collections.abc import Iterator

from deft.clips.readers import layout
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
from deft.clips.readers.sheets import Column, Table

A = Layout(
    files=("casme3partame.*", ".*parta.*me.*label.*"),
    named=("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",),
    sheets=("label",),
    columns=(SUBJECT, FILENAME, ONSET, APEX, OFFSET, UNITS, OBJECTIVE, EMOTION),
    rate=30.0,
    subjects=Subjects("spNO.", 1),
    key=("subject", "filename", "onset"),
    where=lambda entry: ((entry.subject, entry.filename, "color"), (entry.subject, entry.filename)),
)
C = Layout(
    files=("casme3partcme.*", ".*partc.*me.*"),
    named=("CAS(ME)3_part_C_ME.xlsx",),
    sheets=("mockCrimeME",),
    columns=(SUBJECT, Column("filename", ("count", "Filename"), needed=True), ONSET, OFFSET, UNITS, EMOTION),
    rate=30.0,
    subjects=Subjects("spNO.", 1),
    key=("subject", "filename", "onset"),
    where=lambda entry: (
        (entry.subject, entry.filename, "color"),
        (entry.row.text("subject"), entry.filename, "color"),
        (entry.subject, entry.filename),
        (entry.row.text("subject"), entry.filename),
    ),
)


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row; file names of part A in upper case are reported and lowered."""
    for entry in layout.entries(table, form):
        if form is A and entry.filename != entry.filename.lower():
            entry.odd("filename", f"upper case; read as {entry.filename.lower()!r}")
            entry.filename = entry.filename.lower()
        yield entry
