"""Clips on disk: one `.npz` shard per subject, written whole or not at all, read back as one table and its arrays.

A shard is the unit of work that a killed run keeps. It carries the hash of the plan it was rendered from.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from deft import runtime

INDEX_COLUMNS = (
    "clip",
    "dataset",
    "subject",
    "condition",
    "look",
    "emotion",
    "coarse",
    "fps",
    "onset",
    "apex",
    "offset",
    "units",
    "distractor",
    "split",
)


class StoreError(ValueError):
    """A shard is missing, broken or disagrees with its neighbours; the message names it and the remedy."""


def write_shard(path: Path, rows: list[dict], plan_hash: str, **arrays: np.ndarray) -> None:
    """Write one subject's clips. Every array has one row per entry of `rows`; columns are `INDEX_COLUMNS`."""
    for row in rows:
        if set(row) != set(INDEX_COLUMNS):
            raise StoreError(f"{path.name}: index columns {sorted(set(row) ^ set(INDEX_COLUMNS))} missing or unknown")
    for name, array in arrays.items():
        if len(array) != len(rows):
            raise StoreError(f"{path.name}: array '{name}' has {len(array)} rows for {len(rows)} clips")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = np.array(json.dumps({"plan": plan_hash, "rows": rows}))
    with runtime.atomic(path) as temporary:
        with open(temporary, "wb") as handle:  # a handle: numpy would append .npz to a temporary name
            np.savez(handle, _header=header, **arrays)


class ClipStore:
    """All shards of one set as a table and stacked arrays.

    `index`: pandas.DataFrame, one row per clip, sorted by shard name, columns `INDEX_COLUMNS`.
    `array(name)`: (N, ...) in the order of `index`. Raises StoreError when the folder holds no shard.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.shards = sorted(self.folder.glob("*.npz"))
        if not self.shards:
            raise StoreError(f"no clips under {self.folder.name}/: run stage 01_clips first (make reproduce)")
        rows, self._lengths = [], []
        for path in self.shards:
            try:
                with np.load(path) as shard:
                    found = json.loads(str(shard["_header"]))["rows"]
            except (zipfile.BadZipFile, KeyError, EOFError) as error:
                raise StoreError(f"{path.name} is not a whole shard ({error}); delete it and rerun 01_clips") from error
            rows += found
            self._lengths.append(len(found))
        self.index = pd.DataFrame(rows, columns=list(INDEX_COLUMNS))

    def __len__(self) -> int:
        return len(self.index)

    def array(self, name: str) -> np.ndarray:
        """One array of all clips, (N, ...) in the order of `index`; StoreError names a shard that lacks it."""
        parts = []
        for path in self.shards:
            with np.load(path) as shard:
                if name not in shard:
                    raise StoreError(
                        f"{path.name} has no array '{name}'; it has {sorted(set(shard.files) - {'_header'})}"
                    )
                parts.append(shard[name])
        return np.concatenate(parts)

    def stream(self, *names: str) -> Iterable[tuple[slice, tuple[np.ndarray, ...]]]:
        """Yield (rows of `index`, arrays) shard by shard: one subject in memory at a time."""
        start = 0
        for path, length in zip(self.shards, self._lengths):
            with np.load(path) as shard:
                yield slice(start, start + length), tuple(shard[name] for name in names)
            start += length
