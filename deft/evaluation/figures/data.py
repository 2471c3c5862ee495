"""What the figures read: files under work/<profile> and figures/<profile>/tables, nothing else and nothing typed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips import facs
from deft.clips.store import ClipStore
from deft.evaluation import metrics, source, tables
from deft.evaluation.metrics import Interval


class FigureError(FileNotFoundError):
    """A figure's input does not exist; the message names it and the notebook that writes it."""


def need(path: str | Path, notebook: str) -> Path:
    """The path; FileNotFoundError says which notebook makes it where it is not there."""
    path = Path(path)
    if not path.exists():
        raise FigureError(
            f"{path.parent.name}/{path.name} does not exist; run notebook {notebook} first (`make reproduce`)"
        )
    return path


def array(profile: str, stage: str, name: str, notebook: str, set_: str = "bench") -> np.ndarray:
    """One array of a stage, mapped from disk: only the rows that are used are read."""
    need(paths.work(profile) / stage / set_ / f"{name}.npy", notebook)
    return runtime.load_array(paths.work(profile) / stage / set_, name)


def index(profile: str, set_: str = "bench") -> pd.DataFrame:
    """The table of clips of one set, in the order of every array."""
    return clips(profile, set_).index


def clips(profile: str, set_: str = "bench") -> ClipStore:
    """The store of one set."""
    return ClipStore(need(paths.work(profile) / "clips" / set_, "01_clips"))


def truth(profile: str, rows: Iterable[int], name: str, set_: str = "bench") -> np.ndarray:
    """The named truth array of a few clips, (len(rows), ...): read shard by shard, so memory stays small."""
    rows, store, found = list(rows), ClipStore(paths.work(profile) / "clips" / set_), {}
    for where, (values,) in store.stream(name):
        for row in rows:
            if where.start <= row < where.stop:
                found[row] = values[row - where.start]
    return np.stack([found[row] for row in rows])


@dataclass(frozen=True)
class Pictures:
    """One clip as the figures show it.

    rgb: (3, 128, 128, 3) uint8 aligned onset, apex, hold; flow: (128, 128, 2) px onset -> peak, rigid part removed,
    inside the face; motion: (36, 2) px per region, mean of apex and hold; noise: px; landmarks: (68, 2) px."""

    row: pd.Series
    rgb: np.ndarray
    flow: np.ndarray
    motion: np.ndarray
    noise: float
    landmarks: np.ndarray


def pictures(profile: str, table: pd.DataFrame, row: int) -> Pictures:
    """Everything the figures show of clip `row` of the benchmark; table: its clips (`index`)."""
    from deft.drawing import enlarge, face_mask

    rgb = np.asarray(array(profile, "faces", "rgb", "02_faces")[row])
    peak = np.asarray(array(profile, "motion", "peak", "03_motion")[row], np.float32)
    courses = array(profile, "motion", "courses", "03_motion")[row : row + 1]
    noise = float(array(profile, "motion", "noise", "03_motion")[row])
    landmarks = np.asarray(array(profile, "faces", "landmarks", "02_faces")[row])
    field = enlarge(peak[..., :2], rgb.shape[1]) * face_mask(landmarks, rgb.shape[1])[..., None]
    return Pictures(table.loc[row], rgb, field, source.peak_flow(courses)[0], noise, landmarks)


def annotated(row: NamedTuple | pd.Series) -> set[tuple[int, str]]:
    """What the annotators wrote for one clip, as {(unit, side)}; an annotation without a side counts for both."""
    sides = facs.unit_sides(row.units if isinstance(row.units, str) else "")
    return {
        (unit, s)
        for unit, side in sides.items()
        if unit in facs.UNITS
        for s in (facs.SIDES if side == "B" else (side,))
    }


def predictions(profile: str) -> pd.DataFrame:
    """All answers on the benchmark: work/<profile>/predictions.jsonl as a checked table."""
    need(paths.work(profile) / "predictions.jsonl", "08_answers")
    answers = tables.predictions(profile)
    return answers[answers["set"] == "bench"]


def table(profile: str, name: str) -> pd.DataFrame:
    """One of the paper's tables as notebook 09 wrote it."""
    return pd.read_csv(need(paths.figures(profile) / "tables" / f"{name}.csv", "09_tables"))


def recognition(profile: str, measure: str = "uf1") -> dict[tuple[str, str], Interval]:
    """UF1 (or another column of T2) with its interval per (system, condition), as the table has it; rows without the
    number are left out.
    """
    t2 = table(profile, "T2")
    t2 = t2[(t2.kind == "simulated") & (t2["set"] == "bench")].dropna(subset=[measure])
    return {
        (system, condition): Interval(*numbers)
        for system, condition, *numbers in t2[
            ["system", "condition", measure, f"{measure}_low", f"{measure}_high"]
        ].itertuples(index=False)
    }


def guessing(profile: str) -> dict[str, float]:
    """{condition: UF1 that is expected of guessing among the emotions}."""
    found, kinds = {}, len(facs.EMOTIONS)
    for condition, part in predictions(profile).drop_duplicates(["clip", "condition"]).groupby("condition"):
        counts = part.truth.value_counts().reindex(facs.EMOTIONS, fill_value=0).to_numpy()
        found[condition] = metrics.scores_of_counts(np.outer(counts, [1 / kinds] * kinds + [0]))["uf1"]
    return found
