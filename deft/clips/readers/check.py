"""`make data-check DATASET=casme2`: what a copy of a data set holds, where it differs from what is published, and what
is odd.

Prints and nothing else; a file is written only where --report says.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from deft import paths
from deft.clips import labels
from deft.clips.notation import ActionUnit
from deft.clips.readers import READERS, RecordedClip, read, unknown
from deft.clips.readers.library import Library
from deft.clips.readers.report import reason

SHOWN = 3  # oddities of one reason that are printed; a real sheet has hundreds of one kind


def check(
    dataset: str, root: Path | None = None, strict: bool = False, report: Path | None = None, errata: bool = False
) -> int:
    """Print the check. root: by default `$DEFT_DATA/<dataset>`. errata: as for `read`. Returns 1 with `strict` when
    there are oddities, else 0. Raises ReaderError.
    """
    if dataset not in READERS:
        raise unknown(dataset)
    root = root or paths.data(dataset)
    library = Library(root)
    sheet_only = library.empty if root.exists() else True
    clips, oddities = read(dataset, root, frames=not sheet_only, errata=errata)
    counts = labels.check_counts(clips)
    print("\n".join(summary(clips, oddities, sheet_only, library.packed() if root.exists() else "")))
    print("\npublished counts")
    print("\n".join(compared(counts)))
    print(
        f"\ndata report: {len(oddities)} oddities"
        + (", nothing was dropped, every repair is marked on its clip" if len(oddities) else "")
    )
    print("\n".join(listed(oddities)))
    if report is not None:
        oddities.to_csv(report, index=False)
        print(f"written: {report}")
    return int(strict and len(oddities) > 0)


def summary(clips: list[RecordedClip], oddities: pd.DataFrame, sheet_only: bool, packed: str = "") -> list[str]:
    """What was read, in lines. packed: words about archives that may hold the missing frames."""
    attrs = oddities.attrs
    lines = [
        f"{attrs['dataset']}: {'; '.join(attrs['sheets'])}"
        + (f"; edition {', '.join(attrs['editions'])}" if attrs["editions"] else "")
    ]
    if sheet_only:
        lines.append("no picture and no video below this folder: only the sheet was read" + packed)
    subjects = Counter(clip.subject for clip in clips)
    lines.append(
        f"clips      {len(clips)}"
        + _more("; ", Counter(clip.kind for clip in clips), 2)
        + _more("; ", Counter(clip.split for clip in clips if clip.split), 1)
    )
    lines.append(
        f"subjects   {len(subjects)}"
        + (f" ({min(subjects.values())} to {max(subjects.values())} clips each)" if subjects else "")
    )
    lines.append("emotions   " + (_counted(Counter(clip.emotion or "(none)" for clip in clips)) or "-"))
    lines.append("coarse     " + (_counted(Counter(clip.coarse or "(none)" for clip in clips)) or "-"))
    if objective := Counter(str(clip.objective) for clip in clips if clip.objective):
        lines.append("objective  " + ", ".join(f"{name} {objective[name]}" for name in sorted(objective)))
    units = Counter(_unit(unit) for clip in clips for unit in clip.action_units)
    lines.append("units      " + (_counted(units) or "-"))
    lines.append(
        "frame rate "
        + (_counted(Counter("not known" if clip.fps is None else f"{clip.fps:g}" for clip in clips)) or "-")
        + " clips at that many per second"
    )
    lines.append(
        f"apex       {sum(clip.apex is not None and not clip.apex_estimated for clip in clips)} from the sheet,"
        f" {sum(clip.apex_estimated for clip in clips)} estimated, {sum(clip.apex is None for clip in clips)} not known"
    )
    micro = [clip for clip in clips if clip.kind == "micro"]
    if edge := sum(clip.apex_on_edge for clip in micro):
        lines.append(
            f"           {edge} with apex = onset or apex = offset: `make licensed` estimates theirs from motion"
        )
    if useless := sum(not clip.rises for clip in micro):
        lines.append(f"           {useless} without an onset and an offset at least two frames apart: of no use to it")
    if not sheet_only:
        lengths = sorted(len(clip.numbers) for clip in clips)
        lines.append(
            f"frames     {sum(lengths)} in {sum(n > 0 for n in lengths)} clips"
            + (f", {lengths[0]} to {lengths[-1]} a clip" if lengths else "")
        )
    return lines


def compared(counts: pd.DataFrame) -> list[str]:
    """Published counts beside those found, differences marked."""
    if counts.empty:
        return ["none to compare with"]
    agree = int(counts["agrees"].sum())
    lines = [
        f"{'=' if row.agrees else '!'} {row.part + (' ' + row.value if row.value else ''):<30} found {row.found:>5}  "
        f" published {row.expected:>5}   {row.source}"
        for row in counts.itertuples()
    ]
    return [*lines, f"{agree} of {len(counts)} agree"]


def listed(oddities: pd.DataFrame) -> list[str]:
    """Lines of file, sheet, row, column, value, what was done: the first `SHOWN` of every reason, and how many more
    there are.
    """
    lines: list[str] = []
    for _, part in oddities.groupby([oddities["column"], oddities["what"].map(reason)], sort=False):
        for row in part.head(SHOWN).itertuples():
            where = [row.file, row.sheet, "" if pd.isna(row.row) else f"row {row.row}", row.column]
            value = f" {row.value[:60]!r}" if row.value else ""
            lines.append(f"  {', '.join(part for part in where if part)}{value}: {row.what}")
        if len(part) > SHOWN:
            lines.append(f"  ... and {len(part) - SHOWN} more of this kind (--report FILE writes them all)")
    return lines


def _unit(unit: ActionUnit) -> str:
    return f"{unit.kind if unit.kind != 'AU' else ''}{unit.code}"


def _counted(counter: Counter) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _more(before: str, counter: Counter, least: int) -> str:
    return before + _counted(counter) if len(counter) >= least else ""
