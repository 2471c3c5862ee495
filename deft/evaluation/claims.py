"""A verdict per claim, computed from its tables: supported, not supported, undecided, or not run.

One convention for every check: the 95 % interval of a number, over subjects within looks and over draws of training, is
compared with a bar. It lies wholly on the right side of the bar: the check *holds*; wholly on the wrong side: it
*fails*; across it: it is *undecided*. No check compares point values. A claim is supported when all its checks hold,
not supported when one fails, undecided otherwise, and not run when a table or row that it needs was not made.

The rules are data (RULES), dated, and were written before the run that uses them; `deft.evaluation.first_edition`
prints them beside those of the first edition as docs/rules.md. What is judged is the claim *on simulated clips*: no
verdict says that the paper's own numbers were reproduced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from deft import paths, runtime
from deft.artifacts import CLAIMS
from deft.systems import DEFT, LISTED, MAJORITY, RGB, SYSTEMS, TEMPLATE

SUPPORTED, NOT_SUPPORTED, UNDECIDED, NOT_RUN = "supported", "not supported", "undecided", "not run"
OTHERS = "others"
HOLDS, FAILS = "holds", "fails"  # or UNDECIDED
DATED = "2026-11-21"

KEPT = 0.75  # recall: of the true unit sides that annotation alone states, two constraints must still state this share
UNIT_F1, UNSUPPORTED, OVER_RGB = 0.60, 0.20, 0.20  # what the first edition set itself to reach
NOT_WORSE = 0.02  # "not worse" allows this much: about what another draw of training moves
BROKEN = {"set": "bench", "condition": "broken"}
KEPT_TIE = {"set": "bench", "condition": "kept"}
TAUGHT = {"none": "no constraint", "au": "annotation alone", "flow": "flow alone"}


@dataclass(frozen=True)
class Rule:
    """One check. The interval of `column` in the one row of `table` where `where` holds must lie above (or below)
    `bar`.

    if_run: the check is left out, and the claim's note says so, when this column of the row says "not run"; OTHERS:
    when every other check of the claim with `if_run` was left out."""

    words: str
    table: str
    where: Mapping[str, str]
    column: str
    bar: float = 0.0
    above: bool = True
    if_run: str = ""

    @property
    def text(self) -> str:
        """The rule in words, with its bar."""
        return f"{self.words} ({'above' if self.above else 'below'} {self.bar:g})"

    def outcome(self, low: float, high: float) -> str:
        """holds, fails or undecided; an interval that is not known (NaN) decides nothing."""
        right, wrong = (low > self.bar, high < self.bar) if self.above else (high < self.bar, low > self.bar)
        return HOLDS if right else FAILS if wrong else UNDECIDED


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


# ---------------------------------------------------------------- the rules
AWAKE = Rule(
    "DEFT recognises more than `majority` does, tie broken (UF1, paired)",
    "T2",
    {"system": MAJORITY, **BROKEN},
    "deft_minus",
)

RULES: dict[str, tuple[Rule, ...]] = {
    "C1": (
        AWAKE,
        Rule(
            "a reader of pixels recognises more than `majority` does, tie kept (UF1, paired)",
            "T2",
            {"system": "lr-pixels", **KEPT_TIE},
            "over_majority",
        ),
        Rule(
            "a reader of pixels loses more UF1 than a reader that cannot see looks (bayes-experts) when looks no longer"
            " go with emotions",
            "T2",
            {"system": "lr-pixels", **BROKEN},
            "kept_minus_broken_over_blind",
        ),
        Rule(
            "the reader of pixels loses more than DEFT does",
            "T2",
            {"system": "lr-pixels", **BROKEN},
            "kept_minus_broken_over_deft",
        ),
    ),
    "C2": (
        Rule(
            "share of annotated units that did not move by truth", "T1", {"dataset": "all"}, "unsupported_truth", 0.02
        ),
        Rule(
            "share of moved units that nobody annotated by truth", "T1", {"dataset": "all"}, "unannotated_truth", 0.02
        ),
        Rule(
            "flow tells annotated units that moved from those that did not (AUROC)",
            "T1",
            {"dataset": "all"},
            "flow_auroc",
            0.7,
        ),
    ),
    "C3": (
        *(
            Rule(
                f"units stated under both constraints are true more often than under {words}",
                "T4",
                {"construction": name, "annotation_noise": "own"},
                "both_minus_unit_precision",
            )
            for name, words in TAUGHT.items()
        ),
        *(
            Rule(
                f"motions stated under both constraints are true more often than under {TAUGHT[name]}",
                "T4",
                {"construction": name, "annotation_noise": "own"},
                "both_minus_motion_precision",
            )
            for name in ("none", "au")
        ),
        Rule(
            "with twice the coders' errors, units under both constraints are still true more often than under"
            " annotation alone",
            "T4",
            {"construction": "au", "annotation_noise": "double"},
            "both_minus_unit_precision",
        ),
        Rule(
            "share of the true unit sides that annotation alone states and both constraints still state",
            "T4",
            {"construction": "au", "annotation_noise": "own"},
            "both_over_unit_recall",
            KEPT,
        ),
        *(
            rule
            for name, words in TAUGHT.items()
            for rule in (
                Rule(
                    f"a model trained on both names units with a higher F1 than one trained under {words}",
                    "T4",
                    {"construction": name, "annotation_noise": "own"},
                    "both_minus_model_unit_f1",
                    if_run="model",
                ),
                Rule(
                    f"what a model trained on both states is not true less often than under {words}",
                    "T4",
                    {"construction": name, "annotation_noise": "own"},
                    "both_minus_model_precision",
                    -NOT_WORSE,
                    if_run="model",
                ),
            )
        ),
        replace(AWAKE, if_run=OTHERS),
    ),
    "C4": (
        AWAKE,
        *(
            Rule(
                f"all three experts beat {SYSTEMS[name].parts}, tie broken (UF1, paired)",
                "T3",
                {"system": name, "condition": "broken"},
                "all_minus",
            )
            for name in LISTED["T3"]
            if SYSTEMS[name].streams != SYSTEMS[DEFT].streams
        ),
    ),
    "C5": (
        *(
            Rule(f"DEFT beats {name}, tie broken (UF1, paired)", "T2", {"system": name, **BROKEN}, "deft_minus")
            for name in LISTED["C5"]
        ),
        Rule(
            f"DEFT beats rgb-only by more than {OVER_RGB:.2f}", "T2", {"system": RGB, **BROKEN}, "deft_minus", OVER_RGB
        ),
    ),
    "C6": (
        AWAKE,
        Rule("macro F1 of the units in free text", "T7", {"system": DEFT, "condition": "broken"}, "unit_f1", UNIT_F1),
        Rule(
            "share of statements that neither true nor measured motion bears out",
            "T7",
            {"system": DEFT, "condition": "broken"},
            "unsupported",
            UNSUPPORTED,
            above=False,
        ),
        Rule(
            "the RGB-only model makes a larger share of unsupported statements",
            "T7",
            {"system": DEFT, "condition": "broken"},
            "rgb_minus",
        ),
        Rule(
            "DEFT does not win by silence: its recall of true unit sides is not lower than the RGB-only model's",
            "T7",
            {"system": RGB, "condition": "broken"},
            "deft_minus_recall",
            -NOT_WORSE,
        ),
        Rule(
            "units in DEFT's text are not worse than those of a template without a language model (macro F1)",
            "T7",
            {"system": TEMPLATE, "condition": "broken"},
            "deft_minus_unit_f1",
            -NOT_WORSE,
        ),
        Rule(
            "the share of units in DEFT's text that is unsupported is not larger than in the template's",
            "T7",
            {"system": TEMPLATE, "condition": "broken"},
            "deft_minus_unsupported_units",
            NOT_WORSE,
            above=False,
        ),
        Rule(
            "the recall of true unit sides in DEFT's text is not lower than in the template's",
            "T7",
            {"system": TEMPLATE, "condition": "broken"},
            "deft_minus_recall",
            -NOT_WORSE,
        ),
    ),
}
TABLES = {"C1": "T2", "C2": "T1", "C3": "T4", "C4": "T3", "C5": "T2", "C6": "T7"}
NOTES = {
    "C1": "judged on scores alone; what probes read from the features stands in T5",
    "C2": (
        "the mismatch was put into the simulated annotations: this shows that the method sees one, not how large it is"
        " in real datasets"
    ),
    "C4": (
        "judged on usefulness alone; independence (probes, dependence between experts) stands in T5. On sim-v1"
        " structure holds no information about units and texture next to none (furrows carry 0 to 6 % of motion's): all"
        " three experts are not expected to beat a row that holds motion; where such a check holds, suspect chance"
    ),
    "C5": "within one simulated benchmark; systems of other papers stand in T2, transfer across its three sets in T6",
    "C6": (
        "the template reads out the same motion expert that DEFT hears: the last three checks say what the language"
        " model adds to it, and at what cost; its motions are read off the flow that judges, so units alone are"
        " compared"
    ),
}


# ---------------------------------------------------------------- judging
def read(source: str | Path | Mapping[str, pd.DataFrame], table: str) -> pd.DataFrame:
    """A table by its id; raises Missing when it was not made. source: as in `judge`."""
    if isinstance(source, Mapping):
        if table not in source:
            raise Missing(f"{table} was not made")
        return source[table]
    path = (source if isinstance(source, Path) else paths.figures(source) / "tables") / f"{table}.csv"
    if not path.is_file():
        raise Missing(f"{table} was not made")
    return pd.read_csv(path)


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
    value, low, high = (
        float(row[name]) if name in row else float("nan")
        for name in (rule.column, f"{rule.column}_low", f"{rule.column}_high")
    )
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
    """Verdicts (rows: claims) of this run, and of every benchmark with a committed reference that it did not answer."""
    found: dict[str, dict[str, str]] = {}
    for place in (paths.figures(profile), *sorted((paths.ROOT / "figures").glob("*/reference"))):
        if (place / "claims.json").is_file():
            table = read(place / "tables" if (place / "tables").is_dir() else place, "T2")
            claims = runtime.read_json(place / "claims.json")["claims"]
            found.setdefault(table["benchmark"].dropna().iloc[0], {one["claim"]: one["verdict"] for one in claims})
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
