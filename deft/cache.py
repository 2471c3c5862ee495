"""Whether a finished product is still what its inputs, its settings and the code make of it, and whether its files are
whole.

    state = cache.fresh(folder, inputs=[...], settings={...}, code="deft.experts.pretrain")
    if not state:       # state.why says what differs
        ...             # write the files
        state.seal()    # last, and whole or not at all: from here on the product is finished

The code is the import closure of a dotted name (`deft.closure`), without docstrings and comments; the lock file and the
Python version count too. The record lies beside the files as a hidden `.made.json`. What a run took belongs into
`seal(seconds=...)` and in no product: two runs of the same inputs give the same bytes, and nothing that reads them runs
again."""

import hashlib
import json
import platform
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from deft import paths, runtime
from deft.closure import Closure


def lock(root: Path = paths.ROOT) -> str:
    """Hash of the lock file and the Python version: what else any result depends on."""
    path = Path(root) / "constraints.txt"
    text = path.read_bytes() if path.exists() else b""
    return hashlib.sha256(text + ".".join(platform.python_version_tuple()[:2]).encode()).hexdigest()


_MODULES = Closure(paths.ROOT)  # read once per process, which goes on with the code it has imported


@cache
def code_of(code: str, apart: tuple[str, ...] = ()) -> dict[str, str]:
    """{file: hash} of everything a dotted name reaches but the modules `apart`."""
    return _MODULES.files([], [code], apart)


@cache
def _known(path: Path, *_changed) -> str:
    return runtime.sha256(path)


def visible(folder: Path) -> list[Path]:
    """The files of a folder but hidden and half-written ones."""
    return [
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]


def _inputs(inputs: Iterable) -> dict[str, str]:
    """{last two parts of the path, and what is below it: hash}; the same wherever the work folder is."""
    found = {}
    for given in map(Path, inputs):
        files = visible(given) if given.is_dir() else [given] if given.is_file() else []
        if not files:
            raise FileNotFoundError(f"{given} does not exist: run the stage that writes it (`make status` names it)")
        for path in files:
            name = "/".join([*given.parts[-2:], *path.relative_to(given).parts])
            found[name] = found.get(name, "") + _known(path, *runtime.stamp(path))
    return found


def _parts(inputs: Iterable, settings: dict | None, code: str, apart: tuple[str, ...] = ()) -> dict[str, dict]:
    return {
        "inputs": _inputs(inputs),
        "settings": json.loads(json.dumps(settings or {}, sort_keys=True, default=str), parse_constant=str),
        "modules": {name: digest[:16] for name, digest in code_of(code, apart).items()} if code else {},
        "lock": {"": lock()} if code else {},
    }


def hash_of(value: object) -> str:
    """Hash over anything that JSON can hold; what it cannot counts by its text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def key(inputs: Iterable = (), settings: dict | None = None, code: str = "") -> str:
    """Hash over the content of `inputs` (files and folders), `settings` (anything JSON holds) and the closure of
    `code`.
    """
    return hash_of(_parts(inputs, settings, code))


def changes(before: dict, after: dict) -> list[tuple[str, str]]:
    """[(name, added | removed | changed)] in the order of the names."""
    return [
        (name, "added" if name not in before else "removed" if name not in after else "changed")
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def difference(before: dict, after: dict) -> str:
    """What differs between two sets of parts, in words; empty when they are equal."""
    found = []
    for name, what in changes(before["settings"], after["settings"]):
        values = f" {before['settings'][name]} -> {after['settings'][name]}" if what == "changed" else ""
        found.append(f"setting {name} {what}{values}"[:200])
    found += [f"input {name} {what}" for name, what in changes(before["inputs"], after["inputs"])]
    found += [f"module {name} {what}" for name, what in changes(before["modules"], after["modules"])]
    if before["lock"] != after["lock"]:
        found.append("the lock file (constraints.txt) or the Python version changed")
    return (found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")) if found else ""


@dataclass(frozen=True)
class State:
    """True when the product is finished, of the same key and whole. why: in words what is not; about: what `seal`
    was told.
    """

    folder: Path
    name: str
    files: tuple[str, ...] | None
    parts: dict = field(repr=False)
    why: str = ""
    about: dict = field(default_factory=dict)

    def __bool__(self) -> bool:
        return not self.why

    @property
    def key(self) -> str:
        """Hash over inputs, settings and code."""
        return hash_of(self.parts)

    @property
    def places(self) -> list[Path]:
        """What `seal` may write: the folder, or the files that belong to the product and its record."""
        return (
            [self.folder]
            if self.files is None
            else [_record(self.folder, self.name), *(self.folder / name for name in self.files)]
        )

    def seal(self, **about: object) -> None:
        """Record the files as they are now; nothing of the product may be written later. about: seconds and other
        things that no hash holds.
        """
        given = [self.folder] if self.files is None else [self.folder / name for name in self.files]
        if absent := [path for path in given if not path.exists()]:
            raise FileNotFoundError(f"{absent[0]} was not written")
        files = [path for one in given for path in (visible(one) if one.is_dir() else [one])]
        if not files:
            raise FileNotFoundError(f"nothing was written to {self.folder}")
        runtime.write_json(
            _record(self.folder, self.name),
            {
                "files": {p.relative_to(self.folder).as_posix(): runtime.sha256(p) for p in files},
                "about": about,
                "parts": self.parts,
            },
        )
        runtime.REMADE.difference_update(self.places)


def _record(folder: Path, name: str) -> Path:
    return folder / (f".made.{name}.json" if name else ".made.json")


def _read(folder: Path, name: str) -> tuple[dict, str]:
    """(record, what is wrong with it)."""
    path = _record(folder, name)
    if not path.is_file():
        return {}, f"{folder / name} was never finished"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = {"files", "about", "parts"} <= found.keys()
    except (ValueError, AttributeError):
        whole = False
    return (found, "") if whole else ({}, f"the record {path} cannot be read")


def _broken(folder: Path, files: dict[str, str]) -> str:
    for name, known in files.items():
        if not (folder / name).is_file():
            return f"{folder / name} is missing"
        if runtime.sha256(folder / name) != known:
            return f"{folder / name} was altered since it was written"
    return ""


def fresh(
    place: str | Path,
    inputs: Iterable = (),
    settings: dict | None = None,
    code: str = "",
    *,
    name: str = "",
    files: Iterable[str] | None = None,
    apart: tuple[str, ...] = (),
) -> State:
    """The state of the product in the folder `place`. Hashes every product file; inputs once per process while size and
    time stand.

    files: what belongs to the product, below the folder (default: everything there). name: of the product, where
    several share a folder. Other files do not count. apart: modules of whose content all that matters stands in
    `settings`. A finished product of the same key with a damaged file is named in a warning. Raises FileNotFoundError
    for an input that is not there."""
    place, parts = Path(place), _parts(inputs, settings, code, apart)
    record, why = _read(place, name)
    if (known := not why) and (why := difference(record["parts"], parts)) and runtime.rule(place) is not None:
        _same_settings(place / name, record["parts"]["settings"], parts["settings"])
        why, parts = "", record["parts"]  # of older code or other inputs: the notebook has said that it is stale
    if known and not why and (why := _broken(place, record["files"])):
        warnings.warn(f"{why}; it is made again", RuntimeWarning, stacklevel=2)
    state = State(place, name, None if files is None else tuple(files), parts, why, record.get("about", {}))
    if not state:
        runtime.REMADE.update(state.places)
    return state


def _same_settings(product: Path, before: dict, after: dict) -> None:
    """Raise MadeOtherwise with both sets when a product was made with other settings than are asked for."""
    if names := [name for name, _ in changes(before, after)]:
        first, second = (
            ", ".join(f"{name} = {values.get(name)!r}" for name in names)[:300] for values in (before, after)
        )
        raise runtime.MadeOtherwise(f"{product} was made with {first}; this call asks for {second}. {runtime.AGAIN}")


def fresh_file(path: str | Path, inputs: Iterable = (), settings: dict | None = None, code: str = "") -> State:
    """As `fresh`, for a product of one file, whose record lies beside it."""
    path = Path(path)
    return fresh(path.parent, inputs, settings, code, name=path.name, files=[path.name])


def about(folder: str | Path) -> dict:
    """What `seal` was told of the product in `folder`, e.g. its seconds; {} where nothing is on record."""
    return _read(Path(folder), "")[0].get("about", {})


def damage(folder: str | Path, name: str = "") -> str:
    """The first file of a finished product that is missing or altered, in words; empty when all are whole, or
    nothing is on record.
    """
    return _broken(Path(folder), _read(Path(folder), name)[0].get("files", {}))
