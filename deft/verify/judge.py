"""`make verify`: the verdicts first, then the numbers, then integrity.

Exit 0: verified. 1: something differs from the reference, or is not what it says it is. 2: it could not be checked.
"""

from __future__ import annotations

import json
from pathlib import Path

from deft import artifacts, config, paths
from deft.run import RunError
from deft.verify import cells, integrity, reference

VERIFIED, DIFFERS, UNCHECKED = 0, 1, 2
SAME, NEAR, OTHER, UNKNOWN = "as in the reference", "near its bar", "differs", "not compared"
SHOWN = 8  # of a table's differing cells, on the screen; --json gives all


def _nothing() -> dict:
    return {"exact": 0, "differs": [], "statistical": 0, "outside": [], "machine": 0}


def compare_tables(where: Path, mine: Path, runs: dict) -> dict[str, dict]:
    """{table: what was compared and what differs}; the checks of the verdicts stand under `claims`."""
    found = {a.id: _exact(a.id, where, mine, runs) for a in cells.tables() if (where / f"{a.id}.csv").is_file()}
    found[reference.CHECKS] = _nothing()
    for key, words in _intervals(where, mine, runs):
        entry = found.setdefault(key[0], _nothing())
        entry["statistical"] += 1
        if words:
            entry["outside"].append({"row": key[1], "column": key[2], "words": words})
    return found


def _exact(id: str, where: Path, mine: Path, runs: dict) -> dict:
    """Exact cells of one table. A row that has cells of the machine alone may be absent on either side, and so may a
    trained number that some of the reference runs have and others have not."""
    entry = _nothing()
    if not (mine / "tables" / f"{id}.csv").is_file():
        entry["differs"].append({"row": "", "column": "", "words": "was not made; run `make reproduce`"})
        return entry
    old, new = cells.read(id, where / f"{id}.csv"), cells.read(id, mine / "tables" / f"{id}.csv")
    rows = [{row for (row, _) in side} for side in (old, new)]
    timed = {
        row
        for row in rows[0] ^ rows[1]
        if all(
            (cell.kind == artifacts.MACHINE or column == "kind")
            for side in (old, new)
            for (name, column), cell in side.items()
            if name == row
        )
    }
    counted = [run[1] for run in reference.counted(runs).values()]
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        kind, having = (before or after).kind, sum((id, *key) in run for run in counted)
        if kind == artifacts.MACHINE or key[0] in timed:
            entry["machine"] += 1
        elif kind == artifacts.STATISTICAL and (before is None or after is None) and 0 < having < len(counted):
            continue  # a number of some runs only: whether it can be computed is chance
        elif kind == artifacts.EXACT or before is None or after is None or before.number is None:
            entry["exact"] += 1
            if words := cells.exact_difference(before, after):
                entry["differs"].append({"row": key[0], "column": key[1], "words": words})
    return entry


def _intervals(where: Path, mine: Path, runs: dict):
    """(key, words) of every statistical cell that the runs know; words are empty inside the interval."""
    if not enough(runs):
        return
    from deft.verify import spread

    measured, reach = reference.measured(where), reference.spread_of(where, runs)
    new = reference.numbers(mine / "tables", mine)
    half = (
        measured["critical"] * spread.per_cell(reach, measured["reach"]) * spread.scale(reach, measured["least_prior"])
    )
    for key, mean, width in zip(reach.keys, reach.mean, half):
        if key not in new:
            yield key, "is missing"
            continue
        value = new[key][0]
        wrong = abs(value - mean) > width
        expected = f"{mean - width:.4f} to {mean + width:.4f} (mean {mean:.4f} of {reach.runs} runs)"
        yield key, f"is {value:.4f}, expected {expected}" if wrong else ""


def drift_of(where: Path, mine: Path, runs: dict) -> dict | None:
    """The root mean square of all t, against its critical value."""
    if not enough(runs):
        return None
    import numpy as np

    from deft.verify import spread

    measured, reach = reference.measured(where), reference.spread_of(where, runs)
    new = reference.numbers(mine / "tables", mine)
    here = np.array([new[key][0] if key in new else np.nan for key in reach.keys])
    t = spread.ratios(reach, here, measured["least_prior"])
    value = float(spread.drift(t[~np.isnan(t)]))
    return {
        "value": round(value, 3),
        "critical": measured["critical_drift"],
        "inside": value <= measured["critical_drift"],
    }


def enough(runs: dict) -> bool:
    """Whether the runs give a spread: two complete ones for the means, and with carried ones `spread.MINIMUM_RUNS`
    for the scatter.
    """
    from deft.verify import spread

    complete, carried = len(reference.counted(runs)), len(reference.counted(runs, "carried"))
    return (
        complete >= 2 and complete + (carried if carried > 1 else 0) >= spread.MINIMUM_RUNS
    )  # one carried run alone has no scatter


def compare_verdicts(where: Path, mine: Path, runs: dict, outside: set[str]) -> list[dict]:
    """One entry per claim. A verdict that the reference runs do not show is near its bar when it is next to one that
    they do (undecided lies between the others) and every number of its checks is inside its interval; else it differs.

    outside: rows `C1, check 1` whose numbers are outside.
    """
    new, entries = reference.verdicts_of(reference.claims_of(mine)), []
    seen = [run[0]["verdicts"] for run in reference.counted(runs).values()] or [
        reference.verdicts_of(reference.claims_of(where))
    ]
    for claim, words in artifacts.CLAIMS.items():
        said, shares = new.get(claim), {}
        for verdicts in seen:
            shares[verdicts.get(claim)] = shares.get(verdicts.get(claim), 0) + 1
        neighbour = (
            enough(runs)
            and said != "not run"
            and any("undecided" in (said, other) and other != "not run" for other in shares)
            and not any(row.split(",")[0] == claim for row in outside)
        )
        state = SAME if said in shares else NEAR if neighbour else OTHER
        entries.append(
            {
                "claim": claim,
                "words": words,
                "verdict": said,
                "state": state,
                "reference": {str(verdict): f"{number} of {len(seen)}" for verdict, number in shares.items()},
            }
        )
    return entries


def judge(profile: str, notebooks: Path = paths.NOTEBOOKS) -> dict:
    """Everything `make verify` says, as a dictionary ready for JSON: verdicts, tables, drift, integrity, summary,
    exit.
    """
    config.check_profile(profile, paths.NOTEBOOKS)
    mine, where = paths.figures(profile), reference.folder(profile)
    problems = [*integrity.stages(profile, notebooks), *integrity.manifest(profile)]
    result: dict = {"profile": profile, "verdicts": [], "tables": {}, "drift": None}
    try:
        if not list((mine / "tables").glob("T*.csv")):
            raise RunError(f"profile {profile!r} has no tables at {mine / 'tables'}; run `make reproduce` first")
        problems += [*integrity.pages(profile), *integrity.recomputed(profile), *integrity.verdicts(profile)]
        problems += integrity.taken(profile)
        if not list(where.glob("T*.csv")):
            raise RunError(
                f"profile {profile!r} has no reference at {where}; nothing to compare with. The repository keeps one"
                " for the demo profile"
            )
        problems += integrity.reference_whole(where)
        runs = reference.read_runs(where)
        if not enough(runs):
            problems.append(
                integrity.Problem(
                    integrity.UNCHECKED,
                    "reference/runs",
                    f"{len(reference.counted(runs))} complete and {len(reference.counted(runs, 'carried'))} carried"
                    " run(s): no spread, so no trained number can be judged; `python -m deft reference` makes runs",
                )
            )
        result["tables"] = tables = compare_tables(where, mine, runs)
        result["verdicts"] = compare_verdicts(
            where, mine, runs, {cell["row"] for cell in tables[reference.CHECKS]["outside"]}
        )
        result["drift"] = drift_of(where, mine, runs)
        result["reference"] = {
            "runs": list(reference.counted(runs)),
            "measured": reference.measured(where) if enough(runs) else None,
        }
    except (RunError, ValueError, OSError) as error:
        problems.append(integrity.Problem(integrity.UNCHECKED, "comparison", str(error)))
    result["integrity"] = [{"state": p.state, "what": p.what, "words": p.words} for p in problems]
    result["exit"] = _exit(result)
    result["summary"] = _summary(result)
    return result


def _exit(result: dict) -> int:
    differs = (
        any(entry["differs"] or entry["outside"] for entry in result["tables"].values())
        or any(v["state"] == OTHER for v in result["verdicts"])
        or (result["drift"] is not None and not result["drift"]["inside"])
        or any(p["state"] == integrity.ALTERED for p in result["integrity"])
    )
    return (
        DIFFERS
        if differs
        else UNCHECKED
        if any(p["state"] == integrity.UNCHECKED for p in result["integrity"])
        else VERIFIED
    )


def _summary(result: dict) -> str:
    tables, same = result["tables"].values(), sum(v["state"] == SAME for v in result["verdicts"])
    statistical, outside = sum(t["statistical"] for t in tables), sum(len(t["outside"]) for t in tables)
    exact, differ = sum(t["exact"] for t in tables), sum(len(t["differs"]) for t in tables)
    return (
        f"{same} of {len(result['verdicts'])} verdicts as in the reference; {statistical - outside} of {statistical}"
        f" trained numbers inside their interval; {exact - differ} of {exact} exact cells equal"
    )


def say(result: dict) -> None:
    """The result on the screen."""
    print(result["summary"] + "\n")
    for v in result["verdicts"]:
        shares = ", ".join(f"{verdict} in {number} runs" for verdict, number in v["reference"].items())
        print(f"{v['claim']}  {v['verdict'] or 'no verdict'}: {v['state']} ({shares})  {v['words']}")
    for id, entry in result["tables"].items():
        wrong = [*entry["differs"], *entry["outside"]]
        told = [f"{entry['exact'] - len(entry['differs'])} of {entry['exact']} exact"] if entry["exact"] else []
        told += (
            [f"{entry['statistical'] - len(entry['outside'])} of {entry['statistical']} trained"]
            if entry["statistical"]
            else []
        )
        told += [f"{entry['machine']} of the machine, not compared"] if entry["machine"] else []
        print(f"{id:<6} {'differs' if wrong else 'agrees':<8} {'; '.join(told) or 'nothing to compare'}")
        for cell in wrong[:SHOWN]:
            print(f"         {cell['row']}, {cell['column']} {cell['words']}")
        if len(wrong) > SHOWN:
            print(f"         and {len(wrong) - SHOWN} more (--json shows all)")
    if result["drift"]:
        print(
            f"all trained numbers together: drift {result['drift']['value']}, at most {result['drift']['critical']}"
            " expected"
        )
    for p in result["integrity"]:
        print(f"{p['state']:<10} {p['what']}: {p['words']}")
    if not result["integrity"]:
        print("integrity: every stage done, every hash, page, recomputed number and verdict as it should be")
    print({VERIFIED: "verified", DIFFERS: "NOT verified", UNCHECKED: "could not be checked"}[result["exit"]])


def verify(profile: str, notebooks: Path = paths.NOTEBOOKS, as_json: bool = False) -> int:
    """Print what `judge` finds, as words or as JSON; returns the exit code."""
    result = judge(profile, notebooks)
    print(json.dumps(result, indent=1, ensure_ascii=False)) if as_json else say(result)
    return result["exit"]
