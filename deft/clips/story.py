"""The two clips that every notebook follows, chosen by what the simulator knows before anything is measured."""

from __future__ import annotations

from deft.clips import facs
from deft.clips.store import ClipStore


def story(store: ClipStore) -> int:
    """Row (in `store.index`) of the clip that is followed from 01 to 10 and in F2.

    Rule: happiness, tie broken, no distractor; at least one unit that was written down and moved, exactly one that was
    written down and did not move, none that moved unwritten; of these the strongest movement. Where a set is too small
    to hold one: the first happy clip with the tie broken, else the first clip."""
    return _strongest(
        store, lambda confirmed, unsupported, unannotated: confirmed and len(unsupported) == 1 and not unannotated
    )


def second(store: ClipStore) -> int:
    """Row of the counter-example: as `story`, but everything written down moved, and exactly one unit moved that
    nobody wrote down.
    """
    return _strongest(
        store, lambda confirmed, unsupported, unannotated: confirmed and not unsupported and len(unannotated) == 1
    )


def _strongest(store: ClipStore, wanted) -> int:
    happy = store.index[
        (store.index.condition == "broken") & (store.index.emotion == "happiness") & (store.index.distractor == "")
    ]
    intensity = store.array("units_true")  # (N, 17, 2), 0 .. 1, left and right of the person
    best, strength = None, 0.0
    for row, written in happy.units.items():
        named = {unit for unit in facs.unit_sides(written) if unit in facs.UNITS}
        moved = {unit for unit, sides in zip(facs.UNITS, intensity[row]) if sides.max() > 0}
        if wanted(named & moved, named - moved, moved - named) and intensity[row].max() > strength:
            best, strength = int(row), float(intensity[row].max())
    return best if best is not None else int(happy.index[0]) if len(happy) else 0
