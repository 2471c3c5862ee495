"""The README keeps its word: generated blocks are current, commands, paths and links exist. No text names a page
that is not there.
"""

import re
import subprocess
from pathlib import Path

import pytest

from deft import artifacts, config, paths, runtime
from deft.run import readme
from deft.verify import second

TEXT = (paths.ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.M))


def test_the_ratios_are_those_of_the_committed_benchmarks(tmp_path):
    assert readme.block(TEXT, "speed") == readme.speed(), "run `python -m deft.run.readme`"
    rows = [
        "id,arm,metric,median,ratio_to_first,device,limit,commit,cores",
        "B1,ours,time (s),2,1,cpu: X,-,abc,2",
        "B1,theirs,time (s),6,3,cpu: X,ratio_to_first >= 4,abc,2",
        "B1,a part,time (s),1,0.5,cpu: X,-,abc,2",
        "B1,ours,apart (nat),0,1,cpu: X,-,abc,2",
        "B1,theirs,apart (nat),0,1,cpu: X,high <= 1e-4,abc,2",
    ]
    (tmp_path / "bench.csv").write_text("\n".join(rows))
    told = readme.speed(tmp_path / "bench.csv").splitlines()[2:]
    assert told[0] == "| B1 | time (s) | 2 | theirs | 6 | 3 | 4, missed |" and told[1] == ""  # no part, no difference


def test_the_artifact_table_is_the_register():
    assert readme.block(TEXT, "artifacts") == artifacts.readme_table(), "run `python -m deft.run.readme`"


def test_the_outcome_is_the_reference():
    assert readme.block(TEXT, "verdicts") == readme.outcome(), "run `python -m deft.run.readme`"


def test_the_page_of_the_second_benchmark_is_both_references():
    page = second.PAGE.read_text(encoding="utf-8")
    for name, content in (("verdicts", second.both()), ("tables", second.tables())):
        assert readme.block(page, name) == content, "run `python -m deft.verify.second`"


def test_every_verdict_is_told_with_what_decides_it(tmp_path, monkeypatch):
    check = {"rule": "a beats b (above 0)", "value": 0.1, "low": -0.2, "high": 0.3, "outcome": "undecided"}
    claims = [
        {
            "claim": "C9",
            "words": "w",
            "verdict": "undecided",
            "note": "",
            "checks": [{**check, "outcome": "holds"}, check],
        },
        {"claim": "C8", "words": "v", "verdict": "not run", "note": "needs T9", "checks": []},
    ]
    runtime.write_json(
        tmp_path / "claims.json", {"profile": "demo", "commit": "abc", "rules": "today", "claims": claims}
    )
    for number, (role, verdict) in enumerate(
        (("complete", "supported"), ("complete", "undecided"), ("complete", "undecided"), ("trial", "supported"))
    ):
        runtime.write_json(
            tmp_path / f"runs/run{number}/run.json", {"role": role, "verdicts": {"C9": verdict, "C8": "not run"}}
        )
    (tmp_path / "F1.txt").write_text("**F1. What is found.**\n")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    text = readme.outcome(tmp_path)
    assert text.endswith("(F1.png)\n\n**F1. What is found.**")
    assert "in 3 complete runs" in text
    assert (
        "| **C9** w | **undecided** | undecided 2, supported 1 | 1 of 2 | undecided: *a beats b (above 0)*: 0.100"
        " [-0.200, 0.300] |" in text
    )
    assert "| **C8** v | **not run** | not run 3 | 0 of 0 | needs T9 |" in text


def test_every_profile_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \|", readme.block(TEXT, "profiles"), re.M)
    assert list(dict.fromkeys(rows)) == config.profiles(paths.NOTEBOOKS)  # one for each machine


def test_commands_exist_and_all_are_told():
    told = set(re.findall(r"\bmake ([a-z-]+)", TEXT)) - {"the"}
    assert (
        told
        == TARGETS
        == {
            "env",
            "check",
            "reproduce",
            "see",
            "verify",
            "reference",
            "status",
            "test",
            "lab",
            "analyse",
            "data-check",
            "licensed",
            "forget",
            "bench",
            "clean",
            "help",
        }
    )


def test_modules_named_in_commands_exist():
    for name in re.findall(r"python -m ([\w.]+)", TEXT):
        assert (paths.ROOT / name.replace(".", "/")).with_suffix(".py").is_file() or (
            paths.ROOT / name / "__main__.py"
        ).is_file(), name


def test_links_exist():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if not target.startswith("http"):
            assert (paths.ROOT / target).exists(), target


def test_paths_exist():
    for name in re.findall(r"`([\w./-]+\.(?:py|txt|yml|cff)|deft/|notebooks/params/|LICENSE)`", TEXT):
        assert (paths.ROOT / name).exists(), name


def test_the_variables_named_are_read_by_the_package():
    source = (paths.ROOT / "deft" / "paths.py").read_text()
    for name in re.findall(r"`(DEFT_\w+)`", TEXT):
        assert name in source, name


PRODUCTS = (  # pages that a run writes: verdicts, tables, the card of the Uni-MER folder
    r"claims\.md|T\d+[a-z]?\.md|README\.md"
)


def lost_pages(text: str, folder: Path) -> list[str]:
    """Pages (page.md or page.md#section) that `text`, a file of `folder`, names and that lie neither beside it nor
    at the root.
    """
    lost = []
    for name, section in re.findall(r"([\w./-]*\w\.md)\b(?:#([\w-]+))?", text):
        page = next((place / name for place in (folder, paths.ROOT) if (place / name).is_file()), None)
        if page is None:
            lost += [] if re.fullmatch(PRODUCTS, name.rsplit("/", 1)[-1]) else [name]
        elif section and section not in sections(page.read_text(encoding="utf-8")):
            lost.append(f"{name}#{section}")
    return lost


def sections(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }


def test_a_lost_page_is_found():
    assert lost_pages(
        "see facs.md, [a](docs/verify.md), docs/method.md#traps and docs/method.md#no-such", paths.ROOT
    ) == ["facs.md", "docs/method.md#no-such"]


def test_no_text_names_a_page_that_does_not_exist():
    kept = subprocess.run(
        ["git", "ls-files", "deft", "notebooks", "docs", "*.md", "Makefile", ".ci"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    lost = {
        name: found
        for name in kept
        if re.search(r"(\.(py|ipynb|md|ya?ml|csv|html)|Makefile|run)$", name)
        and (found := lost_pages((paths.ROOT / name).read_text(encoding="utf-8"), (paths.ROOT / name).parent))
    }
    assert not lost, lost


def test_every_notebook_is_linked():
    for path in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        assert f"notebooks/{path.name}" in TEXT, path.name


def test_it_says_what_it_is_not():
    assert "not a lie detector" in TEXT and "SIMULATED" in TEXT and "DeftConfig" in TEXT and "CITATION.cff" in TEXT


def test_a_generated_block_is_replaced_in_place():
    text = "a\n<!-- x: generated -->\nold\n<!-- end x -->\nb"
    assert readme.replace(text, "x", "new") == text.replace("old", "new")
    assert readme.block(readme.replace(text, "x", ""), "x") == ""
    with pytest.raises(ValueError, match="no generated block 'y'"):
        readme.block(text, "y")


def test_a_profile_has_a_row_for_each_machine_it_was_measured_on(monkeypatch):
    """What this machine measured replaces its own older row and no other machine's; "not measured" goes."""
    row = "| `{}` | words | 14 | {} | 4.0 GiB | {}, no GPU used, commit {} |".format
    old = "\n".join([row("demo", 28, "fast", "a"), row("demo", 50, "slow", "b"), "| `smoke` | | | not measured | | |"])
    new = {"demo": row("demo", 44, "slow", "c"), "smoke": row("smoke", 4, "slow", "c")}
    monkeypatch.setattr(readme, "cost", new.get)
    told = readme.profiles_table(old)
    assert [line for line in told.splitlines() if line.startswith("| `demo`")] == [
        row("demo", 28, "fast", "a"),
        new["demo"],
    ]
    assert new["smoke"] in told and told.count("`smoke`") == 1 and readme.profiles_table(told) == told
