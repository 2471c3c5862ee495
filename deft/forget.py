"""`make forget DATASET=casme2`: which files hold faces of a licensed data set, or pictures derived from them; and their
removal.

What a licence asks for when a data set is given back. Looked at are the work and figures folders of now (DEFT_WORK,
DEFT_FIGURES), all profiles and numbers of folds. Tables of numbers stay. The data set itself, the folder that belongs
to its reader, is never touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

from deft import paths
from deft.clips.footage import PICTURES
from deft.clips.readers import READERS, unknown
from deft.run import RunError, lock
from deft.run.clean import remove

DRAWN = (*PICTURES, ".pdf", ".svg", ".html")  # what may show a face among figures and tables


def places(dataset: str, own: bool = False) -> list[Path]:
    """Files and folders that hold faces of a data set or what was computed from its pictures, largest unit first.

    own: the pages of `analyse` too, of whatever clip they are: nobody wrote down whose face is on them.
    Raises ReaderError for a name that no reader has.
    """
    if dataset not in READERS:
        raise unknown(dataset)
    work, figures = paths.work(""), paths.figures("")
    found = [path for path in _folders(work) if _is_of(path.name, dataset)]
    found += [path for path in sorted(work.glob("*/licensed/*")) if path.name == dataset]
    found += [
        sheet.parent
        for sheet in sorted([*work.glob("*/set.json"), *work.glob("*/licensed/*/set.json")])
        if dataset in str(_said(sheet).get("dataset")).split("+")
    ]
    found += [
        path
        for path in sorted(work.glob("*/executed/12_*"))
        if f'"{dataset}"' in path.read_text(encoding="utf-8", errors="replace").replace("\\", "")
    ]
    found += [
        path
        for folder in [*_folders(figures), *figures.glob("*/licensed/*")]
        if _is_of(folder.name, dataset) or folder.name == dataset
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in DRAWN and path.is_file()
    ]
    found += sorted(work.glob("*/own/*")) if own else []
    return list(dict.fromkeys(found))


def _folders(base: Path) -> list[Path]:
    return sorted(path for path in base.iterdir() if path.is_dir() or path.is_symlink()) if base.is_dir() else []


def _is_of(name: str, dataset: str) -> bool:
    """Whether work/<name> is a set of this data set: casme-sq-demo is one of casme-sq, not of casme; a profile is
    none.
    """
    of = max((known for known in READERS if name.startswith(f"{known}-")), key=len, default="")
    return of == dataset and not (paths.NOTEBOOKS / "params" / f"{name}.yaml").exists()


def _said(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # a set without its note is found by its folder's name
    return found if isinstance(found, dict) else {}


def files(place: Path) -> list[Path]:
    """The files below a place, links followed at its top alone; the place itself when it is a file."""
    if place.is_dir():
        return [Path(folder) / name for folder, _, names in os.walk(place) for name in names]
    return [place]


def forget(dataset: str, yes: bool = False, own: bool = False) -> int:
    """List what there is; with `yes` remove it and look again. -> 0, or 1 when something is left.

    Raises RunError when a run is going on there, or when the data set's own folder lies inside of what would be
    removed."""
    found = places(dataset, own)
    for place in found:
        if lock.is_held(place):
            raise RunError(f"a run on {place} is going on; stop it or wait for it to end, then forget")
        for theirs in _data_of(dataset, found):
            if theirs.is_relative_to(place.resolve()) or place.resolve().is_relative_to(theirs):
                raise RunError(
                    f"{place} holds, or lies in, the data set's own folder {theirs}; that one is yours to move or"
                    " remove. Nothing was removed"
                )
    for place in found:
        inside = files(place)
        print(
            f"{'removed' if yes else 'found'}  {place}  ({len(inside)} files,"
            f" {sum(path.lstat().st_size for path in inside) / 2**20:.1f} MiB)"
        )
        if not yes:
            print("\n".join(f"       {path}" for path in sorted(inside)))
        else:
            remove(place)
    looked = f"{paths.work('')} and {paths.figures('')}"
    if not yes:
        print(
            f"{len(found)} places hold faces of {dataset} or what was made of them, below {looked}."
            + (f" make forget DATASET={dataset} YES=1 removes them." if found else "")
        )
    elif left := places(dataset, own):
        print("STILL THERE: " + ", ".join(map(str, left)))
        return 1
    else:
        print(
            f"{len(found)} places removed; looked again below {looked}: nothing of {dataset} is left there. Tables of"
            " numbers stay."
        )
    pages = [] if own else [page for page in paths.work("").glob("*/own/*")]
    if pages:
        print(f"{len(pages)} pages of `make analyse` under work/*/own may show faces too: OWN=1 counts them in.")
    return 0


def _data_of(dataset: str, found: list[Path]) -> set[Path]:
    """The data set's own folders, as far as they are known: $DEFT_DATA/<data set>, and what the runs were given."""
    given = {Path(_said(place / "set.json").get("root") or "") for place in found if (place / "set.json").exists()} - {
        Path()
    }
    if os.environ.get("DEFT_DATA"):
        given.add(paths.data(dataset))
    return {path.resolve() for path in given if path.exists()}
