"""CAS(ME)^2 (Qu et al. 2018, IEEE T-AFFC 9(4)): macro- and micro-expressions of 22 subjects in long videos, 30 fps.
Inferred.

    CAS(ME)^2code_final.xlsx or CAS(ME)^2code_final(Updated).xlsx, without a heading
        CASFEcode_final (or CASMEcode_final): participant, disgust1_1, onset, apex, offset, units, emotion, kind,
        self-report naming rule1: folder (s15), subject code, participant     naming rule2: video code (0101), stimulus
        (disgust1)
    s15/disgust1_1/img121.jpg (selected), s15/15_0101disgustingteeth/img1.jpg (long), or s15/15_0101disgustingteeth.avi

Folders are named after one of the two rules, rows after the other: both sheets of naming rules are needed to find
frames."""

import re
from collections.abc import Iterator
from pathlib import Path

from deft.clips.readers import layout, sheets, workbook
from deft.clips.readers.layout import APEX, EMOTION, FILENAME, OFFSET, ONSET, SUBJECT, UNITS, Entry, Layout, Subjects
from deft.clips.readers.report import Report
from deft.clips.readers.samm_lv import kind
from deft.clips.readers.sheets import Column, Table, plain

CODES = ("CASFEcode_final", "CASMEcode_final")


def _where(entry: Entry) -> tuple[tuple, ...]:
    folder, code = entry.folder.partition("/")[::2]
    number = re.sub(r"\D", "", folder)
    selected = (folder, entry.filename)
    return (selected, (folder, f"{number}_{code}", ...), (f"{number}_{code}", ...)) if code else (selected,)


LAYOUT = Layout(
    files=("casme2codefinalupdated", "casme2codefinal", ".*codefinal.*"),
    named=("CAS(ME)^2code_final(Updated).xlsx", "CAS(ME)^2code_final.xlsx"),
    sheets=CODES,
    columns=(SUBJECT, FILENAME, ONSET, APEX, OFFSET, UNITS, EMOTION, Column("type", ("Type", "Expression type"))),
    positions=("subject", "filename", "onset", "apex", "offset", "units", "emotion", "type"),
    rate=30.0,
    subjects=Subjects("s", 2),
    key=("subject", "filename", "onset"),
    where=_where,
)


def open_tables(form: Layout, root: Path, report: Report) -> list[Table]:
    """The sheet of movements, with the two sheets of naming rules in `about`."""
    path = sheets.find(root, form.files, form.named, report)
    table = sheets.table(path, form.columns, report, form.sheets, positions=form.positions)
    rules = {plain(sheet.name): sheet for sheet in workbook.sheets(path)}
    for name, read in (("naming rule1", _folders), ("naming rule2", _codes)):
        sheet = rules.get(plain(name))
        if sheet is None:
            report.add(
                f"no sheet {name!r}; folders are guessed from the participant's number, long videos cannot be found",
                sheet=name,
                file=path.name,
            )
        table.about[name] = read(sheet) if sheet else {}
    return [table]


def _text(cell: object) -> str:
    return (
        "" if cell is None else str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    )


def _folders(sheet: workbook.Sheet) -> dict[str, str]:
    """Participant -> folder, s15."""
    rows = [[_text(cell) for cell in cells[:3]] for cells in sheet.cells if len(cells) >= 3]
    return {
        participant: folder if folder.lower().startswith("s") else f"s{folder}"
        for folder, _, participant in rows
        if participant.isdigit() and re.search("[0-9]", folder)
    }


def _codes(sheet: workbook.Sheet) -> dict[str, str]:
    """Stimulus -> video code of four digits."""
    rows = [[_text(cell) for cell in cells[:2]] for cells in sheet.cells if len(cells) >= 2]
    return {stimulus.lower(): code.zfill(4) for code, stimulus in rows if code.isdigit() and stimulus}


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row, with the folder and video that the naming rules give."""
    folders, codes = table.about["naming rule1"], table.about["naming rule2"]
    for entry in layout.entries(table, form):
        participant = entry.row.text("subject")
        folder = folders.get(participant, entry.subject)
        if folders and participant not in folders:
            entry.odd("subject", f"participant {participant} is not in 'naming rule1'; folder {folder} is a guess")
        stimulus = entry.filename.rpartition("_")[0].lower()
        if codes and stimulus not in codes:
            entry.odd(
                "filename", f"stimulus {stimulus!r} is not in 'naming rule2'; only the selected frames can be found"
            )
        entry.subject, entry.folder = folder, f"{folder}/{codes.get(stimulus, '')}"
        if entry.apex == 0 and entry.onset:
            entry.apex = None  # 0 stands for "no apex" in this sheet; checked and reported with the other moments
        entry.kind = kind(entry, "type")
        yield entry
