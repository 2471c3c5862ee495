"""Answers of a recognition protocol -> rows of a table, and which of these rows may be called a reproduction.

Counts are pooled over all folds, the class mean is taken last, and a part (one data set of several) is scored on the
answers of the same runs (MEGC 2019). Intervals resample subjects within data sets (or looks, where they are known):
how many subjects a set has is the protocol's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from deft.evaluation import metrics
from deft.evaluation.protocols.members import ProtocolError

REPRODUCED = 0.95  # at least this share of the published clips, class by class, must be scored (and there to train on)
KINDS = (
    "reproduced",
    "partial",
    "measured",
    "simulated",
)  # partial: too few published clips; measured: nothing published to compare with
FULL = "full"
Counts = Mapping[str, Mapping[str, int]]  # part -> class -> clips; class "" where only the sum is published


def agreement(found: Mapping[tuple[str, str], int], published: Mapping[tuple[str, str], int]) -> float:
    """Share of the published clips, 0 to 1, that are there, class by class; surplus lowers it as lack does."""
    shared = sum(min(found.get(name, 0), count) for name, count in published.items())
    return shared / max(sum(found.values()), sum(published.values()), 1)


def counted(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Clips per part and true class among rows with columns part and truth; of several draws (seed) the first."""
    once = rows[rows["seed"] == rows["seed"].iloc[0]] if "seed" in rows else rows
    return {part: of["truth"].value_counts().to_dict() for part, of in once.groupby("part", sort=False)}


def kind(found: Counts, published: Counts, parts: Sequence[str], part: str = FULL) -> str:
    """Which of KINDS a row on recorded clips is. parts: all that the protocol trains on or tests.

    A part is reproduced only where the whole protocol is: its answers come from the same runs, trained on all of it.
    """
    if set(parts) - set(published):
        return "measured"

    def flat(counts: Counts, only: str) -> dict[tuple[str, str], int]:
        told = {
            name: of if set(published.get(name, ())) != {""} else {"": sum(of.values())}
            for name, of in counts.items()
            if only in (FULL, name)
        }
        return {(name, one): number for name, of in told.items() for one, number in of.items()}

    least = min(agreement(flat(found, only), flat(published, only)) for only in (FULL, part))
    return "reproduced" if least >= REPRODUCED else "partial"


def compared(rows: Iterable[tuple[str, str, int, int | None]]) -> pd.DataFrame:
    """(part, class, found, published) -> a table of them with `agrees`, None where nothing is published."""
    columns = ["part", "class", "found", "published", "agrees"]
    told = [(*row, None if row[3] is None else row[2] == row[3]) for row in rows]
    return pd.DataFrame(told, columns=columns).astype({"published": "Int64", "agrees": "boolean"})


def words(clips: int, published: int) -> str:
    """What every row says: "437 of 442 published clips"."""
    return f"{clips} of {published} published clips" if published else f"{clips} clips, no published count"


def checked(
    rows: Iterable[Mapping] | pd.DataFrame, classes: Sequence[str], name: str, needed: Sequence[str]
) -> pd.DataFrame:
    """Rows as a DataFrame with columns `needed`, system and condition. ProtocolError names a row that cannot be
    scored.
    """
    frame = (rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))).reset_index(drop=True)
    if frame.empty:
        raise ProtocolError(f"no answer to {name}; run the systems first")
    if absent := set(needed) - set(frame.columns):
        raise ProtocolError(f"answers to {name} lack {', '.join(sorted(absent))}; a row needs {', '.join(needed)}")
    for column in ("system", "condition"):
        frame[column] = frame[column] if column in frame else ""
    key = [column for column in ("system", "condition", "seed", "clip") if column in frame]
    if "clip" in key and (again := frame.duplicated(key)).any():
        twice = frame[again].iloc[0]
        raise ProtocolError(
            f"answers to {name}, row {twice.name + 1}: clip {twice['clip']} is answered twice by "
            f"{twice['system'] or 'a system'}; it is tested once, so remove the rows of the older run"
        )
    if classes and "truth" in needed and not (known := frame["truth"].isin(classes)).all():
        wrong = frame[~known].iloc[0]
        raise ProtocolError(
            f"answers to {name}, row {wrong.name + 1} ({wrong.get('clip', wrong['subject'])}): truth "
            f"{wrong['truth']!r} is none of {', '.join(classes)}; score members of this protocol, with its own labels"
        )
    if "dataset" in frame and ("look" not in frame or (frame["look"] == -1).all()):
        frame["look"] = frame["dataset"]
    return frame


@dataclass(frozen=True)
class Ground:
    """What a row says of its protocol beside the scores. published: clips per part and class. parts: all that are
    trained on or tested. tested: those that are scored. found: clips that were given, per part and class, None: those
    answered. kind: of all rows, "" to judge each by its counts.
    """

    protocol: str
    source: str
    published: Counts
    parts: tuple[str, ...]
    tested: tuple[str, ...]
    found: Counts | None = None
    kind: str = ""

    def row(self, mine: pd.DataFrame, part: str) -> dict:
        """kind, protocol, part, clips and "n of N published clips" of the answers `mine` of one system."""
        clips, parts = counted(mine), self.tested if part == FULL else (part,)
        answered = sum(sum(clips.get(name, {}).values()) for name in parts)
        total = sum(sum(self.published.get(name, {}).values()) for name in parts)
        trained = {name: of for name, of in (self.found or {}).items() if name not in self.tested}
        what = self.kind or kind({**trained, **clips}, self.published, self.parts, part)
        told = f"{answered} simulated clips" if what == "simulated" else words(answered, total)
        return {"kind": what, "protocol": self.protocol, "part": part, "clips": answered, "of": told}


def table(frame: pd.DataFrame, classes: Sequence[str], ground: Ground, seed: int) -> pd.DataFrame:
    """One row per system, condition and part. frame: of `checked`, with column part."""
    out = []
    for (system, condition), mine in frame.groupby(["system", "condition"], sort=False):
        for part in [FULL, *ground.tested] if len(ground.tested) > 1 else [FULL]:
            here = mine if part == FULL else mine[mine["part"] == part]
            if here.empty:
                continue
            one = metrics.sample(here, metrics.confusions(here["truth"], here["prediction"], classes))
            row = {"system": system, "condition": condition, **ground.row(mine, part)}
            row |= {"subjects": len(one.subjects), "draws": len(one.draws or (0,))}
            row["outside"] = float((~here["prediction"].isin(classes)).mean())  # answers that are none of the classes
            for score in metrics.SCORES:
                row |= metrics.interval(one, getattr(metrics, score), seed=seed).columns(score)
            out.append({**row, "classes": ", ".join(classes), "source": ground.source})
    return pd.DataFrame(out)


def confusions(frame: pd.DataFrame, classes: Sequence[str]) -> dict[tuple[str, str, str], pd.DataFrame]:
    """{(system, condition, part): counts}, rows truth, columns answer, the last one for answers outside the list; all
    draws together.
    """
    columns = [*classes, "(none of these)"]
    out = {}
    for (system, condition), mine in frame.groupby(["system", "condition"], sort=False):
        for part in (FULL, *mine["part"].unique()):
            here = mine if part == FULL else mine[mine["part"] == part]
            out[system, condition, part] = pd.DataFrame(
                metrics.confusion(here["truth"], here["prediction"], classes), index=list(classes), columns=columns
            )
    return out
