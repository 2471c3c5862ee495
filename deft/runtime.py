"""How a run stays repeatable and safe: seeds derived at the point of use, files that appear whole or not at all,
provenance.

numpy is imported inside the functions that need it, so that `python -m deft status` stays light.
"""

from __future__ import annotations

import ctypes
import filecmp
import hashlib
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deft import paths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

RECORDED_PACKAGES = (
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "opencv-contrib-python-headless",
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "safetensors",
    "matplotlib",
    "papermill",
    "ipykernel",
)


# ---------------------------------------------------------------- seeds


def seed_of(seed: int, what: str, index: int = 0) -> int:
    """One 63-bit seed per (seed, what, index): two uses never share a stream, and none depends on the order of
    calls.
    """
    digest = hashlib.sha256(f"{int(seed)}/{what}/{int(index)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def rng(seed: int, what: str, index: int = 0) -> np.random.Generator:
    """An explicit `np.random.Generator` for (seed, what, index); the global generator is never used."""
    import numpy as np

    return np.random.default_rng(seed_of(seed, what, index))


# ---------------------------------------------------------------- files


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on any failure it is removed.

    The temporary name keeps the suffix (`np.save` and friends look at it). A folder written there replaces the old
    folder. In a notebook that was opened by hand a product stays as it is (`replaceable`): what was written is thrown
    away."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    wanted = replaceable(path)
    try:
        yield temporary
        if not wanted:
            KEPT[path] = temporary.is_dir() or filecmp.cmp(temporary, path, shallow=False)
            _remove(temporary)
            return
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


# the rules of a notebook that was opened by hand, {place: why its products must not be replaced}; for its workers too
BY_HAND = "DEFT_BY_HAND"
AGAIN = (
    "It is not replaced. To replace it, say lab.parameters(..., again=True) in the setup cell; to keep both, write a"
    " profile of your own (a file in notebooks/params) and name it in the parameters cell"
)
KEPT: dict[Path, bool] = {}  # products that were not written again, and whether they would have been the same
REMADE: set[Path] = set()  # products that were unfinished or damaged: they are written whatever the rules say


class MadeOtherwise(RuntimeError):
    """A call in a notebook that was opened by hand would replace a product that was made with other parameters."""


def rule(path: str | Path) -> str | None:
    """Why a product must not be replaced, "" when it just stays as it is, None when it may be: always, but in a
    notebook opened by hand.
    """
    places = json.loads(os.environ.get(BY_HAND) or "{}")
    above = {str(path), *map(str, Path(path).parents)}
    return (
        next((why for place, why in places.items() if place in above), None)
        if above.isdisjoint(map(str, REMADE))
        else None
    )


def replaceable(path: str | Path) -> bool:
    """Whether `path` may be written or removed; False for a product that stays as it is. Raises MadeOtherwise, see
    `rule`.
    """
    why = rule(path) if Path(path).exists() else None
    if why:
        raise MadeOtherwise(f"{path}: {why}. {AGAIN}")
    return why is None


def stamp(path: str | Path) -> tuple[int, int, int]:
    """Inode, size and time of change (ns) of a file: while the three stand, its bytes are taken for unchanged."""
    stat = os.stat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def sha256(path: str | Path) -> str:
    """Hash of a file's bytes, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value):
    """JSON has no NaN and knows no numpy: NaN and infinity become null, numpy scalars and arrays become numbers and
    lists.
    """
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(v) for v in value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all. NaN is written as null."""
    text = json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON; a file that does not parse is named, with the place, instead of a bare decoder error."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); remove the file and run its stage again") from error


def write_jsonl(path: str | Path, rows: Iterable[dict]) -> None:
    """Write one JSON object per line, whole or not at all. NaN is written as null."""
    with atomic(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) + "\n")


def read_jsonl(path: str | Path) -> list[dict]:
    """Read one JSON object per line; a broken line is named by its number."""
    rows = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: not readable as JSON ({error}); "
                    "the file may be half-written: remove it and run its stage again"
                ) from error
    return rows


def save_array(folder: str | Path, name: str, array: ArrayLike) -> Path:
    """Write `folder/name.npy`, whole or not at all; returns its path."""
    import numpy as np

    path = Path(folder) / f"{name}.npy"
    with atomic(path) as temporary:
        np.save(temporary, np.asarray(array), allow_pickle=False)
    return path


def load_array(folder: str | Path, name: str, mmap: bool = True) -> np.ndarray:
    """Read `folder/name.npy`, memory-mapped read-only unless `mmap=False`. FileNotFoundError names the file."""
    import numpy as np

    path = Path(folder) / f"{name}.npy"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run the stage that writes it (`make status` names it)")
    return np.load(path, mmap_mode="r" if mmap else None, allow_pickle=False)


# ---------------------------------------------------------------- progress

DRIVEN = "DEFT_DRIVEN"  # set in the kernels of the driver


def bar(items: Iterable, total: int, what: str, unit: str) -> Iterator:
    """Yield `items` under a progress bar; in a kernel of the driver, whose page is read afterwards, one line at the
    end takes its place.
    """
    from tqdm.auto import tqdm

    began, driven = time.monotonic(), bool(os.environ.get(DRIVEN))
    yield from tqdm(items, total=total, desc=what, unit=unit, mininterval=2, disable=driven)
    if driven:
        print(f"{what}: {total} {unit}{'s' * (total != 1)} in {time.monotonic() - began:.0f} s", flush=True)


# ---------------------------------------------------------------- machine and provenance


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Inside, these environment variables have these values; afterwards the ones of before."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def jobs() -> int:
    """Cores this process may use; `DEFT_JOBS` overrides."""
    wanted = os.environ.get("DEFT_JOBS")
    if wanted:
        if not wanted.isdigit() or int(wanted) < 1:
            raise ValueError(f"DEFT_JOBS={wanted!r}: expected a whole number of at least 1")
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def release_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc)."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def peak_memory_gib() -> float:
    """Largest resident memory of this process so far, GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


BESIDE = ("bench.csv", "reference/**")  # committed files that no table is made from


@lru_cache(maxsize=1)
def commit() -> str:
    """Short git commit of the repository, with `+` when tracked files differ from it; `unknown` outside git. What makes
    no number does not count: the timings of `make bench`, and a reference, which `make reference` itself writes anew.
    """

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(paths.ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=7", "HEAD") + (
            "+"
            if git("status", "--porcelain", "--untracked-files=no", *(f":(exclude,glob)figures/*/{n}" for n in BESIDE))
            else ""
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None


def provenance() -> dict:
    """What a result was made with: commit, versions of the packages that matter, and the machine. No heavy import."""
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "versions": versions,
        "hardware": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": _cpu(),
            "cores": jobs(),
            "memory_gib": _memory_gib(),
        },
    }
