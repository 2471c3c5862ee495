"""Is what lies there what the run made? Stages, hashes, pages against their tables, tables against the answers,
verdicts against the tables.

Every function returns problems as `Problem`: `altered` (something is not what it says it is: the run is not verified)
or `unchecked` (it could not be looked at: a stage is stale, a file is missing)."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

from deft import artifacts, paths, runtime
from deft.run import RunError
from deft.verify import cells, reference

ALTERED, UNCHECKED = "altered", "unchecked"
MEASURED_TOLERANCE = 0.02  # of a critical value: the same draws on another processor
LEAST_SIMULATIONS = 200


@dataclass(frozen=True)
class Problem:
    """Something that does not fit: its state (ALTERED, UNCHECKED, ...), the file or stage, and what is wrong with
    it.
    """

    state: str
    what: str  # the file or stage
    words: str


def stages(profile: str, notebooks: Path) -> list[Problem]:
    """Stages that are not done. An output that was changed after it was written is altered; stale code or inputs
    leave the rest unchecked.
    """
    from deft.run import stale
    from deft.run.chain import Chain

    found, chain = [], Chain(profile, notebooks)
    for row in stale.states(chain, deep=True):
        if row["state"] != stale.DONE:
            bad = row["reason"].startswith("output ") and row["state"] == stale.STALE
            found.append(Problem(ALTERED if bad else UNCHECKED, row["stage"], f"{row['state']}: {row['reason']}"))
    for stage in chain.stages:
        executed, told = chain.executed / f"{stage.name}.ipynb", (chain.record(stage) or {}).get("executed_sha256")
        if told and (not executed.is_file() or runtime.sha256(executed) != told):
            found.append(Problem(ALTERED, f"executed/{executed.name}", "is not the notebook that the run executed"))
    return found


def manifest(profile: str) -> list[Problem]:
    """Every product under figures/<profile> against the hash that its manifest recorded, and no product without one."""
    folder = paths.figures(profile)
    path = folder / "manifest.json"
    if not path.is_file():
        return [Problem(UNCHECKED, "manifest.json", f"does not exist at {folder}; run `make reproduce`")]
    try:
        listed = runtime.read_json(path)["files"]
        wanted = {name: entry["sha256"] for name, entry in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [Problem(ALTERED, "manifest.json", f"is not a manifest ({error})")]
    there = {p.relative_to(folder).as_posix(): p for p in artifacts.products(folder)}
    found = [
        Problem(ALTERED, name, "is listed in manifest.json and not there")
        for name in sorted(wanted.keys() - there.keys())
    ]
    found += [Problem(ALTERED, name, "is not listed in manifest.json") for name in sorted(there.keys() - wanted.keys())]
    found += [
        Problem(ALTERED, name, "is not what manifest.json recorded (sha256)")
        for name, p in there.items()
        if name in wanted and runtime.sha256(p) != wanted[name]
    ]
    promised = [name for a in artifacts.REGISTRY for name in a.files if name not in wanted]
    return found + [Problem(UNCHECKED, name, "is registered and was not made") for name in promised]


# ---------------------------------------------------------------- pages
def pages(profile: str) -> list[Problem]:
    """Markdown, LaTeX and HTML pages of every table, captions included, against what its CSV gives."""
    from deft.evaluation.tables import present

    seed, found = _seed(profile), []
    stamp = re.compile(re.escape(artifacts.stamp(profile, seed, "COMMIT")).replace("COMMIT", r"(\w+\+?)"))
    for artifact in cells.tables():
        source, *written = (paths.figures(profile) / name for name in artifact.files)
        there = {
            path: path.read_text(encoding="utf-8") for path in written if path.is_file()
        }  # the manifest names what was not made
        if not source.is_file():
            continue
        commit = min((match[1] for text in there.values() for match in stamp.finditer(text)), default="no stamp")
        try:
            again = present.pages(
                artifact.id, source.read_text(encoding="utf-8"), artifacts.stamp(profile, seed, commit)
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            found.append(Problem(ALTERED, f"tables/{source.name}", f"gives no page ({type(error).__name__}: {error})"))
            continue
        found += [
            Problem(ALTERED, f"tables/{path.name}", f"is not what its CSV gives: {words}")
            for path, text in there.items()
            if (words := _other_line(text, again[path.suffix[1:]]))
        ]
    return found


def _other_line(text: str, again: str) -> str:
    """The first line of a page that is not that of the page written again, in words; empty where all are."""
    for number, (mine, wanted) in enumerate(
        itertools.zip_longest(text.split("\n"), again.split("\n"), fillvalue=""), start=1
    ):
        if mine != wanted:
            start = max(len(os.path.commonprefix([mine, wanted])) - 20, 0)
            return f"line {number} shows {mine[start : start + 60]!r}, the CSV gives {wanted[start : start + 60]!r}"
    return ""


def recomputed(profile: str) -> list[Problem]:
    """Tables against `recompute`, which reads the answers and stored features by a path of its own, and against the
    code that makes them, intervals included."""
    from deft.evaluation.source import Answers
    from deft.verify import again as making
    from deft.verify import recompute

    work, folder = paths.work(profile), paths.figures(profile) / "tables"
    if not (work / "predictions.jsonl").is_file():
        return [Problem(UNCHECKED, "predictions.jsonl", f"does not exist at {work}; run `make reproduce`")]
    try:
        again = recompute.of_work(work)
        anew = making.again_from_answers(Answers.of_work(profile), folder, _seed(profile))
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile, zlib.error) as error:
        return [
            Problem(
                ALTERED,
                "predictions.jsonl",
                f"cannot be read as answers ({type(error).__name__}: {error}); run 08_answers again",
            )
        ]
    found = []
    for id, numbers in again.items():
        if not (folder / f"{id}.csv").is_file():
            continue  # the manifest names what was not made
        compared, words = recompute.differences(numbers, cells.rows(folder / f"{id}.csv"))
        found += [Problem(ALTERED, f"tables/{id}.csv", word) for word in words]
        if not compared:
            found.append(Problem(UNCHECKED, f"tables/{id}.csv", "no number of it could be recomputed"))
    for id, (compared, words) in anew.items():
        if words:
            found.append(
                Problem(
                    ALTERED,
                    f"tables/{id}.csv",
                    f"{words[0]}; {len(words)} of {compared} cells differ from what the code makes of these answers",
                )
            )
    return found


def taken(profile: str) -> list[Problem]:
    """Rows of T2 that stand for another benchmark against the committed reference that they name."""
    path, found, name = paths.figures(profile) / "tables" / "T2.csv", [], "tables/T2.csv"
    table = cells.rows(path) if path.is_file() else []
    rows = [row for row in table if row.get("kind") == artifacts.COMMITTED]
    there: dict[str, Path] = {}
    for benchmark in dict.fromkeys(row["benchmark"] for row in table if row.get("kind") == "simulated"):
        there |= artifacts.elsewhere(benchmark)
    held = dict.fromkeys(row["source"] for row in rows)
    for source in {**there, **held}:
        if source not in there or source not in held:
            words = f"holds rows of {source}, which is not there any more"
            words = words if source in held else f"holds no row of {source}"
            again = f"python -m deft run --profile {profile} --only 09_tables --force"
            found.append(Problem(UNCHECKED, name, f"{words}; run `{again}`"))
            continue
        file = source.partition(artifacts.MADE_AT)[0]
        keys = (*artifacts.get("T2").cells.keys, "benchmark")
        wanted = {
            tuple(row[key] for key in keys): row
            for row in cells.rows(there[source] / "T2.csv")
            if row["kind"] == "simulated"
        }
        mine = {tuple(row[key] for key in keys): row for row in rows if row["source"] == source}
        for key in {**wanted, **mine}:
            one, other = mine.get(key, {}), wanted.get(key, {})
            apart = [c for c in {**one, **other} if c not in ("kind", "source") and _told(one, c) != _told(other, c)]
            if apart:
                words = f"{' · '.join(key)}, {apart[0]}: {one.get(apart[0])!r} stands there, {file} has"
                found.append(Problem(ALTERED, name, f"{words} {other.get(apart[0])!r}"))
    return found


def _told(row: dict[str, str], column: str) -> float | str:
    """A cell as a number where it is one: 504 and 504.0 are the same."""
    text = row.get(column, "")
    return float(text) if cells.NUMBER.match(text) else text


def _seed(profile: str) -> int:
    """The seed of the intervals, as claims.json tells it; that file's own damage is named by `verdicts`."""
    try:
        return reference.claims_of(paths.figures(profile)).get("seed", 7)
    except RunError:
        return 7


# ---------------------------------------------------------------- verdicts, reference
def verdicts(profile: str) -> list[Problem]:
    """claims.json and claims.md of a run against the rules applied to its tables."""
    folder = paths.figures(profile)
    return claims_again(folder, folder / "tables", profile)


def claims_again(folder: Path, tables: Path, profile: str) -> list[Problem]:
    """claims.json and claims.md in `folder` against the rules applied to the CSV files in `tables`."""
    from deft.evaluation import claims

    try:
        written = reference.claims_of(folder)
    except RunError as error:
        return [Problem(UNCHECKED if "does not exist" in str(error) else ALTERED, "claims.json", str(error))]
    again = claims.judge(tables)
    found, fresh = [], json.loads(json.dumps(runtime._plain([asdict(v) for v in again])))
    for old, new in zip(written["claims"], fresh):
        changed = [name for name in new if old.get(name) != new[name]]
        if changed:
            found.append(
                Problem(
                    ALTERED,
                    "claims.json",
                    f"{new['claim']}: {changed[0]} is not what the rules give on these tables"
                    + (f" ({old.get('verdict')!r}, the rules say {new['verdict']!r})" if "verdict" in changed else ""),
                )
            )
    if len(written["claims"]) != len(fresh):
        found.append(Problem(ALTERED, "claims.json", f"{len(written['claims'])} claims, the rules judge {len(fresh)}"))
    page = folder / "claims.md"
    if not page.is_file():
        found.append(Problem(UNCHECKED, "claims.md", f"does not exist at {folder}"))
    elif page.read_text(encoding="utf-8") != claims.markdown(again, profile):
        found.append(Problem(ALTERED, "claims.md", "is not what the rules give on these tables"))
    return found


def reference_whole(where: Path) -> list[Problem]:
    """The reference against the register (no table may be taken out), and its spread against its runs."""
    found, known = [], {a.id for a in cells.tables()}
    there = {p.stem for p in where.glob("T*.csv")}
    found += [
        Problem(ALTERED, f"reference/{id}.csv", "is registered and not in the reference")
        for id in sorted(known - there)
    ]
    found += [
        Problem(ALTERED, f"reference/{id}.csv", "is in the reference and not registered")
        for id in sorted(there - known)
    ]
    runs = reference.read_runs(where)
    if not found:
        found += as_kept(where, runs)
    if len(reference.counted(runs)) < 2:
        return found
    for name in (reference.SPREAD, reference.MEASURED):
        if not (where / name).is_file():
            found.append(
                Problem(
                    UNCHECKED,
                    f"reference/{name}",
                    "is missing; `python -m deft reference --spread-only` writes it from the runs",
                )
            )
    if not found:
        for name, differing in ((reference.SPREAD, _other_spread), (reference.MEASURED, _other_measure)):
            try:
                found += [Problem(ALTERED, f"reference/{name}", words) for words in differing(where, runs)]
            except (RunError, KeyError, TypeError, ValueError, csv.Error) as error:
                found.append(Problem(ALTERED, f"reference/{name}", f"cannot be read ({type(error).__name__}: {error})"))
    return found


def as_kept(where: Path, runs: dict) -> list[Problem]:
    """Every number of the reference's tables and checks against the recorded numbers of the run that they were taken
    from.
    """
    name = reference.kept_run(where, runs)
    if name is None:
        return [
            Problem(
                UNCHECKED,
                "reference/runs",
                "the run that the tables were taken from is not there; restore it (git checkout) or run "
                "`python -m deft reference`",
            )
        ]
    there, theirs, found = reference.numbers(where, where), runs[name][1], []
    mine = {key: value for key, (value, _) in there.items()}
    for key in {**{key: 0 for key, (_, kind) in there.items() if kind != artifacts.MACHINE}, **theirs}:
        if key not in mine or key not in theirs or abs(mine[key] - theirs[key]) > 1e-6 * max(1.0, abs(theirs[key])):
            what = f"reference/{'claims.json' if key[0] == reference.CHECKS else key[0] + '.csv'}"
            if what not in {p.what for p in found}:
                found.append(
                    Problem(
                        ALTERED,
                        what,
                        f"{key[1]}, {key[2]}: {mine.get(key, 'absent')} stands there, {name} recorded"
                        f" {theirs.get(key, 'no such number')}",
                    )
                )
    return found


def _other_spread(where: Path, runs: dict) -> list[str]:
    """How spread.csv differs from what the runs give, up to the rounding of another machine."""
    wanted, there = (
        list(csv.DictReader(io.StringIO(text)))
        for text in (reference.spread_text(where, runs), (where / reference.SPREAD).read_text(encoding="utf-8"))
    )
    if len(wanted) != len(there):
        return [f"has {len(there)} cells, the runs beside it give {len(wanted)}"]
    for mine, row in zip(there, wanted):
        if any(mine.get(c) != row[c] for c in ("table", "row", "column", "kind", "runs")) or any(
            abs(float(mine[c] or 0) - float(row[c] or 0)) > 1e-3 * max(abs(float(row[c] or 0)), 1e-6)
            for c in ("mean", "sd")
        ):
            return [f"{row['table']}, {row['row']}, {row['column']} is not what the runs beside it give"]
    return []


def _other_measure(where: Path, runs: dict) -> list[str]:
    """Critical values that are not what the recorded simulation of the runs gives when it is made again."""
    from deft.verify import spread

    told, reach = reference.measured(where), reference.spread_of(where, runs)
    how = told["simulated"]
    if (
        told["least_prior"] not in spread.LEAST_PRIORS
        or how["seed"] != spread.SEED
        or how["simulations"] < LEAST_SIMULATIONS
    ):
        return [
            f"was not measured as `deft.verify.spread` measures: {how['simulations']} simulations, seed {how['seed']},"
            f" least_prior {told['least_prior']}"
        ]
    again = spread.measure(
        reach,
        [*reference.counted(runs), *reference.counted(runs, "carried")],
        simulations=int(how["simulations"]),
        floors=(told["least_prior"],),
    )
    found = [
        f"{name} is {told[name]}, the same simulation of the runs gives {again[name]}"
        for name in ("critical", "critical_drift")
        if abs(told[name] - again[name]) > MEASURED_TOLERANCE * again[name]
    ]
    found += [
        f"the reach of {table} is {told['reach'].get(table)}, the same simulation gives {value}"
        for table, value in again["reach"].items()
        if abs(told["reach"].get(table, 0.0) - value) > MEASURED_TOLERANCE * value
    ]
    return (
        found
        if told["cells"] == again["cells"]
        else [*found, f"speaks of {told['cells']} cells, the runs have {again['cells']}"]
    )
