"""Clips: where they come from (a simulator, annotation sheets of licensed data sets), and what is known about each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from deft.clips.record import Clip


def read(dataset: str, root: str | Path, frames: bool = True) -> tuple[list[Clip], pd.DataFrame]:
    """A licensed data set, or a CSV of one's own -> (list[Clip], pandas.DataFrame), the clips and the data report.

    dataset: casme, casme2, samm, samm-lv, smic-hs, smic-vis, smic-nir, casme-sq, casme-cube-a, casme-cube-c, mmew,
    4dme, dfme or csv. root: the folder that holds sheet and frames, or the sheet itself. frames=False: only the sheet
    is needed and `clip.frames` is empty. See `deft.clips.readers.read` for what is read when, for the report's columns
    and for the errors."""
    from importlib import import_module

    # By name, so that a change to a reader makes no stage of the embedded benchmark stale: none of them reads a sheet.
    return import_module("deft.clips.readers").read(dataset, root, frames=frames)
