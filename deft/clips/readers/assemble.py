"""From entries to clips: names, moments and labels are checked, frames are found, and whatever was done is marked on
the clip.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from deft.clips import labels
from deft.clips.facs import parse_action_units
from deft.clips.notation import CODES
from deft.clips.readers.layout import Entry, Layout
from deft.clips.readers.library import Library, Place
from deft.clips.readers.recorded import RecordedClip
from deft.clips.readers.reel import NO_FRAMES, Finder, Reel

# s; a micro-expression lasts up to half a second by the usual definition, and twice that is no slow one but a slip
LONGEST = 1.0

# ---------------------------------------------------------------- what the sheet says


def spell_emotions(found: list[Entry]) -> None:
    """Emotions in lower case. A spelling that is rare in its sheet (`Others` among `others`) is reported."""
    spellings: dict[str, Counter] = {}
    for entry in found:
        spellings.setdefault(entry.emotion.lower(), Counter())[entry.emotion] += 1
    for entry in found:
        usual = spellings[entry.emotion.lower()].most_common(1)[0][0]
        if entry.emotion != usual:
            entry.odd("emotion", f"written {usual!r} in most rows; read as {entry.emotion.lower()!r}")
        entry.emotion = entry.emotion.lower()


def check_moments(entry: Entry) -> None:
    """Onset <= apex <= offset, or a report of which is not; an apex that cannot be used becomes the middle, and is
    marked.

    The middle is what the field uses where a sheet has no apex (SMIC); `deft.motion` can find a better one in the
    frames."""
    onset, apex, offset = entry.onset, entry.apex, entry.offset
    for name in ("onset", "offset"):
        if getattr(entry, name) is None and entry.cell(name) == "" and entry.row.table.has(name):
            entry.odd(name, f"no {name}; left empty", "")
    if onset is not None and offset is not None and offset < onset:
        if apex is not None and apex >= onset:
            entry.odd("offset", f"lies before the onset {onset} and the apex {apex}; left empty")
            entry.offset = offset = None
        elif apex is not None and apex <= offset:
            entry.odd("onset", f"lies after the apex {apex} and the offset {offset}; left empty")
            entry.onset = onset = None
        else:
            entry.odd("offset", f"lies before the onset {onset}; both left empty")
            entry.onset = entry.offset = onset = offset = None
    if (
        entry.kind == "micro"
        and entry.rate
        and None not in (onset, offset)
        and (lasts := (offset - onset) / entry.rate) > LONGEST
    ):
        entry.odd(
            "offset",
            f"{lasts:.1f} s from onset {onset} to offset {offset} is long for a micro-expression; kept as written",
        )
    middle = (onset + offset) // 2 if onset is not None and offset is not None else None
    outside = apex is not None and ((onset is not None and apex < onset) or (offset is not None and apex > offset))
    if apex is None or outside:
        written = entry.cell("apex")
        why = (
            f"apex {apex} lies outside onset..offset ({onset}..{offset})"
            if outside
            else f"{written!r} is no frame number"
            if written != ""
            else "no apex"
        )
        done = f"estimated as the middle of onset and offset, {middle}" if middle is not None else "left empty"
        if entry.has_apex:
            entry.odd("apex", f"{why}; {done}", written)
        else:
            entry.marks.append(f"apex: the sheet has none; {done}")  # reported once for the whole sheet
        entry.apex, entry.apex_estimated = middle, middle is not None
    elif apex == onset:
        entry.odd("apex", "apex = onset; kept as written")
    elif apex == offset:
        entry.odd("apex", "apex = offset; kept as written")


def name_entries(dataset: str, found: list[Entry], key: Sequence[str]) -> None:
    """Ids from the key; a key that occurs twice is reported and its later rows get the row number as well."""
    first: dict[tuple, Entry] = {}
    taken: set[str] = set()
    for entry in found:
        values = tuple(str(getattr(entry, name)) if getattr(entry, name) is not None else "" for name in key)
        entry.id = "_".join((dataset, *values))
        if not entry.filename:
            entry.odd("filename", "no file name; the clip is kept, its frames cannot be found")
        before = first.setdefault(values, entry)
        if before is not entry:
            entry.odd(
                "filename", f"same {', '.join(key)} as row {before.row.number}; both were kept", ", ".join(values)
            )
            entry.id += f"_row{entry.row.number}"
        while entry.id in taken:
            entry.id += "'"  # two intervals of one row, neither with a readable onset
        taken.add(entry.id)


# ---------------------------------------------------------------- frames


def places(entry: Entry, layout: Layout, library: Library) -> list[Place]:
    """Where the frames of an entry may lie; with several cameras, only what does not belong to another one."""
    for tail in layout.where(entry):
        if all(tail) and (hits := library.find(tail)):
            ours = [hit for hit in hits if not layout.camera or _camera_fits(hit.name, layout.camera)]
            if ours:
                return ours
    return []


def _camera_fits(path: str, camera: str) -> bool:
    named = set(re.split(r"[^a-z0-9]+", path.lower())) & {"hs", "vis", "nir"}
    return not named or camera in named


def film(entry: Entry, layout: Layout, finder: Finder) -> Reel:
    """The reel of one entry, onset to offset; everything missing or broken is reported on the way."""

    def odd(what: str) -> None:
        entry.odd("frames", what, "")

    found = places(entry, layout, finder.library)
    if not found:
        tails = " or ".join(
            "/".join("*" if part is ... else part for part in tail) for tail in layout.where(entry) if all(tail)
        )
        odd(f"no frames; looked for a folder or video {tails or '(the row gives no name)'}")
        return Reel()
    # Pictures before videos (they are what was annotated), whole frames before cropped ones (faces are aligned here).
    found = sorted(found, key=lambda place: (place.video, place.cropped, place.name))
    moments = [moment for moment in (entry.onset, entry.apex, entry.offset) if moment is not None]
    span = (min(moments), max(moments)) if len(moments) > 1 else None
    used = next((place for place in found if span is None or finder.overlaps(place, *span)), None)
    if used is None and entry.begins is not None and (recounted := _recounted(found, span, entry.begins, finder, odd)):
        return recounted
    used = used or found[0]
    rivals = [
        place.name
        for place in found
        if place is not used and (place.video, place.cropped) == (used.video, used.cropped)
    ]
    if rivals:
        odd(
            f"several places; {used.name} was used, {', '.join(rivals[:3])} {'was' if len(rivals) == 1 else 'were'} not"
        )
    span = span or finder.span(used)
    if span is None:
        odd(f"{used.name}: no usable frame")
        return Reel()
    return finder.reel(used, *span, odd)


def _recounted(
    found: list[Place], span: tuple[int, int], begins: int, finder: Finder, odd: Callable[[str], None]
) -> Reel | None:
    """The reel of a place that counts its frames from the start of the recording, its numbers those of the sheet again;
    None without one.
    """
    for place in found:
        first = (finder.span(place) or (-1,))[0]
        shift = begins - first
        if first in (0, 1) and finder.overlaps(place, span[0] - shift, span[1] - shift):
            odd(f"{place.name}: frames count from {first}, the sheet's from {begins}; taken in order")
            reel = finder.reel(place, span[0] - shift, span[1] - shift, odd)
            return dataclasses.replace(reel, numbers=tuple(number + shift for number in reel.numbers))
    return None


def position(number: int | None, name: str, reel: Reel, entry: Entry) -> int | None:
    """Where a frame number stands in the reel; for a missing frame the nearest one, and that is reported."""
    if number is None or not len(reel):
        return None
    if number in reel.numbers:
        return reel.numbers.index(number)
    nearest = min(range(len(reel)), key=lambda t: abs(reel.numbers[t] - number))
    entry.odd(name, f"frame {number} is missing; frame {reel.numbers[nearest]} stands for it")
    return nearest


# ---------------------------------------------------------------- the clip


def clip(dataset: str, entry: Entry, layout: Layout, finder: Finder | None) -> RecordedClip:
    """One entry -> one clip. finder: None when no frames are wanted."""
    check_moments(entry)
    parsed = parse_action_units(entry.units)
    for text in parsed.unparsed:
        entry.odd("units", f"{text[:60]!r} is no action unit; kept verbatim", entry.units)
    for code in sorted({unit.code for unit in parsed.units} - CODES):
        entry.odd("units", f"{code} is no number of FACS; kept as written", entry.units)
    if entry.emotion and not labels.known(dataset, entry.emotion):
        entry.odd("emotion", f"{entry.emotion!r} is not in the label table of {dataset}; kept, without a coarse class")
    elif not entry.emotion and not entry.coarse and entry.row.table.has("emotion"):
        entry.odd("emotion", "no emotion; left empty", "")
    moments = {"onset": entry.onset, "apex": entry.apex, "offset": entry.offset}
    reel = film(entry, layout, finder) if finder else Reel()
    if len(reel):
        moments = {name: position(number, name, reel, entry) for name, number in moments.items()}
    return RecordedClip(
        frames=reel if len(reel) else np.zeros(NO_FRAMES, np.uint8),
        times_ms=_times(reel, moments["onset"], entry.rate),
        fps=entry.rate,
        id=entry.id,
        dataset=dataset,
        subject=entry.subject,
        action_units=parsed.units,
        emotion=entry.emotion,
        coarse=entry.coarse or labels.classes(dataset, entry.emotion, 3) or "",
        notes=(*_said(entry), *entry.row.notes, *entry.marks),
        filename=entry.filename,
        kind=entry.kind,
        objective=entry.objective,
        unparsed=parsed.unparsed,
        apex_estimated=entry.apex_estimated,
        numbers=reel.numbers,
        file=entry.row.table.file,
        sheet=entry.row.table.sheet,
        row=entry.row.number,
        edition=entry.edition,
        split=entry.split,
        **moments,
    )


def _said(entry: Entry) -> tuple[str, ...]:
    return (f"edition {entry.edition}",) if entry.edition else ()


def _times(reel: Reel, onset: int | None, rate: float | None) -> np.ndarray:
    """(T,) ms, 0 = onset (the first frame when the onset is not known); NaN when the frame rate is not known."""
    numbers = np.asarray(reel.numbers, np.float64)
    if not len(numbers):
        return numbers
    return (numbers - numbers[onset or 0]) * (1000.0 / rate if rate else np.nan)
