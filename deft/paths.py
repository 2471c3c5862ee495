"""Where things live: the repository, the work folder (intermediate data) and the figures folder (tables and figures).

`DEFT_WORK` and `DEFT_FIGURES` move the two output folders, `DEFT_DATA` is the folder of licensed data sets; everything
else in the package asks here."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
COMMITTED = ("reference", "bench.csv")  # what lies in figures/<profile> and is no product of a run: no run removes it


def _base(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or ROOT / default).expanduser().absolute()


def work(profile: str) -> Path:
    """Folder of one profile's intermediate data: `$DEFT_WORK/<profile>`, by default `work/<profile>`. Not created
    here.
    """
    return _base("DEFT_WORK", "work") / profile


def figures(profile: str) -> Path:
    """Folder of one profile's tables and figures: `$DEFT_FIGURES/<profile>`, by default `figures/<profile>`."""
    return _base("DEFT_FIGURES", "figures") / profile


def of_draw(folder: Path, number: int) -> Path:
    """Where draw `number` of what is trained lies below `folder`: the folder itself for draw 0,
    `folder/draw<number>` for another.
    """
    return Path(folder) if number == 0 else Path(folder) / f"draw{number}"


def data(dataset: str) -> Path:
    """Folder of one licensed data set: `$DEFT_DATA/<dataset>`. It has no default, so that no face lands in the
    repository.
    """
    base = os.environ.get("DEFT_DATA")
    if not base:
        raise ValueError(
            f"DEFT_DATA is not set: export DEFT_DATA=/where/your/data/sets/are (with {dataset}/ in it), or give the"
            " folder itself"
        )
    return Path(base).expanduser().absolute() / dataset
