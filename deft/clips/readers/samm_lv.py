"""SAMM Long Videos (Yap et al. 2020, FG): 159 micro- and 343 macro-movements in 147 videos, 200 fps. Inferred from
loaders.

    SAMM_LongVideos_V3_Release.xlsx (V1, V2): 10 rows of preamble, no heading
    006_1/006_1_0001.jpg: the frames of a video; clip 006_1_2 is the second movement of video 006_1

`clip.kind` is "micro" or "macro". The sheet has no emotion.
"""

from collections.abc import Iterator

from deft.clips.readers import layout
from deft.clips.readers.layout import APEX, FILENAME, OFFSET, ONSET, SUBJECT, UNITS, Entry, Layout, Subjects
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


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row, with its kind (micro or macro), its duration checked."""
    for entry in layout.entries(table, form):
        entry.kind = kind(entry, "type")
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
