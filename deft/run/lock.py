"""One writer at a time: a lock file that the kernel frees when its holder dies. Standard library only."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deft.run import RunError

NAME = ".lock"


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Hold the lock of `folder`, made if needed; RunError says who holds it. what: the work that is locked out, in
    words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / NAME, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise RunError(
                f"{what} is going on ({file.read().strip() or 'holder unknown'}); "
                "wait for it to end, or use another DEFT_WORK"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield


def is_held(folder: Path) -> bool:
    """Whether somebody holds the lock of `folder` now."""
    try:
        with open(folder / NAME, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
