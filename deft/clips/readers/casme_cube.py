"""CAS(ME)^3 (Li et al. 2022, IEEE T-PAMI): part A 860 micro-expressions of 94 subjects, part C 165, both 30 fps. Seen.

    cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx, sheet label    spNO.1/a/color/166.jpg; re-packed by loaders as
        spNO.1/a2/color/ (second clip of a name) or spNO.1_a_906_913/rgb/
    CAS(ME)3_part_A_v2.xlsx (from the owners' .xls): macro- and micro-expressions, told apart by `Expression type`
    CAS(ME)3_part_C_ME.xlsx, sheet mockCrimeME                (folder of part C inferred: subject, count)

Part A: every cell is text, objective classes are roman, `Others` and `others` both occur, a file name holds several
clips (the key needs the onset), one file name is upper case, some rows are broken. Part C: units between commas, also
full-width ones; no apex; coarse labels of its own."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from deft.clips.readers import layout, sheets
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
from deft.clips.readers.samm_lv import kind
from deft.clips.readers.sheets import Column, Table, plain


def _where(entry: Entry) -> tuple[tuple, ...]:
    """Folders of a clip of part A; a tool that cuts micro-expressions out numbers the second clip of a name: a2."""
    name, flat = entry.filename, f"{entry.subject}_{entry.filename}_{entry.onset}_{entry.offset}"
    names = (f"{name}{entry.nth}", name) if entry.nth > 1 else (name,)
    usual = tuple(tail for one in names for tail in ((entry.subject, one, "color"), (entry.subject, one)))
    return (*usual, (flat, "rgb"), (flat, "color"), (flat,))


A = Layout(
    files=("casme3partame.*v2", "casme3partame.*", ".*parta.*me.*label.*", "casme3parta(v[0-9])?"),
    named=("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",),
    sheets=("label",),
    columns=(
        SUBJECT,
        FILENAME,
        ONSET,
        APEX,
        OFFSET,
        UNITS,
        OBJECTIVE,
        EMOTION,
        Column("type", ("Expression type",), quiet=True),
    ),
    rate=30.0,
    subjects=Subjects("spNO.", 1),
    key=("subject", "filename", "onset"),
    where=_where,
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


def open_tables(form: Layout, root: Path, report: Report) -> list[Table]:
    """The sheet; other sheets of the same part that lie beside it are reported."""
    (table,) = layout.open_tables(form, root, report)
    mine = _pattern(form, table.file)
    for other in sheets.spreadsheets(root) if root.is_dir() else ():  # those of the same pattern are reported by `find`
        if other.name != table.file and _pattern(form, other.name) not in ("", mine):
            report.add(
                f"another sheet of this part lies beside {table.file}, which was read; give this file as the root to"
                " read it",
                file=other.name,
            )
    return [table]


def _pattern(form: Layout, file: str) -> str:
    return next((pattern for pattern in form.files if re.fullmatch(pattern, plain(Path(file).stem))), "")


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row; macro rows are told from micro rows; file names of part A in upper case are reported and
    lowered.
    """
    clips = Counter()
    for entry in layout.entries(table, form):
        if table.has("type"):
            entry.kind = kind(entry, "type")
        clips[entry.subject, entry.filename.lower(), entry.kind] += 1
        entry.nth = clips[entry.subject, entry.filename.lower(), entry.kind]
        if form is A and entry.filename != entry.filename.lower():
            entry.odd("filename", f"upper case; read as {entry.filename.lower()!r}")
            entry.filename = entry.filename.lower()
        yield entry
