"""A CSV of one's own: `clips.csv`, UTF-8, one row per clip, frames beside it.

    clip,subject,frames,fps,onset,apex,offset,action_units,emotion,coarse
    smile1,anna,anna/smile1,200,12,20,31,6+12,happiness,positive

clip and subject are needed. frames: a folder of numbered pictures or a video, relative to the CSV; empty means a folder
or video named like the clip. Moments are the numbers in the pictures' names; frames of a video are counted from 0.
coarse (negative, positive, surprise) follows from the emotion where it is left out. Other columns are ignored."""

from collections.abc import Iterator

from deft.clips.readers import layout
from deft.clips.readers.layout import APEX, EMOTION, OFFSET, ONSET, UNITS, Entry, Layout, frame_rate
from deft.clips.readers.library import climbs, same
from deft.clips.readers.sheets import Column, Table

COARSE = ("negative", "positive", "surprise")


def _where(entry: Entry) -> tuple[tuple[str, ...], ...]:
    if entry.frames_at:
        parts = tuple(part for part in entry.frames_at.replace("\\", "/").split("/") if part not in ("", "."))
        if parts:
            return (parts, (*parts[:-1], parts[-1].rpartition(".")[0]))  # videos are listed without their suffix
    return ((entry.subject, entry.filename), (entry.filename,))


LAYOUT = Layout(
    files=("clips",),
    named=("clips.csv",),
    columns=(
        Column("filename", ("clip", "filename", "id"), needed=True),
        Column("subject", ("subject",), needed=True),
        Column("frames", ("frames", "path", "folder", "video"), quiet=True),
        Column("rate", ("fps", "frame rate")),
        ONSET,
        APEX,
        OFFSET,
        UNITS,
        EMOTION,
        Column("coarse", ("coarse",), quiet=True),
    ),
    rate=None,
    first=0,
    where=_where,
)


def entries(table: Table, form: Layout) -> Iterator[Entry]:
    """One entry per row, its frames where the column `frames` says (below the root)."""
    found = list(layout.entries(table, form))
    people: dict[str, set[str]] = {}
    for entry in found:
        people.setdefault(same(entry.filename), set()).add(same(entry.subject))
    for entry in found:
        entry.frames_at = entry.row.text("frames")
        if not entry.frames_at and len(people[same(entry.filename)]) > 1:  # the name alone may be another person's clip
            entry.frames_at = f"{entry.subject}/{entry.filename}"
        if climbs(entry.frames_at):
            entry.odd("frames", "leads out of the folder of the CSV; not followed")
            entry.frames_at = ""
        entry.rate = frame_rate(entry, 1, 10_000)
        entry.coarse = entry.row.text("coarse").lower()
        if entry.coarse and entry.coarse not in COARSE:
            entry.odd("coarse", f"none of {', '.join(COARSE)}; left empty")
            entry.coarse = ""
        yield entry
