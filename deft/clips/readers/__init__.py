"""Readers of licensed data sets: a sheet and its frames become clips, and everything odd becomes a row of the data
report.

One file per data set says where things stand (`LAYOUT`) and what that sheet's habits are. What they share goes from
file to clip: `workbook` (cells), `sheets` (rows under a heading), `layout` (entries), `library` and `reel` (frames),
`assemble` (clips), `report`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from deft.clips.readers import assemble, layout
from deft.clips.readers.errata import amend
from deft.clips.readers.library import Library
from deft.clips.readers.recorded import RecordedClip
from deft.clips.readers.reel import Finder
from deft.clips.readers.report import COLUMNS, ReaderError, Report
from deft.config import nearest

__all__ = ["COLUMNS", "READERS", "ReaderError", "RecordedClip", "read"]

READERS = MappingProxyType(
    {  # name -> (module, its layout)
        "casme": ("casme", "LAYOUT"),
        "casme2": ("casme2", "LAYOUT"),
        "samm": ("samm", "LAYOUT"),
        "samm-lv": ("samm_lv", "LAYOUT"),
        "smic-hs": ("smic", "HS"),
        "smic-vis": ("smic", "VIS"),
        "smic-nir": ("smic", "NIR"),
        "casme-sq": ("casme_sq", "LAYOUT"),
        "casme-cube-a": ("casme_cube", "A"),
        "casme-cube-c": ("casme_cube", "C"),
        "mmew": ("mmew", "LAYOUT"),
        "4dme": ("four_dme", "LAYOUT"),
        "dfme": ("dfme", "LAYOUT"),
        "csv": ("generic", "LAYOUT"),
    }
)


def unknown(dataset: str) -> ReaderError:
    """The error for a name that no reader has: the nearest valid one, and all of them."""
    return ReaderError(f"no reader for {dataset!r}: {nearest(dataset, READERS)} Readers: {', '.join(READERS)}")


def read(
    dataset: str, root: str | Path, frames: bool = True, errata: bool = False
) -> tuple[list[RecordedClip], pd.DataFrame]:
    """A data set -> (clips in the order of its sheet, the data report).

    root: the folder with the sheet and, somewhere below, the frames (pictures, cropped pictures or videos); or the
    sheet itself. frames=True: each clip's frames are found, counted and checked now, onset to offset, and decoded at
    every access of `clip.frames` (T, H, W, 3) uint8 RGB, so that no data set has to fit into memory. frames=False: only
    the sheet is needed; `clip.frames` has no frame, and onset, apex and offset are the sheet's own numbers.
    errata: read the cells that the field corrects (`deft.clips.readers.errata`) as it does, each reported.

    The report has `COLUMNS`: sheet, row (as a spreadsheet counts), column, value, what was done; and file and clip. No
    row is left out (but for remarks below SMIC's table): what cannot be used is empty on its clip, what was repaired
    stands in `clip.notes`. Its `attrs` say which sheets and editions were read. Raises ReaderError, naming the file and
    the remedy, for an unknown name, a missing or unreadable sheet, or a sheet whose rows cannot be told apart."""
    if dataset not in READERS:
        raise unknown(dataset)
    module, form = READERS[dataset]
    reader = import_module(f"deft.clips.readers.{module}")
    form, root, report = getattr(reader, form), Path(root).expanduser(), Report()
    tables = getattr(reader, "open_tables", layout.open_tables)(form, root, report)
    entries = getattr(reader, "entries", layout.entries)
    if errata:
        amend(dataset, tables)
    found = [entry for table in tables for entry in entries(table, form)]
    assemble.spell_emotions(found)
    assemble.name_entries(dataset, found, form.key)
    for table in tables:
        mine = [entry for entry in found if entry.row.table is table]
        if not mine:
            table.odd("", "the heading is there, but no row below it")
        elif not mine[0].has_apex:
            table.odd(
                "apex",
                f"the sheet has no apex: that of all {len(mine)} clips is the middle of onset and offset, and is marked"
                " as estimated",
            )
    finder = None
    if frames:
        finder = Finder(Library(root), report, form.first)
        finder.library.report_archives(report)
    clips = [assemble.clip(dataset, entry, form, finder) for entry in found]
    report.name_clips({(clip.file, clip.sheet, clip.row): clip.id for clip in reversed(clips)})
    table = report.frame()
    table.attrs = {
        "dataset": dataset,
        "sheets": [f"{t.file}, sheet {t.sheet}" if t.sheet else t.file for t in tables],
        "editions": sorted({clip.edition for clip in clips if clip.edition}),
    }
    return clips, table
