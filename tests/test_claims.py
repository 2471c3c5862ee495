"""Verdicts on worked tables: one convention, three outcomes, and what they rest on."""

import numpy as np
import pandas as pd
import pytest

from deft import paths
from deft.closure import Closure
from deft.evaluation import claims, first_edition, metrics
from deft.evaluation.claims import FAILS, HOLDS, NOT_RUN, NOT_SUPPORTED, RULES, SUPPORTED, UNDECIDED, Rule
from deft.evaluation.rules import OVER_RGB

ABOVE = Rule("x", "T", {"row": "a"}, "v", 0.2)
BELOW = Rule("x", "T", {"row": "a"}, "v", 0.2, above=False)


@pytest.mark.parametrize(
    "low, high, above, below",
    [
        (0.21, 0.4, HOLDS, FAILS),
        (0.1, 0.19, FAILS, HOLDS),
        (0.1, 0.3, UNDECIDED, UNDECIDED),
        (0.2, 0.3, UNDECIDED, UNDECIDED),
        (0.1, 0.2, UNDECIDED, UNDECIDED),
        (float("nan"), float("nan"), UNDECIDED, UNDECIDED),
    ],
)
def test_an_interval_lies_beyond_the_bar_or_on_its_wrong_side_or_across(low, high, above, below):
    assert (ABOVE.outcome(low, high), BELOW.outcome(low, high)) == (above, below)


def test_no_point_value_decides():
    """.1969 against .20 with an interval across it was `supported` once."""
    row = pd.Series({"v": 0.1969, "v_low": 0.17, "v_high": 0.22})
    found = claims.check(BELOW, row)
    assert (found.outcome, found.holds) == (UNDECIDED, False)
    assert claims.check(BELOW, row.drop(["v_low", "v_high"])).outcome == UNDECIDED  # no interval, no verdict
    with pytest.raises(claims.Missing, match="no number v in row a of T"):
        claims.check(BELOW, row.drop("v"))


def tables_where(outcome):
    """{table: rows} that give every rule the interval of `outcome(rule)`: HOLDS, FAILS or UNDECIDED."""
    rows = {}
    for rule in {id(rule): rule for rules in RULES.values() for rule in rules}.values():
        row = rows.setdefault((rule.table, tuple(sorted(rule.where.items()))), {**rule.where, "model": "deft-x"})
        right = 1 if rule.above else -1
        middle = rule.bar + {HOLDS: right, FAILS: -right, UNDECIDED: 0}[outcome(rule)] * 0.3
        ends = ("low", "high") if rule.column == "value" else (f"{rule.column}_low", f"{rule.column}_high")
        new = {rule.column: middle} | dict(zip(ends, (middle - 0.1, middle + 0.1)))
        if rule.bar in (OVER_RGB,) and rule.column == "deft_minus" and outcome(rule) == HOLDS:
            row |= new
        elif rule.column not in row:
            row |= new
    out = {}
    for (table, _), row in rows.items():
        out.setdefault(table, []).append(row)
    return {table: pd.DataFrame(parts) for table, parts in out.items()}


def verdicts(outcome):
    return {v.claim: v for v in claims.judge(tables_where(outcome))}


def test_a_claim_is_supported_when_all_its_checks_hold():
    found = verdicts(lambda rule: HOLDS)
    assert {c: v.verdict for c, v in found.items()} == dict.fromkeys(RULES, SUPPORTED)
    assert all(c.holds and c.outcome == HOLDS for v in found.values() for c in v.checks)


@pytest.mark.parametrize(
    "claim, number", [(claim, n) for claim in ("C1", "C2", "C3", "C4", "C6") for n in range(len(RULES[claim]))]
)
def test_one_check_that_fails_or_is_undecided_takes_the_support_away(claim, number):
    """Every check counts, and none is inverted: the one rule alone is given another interval."""
    mine = RULES[claim][number]
    same = lambda rule: (
        (rule.table, dict(rule.where), rule.column)
        == (
            mine.table,
            dict(mine.where),
            mine.column,
        )
    )  # noqa: E731
    failed = verdicts(lambda rule: FAILS if same(rule) else HOLDS)[claim]
    assert failed.verdict == NOT_SUPPORTED and failed.checks[number].outcome == FAILS
    assert verdicts(lambda rule: UNDECIDED if same(rule) else HOLDS)[claim].verdict == UNDECIDED


def test_failing_outweighs_undecided():
    assert (
        claims.word(tuple(claims.Check("", 0, 0, 0, False, o, "T") for o in (HOLDS, UNDECIDED, FAILS))) == NOT_SUPPORTED
    )
    assert claims.word(()) == NOT_RUN


def test_a_model_at_chance_supports_nothing():
    """DEFT answers as `majority` does, and loses nothing when the tie breaks: C1 was `supported` in smoke."""
    tables = tables_where(
        lambda rule: UNDECIDED if rule.column == "deft_minus" and rule.where["system"] == "majority" else HOLDS
    )
    found = {v.claim: v.verdict for v in claims.judge(tables)}
    assert all(found[c] == UNDECIDED for c in ("C1", "C3", "C4", "C5", "C6")) and found["C2"] == SUPPORTED


def test_what_was_not_made_is_not_run_and_models_that_were_not_trained_are_left_out():
    tables = tables_where(lambda rule: HOLDS)
    tables["T4"].loc[tables["T4"]["construction"].isin(["none", "flow"]), "model"] = "not run"
    found = {v.claim: v for v in claims.judge(tables)}["C3"]
    assert (
        found.verdict == SUPPORTED
        and len(found.checks) == len(RULES["C3"]) - 4
        and "no constraint, flow alone" in found.note
    )
    tables["T4"]["model"] = np.nan
    found = {v.claim: v for v in claims.judge(tables)}["C3"]
    assert len(found.checks) == 7 and not any(
        "majority" in c.rule for c in found.checks
    )  # nothing of a model is judged
    del tables["T3"]
    tables["T7"] = tables["T7"][tables["T7"]["system"] != "template"]
    found = {v.claim: v for v in claims.judge(tables)}
    assert (found["C4"].verdict, found["C4"].note) == (NOT_RUN, "T3 was not made")
    assert (found["C6"].verdict, found["C6"].note) == (NOT_RUN, "no row template, broken")


def test_a_folder_and_a_mapping_give_the_same_verdicts(tmp_path):
    tables = tables_where(lambda rule: HOLDS)
    for name, table in tables.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    assert claims.judge(tmp_path) == claims.judge({name: pd.read_csv(tmp_path / f"{name}.csv") for name in tables})


def test_the_page_says_what_undecided_means_and_gives_intervals():
    page = claims.markdown(claims.judge(tables_where(lambda rule: UNDECIDED)), "made-up")
    assert (
        "lies across the bar" in page
        and "- undecided: " in page
        and "## C2: undecided" in page
        and "0.020 [-0.080, 0.120]" in page
    )


def test_the_rules_stand_in_the_docs():
    path = paths.ROOT / "docs" / "rules.md"
    assert path.read_text(encoding="utf-8") == first_edition.page(), (
        "write it again: python -c \"from deft.evaluation import first_edition as f; open('docs/rules.md',"
        " 'w').write(f.page())\""
    )
    text = path.read_text(encoding="utf-8")  # verdicts by old rules stay
    assert "| C6 | supported |" in text and "| C4 | undecided |" in text


@pytest.mark.parametrize("draws", claims.COVERAGE)
def test_pages_state_the_coverage_that_is_simulated(draws):
    found = [100 * metrics.coverage(draws, share) for share in (1, 0.5, 0.25)]
    assert found == pytest.approx(claims.COVERAGE[draws], abs=0.6) and found == sorted(found)
    for page in (first_edition.page(), claims.markdown([], "made-up")):
        assert f"{claims.COVERAGE[draws][0]} % of studies with {draws} draws" in page


def test_two_draws_alone_enclose_the_truth_in_half_of_all_studies():
    """The interval is then the range of two numbers; without draws, 36 subjects give nearly what 95 % says."""
    assert metrics.coverage(2, 1) == pytest.approx(0.5, abs=0.02) and metrics.coverage(2, 0) > 0.92


def test_every_rule_stands_alone():
    for rule in (rule for rules in RULES.values() for rule in rules):
        assert not rule.words.startswith(("and ", "or ")), rule.words


def test_no_stage_depends_on_pages_and_few_on_published_numbers():
    reached = Closure(paths.ROOT)
    assert "deft/evaluation/first_edition/verdicts.json" not in reached.files(
        [], ["deft.evaluation.claims", "deft.evaluation.tables"]
    )
    assert not any(
        "reported" in name for name in reached.files([], ["deft.evaluation.peers", "deft.evaluation.metrics"])
    )
    assert "deft/evaluation/reported/reported.csv" in reached.files([], ["deft.evaluation.tables"])
