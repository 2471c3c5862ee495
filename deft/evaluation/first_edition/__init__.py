"""docs/rules.md: the rules by which claims are judged, beside those that went before and what was found by them.

`python -c "from deft.evaluation import first_edition as f; open('docs/rules.md', 'w').write(f.page())"` writes the
page. No stage reads this: a change here makes no stage stale."""

from __future__ import annotations

from pathlib import Path

from deft import runtime
from deft.evaluation import claims, rules

VERDICTS = Path(__file__).with_name("verdicts.json")  # checks and verdicts of the first edition, and why rules changed
SECOND = Path(__file__).with_name("second.json")  # the same of the rules that changed after the second


def page() -> str:
    """docs/rules.md: the rules of the first edition, the rules now and why they changed, then verdicts by rules that no
    longer hold.
    """
    old, second = runtime.read_json(VERDICTS), runtime.read_json(SECOND)
    lines = [
        "# The rules by which claims are judged",
        "",
        (
            f"Rules of {rules.DATED}; which data were in sight when they were written: docs/decisions.md."
            f" {claims.CONVENTION} The interval covers"
            f" subjects, resampled within looks, and draws of training where several were made. {claims.covered()}"
            " `majority`, `template`, `bayes-experts`: rows of T2 and T7."
        ),
        "",
        "| claim | rule of the first edition | rule now | why |",
        "|---|---|---|---|",
    ]
    for claim, asked in rules.RULES.items():
        was = "<br>".join(f"{n}. {rule}" for n, (rule, *_) in enumerate(old["verdicts"][claim]["checks"], 1))
        now = "<br>".join(f"{n}. {rule.text}" for n, rule in enumerate(asked, 1))
        why = " ".join(edition["why"].get(claim, "") for edition in (old, second)).strip()
        lines.append(f"| {claim} | {was} | {now} | {why} |")
    lines += _verdicts(
        f"by the rules of {second['dated']}, where they changed since",
        f"Kept run of the reference, commit {second['commit']}, on sim-v1.",
        second["verdicts"],
    )
    lines += _verdicts(
        "by the rules of the first edition",
        f"Tables of the demo profile, commit {old['commit']}. Intervals are over subjects alone; a check either holds"
        " or fails.",
        old["verdicts"],
    )
    return "\n".join(lines) + "\n"


def _verdicts(title: str, note: str, verdicts: dict) -> list[str]:
    """The lines of one edition's verdicts; a check of the first edition has True or False for an outcome."""
    lines = ["", f"## Verdicts {title}", "", note, "", "| claim | verdict | check | value | |", "|---|---|---|---|---|"]
    for claim, found in verdicts.items():
        for rule, value, low, high, outcome in found["checks"]:
            word = outcome if isinstance(outcome, str) else rules.HOLDS if outcome else rules.FAILS
            lines.append(f"| {claim} | {found['verdict']} | {rule} | {value:.3f}{claims.spread(low, high)} | {word} |")
    return lines
