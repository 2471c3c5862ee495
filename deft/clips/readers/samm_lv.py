"""SAMM Long Videos (Yap et al. 2020, FG): 159 micro- and 343 macro-movements in 147 videos, 200 fps. Inferred from
loaders.

    SAMM_LongVideos_V3_Release.xlsx (V1, V2): 10 rows of preamble, no heading
    006_1/006_1_0001.jpg: the frames of a video; clip 006_1_2 is the second movement of video 006_1

`clip.kind` is "micro" or "macro". The sheet has no emotion; where SAMM's own sheet lies beside it, micro-movements take
theirs from there, by file name.
"""

from collections.abc import Iterator
from pathlib import Path

from deft.clips.readers import layout, samm, sheets
from deft.clips.readers.layout import APEX, FILENAME, OFFSET, ONSET, SUBJECT, UNITS, Entry, Layout, Subjects
from deft.clips.readers.report import Report
from deft.clips.readers.samm import check_duration
from deft.clips.readers.sheets import Column, Table

LAYOUT = Layout(
    files=("sammlongvideosv3.*", "sammlongvideosv2.*", "sammlongvideosv1.*", "samm.*long.*"),
    named=("SAMM_LongVideos_V3_Release.xlsx",),
    columns=(
        SUBJECT,
        FILENAME,
        ONSET,
        APEX,
        OFFSET,
        Column("duration", ("Duration",), quiet=True),
        Column("type", ("Type",)),
        UNITS,
    ),
    positions=("subject", "filename", "", "onset", "apex", "offset", "duration", "type", "units", ""),
    preamble=10,
    rate=200.0,
    subjects=Subjects("", 3),
    where=lambda entry: ((video(entry.filename),), (entry.filename,)),
)


def video(filename: str) -> str:
    """006_1_2 -> 006_1."""
    return filename.rpartition("_")[0] if filename.count("_") > 1 else filename


def open_tables(form: Layout, root: Path, report: Report) -> list[Table]:
    """The sheet, with the emotions of SAMM's own sheet in `about` where it lies beside it."""
    (table,) = layout.open_tables(form, root, report)
    path = sheets.matching(root, samm.LAYOUT.files[0], Report()) if root.is_dir() else None
    table.about["emotions"] = {}
    if path is not None:
        theirs = sheets.table(path, samm.LAYOUT.columns, Report(), samm.LAYOUT.sheets)
        table.about["emotions"] = {row.text("filename"): row.text("emotion") for row in theirs.rows}
        report.add(f"the emotions of micro-movements are those of {path.name}, by file name", file=table.file)
    return [table]


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row, with its kind (micro or macro) and the emotion that SAMM's sheet has, its duration checked."""
    for entry in layout.entries(table, form):
        entry.kind = kind(entry, "type")
        if entry.kind == "micro" and (known := table.about["emotions"]):
            entry.emotion = known.get(entry.filename, "")
            if not entry.emotion:
                entry.odd("filename", "SAMM's sheet has no such file name; left without an emotion")
        check_duration(entry)
        yield entry


def kind(entry: Entry, column: str) -> str:
    """ "Macro", "Micro - 1/2", "micro-expression" -> "macro" or "micro"; anything else is reported and read as
    micro.
    """
    text = entry.row.text(column).lower()
    if not text.startswith(("micro", "macro")):
        entry.odd(column, "neither micro nor macro; read as micro")
        return "micro"
    return text[:5]
