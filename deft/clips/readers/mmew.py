"""MMEW (Ben et al. 2022, IEEE T-PAMI 44(9)): 300 clips, 90 fps. Inferred from loaders.

    MMEW_Micro_Exp.xlsx
    Micro_Expression/{emotion}/S01-07-001/1.jpg

The sheet's `others` means repression: such clips are read as repression, and say so.
"""

from collections.abc import Iterator

from deft.clips.readers import layout
from deft.clips.readers.layout import APEX, EMOTION, FILENAME, OFFSET, ONSET, SUBJECT, UNITS, Entry, Layout, Subjects
from deft.clips.readers.sheets import Table

LAYOUT = Layout(
    files=("mmewmicroexp.*", "mmew.*"),
    named=("MMEW_Micro_Exp.xlsx",),
    columns=(SUBJECT, FILENAME, ONSET, APEX, OFFSET, UNITS, EMOTION),
    rate=90.0,
    subjects=Subjects("S", 2),
    where=lambda entry: ((entry.filename,),),
)


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row; "others" is read as repression, and reported."""
    for entry in layout.entries(table, form):
        if entry.emotion.lower() in ("others", "other"):
            entry.odd("emotion", "means repression in this data set; read as 'repression'")
            entry.emotion = "repression"
        yield entry
