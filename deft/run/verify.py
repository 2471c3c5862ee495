"""Compare regenerated tables with the committed reference, claim by claim, within tolerances that stand beside it.

`figures/<profile>/reference/` holds the tables as CSV, optionally `claims.json`, and `tolerance.json`:
`{"default": {"absolute": 0.02, "relative": 0.0}, "T9": "ignore" | {"default": {...}, "<column>": {...} | "ignore"}}`.
A cell may mix words and numbers ("0.81 [0.78, 0.84]"): its words must be equal, each of its numbers within tolerance.
"""

import csv
import re
import shutil
from pathlib import Path

from deft import artifacts, config, paths, runtime
from deft.run import RunError

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
CLAIMS = "claims.json"


def reference_folder(profile: str) -> Path:
    """The reference beside the figures, or else the one committed with the repository."""
    mine = paths.figures(profile) / "reference"
    return mine if mine.is_dir() else paths.ROOT / "figures" / profile / "reference"


def tolerance_for(tolerances: dict, table: str, column: str):
    """{"absolute", "relative"} for one column, or "ignore"."""
    here = tolerances.get(table, {})
    if here == "ignore":
        return "ignore"
    return here.get(column, here.get("default", tolerances["default"]))


def check_tolerances(tolerances: dict, where: Path) -> None:
    """Refuse a tolerance file that does not say what it means."""
    def entry(value, place):
        if value == "ignore":
            return
        if not isinstance(value, dict) or set(value) - {"absolute", "relative"} or not all(isinstance(v, (int, float)) and v >= 0 for v in value.values()):
            raise RunError(f"{where}: {place} must be \"ignore\" or {{\"absolute\": x, \"relative\": y}}, found {value!r}")

    if "default" not in tolerances:
        raise RunError(f"{where}: the entry \"default\" is missing")
    entry(tolerances["default"], "default")
    for table, columns in tolerances.items():
        if table not in ("default", "note") and columns != "ignore":
            if not isinstance(columns, dict):
                raise RunError(f"{where}: {table} must be \"ignore\" or a mapping of columns, found {columns!r}")
            for column, value in columns.items():
                entry(value, f"{table}.{column}")


def cell_difference(old: str, new: str, tolerance) -> str:
    """Why two cells differ, in words; empty when they agree within the tolerance."""
    if tolerance == "ignore" or old == new:
        return ""
    if NUMBER.sub("#", old) != NUMBER.sub("#", new):
        return f"{old!r} -> {new!r}"
    for before, after in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
        allowed = tolerance.get("absolute", 0.0) + tolerance.get("relative", 0.0) * abs(float(before))
        if abs(float(after) - float(before)) > allowed + 1e-12:
            return f"{before} -> {after}, allowed {allowed:.3g}"
    return ""


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows:
        raise RunError(f"{path} is empty; remove it and run `make reproduce`")
    return rows[0], rows[1:]


def table_differences(reference: Path, mine: Path, tolerances: dict) -> list[str]:
    """Every way in which a table differs from its reference."""
    if not mine.is_file():
        return [f"{mine.name} was not made; run `make reproduce`"]
    if tolerances.get(reference.stem) == "ignore":
        return []
    columns, old = read_table(reference)
    mine_columns, new = read_table(mine)
    if columns != mine_columns:
        return [f"columns {mine_columns} instead of {columns}"]
    if len(old) != len(new):
        return [f"{len(new)} rows instead of {len(old)}"]
    found = []
    for number, (before, after) in enumerate(zip(old, new, strict=True), start=1):
        for column, a, b in zip(columns, before, after, strict=True):
            words = cell_difference(a, b, tolerance_for(tolerances, reference.stem, column))
            if words:
                found.append(f"row {number} ({', '.join(before[:2])}), {column}: {words}")
    return found


def _claims(folder: Path) -> dict | None:
    """{claim: verdict} from claims.json as `deft.evaluation.claims` writes it; None when there is none."""
    path = folder / CLAIMS
    if not path.is_file():
        return None
    try:
        return {entry["claim"]: entry["verdict"] for entry in runtime.read_json(path)["claims"]}
    except (KeyError, TypeError) as error:
        raise RunError(f"{path}: not a list of verdicts ({error!r}); run `make reproduce` again") from error


def _known_profile(profile: str) -> None:
    known = config.profiles(paths.NOTEBOOKS)
    if profile not in known:
        raise config.ConfigError(f"unknown profile {profile!r}; {config.nearest(profile, known)}")


def verify(profile: str) -> int:
    """Print one line per table and per claim; returns 0 only when everything agrees."""
    _known_profile(profile)
    folder, mine = reference_folder(profile), paths.figures(profile)
    tables = sorted(folder.glob("T*.csv")) if folder.is_dir() else []
    if not tables:
        raise RunError(f"profile {profile!r} has no reference at {folder}; nothing to compare with. The repository keeps one for the demo profile")
    rules = folder / "tolerance.json"
    if not rules.is_file():
        raise RunError(f"{rules} is missing: the tolerance is part of the reference")
    tolerances = runtime.read_json(rules)
    check_tolerances(tolerances, rules)
    wrong = {}
    for table in tables:
        wrong[table.stem] = found = table_differences(table, mine / "tables" / table.name, tolerances)
        ignored = " (not compared: it depends on the machine)" if tolerances.get(table.stem) == "ignore" else ""
        print(f"{table.stem:<4} {'differs' if found else 'agrees'}{ignored}  {artifacts.get(table.stem).title}")
        for words in found[:8]:
            print(f"       {words}")
        if len(found) > 8:
            print(f"       and {len(found) - 8} more")
    problems = sum(bool(found) for found in wrong.values()) + _verify_claims(folder, mine, wrong)
    print("verified: every number within tolerance" if not problems else f"NOT verified: {problems} of the lines above differ")
    return 1 if problems else 0


def _verify_claims(folder: Path, mine: Path, wrong: dict) -> int:
    old, new, problems = _claims(folder), _claims(mine) or {}, 0
    for claim, words in artifacts.CLAIMS.items():
        of_claim = [a.id for a in artifacts.REGISTRY if claim in a.claim and a.id in wrong]
        differing = [t for t in of_claim if wrong[t]]
        verdict = ""
        if old is not None and claim in old:
            same = old[claim] == new.get(claim)
            problems += not same
            verdict = f"; verdict {new.get(claim)!r}" + ("" if same else f", the reference says {old[claim]!r}")
        numbers = f"tables {', '.join(of_claim)} " + (f"differ in {', '.join(differing)}" if differing else "agree") if of_claim else "no table in this edition"
        print(f"{claim}   {numbers}{verdict}  ({words})")
    return problems


def write_reference(profile: str) -> int:
    """Keep the present tables (and claims) as the reference; an existing tolerance.json stays as it is."""
    _known_profile(profile)
    mine, folder = paths.figures(profile), paths.figures(profile) / "reference"
    tables = sorted((mine / "tables").glob("T*.csv"))
    if not tables:
        raise RunError(f"no tables at {mine / 'tables'}; run `make reproduce` first")
    folder.mkdir(parents=True, exist_ok=True)
    for path in [*tables, *mine.glob(CLAIMS)]:
        with runtime.atomic(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)
    if not (folder / "tolerance.json").exists():
        runtime.write_json(folder / "tolerance.json", {"default": {"absolute": 0.02, "relative": 0.02}, "T9": "ignore"})
    print(f"reference of profile {profile}: {len(tables)} tables at {folder}; look at tolerance.json, then commit the folder")
    return 0
