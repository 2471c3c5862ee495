"""Where one profile of one set of notebooks keeps its records, and the lock that lets only one run at a time write
them.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from deft import cache, config, paths, runtime
from deft.run import RunError, book, lock

SPACE_NEEDED = 200 * 2**20  # bytes; below this a run could not even keep its records and would end half-way


@dataclass(frozen=True)
class Chain:
    """The notebooks of one folder under one profile. `root` holds the package and the lock file. work, figures: the
    profile's folders, as the environment names them when the chain is made."""

    profile: str
    notebooks: Path = paths.NOTEBOOKS
    root: Path = paths.ROOT
    stages: tuple = field(init=False)
    changes: dict = field(init=False)
    work: Path = field(init=False)
    figures: Path = field(init=False)

    def __post_init__(self):
        stages = book.load(self.notebooks)
        object.__setattr__(self, "stages", stages)
        object.__setattr__(
            self, "changes", config.overrides(self.profile, {s.name: s.defaults for s in stages}, self.notebooks)
        )
        object.__setattr__(self, "work", paths.work(self.profile))
        object.__setattr__(self, "figures", paths.figures(self.profile))

    @property
    def executed(self) -> Path:
        """Folder of the executed notebooks."""
        return self.work / "executed"

    def parameters(self, stage: book.Stage) -> dict:
        """The values a notebook will see: its own literals with the profile's changes."""
        return {**stage.defaults, **self.changes[stage.name]}

    def place(self, name: str) -> Path:
        """Where a promised path is on disk."""
        if name.startswith("figures:"):
            return self.figures / name.removeprefix("figures:")
        return self.work / name

    # ------------------------------------------------------------ records

    def record_path(self, stage: book.Stage) -> Path:
        """File of a stage's record."""
        return self.work / "status" / f"{stage.name}.json"

    def record(self, stage: book.Stage) -> dict | None:
        """What is known of the last run of a stage; an unreadable record is treated as none, and `broken` says so."""
        path = self.record_path(stage)
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) and "state" in found else {"state": "broken"}
        except (ValueError, OSError):
            return {"state": "broken"}

    def write_record(self, stage: book.Stage, record: dict) -> None:
        """Keep what is known of a run of a stage."""
        runtime.write_json(self.record_path(stage), record)

    def lock_hash(self) -> str:
        """The lock file and the Python version: what else a result depends on."""
        return cache.lock(self.root)

    # ------------------------------------------------------------ writing safely

    def prepare(self) -> None:
        """Make the output folders and prove that they can be written; otherwise say what to do."""
        for folder, variable in ((self.work, "DEFT_WORK"), (self.figures, "DEFT_FIGURES")):
            try:
                for part in (folder, folder / "status") if folder == self.work else (folder,):
                    part.mkdir(parents=True, exist_ok=True)
                probe = folder / f".writable.{os.getpid()}"
                probe.write_bytes(b"x" * 4096)
                probe.unlink()
            except OSError as error:
                remedy = (
                    "free some space" if error.errno == errno.ENOSPC else f"set {variable} to a folder you may write"
                )
                raise RunError(f"cannot write to {folder}: {error.strerror or error}; {remedy}") from error
            free = shutil.disk_usage(folder).free
            if free < SPACE_NEEDED:
                raise RunError(
                    f"disk nearly full: {free / 2**20:.0f} MiB free at {folder}, at least {SPACE_NEEDED / 2**20:.0f}"
                    f" MiB needed; free some space or set {variable} to another disk"
                )

    def locked(self) -> AbstractContextManager[None]:
        """Hold the profile's lock while its records and products are written: see `lock.held`."""
        return lock.held(self.work, f"another run of profile {self.profile!r}")

    def is_locked(self) -> bool:
        """Whether a run holds the lock now."""
        return lock.is_held(self.work)
