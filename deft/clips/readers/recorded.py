"""A clip of a real camera: what a row of a sheet says, and frames that are decoded when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deft.clips.readers.reel import Reel
from deft.clips.record import Clip


class _Decoded:
    """The field `frames`: given a Reel, every access decodes it; given an array, it is the array.

    Nothing is kept, so that a list of clips holds paths and not pixels. Whoever loops over frames takes `clip.frames`
    once; `dataclasses.replace` decodes, and its result holds the pixels."""

    def __set__(self, clip: Clip, source: Reel | np.ndarray) -> None:
        clip.__dict__["_source"] = source

    def __get__(self, clip: Clip | None, owner: type) -> np.ndarray:
        if clip is None:
            raise AttributeError("frames")  # the class has none, so the dataclass field stays without a default
        source = clip.__dict__["_source"]
        return source.load() if isinstance(source, Reel) else source


@dataclass(frozen=True, repr=False)
class RecordedClip(Clip):
    """A `Clip` with what only sheets know. `frames` runs from onset to offset and is decoded at every access.

    With frames, onset, apex and offset are positions in `frames` and `numbers` says which frames of the source these
    are. Without frames (`len(numbers) == 0`) they are the numbers as the sheet has them, since there is nothing to
    point into."""

    frames = _Decoded()
    filename: str = ""  # the clip's name in the sheet
    kind: str = "micro"  # "micro" or "macro"
    objective: int | None = None  # objective class 1..7, when the sheet has one
    unparsed: tuple[str, ...] = ()  # parts of the action-unit cell that could not be read, verbatim
    apex_estimated: bool = False  # the sheet has no usable apex: it is the middle of onset and offset
    numbers: tuple[int, ...] = ()  # (T,) frame numbers of the source
    file: str = ""  # where the clip stands:
    sheet: str = ""
    row: int | None = None
    edition: str = ""  # which edition of the sheet, where there are several
    split: str = ""  # the published part it belongs to, where there is one: train, testA, testB

    @property
    def rises(self) -> bool:
        """Whether a movement fits between onset and offset: both known, and a frame between them."""
        return None not in (self.onset, self.offset) and self.offset - self.onset >= 2

    @property
    def apex_on_edge(self) -> bool:
        """Whether the sheet puts the apex on onset or offset although the clip rises: then it must be looked for."""
        return self.rises and self.apex in (self.onset, self.offset)

    def __repr__(self) -> str:  # the inherited one would decode and print the frames
        return f"<{self.id}: {len(self.numbers)} frames, {self.emotion or 'no emotion'}, {self.file} row {self.row}>"
