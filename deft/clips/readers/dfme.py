"""DFME, the challenge's division (Zhao et al. 2023, IEEE T-AFFC): 1856 train, 474 test A, 299 test B, no shared
subject. Seen.

    training_full_with_AU.xlsx, testA_....xlsx, testB_....xlsx: each that is there is read, each that is not is reported
    sub0003_01/00012.png; frames are counted from 0

Frame rates (200, 300, 500) stand in the sheet. `clip.split` is train, testA or testB.
"""

from collections.abc import Iterator
from pathlib import Path

from deft.clips.readers import layout, sheets
from deft.clips.readers.layout import (
    APEX,
    EMOTION,
    FILENAME,
    OFFSET,
    ONSET,
    SUBJECT,
    UNITS,
    Entry,
    Layout,
    Subjects,
    frame_rate,
)
from deft.clips.readers.report import ReaderError, Report
from deft.clips.readers.sheets import Column, Table

PARTS = {"train": "(dfme)?train(ing)?.*", "testA": "(dfme)?testa.*", "testB": "(dfme)?testb.*"}
EMOTION_IDS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")  # alphabetical
RATES = (50.0, 2000.0)  # what a camera of this kind can be

LAYOUT = Layout(
    files=tuple(PARTS.values()),
    named=("training_full_with_AU.xlsx", "testA_....xlsx", "testB_....xlsx"),
    columns=(
        SUBJECT,
        FILENAME,
        ONSET,
        APEX,
        OFFSET,
        EMOTION,
        Column("number", ("EmotionId", "Emotion Id", "Label")),
        Column("rate", ("Fps", "Frame rate")),
        UNITS,
    ),
    rate=None,
    subjects=Subjects("sub", 4),
    first=0,
    where=lambda entry: ((entry.filename,),),
)


def open_tables(form: Layout, root: Path, report: Report) -> list[Table]:
    """The sheets of training set and both test sets that are there; ReaderError when none is."""
    if not root.is_file():
        sheets.find(
            root, form.files, form.named, Report()
        )  # raises when no part is there, and says what was looked for
    tables, broken = [], []
    for part, pattern in PARTS.items():
        path = sheets.matching(root, pattern, report)
        if path is None:
            report.add(
                f"no sheet of the part {part} ({form.named[list(PARTS).index(part)]}); the others were read",
                file=root.name,
            )
            continue
        try:
            tables.append(sheets.table(path, form.columns, report))
            tables[-1].about["split"] = part
        except ReaderError as error:
            broken.append(error)
            report.add(f"{error}; the other parts were read", file=path.name)
    if not tables:
        raise (
            broken[0]
            if broken
            else ReaderError(
                f"{root}: not named like a sheet of DFME ({', '.join(form.named)}); its name says which part it is"
            )
        )
    return tables


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row, with split, frame rate and the emotion of its number."""
    for entry in layout.entries(table, form):
        entry.split, entry.rate = table.about["split"], frame_rate(entry, *RATES)
        number = entry.row.whole("number", "is no emotion number")
        if number is not None and (number >= len(EMOTION_IDS) or EMOTION_IDS[number] != entry.emotion.lower()):
            entry.odd(
                "number",
                f"emotion {entry.emotion!r} has another number in"
                f" {', '.join(f'{i} {e}' for i, e in enumerate(EMOTION_IDS))}; the word was used",
            )
        yield entry
