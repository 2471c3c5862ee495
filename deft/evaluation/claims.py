"""A verdict per claim, computed from its table: supported, not supported, or not run.

The rules stand here in code and were written before any number was known.  A claim is supported when every one of its
checks holds; one check that fails makes it not supported; a table or row that is missing makes it not run.  What is
judged is the claim *on simulated clips*: no verdict says that the paper's own numbers were reproduced.
"""
from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

from deft import paths, runtime
from deft.artifacts import CLAIMS

SUPPORTED, NOT_SUPPORTED, NOT_RUN = "supported", "not supported", "not run"
KEPT = 0.75  # share of the true unit sides stated from annotation alone that two constraints must still state: no precision by silence
UNIT_F1, UNSUPPORTED, OVER_RGB = 0.60, 0.20, 0.20  # what the first edition set itself to reach
OPPONENTS = ("rgb-only", "lr-flow", "lr-experts", "bayes-experts", "lr-pixels", "majority")


@dataclass(frozen=True)
class Check:
    """One condition of a claim: the number, its 95 % subject interval, the rule in words, and whether it holds."""

    rule: str
    value: float
    low: float
    high: float
    holds: bool


@dataclass(frozen=True)
class Verdict:
    claim: str
    words: str
    table: str
    verdict: str
    checks: tuple[Check, ...]
    note: str


class Missing(LookupError):
    """A table or row that a rule needs was not made."""


def read(profile: str, table: str) -> pd.DataFrame:
    """figures/<profile>/tables/<table>.csv; raises Missing when it was not made."""
    path = paths.figures(profile) / "tables" / f"{table}.csv"
    if not path.is_file():
        raise Missing(f"{table} was not made")
    return pd.read_csv(path)


def _row(table: pd.DataFrame, **where) -> pd.Series:
    found = table
    for column, value in where.items():
        found = found[found[column] == value]
    if len(found) != 1:
        raise Missing(f"no row {', '.join(str(v) for v in where.values())}")
    return found.iloc[0]


def _interval(row: pd.Series, name: str) -> tuple[float, float, float]:
    if name not in row or pd.isna(row[name]):
        raise Missing(f"no number {name}")
    return tuple(float(row[column]) for column in (name, f"{name}_low", f"{name}_high"))


def _above(rule: str, row: pd.Series, name: str, bar: float = 0.0) -> Check:
    """Holds when the whole interval lies above `bar`."""
    value, low, high = _interval(row, name)
    return Check(rule, value, low, high, low > bar)


# ---------------------------------------------------------------- the rules
def c1(profile: str) -> tuple[list[Check], str]:
    t2 = read(profile, "T2")
    broken = {"set": "bench", "condition": "broken"}
    pixels, deft = (_row(t2, system=name, **broken) for name in ("lr-pixels", "deft"))
    value, low, high = _interval(deft, "kept_minus_broken")
    bar = _interval(pixels, "kept_minus_broken")[1]
    return [_above("a reader of pixels loses UF1 when looks no longer go with emotions (interval above 0)", pixels, "kept_minus_broken"),
            Check(f"DEFT loses less: its whole interval lies below that of the pixel reader, which starts at {bar:.3f}", value, low, high, high < bar)], \
        "judged on scores alone; identity probes on features belong to T5, which this edition does not make"


def c2(profile: str) -> tuple[list[Check], str]:
    row = _row(read(profile, "T1"), dataset="all")
    checks = [_above(f"share of {what} by {how} (interval above .02)", row, name, 0.02)
              for name, what, how in (("unsupported_truth", "annotated units that did not move", "truth"),
                                      ("unannotated_truth", "moved units that nobody annotated", "truth"))]
    auroc = float(row["flow_auroc"])
    return [*checks, Check("flow tells annotated units that moved from those that did not (AUROC above .7)", auroc, float("nan"), float("nan"), auroc > 0.7)], \
        "the mismatch was put into the simulated annotations: this shows that the method sees one, not how large it is in real datasets"


def c3(profile: str) -> tuple[list[Check], str]:
    t4 = read(profile, "T4")
    own = {name: _row(t4, construction=name, annotation_noise="own") for name in ("none", "au", "flow", "both")}
    words = {"none": "no constraint", "au": "annotation alone", "flow": "flow alone"}
    checks = [_above(f"units stated under both constraints are true more often than under {words[name]} (paired interval above 0)", own[name], "both_minus_unit_precision")
              for name in ("none", "au", "flow")]
    checks += [_above(f"motions stated under both constraints are true more often than under {words[name]} (paired interval above 0)", own[name], "both_minus_motion_precision")
               for name in ("none", "au")]
    double = _row(t4, construction="au", annotation_noise="double")
    checks.append(_above("with twice the coders' errors, units under both constraints are still true more often than under annotation alone", double, "both_minus_unit_precision"))
    if not own["au"]["unit_recall"] > 0:
        raise Missing("annotation alone states no true unit, so nothing can be kept of it")
    kept = float(own["both"]["unit_recall"]) / float(own["au"]["unit_recall"])
    checks.append(Check(f"both constraints keep at least {KEPT:.2f} of the true unit sides that annotation alone states", kept, float("nan"), float("nan"), kept >= KEPT))
    run = [name for name in words if own[name].get("model", "not run") != "not run" and own["both"]["model"] != "not run"]
    checks += [_above(f"a model trained on both states what is true more often than one trained under {words[name]} (paired interval above 0)", own[name],
                      "both_minus_model_precision") for name in run]
    note = "" if len(run) == 3 else f"models trained on the other constructions: {', '.join(run) or 'none'} of {', '.join(words)} were run"
    return checks, note


def c4(profile: str) -> tuple[list[Check], str]:
    t3 = read(profile, "T3")
    rows = t3[(t3["condition"] == "broken") & (t3["system"] != "deft")]
    if len(rows) < 6:
        raise Missing(f"{len(rows)} of the 6 proper subsets of experts were run")
    return [_above(f"all three experts beat {row['experts']} (tie broken, paired interval above 0)", row, "all_minus") for _, row in rows.iterrows()], \
        "judged on usefulness alone; independence (probes, dependence between experts) belongs to T5, which this edition does not make"


def c5(profile: str) -> tuple[list[Check], str]:
    t2 = read(profile, "T2")
    checks = []
    for name in OPPONENTS:
        row = _row(t2, system=name, set="bench", condition="broken")
        checks.append(_above(f"DEFT beats {name} (tie broken, paired interval above 0)", row, "deft_minus"))
        if name == "rgb-only":
            value, low, high = _interval(row, "deft_minus")
            checks.append(Check(f"DEFT beats {name} by at least {OVER_RGB:.2f}", value, low, high, value >= OVER_RGB))
    return checks, "within one simulated benchmark; transfer across datasets belongs to T6, which this edition does not make"


def c6(profile: str) -> tuple[list[Check], str]:
    t7 = read(profile, "T7")
    deft = _row(t7, system="deft", condition="broken")
    f1, share = _interval(deft, "unit_f1"), _interval(deft, "unsupported")
    return [Check(f"macro F1 of the units in free text is at least {UNIT_F1:.2f}", *f1, f1[0] >= UNIT_F1),
            Check(f"at most {UNSUPPORTED:.2f} of the statements are borne out by neither true nor measured motion", *share, share[0] <= UNSUPPORTED),
            _above("the RGB-only model makes a larger share of unsupported statements (paired interval above 0)", deft, "rgb_minus")], ""


RULES = {"C1": ("T2", c1), "C2": ("T1", c2), "C3": ("T4", c3), "C4": ("T3", c4), "C5": ("T2", c5), "C6": ("T7", c6)}


def judge(profile: str) -> list[Verdict]:
    """Every claim's verdict from the tables under figures/<profile>/tables."""
    verdicts = []
    for claim, (table, rule) in RULES.items():
        try:
            checks, note = rule(profile)
            word = SUPPORTED if all(check.holds for check in checks) else NOT_SUPPORTED
        except Missing as missing:
            checks, note, word = [], str(missing), NOT_RUN
        verdicts.append(Verdict(claim, CLAIMS[claim], table, word, tuple(checks), note))
    return verdicts


def markdown(verdicts: list[Verdict], profile: str) -> str:
    lines = ["# What the tables say about each claim", "",
             f"Simulated clips, profile `{profile}`. Intervals are 95 % over subjects. None of this reproduces the paper's own numbers.", ""]
    for v in verdicts:
        lines += [f"## {v.claim}: {v.verdict}", "", f"*{v.words[0].upper()}{v.words[1:]}.* ({v.table})", ""]
        for c in v.checks:
            spread = "" if c.low != c.low else f" [{c.low:.3f}, {c.high:.3f}]"
            lines.append(f"- {'holds' if c.holds else 'fails'}: {c.rule}: {c.value:.3f}{spread}")
        lines += ([""] if v.checks else []) + ([f"Note: {v.note}.", ""] if v.note else [])
    return "\n".join(lines).rstrip() + "\n"


def write(profile: str, seed: int = 7) -> list[Verdict]:
    """Write figures/<profile>/claims.json and claims.md; returns the verdicts."""
    verdicts = judge(profile)
    folder = paths.figures(profile)
    runtime.write_json(folder / "claims.json", {"profile": profile, "seed": seed, "kind": "simulated", "commit": runtime.commit(),
                                                "claims": [asdict(v) for v in verdicts]})
    with runtime.atomic(folder / "claims.md") as temporary:
        temporary.write_text(markdown(verdicts, profile), encoding="utf-8")
    return verdicts
