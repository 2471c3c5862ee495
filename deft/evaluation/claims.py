"""A verdict per claim, computed from its tables: supported, not supported, undecided, or not run.

One convention for every check: the 95 % interval of a number, over subjects within looks and over draws of training, is
compared with a bar. It lies wholly on the right side of the bar: the check *holds*; wholly on the wrong side: it
*fails*; across it: it is *undecided*. No check compares point values. A claim is supported when all its checks hold,
not supported when one fails, undecided otherwise, and not run when a table or row that it needs was not made.

The rules are data (`deft.evaluation.rules`). What is judged is the claim *on simulated clips*: no verdict says that the
paper's own numbers were reproduced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from deft import artifacts, paths, runtime
from deft.artifacts import CLAIMS
from deft.evaluation.rules import DATED, FAILS, HOLDS, NOTES, OTHERS, RULES, TABLES, TAUGHT, UNDECIDED, Rule

SUPPORTED, NOT_SUPPORTED, NOT_RUN = "supported", "not supported", "not run"  # or UNDECIDED


@dataclass(frozen=True)
class Check:
    """One condition of a claim: the number, its 95 % interval, the rule in words, and whether it holds, fails or is
    undecided.
    """

    rule: str
    value: float
    low: float
    high: float
    holds: bool
    outcome: str
    table: str


@dataclass(frozen=True)
class Verdict:
    """What the checks of one claim come to: verdict is SUPPORTED, NOT_SUPPORTED, UNDECIDED or NOT_RUN.

    claim: C1 to C6; words: the claim; table: where its numbers stand; note: limits, in words. (The verdict on an action
    unit is `deft.motion.evidence.Verdict`.)"""

    claim: str
    words: str
    table: str
    verdict: str
    checks: tuple[Check, ...]
    note: str


class Missing(LookupError):
    """A table, row or number that a rule needs was not made."""


# ---------------------------------------------------------------- judging
def read(source: str | Path | Mapping[str, pd.DataFrame], table: str) -> pd.DataFrame:
    """A table by its id; raises Missing when it was not made. source: as in `judge`."""
    if isinstance(source, Mapping):
        if table not in source:
            raise Missing(f"{table} was not made")
        return artifacts.own(source[table])
    path = (source if isinstance(source, Path) else paths.figures(source) / "tables") / f"{table}.csv"
    if not path.is_file():
        raise Missing(f"{table} was not made")
    return artifacts.own(pd.read_csv(path))


def _row(table: pd.DataFrame, where: Mapping[str, str]) -> pd.Series:
    found = table
    for column, value in where.items():
        if column not in found:
            raise Missing(f"no column {column}")
        found = found[found[column] == value]
    if len(found) != 1:
        raise Missing(f"no row {', '.join(where.values())}")
    return found.iloc[0]


def check(rule: Rule, row: pd.Series) -> Check:
    """The rule held against its row."""
    if rule.column not in row or pd.isna(row[rule.column]):
        raise Missing(f"no number {rule.column} in row {', '.join(rule.where.values())} of {rule.table}")
    ends = ("low", "high") if rule.column == "value" else (f"{rule.column}_low", f"{rule.column}_high")
    value, low, high = (float(row[name]) if name in row else float("nan") for name in (rule.column, *ends))
    outcome = rule.outcome(low, high)
    return Check(rule.text, value, low, high, outcome == HOLDS, outcome, rule.table)


def word(checks: tuple[Check, ...]) -> str:
    """Outcomes of all checks -> the claim's verdict."""
    outcomes = {one.outcome for one in checks}
    return (
        NOT_RUN
        if not outcomes
        else NOT_SUPPORTED
        if FAILS in outcomes
        else UNDECIDED
        if UNDECIDED in outcomes
        else SUPPORTED
    )


def judge(source: str | Path | Mapping[str, pd.DataFrame]) -> list[Verdict]:
    """Every claim's verdict. source: a profile (its figures' tables), a folder of T*.csv, or {table id: DataFrame}."""
    verdicts = []
    for claim, rules in RULES.items():
        note = NOTES.get(claim, "")
        try:
            checks, left, made = [], [], 0
            for rule in rules:
                if rule.if_run == OTHERS and not made:
                    continue
                row = _row(read(source, rule.table), rule.where)
                if rule.if_run not in ("", OTHERS):
                    if str(row.get(rule.if_run, "not run")) in ("not run", "nan"):
                        left.append(rule.where["construction"])
                        continue
                    made += 1
                checks.append(check(rule, row))
            if left:
                note = (
                    f"no model was trained under {', '.join(TAUGHT[name] for name in dict.fromkeys(left))}: those"
                    " checks were left out"
                )
        except Missing as missing:
            checks, note = [], str(missing)
        verdicts.append(Verdict(claim, CLAIMS[claim], TABLES[claim], word(tuple(checks)), tuple(checks), note))
    return verdicts


# ---------------------------------------------------------------- pages
CONVENTION = (
    "A check **holds** when the whole 95 % interval lies on the right side of its bar, **fails** when the whole"
    " interval lies on the wrong side, and is **undecided** when the interval lies across the bar: these subjects and"
    " draws of training cannot tell. A claim is supported when all checks hold, not supported when one fails, and"
    " undecided otherwise."
)
COVERAGE = {
    2: (50, 90, 93),
    3: (76, 92, 94),
    5: (87, 94, 94),
}  # draws -> % of studies in which the interval encloses the truth, where all,
# half, a quarter of the variance of a number comes from draws; `metrics.coverage` computes them


def covered() -> str:
    """What 95 % means where few draws were made, in words."""
    alone, half, quarter = zip(*COVERAGE.values())
    each = ", ".join(f"{share} % of studies with {draws} draws" for draws, share in zip(COVERAGE, alone))
    return (
        "95 % is the nominal level: with few draws an interval encloses the truth less often. Where all the variance"
        f" of a number comes from draws, it does in {each}; where half of it does, in {', '.join(map(str, half))} %;"
        f" where a quarter does, in {', '.join(map(str, quarter))} % (simulated by `deft.evaluation.metrics.coverage`)."
        " No interval was widened for that. With one draw it covers subjects alone."
    )


def spread(low: float | None, high: float | None) -> str:
    """An interval as " [low, high]"; "" where it is not known."""
    return "" if low is None or low != low else f" [{low:.3f}, {high:.3f}]"


def by_benchmark(profile: str) -> pd.DataFrame:
    """Verdicts (rows: claims) of this run and of the committed run of every other benchmark."""
    found = {}
    for version, tables in artifacts.benchmarks(profile).items():
        path = next((p for p in (tables / "claims.json", tables.parent / "claims.json") if p.is_file()), None)
        if path is not None:
            found[version] = {one["claim"]: one["verdict"] for one in runtime.read_json(path)["claims"]}
    return pd.DataFrame(found)


def markdown(verdicts: list[Verdict], profile: str) -> str:
    """The page claims.md."""
    lines = [
        "# What the tables say about each claim",
        "",
        (
            f"Simulated clips, profile `{profile}`; rules of {DATED} (docs/rules.md). Intervals are 95 %, over subjects"
            f" within looks and, where several were made, over draws of training. {CONVENTION} {covered()} None of this"
            " reproduces the paper's own numbers."
        ),
        "",
    ]
    for v in verdicts:
        lines += [f"## {v.claim}: {v.verdict}", "", f"*{v.words[0].upper()}{v.words[1:]}.* ({v.table})", ""]
        lines += [f"- {c.outcome}: {c.rule}: {c.value:.3f}{spread(c.low, c.high)}" for c in v.checks]
        lines += ([""] if v.checks else []) + ([f"Note: {v.note}.", ""] if v.note else [])
    return "\n".join(lines).rstrip() + "\n"


def write(profile: str, seed: int = 7) -> list[Verdict]:
    """Write figures/<profile>/claims.json and claims.md; returns the verdicts."""
    verdicts = judge(profile)
    folder = paths.figures(profile)
    runtime.write_json(
        folder / "claims.json",
        {
            "profile": profile,
            "seed": seed,
            "kind": "simulated",
            "commit": runtime.commit(),
            "rules": DATED,
            "claims": [asdict(v) for v in verdicts],
        },
    )
    with runtime.atomic(folder / "claims.md") as temporary:
        temporary.write_text(markdown(verdicts, profile), encoding="utf-8")
    return verdicts
