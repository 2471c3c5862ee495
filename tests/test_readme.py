"""The README keeps its word: generated blocks are current, commands, paths and links exist."""

import re

import pytest

from deft import artifacts, config, paths
from deft.run import readme

TEXT = (paths.ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.M))


def test_the_artifact_table_is_the_register():
    assert readme.block(TEXT, "artifacts") == artifacts.readme_table(), "run `python -m deft.run.readme`"


def test_every_profile_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \|", readme.block(TEXT, "profiles"), re.M)
    assert rows == config.profiles(paths.NOTEBOOKS)


def test_commands_exist_and_all_are_told():
    told = set(re.findall(r"\bmake ([a-z-]+)", TEXT)) - {"the"}
    assert told == TARGETS == {"env", "check", "reproduce", "verify", "reference", "status", "test", "lab", "analyse", "data-check", "licensed", "forget", "bench", "clean", "help"}


def test_modules_named_in_commands_exist():
    for name in re.findall(r"python -m ([\w.]+)", TEXT):
        assert (paths.ROOT / name.replace(".", "/")).with_suffix(".py").is_file() or (paths.ROOT / name / "__main__.py").is_file(), name


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
