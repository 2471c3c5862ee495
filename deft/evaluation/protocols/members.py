"""Which clips are members of a protocol: one table for recorded and for simulated clips.

Columns: clip, dataset, subject, person, part, truth, look (-1: not known), condition, place. person: the subject as
one human being; SAMM's clips and its long videos show the same people, and so do SMIC's three cameras. place: where
the clip stands, for messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace

import pandas as pd

from deft.clips.facs import COARSE, parse_action_units

COLUMNS = ("clip", "dataset", "subject", "person", "part", "truth", "look", "condition", "place")
SAME_PEOPLE = {"samm-lv": "samm", "smic-hs": "smic", "smic-vis": "smic", "smic-nir": "smic"}
SIMULATED = "sim-"  # how the names of simulated data sets begin
SETS = ("sim-a", "sim-b", "sim-c")  # those of the benchmark


class ProtocolError(ValueError):
    """A protocol cannot be run on these clips, or answers cannot be scored; the message says where and what to do."""


def is_simulated(dataset: str) -> bool:
    """Whether a data set is one of the simulator's."""
    return dataset.startswith(SIMULATED)


def records(clips: Iterable[object] | pd.DataFrame) -> list[object]:
    """Clips, or rows of a clip index (`deft.clips.store.INDEX_COLUMNS`), as objects with id, dataset, emotion, ..."""
    clips = clips if isinstance(clips, pd.DataFrame) else list(clips)
    if isinstance(clips, list) and not (clips and isinstance(clips[0], Mapping)):
        return clips
    clips = pd.DataFrame(clips)
    if absent := {"clip", "dataset", "subject", "emotion"} - set(clips.columns):
        raise ProtocolError(
            f"the index of clips lacks column {', '.join(sorted(absent))}; pass ClipStore(folder).index, or clips as "
            "`deft.clips.read` gives them"
        )
    parsed = {cell: parse_action_units(cell).units for cell in set(clips["units"])} if "units" in clips else {}
    return [
        SimpleNamespace(**row, id=row["clip"], action_units=parsed.get(row.get("units"), ()))
        for row in clips.to_dict("records")
    ]


def place(clip: object) -> str:
    """Where a clip stands: "CASME2-coding-20140508.xlsx, row 12 (casme2_01_EP02_01f)", or its id alone."""
    row = getattr(clip, "row", None)
    return f"{getattr(clip, 'file', '')}, row {row} ({clip.id})" if row is not None else str(clip.id)


def table(clips: Sequence[object], truth: Callable[[object], object], part: Callable[[object], str]) -> pd.DataFrame:
    """Members among micro-expression clips: those with a truth. ProtocolError for an id that occurs twice."""
    rows, seen = [], {}
    for clip in clips:
        where = place(clip)
        if (before := seen.setdefault(clip.id, where)) is not where:
            raise ProtocolError(f"{where} is there twice, first as {before}; drop one, or it would be tested twice")
        condition = getattr(clip, "condition", "")
        if getattr(clip, "kind", "micro") != "micro" or condition == "unscored" or (found := truth(clip)) is None:
            continue
        person = f"{SAME_PEOPLE.get(clip.dataset, clip.dataset)}/{clip.subject}"
        look = getattr(clip, "look", -1)
        rows.append((clip.id, clip.dataset, clip.subject, person, part(clip), found, look, condition, where))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def simulated_class(emotion: str, classes: Sequence[str]) -> str | None:
    """Class of a simulated clip: its emotion, or its coarse class where the protocol has no such emotion."""
    return next((name for name in (emotion, COARSE.get(emotion, "")) if name in classes), None)
