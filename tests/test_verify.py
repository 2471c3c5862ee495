"""Comparing regenerated tables with the reference: tolerance, words, missing pieces, claims."""

import json

import pytest

from deft.run import RunError, verify

CSV = "system,uf1,interval\ndeft,0.81,\"0.81 [0.78, 0.84]\"\n"


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path))
    for folder in ("tables", "reference"):
        (tmp_path / "demo" / folder).mkdir(parents=True)
        (tmp_path / "demo" / folder / "T2.csv").write_text(CSV)
    (tmp_path / "demo" / "reference" / "tolerance.json").write_text('{"default": {"absolute": 0.02}}')
    return tmp_path / "demo"


def test_equal_tables_agree(world, capsys):
    assert verify.verify("demo") == 0
    out = capsys.readouterr().out
    assert "T2   agrees" in out and "C5   tables T2 agree" in out


def test_within_tolerance_agrees_beyond_it_differs_with_words(world, capsys):
    table = world / "tables" / "T2.csv"
    table.write_text(CSV.replace("deft,0.81", "deft,0.825"))
    assert verify.verify("demo") == 0
    table.write_text(CSV.replace("0.84]", "0.87]"))
    assert verify.verify("demo") == 1
    out = capsys.readouterr().out
    assert "interval: 0.84 -> 0.87, allowed 0.02" in out and "C5   tables T2 differ in T2" in out


@pytest.mark.parametrize("text, words", [
    (CSV.replace("deft", "other"), "'deft' -> 'other'"),
    (CSV.replace("uf1", "uar"), "columns"),
    (CSV + "x,1,1\n", "2 rows instead of 1"),
    (None, "was not made"),
])
def test_what_differs_is_said(world, capsys, text, words):
    path = world / "tables" / "T2.csv"
    path.unlink() if text is None else path.write_text(text)
    assert verify.verify("demo") == 1
    assert words in capsys.readouterr().out


def test_a_changed_verdict_fails(world, capsys):
    (world / "reference" / "claims.json").write_text(json.dumps({"claims": [{"claim": "C5", "verdict": "supported"}]}))
    (world / "claims.json").write_text(json.dumps({"claims": [{"claim": "C5", "verdict": "not supported"}]}))
    assert verify.verify("demo") == 1
    assert "the reference says 'supported'" in capsys.readouterr().out


def test_machine_dependent_columns_can_be_ignored_and_bad_rules_are_refused(world):
    (world / "tables" / "T2.csv").write_text(CSV.replace("deft,0.81", "deft,0.5"))
    rules = world / "reference" / "tolerance.json"
    rules.write_text('{"default": {"absolute": 0}, "T2": {"uf1": "ignore"}}')
    assert verify.verify("demo") == 0
    rules.write_text('{"default": {"absolut": 0}}')
    with pytest.raises(RunError, match="must be"):
        verify.verify("demo")
    rules.write_text("{}")
    with pytest.raises(RunError, match="default"):
        verify.verify("demo")


def test_no_reference_is_said(world):
    with pytest.raises(RunError, match="no reference"):
        verify.verify("smoke")


def test_write_reference_keeps_an_existing_tolerance(world):
    (world / "tables" / "T2.csv").write_text(CSV.replace("0.81", "0.5"))
    assert verify.verify("demo") == 1
    assert verify.write_reference("demo") == 0
    assert verify.verify("demo") == 0
    assert json.loads((world / "reference" / "tolerance.json").read_text()) == {"default": {"absolute": 0.02}}
