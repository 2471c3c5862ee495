"""Notebooks as the driver sees them: code cells, parameters, and the files they say they read and write.

The promise stands in the notebook's metadata: `deft: {"reads": [...], "writes": [...]}`, paths relative to
work/<profile>, or `figures:PATH` for figures/<profile>. `modules` names code that counts beside what the cells import.
`outside` says which value of a parameter makes the stage read what no earlier stage writes, {"parameter": {"value":
"dotted.function"}}: the function gets the work folder and returns a hash of it. Only the JSON is read here; nbformat is
not needed to see what is stale."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deft import config
from deft.run import RunError

NAME = re.compile(r"\d\d_\w+$")
PROMISES = ("reads", "writes", "modules", "outside")


@dataclass(frozen=True)
class Stage:
    """One notebook of the chain. `cells` are (id, source) of its code cells without the parameters cell."""

    name: str
    path: Path
    cells: tuple[tuple[str, str], ...]
    defaults: dict
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    modules: tuple[str, ...]
    outside: dict[str, dict[str, str]]


def source_of(cell: dict) -> str:
    """A cell's text; notebooks on disk keep it as a string or as a list of lines."""
    text = cell.get("source", "")
    return text if isinstance(text, str) else "".join(text)


def is_parameters(cell: dict) -> bool:
    """Whether a cell is tagged `parameters`."""
    return "parameters" in cell.get("metadata", {}).get("tags", [])


def read(path: Path) -> Stage:
    """Read one notebook; anything malformed is named."""
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        cells = [c for c in book["cells"] if c["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not a readable notebook ({type(error).__name__}: {error})") from error
    tagged = [c for c in cells if is_parameters(c)]
    if len(tagged) > 1:
        raise RunError(f"{path}: {len(tagged)} cells are tagged `parameters`; keep one")
    promise = book.get("metadata", {}).get("deft", {})
    unknown = sorted(set(promise) - set(PROMISES))
    if unknown:
        raise RunError(f"{path}: metadata deft.{unknown[0]} is unknown; {config.nearest(unknown[0], PROMISES)}")
    defaults = config.literals(source_of(tagged[0]), str(path)) if tagged else {}
    if absent := sorted(set(promise.get("outside", {})) - set(defaults)):
        raise RunError(f"{path}: metadata deft.outside names {absent[0]}; {config.nearest(absent[0], defaults)}")
    return Stage(
        name=path.stem,
        path=path,
        cells=tuple((c.get("id", f"cell-{i}"), source_of(c)) for i, c in enumerate(cells) if not is_parameters(c)),
        defaults=defaults,
        reads=_clean(path, promise.get("reads", [])),
        writes=_clean(path, promise.get("writes", [])),
        modules=tuple(promise.get("modules", [])),
        outside=promise.get("outside", {}),
    )


def _clean(path: Path, names: list[str]) -> tuple[str, ...]:
    for name in names:
        inner = PurePosixPath(name.removeprefix("figures:"))
        if inner.is_absolute() or ".." in inner.parts or not inner.parts:
            raise RunError(f"{path}: metadata names {name!r}; paths are relative to work/<profile>, or `figures:PATH`")
    return tuple(name.rstrip("/") for name in names)


def overlap(first: str, second: str) -> bool:
    """Whether two promised paths are the same or one contains the other."""
    return first == second or first.startswith(second + "/") or second.startswith(first + "/")


def load(folder: Path) -> tuple[Stage, ...]:
    """All notebooks NN_name.ipynb of a folder in order, checked against each other: one writer per path, no reading
    ahead.
    """
    folder = Path(folder)
    stages = tuple(read(p) for p in sorted(folder.glob("*.ipynb")) if NAME.match(p.stem))
    if not stages:
        raise RunError(f"{folder}: no notebooks named NN_name.ipynb")
    for i, later in enumerate(stages):
        for earlier in stages[:i]:
            for mine in later.writes:
                for theirs in earlier.writes:
                    if overlap(mine, theirs):
                        raise RunError(
                            f"{earlier.name} and {later.name} both write {max(mine, theirs, key=len)}; one file has one"
                            " writer"
                        )
            for read_name in earlier.reads:
                clash = [w for w in later.writes if overlap(read_name, w)]
                own = [s for s in stages[:i] if any(overlap(read_name, w) for w in s.writes)]
                if clash and not own:
                    raise RunError(f"{earlier.name} reads {read_name}, which only the later {later.name} writes")
    return stages


def find(stages: Iterable[Stage], wanted: str) -> Stage:
    """The stage called `wanted` (its full name or its number)."""
    for stage in stages:
        if wanted in (stage.name, stage.name.split("_")[0]):
            return stage
    raise RunError(f"unknown stage {wanted!r}; {config.nearest(wanted, [s.name for s in stages])}")
