"""What tables T2, T3 and T7 are made from: the answers, and the truth and measurements of the benchmark's clips.

There are two places it can come from, and one class for both, so that no table knows the difference:

    Answers.of_work("demo")           # work/demo, after 08_answers
    Answers.of_reference(folder)      # predictions.jsonl.gz and answers.npz, e.g. the committed reference
    answers.export(folder)            # writes those two files

`tables.t2`, `t3`, `t7` and `grounding.judge` take a profile's name or an `Answers`; both give the same cells.
Arrays are read when they are first asked for, in the order of `clips`: N clips of the benchmark.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.keyframes import peak_mean
from deft.clips.store import ClipStore

PREDICTIONS, ARRAYS = "predictions.jsonl.gz", "answers.npz"  # of `export`
COLUMNS = ("clip", "dataset", "subject", "condition", "look")  # of `clips`
NUMBERS = (
    "units_true",
    "region_true",
    "flow",
    "noise",
    "probability",
)  # arrays (N, ...) with these names in answers.npz
UNIT_EXPERTS = ("structure", "texture", "motion")  # whose unit probabilities T3 scores, where an expert has a unit head
NEEDED = (
    *("benchmark", "clip", "dataset", "subject", "fold", "system", "condition"),
    *("truth", "prediction", "scores", "text", "seed"),
)


class Answers:
    """Answers of every system, and what they are compared with.

    predictions: one row per (set, system, condition, seed, clip), columns of predictions.jsonl plus `set` and `look`.
    clips: (N rows) clip, dataset, subject, condition, look. units_true: (N, 17, 2) intensity. region_true, flow: (N,
    36, 2) px, true and measured motion. noise: (N,) px. probability: (N, 17, 2) of the evidence. probes: rows of
    experts/probes.json. references: {clip: reference answer of Uni-MER}. unit_scores(expert): (N, 17, 2), None without
    a unit head."""

    def __init__(self, predictions: Callable[[], pd.DataFrame], arrays: Callable[[str], np.ndarray | None], where: str):
        self._predictions, self._arrays, self.where = predictions, arrays, where

    @classmethod
    def of(cls, source: str | Answers) -> Answers:
        """A profile's name, or answers already."""
        return source if isinstance(source, Answers) else cls.of_work(source)

    @classmethod
    def of_work(cls, profile: str) -> Answers:
        """From the stages' files under work/<profile>."""
        work = paths.work(profile)
        return cls(
            lambda: _of_rows(_read_work(work), f"{work}/predictions.jsonl", lambda: _looks(work)),
            lambda name: _array(work, name),
            str(work),
        )

    @classmethod
    def of_reference(cls, folder: Path) -> Answers:
        """From the two files that `export` wrote."""
        folder, known = Path(folder), {}

        def array(name: str) -> np.ndarray | None:
            if not known:
                known.update(_read_npz(folder / ARRAYS))
            return known.get(name)

        return cls(
            lambda: _of_rows(_read_gz(folder / PREDICTIONS), str(folder / PREDICTIONS), None), array, str(folder)
        )

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per (set, system, condition, seed, clip); read at first use."""
        return self._predictions()

    @property
    def benchmark(self) -> str:
        """Version of the benchmark that is answered, e.g. "sim-v1"."""
        return self.predictions["benchmark"].iloc[0]

    @cached_property
    def clips(self) -> pd.DataFrame:
        """The N clips of the benchmark: clip, dataset, subject, condition, look."""
        return pd.DataFrame({name: self._need(name) for name in COLUMNS})

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in NUMBERS:
            raise AttributeError(f"Answers has no {name!r}")
        value = self.__dict__[name] = self._need(name)
        return value

    @cached_property
    def probes(self) -> list[dict]:
        """Rows of experts/probes.json; [] where there is none."""
        found = self._arrays("probes")
        return [] if found is None else json.loads(str(found))

    @cached_property
    def references(self) -> dict[str, str]:
        """{clip: reference answer of Uni-MER}."""
        found = self._arrays("references")
        return {} if found is None else {clip: text for clip, text in zip(self.clips["clip"], found.tolist()) if text}

    def unit_scores(self, expert: str) -> np.ndarray | None:
        """(N, 17, 2) unit probabilities of an expert; None without a unit head."""
        return self._arrays(f"{expert}_units")

    def export(self, folder: Path) -> None:
        """Write predictions.jsonl.gz and answers.npz (plain arrays, no pickle): same answers, same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(
            json.dumps(_plain(row), ensure_ascii=False, sort_keys=True) + "\n"
            for row in self.predictions.to_dict("records")
        )
        with runtime.atomic(folder / PREDICTIONS) as fresh:
            fresh.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))
        wanted = (*COLUMNS, *NUMBERS, *(f"{name}_units" for name in UNIT_EXPERTS), "probes", "references")
        arrays = {name: value for name in wanted if (value := self._arrays(name)) is not None}
        if absent := [name for name in (*COLUMNS, *NUMBERS) if name not in arrays]:
            raise FileNotFoundError(f"{self.where} has no {', '.join(absent)}; run 01_clips to 08_answers first")
        with runtime.atomic(folder / ARRAYS) as fresh, open(fresh, "wb") as file:
            np.savez_compressed(file, **arrays)

    def _need(self, name: str) -> np.ndarray:
        value = self._arrays(name)
        if value is None:
            raise FileNotFoundError(f"{self.where} has no array {name!r}; run 01_clips to 08_answers first")
        return value


def peak_flow(courses: np.ndarray) -> np.ndarray:
    """Region courses (N, T-1, 36, 5) -> measured (N, 36, 2) px, the mean of apex and hold."""
    return peak_mean(np.asarray(courses, np.float32), axis=1)[..., :2]


# ---------------------------------------------------------------- work/<profile>
def _read_work(work: Path) -> list[dict]:
    """predictions.jsonl, and predictions_heldback.jsonl where there is one."""
    first = work / "predictions.jsonl"
    if not first.is_file():
        raise FileNotFoundError(
            f"{first} does not exist: run 08_answers first (`make reproduce` runs every stage in order)"
        )
    return [
        row
        for path in (first, work / "predictions_heldback.jsonl")
        if path.is_file()
        for row in runtime.read_jsonl(path)
    ]


def _looks(work: Path) -> dict[str, int]:
    """clip -> look, of the benchmark and of the held-back clips."""
    found: dict[str, int] = {}
    for part in ("bench", "heldback"):
        if (work / "clips" / part).is_dir():
            index = ClipStore(work / "clips" / part).index
            found |= dict(zip(index["clip"], index["look"]))
    return found


def _array(work: Path, name: str) -> np.ndarray | None:
    """The array that has this name in answers.npz, from the stages' files; None when its stage did not make it."""
    if name in (*COLUMNS, "units_true", "references"):
        if not (work / "clips" / "bench").is_dir():
            return None
        store = ClipStore(work / "clips" / "bench")
        if name == "units_true":
            return store.array(name)
        if name != "references":
            return store.index[name].to_numpy().astype(int if name == "look" else str)
        path = work / "unimer" / "bench.jsonl"
        told = (
            {row["clip"]: row["answer"] for row in runtime.read_jsonl(path) if row["kind"] == "reasoning"}
            if path.is_file()
            else {}
        )
        return np.array([told.get(clip, "") for clip in store.index["clip"]]) if told else None
    if name == "probes":
        path = work / "experts" / "probes.json"
        return np.array(json.dumps(runtime.read_json(path))) if path.is_file() else None
    stage, stored = {
        "region_true": ("motion", "region_true"),
        "flow": ("motion", "courses"),
        "noise": ("motion", "noise"),
        "probability": ("evidence", "probability"),
    }.get(name, ("features", name))
    if not (work / stage / "bench" / f"{stored}.npy").is_file():
        return None
    value = np.asarray(runtime.load_array(work / stage / "bench", stored))
    return peak_flow(value) if name == "flow" else value.reshape(len(value), -1)[:, 0] if name == "noise" else value


# ---------------------------------------------------------------- rows and files
def _of_rows(rows: list[dict], where: str, looks: Callable[[], dict[str, int]] | None) -> pd.DataFrame:
    """Checked rows with columns `set` and `look`. looks: clip -> look, for rows that do not say it themselves."""
    frame = pd.DataFrame(rows)
    if absent := set(NEEDED) - set(frame.columns):
        raise ValueError(f"{where} lacks {', '.join(sorted(absent))}; run 08_answers again")
    held = frame["fold"].to_numpy() == -1  # answered by the readers of all folds, because nobody trained on the subject
    told = frame["set"] if "set" in frame else pd.Series([None] * len(frame))
    frame["set"] = told.where(told.notna(), np.where(held, "heldback", "bench"))
    key = ["set", "system", "condition", "seed", "clip"]
    if frame.duplicated(key).any():
        row = frame[frame.duplicated(key)].iloc[0]
        raise ValueError(
            f"{where}: {row['system']}, seed {row['seed']}, answers clip {row['clip']} twice; run 08_answers again"
        )
    if "look" not in frame or frame["look"].isna().any():
        frame["look"] = frame["clip"].map(looks() if looks else {})
        if frame["look"].isna().any():
            raise ValueError(
                f"{where}: the look of clip {frame['clip'][frame['look'].isna()].iloc[0]} is not known, and intervals "
                "resample subjects within looks; run 01_clips and 08_answers again"
            )
    return frame.assign(look=frame["look"].astype(int))


def _read_gz(path: Path) -> list[dict]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except (EOFError, gzip.BadGzipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from the repository") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from the repository") from error


def _plain(row: dict) -> dict:
    """A row as JSON can say it: NumPy numbers become Python's, what is missing is left out."""
    out = {}
    for name, value in row.items():
        value = value.item() if isinstance(value, np.generic) else value
        if not (value is None or isinstance(value, float) and value != value):
            out[name] = value
    return out
