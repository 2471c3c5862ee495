"""SAMM (Davison et al. 2018, IEEE T-AFFC 9(1)): 159 clips of 29 subjects, 200 fps, grey. Seen.

    SAMM_Micro_FACS_Codes_v2.xlsx, sheet MICRO_ONLY: 13 lines of preamble, heading on row 14
    006/006_1_2/006_05562.jpg (five digits, sometimes four)

Subject 6 and 006 are one. Two rows of the release have their apex outside the clip: it is estimated, and marked.
"""

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

LAYOUT = Layout(
    files=("sammmicrofacscodes.*", "samm.*micro.*facs.*"),
    named=("SAMM_Micro_FACS_Codes_v2.xlsx",),
    sheets=("MICRO_ONLY",),
    columns=(
        SUBJECT,
        FILENAME,
        ONSET,
        APEX,
        OFFSET,
        Column("duration", ("Duration",), quiet=True),
        UNITS,
        EMOTION,
        OBJECTIVE,
    ),
    rate=200.0,
    subjects=Subjects("", 3),
    where=lambda entry: ((entry.subject, entry.filename), (entry.filename,)),
)


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row, its duration checked."""
    for entry in layout.entries(table, form):
        check_duration(entry)
        yield entry


def check_duration(entry: Entry) -> None:
    """Duration = offset - onset + 1, where the sheet has all three."""
    stated = entry.row.whole("duration", "is no number of frames")
    if None not in (stated, entry.onset, entry.offset) and stated != entry.offset - entry.onset + 1:
        entry.odd(
            "duration",
            f"onset {entry.onset} and offset {entry.offset} make {entry.offset - entry.onset + 1} frames; those were"
            " used",
        )
