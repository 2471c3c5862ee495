"""The reference: complete runs as cells, one of them with its tables and answers, and what follows from all of them.

`figures/<profile>/reference/`
- `runs/<name>/cells.csv.gz` (table, row, column, value: every number of every table and check) and `run.json` (draw,
  limits, machine, code, verdicts);
- `spread.csv` (table, row, column, kind, mean, sd, runs) and `spread.json` (critical values and what was measured of
  them), computed from the runs;
- `kept.json` names one run, and of it there are: its tables, `claims.json`, `claims.md`, `predictions.jsonl.gz`, and
  whatever else `make check` reads.
Standard library only, up to the functions that compute.
"""

from __future__ import annotations

import csv
import gzip
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deft import artifacts, paths, runtime
from deft.run import RunError, see
from deft.verify import cells

if TYPE_CHECKING:
    from deft.verify.spread import Spread

COLUMNS = ("table", "row", "column", "value")
SPREAD_COLUMNS = ("table", "row", "column", "kind", "mean", "sd", "runs")
# the checks of the verdicts are judged like a table of this name: row `C1, check 1`, columns value, low, high
CHECKS = "claims"
COUNTS = ("clips", "texts")  # columns that say of how many answers a row's numbers are
CELLS, RUN, SPREAD, MEASURED = "cells.csv.gz", "run.json", "spread.csv", "spread.json"
KEPT = "kept.json"  # {"run": name of the run that the reference's tables and answers are}

Key = tuple[str, str, str]


def folder(profile: str) -> Path:
    """The reference beside the figures, or else the one committed with the repository."""
    mine = paths.figures(profile) / "reference"
    return mine if mine.is_dir() else paths.ROOT / "figures" / profile / "reference"


def claims_of(figures: Path) -> dict:
    """claims.json of a figures folder; a missing or malformed one is named."""
    path = figures / "claims.json"
    if not path.is_file():
        raise RunError(f"{path} does not exist; run `make reproduce`")
    try:
        found = runtime.read_json(path)
        for entry in found["claims"]:
            entry["claim"], entry["verdict"], [check["rule"] for check in entry["checks"]]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: not a list of verdicts ({error!r}); run `make reproduce` again") from error
    return found


def verdicts_of(claims: dict) -> dict[str, str]:
    """{claim: its verdict} of the content of claims.json."""
    return {entry["claim"]: entry["verdict"] for entry in claims["claims"]}


def check_cells(claims: dict) -> dict[Key, float]:
    """{(CHECKS, `C1, check 1`, value | low | high): number} of the checks' numbers."""
    return {
        (CHECKS, f"{entry['claim']}, check {number}", column): float(check[column])
        for entry in claims["claims"]
        for number, check in enumerate(entry["checks"], start=1)
        for column in ("value", "low", "high")
        if check.get(column) is not None
    }


def numbers(tables: Path, claims: Path) -> dict[Key, tuple[float, str]]:
    """{(table, row, column): (number, kind)} of the tables in one folder and of the checks in claims.json of another
    (or the same).
    """
    found = {
        (id, row, column): (cell.number, cell.kind)
        for id, table in cells.read_all(tables).items()
        for (row, column), cell in table.items()
        if cell.number is not None
    }
    return found | {
        key: (value, artifacts.EXACT if key[1].split(",")[0] in artifacts.UNTRAINED_CLAIMS else artifacts.STATISTICAL)
        for key, value in check_cells(claims_of(claims)).items()
    }


def write_run(profile: str, name: str, about: dict, figures: Path | None = None) -> Path:
    """Keep the numbers of a finished run as runs/<name> of the reference of `profile`; returns the folder."""
    figures = figures or paths.figures(profile)
    found, place = numbers(figures / "tables", figures), paths.figures(profile) / "reference" / "runs" / name
    if not {key[0] for key in found} - {CHECKS}:
        raise RunError(f"no tables at {figures / 'tables'}; run `make reproduce` first")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*key, f"{number:.10g}"] for key, (number, kind) in found.items() if kind != artifacts.MACHINE)
    with runtime.atomic(place / CELLS) as temporary:
        temporary.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
    runtime.write_json(
        place / RUN,
        {
            "name": name,
            **about,
            "verdicts": verdicts_of(claims_of(figures)),
            "cells_sha256": runtime.sha256(place / CELLS),
        },
    )
    return place


def read_runs(where: Path) -> dict[str, tuple[dict, dict[Key, float]]]:
    """{name: (run.json, {key: number})} of every finished run under runs/; an edited one is named."""
    found = {}
    for path in sorted(where.glob(f"runs/*/{RUN}")):
        about, data = runtime.read_json(path), path.with_name(CELLS)
        if not data.is_file() or runtime.sha256(data) != about.get("cells_sha256"):
            raise RunError(
                f"{data} is missing or not what {path.name} recorded; restore the reference (git checkout) or make that"
                " run again"
            )
        rows = csv.reader(io.StringIO(gzip.decompress(data.read_bytes()).decode("utf-8")))
        if tuple(next(rows)) != COLUMNS:
            raise RunError(f"{data}: expected the columns {', '.join(COLUMNS)}")
        found[path.parent.name] = about, {(table, row, column): float(value) for table, row, column, value in rows}
    return found


def kept_run(where: Path, runs: dict) -> str | None:
    """Name of the run whose tables lie in the reference, as kept.json tells it or else the complete run with draw 0;
    None if it is not there.
    """
    if (where / KEPT).is_file():
        name = runtime.read_json(where / KEPT).get("run")
        return name if name in runs else None
    return next((name for name, (about, _) in counted(runs).items() if about.get("draw") == 0), None)


def rename_kept(where: Path, name: str, new: str) -> None:
    """The run whose tables lie in the reference is called otherwise from now on, if it is this one."""
    if (where / KEPT).is_file() and runtime.read_json(where / KEPT).get("run") == name:
        runtime.write_json(where / KEPT, {"run": new})


def counted(runs: dict, role: str = "complete") -> dict:
    """The runs of one role: `complete` (means and spread), `carried` (of older code: the spread alone) or `trial`
    (only judged).
    """
    return {name: run for name, run in runs.items() if run[0].get("role", "complete") == role}


def spread_of(where: Path, runs: dict) -> Spread:
    """`spread.Spread` of the statistical cells. The kinds come from the reference's own tables."""
    from deft.verify import spread

    known = numbers(where, where)
    kinds = {key: kind for key, (_, kind) in known.items()}
    counts = {key[:2]: number for key, (number, kind) in known.items() if key[2] in COUNTS and kind == artifacts.EXACT}
    return spread.of_runs(
        *(
            [
                {key: value for key, value in run[1].items() if kinds.get(key) == artifacts.STATISTICAL}
                for run in counted(runs, role).values()
            ]
            for role in ("complete", "carried")
        ),
        counts=counts,
    )


def spread_text(where: Path, runs: dict) -> str:
    """spread.csv: mean and standard deviation over the counted runs of every number that is not of the machine."""
    import numpy as np

    used = [run for _, run in counted(runs).values()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SPREAD_COLUMNS)
    for key, (_, kind) in numbers(where, where).items():
        values = np.array([run[key] for run in used if key in run])
        if len(values) and kind != artifacts.MACHINE:
            sd = values.std(ddof=1) if len(values) > 1 else float("nan")
            writer.writerow([*key, kind, f"{values.mean():.6g}", "" if sd != sd else f"{sd:.4g}", len(values)])
    return text.getvalue()


def write_spread(profile: str, simulations: int | None = None) -> dict | None:
    """Write spread.csv and spread.json from the runs; returns what was measured, None while there are too few runs."""
    from deft.verify import spread

    where = paths.figures(profile) / "reference"
    runs = read_runs(where)
    if len(counted(runs)) < 2:
        return None
    if differing := exact_between(where, runs):
        print(
            f"{len(differing)} exact cells differ between the runs, first: {differing[0]}; declare their kind in"
            " deft/artifacts.py or find the cause"
        )
    with runtime.atomic(where / SPREAD) as temporary:
        temporary.write_text(spread_text(where, runs), encoding="utf-8")
    found = spread.measure(
        spread_of(where, runs), list(counted(runs)), **({"simulations": simulations} if simulations else {})
    )
    found["exact_cells_that_differ"] = differing[:20]
    found["trials"] = [judged_trial(where, runs, name, found) for name in counted(runs, "trial")]
    runtime.write_json(where / MEASURED, found)
    return found


def measured(where: Path) -> dict:
    """spread.json: the critical values and what was measured of them; a damaged one is named."""
    path = where / MEASURED
    try:
        found = runtime.read_json(path)
        numbers = [found[name] for name in ("critical", "critical_drift", "least_prior", "cells")]
        numbers += [found["simulated"][name] for name in ("simulations", "seed")]
        numbers += list(found["reach"].values())
        if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
            raise TypeError("a number is missing")
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunError(
            f"{path}: not the measured critical values ({type(error).__name__}: {error}); restore it (git checkout) "
            "or run `python -m deft reference --spread-only`"
        ) from error
    return found


def judged_trial(where: Path, runs: dict, name: str, measured: dict) -> dict:
    """A run that is not in the spread, judged by it: its largest |t| and its drift, and whether verify would accept
    them.
    """
    import numpy as np

    from deft.verify import spread

    reach = spread_of(where, runs)
    t = spread.ratios(reach, np.array([runs[name][1].get(key, np.nan) for key in reach.keys]), measured["least_prior"])
    largest, drift = spread.largest(reach, t, measured["reach"])[0], float(spread.drift(t[~np.isnan(t)]))
    return {
        "run": name,
        "largest": round(largest, 3),
        "drift": round(drift, 3),
        "inside": largest <= measured["critical"] and drift <= measured["critical_drift"],
    }


def exact_between(where: Path, runs: dict) -> list[str]:
    """Exact cells that differ between runs, in words: `make verify` would fail on them for every user, so whoever
    made the runs is told.
    """
    words = []
    for key, (_, kind) in numbers(where, where).items():
        values = [run[key] for _, run in counted(runs).values() if key in run]
        if (
            kind == artifacts.EXACT
            and values
            and max(values) - min(values) > cells.EXACT_TOLERANCE * max(1.0, abs(values[0])) + 1e-9
        ):
            words.append(f"{', '.join(key)}: {min(values):.6g} to {max(values):.6g}")
    return words


def keep(profile: str, figures: Path, name: str, work: Path | None = None, pictures: Path | None = None) -> Path:
    """Copy one run's tables, claims, pictures, checked sentences and answers (`deft.evaluation.source`) into the
    reference; the runs stay. Returns the folder.

    name: of the run under runs/. work: the run's folder work/<profile>, if it is not that of the environment. pictures:
    the folder that holds its figures, if it is another; where there are none, those of an older run go."""
    from deft.evaluation.source import Answers

    where = paths.figures(profile) / "reference"
    tables = sorted((figures / "tables").glob("T*.csv"))
    if not tables:
        raise RunError(f"no tables at {figures / 'tables'}; run `make reproduce` first")
    for path in [
        *tables,
        figures / "claims.json",
        figures / "claims.md",
        *(path for path in (pictures or figures).glob("F*") if path.suffix in (".png", ".txt")),
    ]:
        if path.is_file():
            with runtime.atomic(where / path.name) as temporary:
                shutil.copyfile(path, temporary)
    if not any((pictures or figures).glob("F*.png")):  # an older run's would stand beside these tables, numbers and all
        for path in (path for path in where.glob("F*") if path.suffix in (".png", ".txt")):
            path.unlink()
    own = work or paths.work(profile)
    checks = see.executed(
        own / "executed", paths.work(profile) / "executed"
    )  # what the run took over was executed elsewhere
    if checks:
        runtime.write_json(where / see.STORED, checks)
    else:
        (where / see.STORED).unlink(missing_ok=True)
    runtime.write_json(where / KEPT, {"run": name})
    with runtime.environment(DEFT_WORK=str(own.parent)):  # all of the package asks `paths`
        Answers.of_work(profile).export(where)
    return where
