"""The list of mutations cannot rot unseen: every line it breaks is still there, once."""

import ast

import mutations
import pytest


def test_every_mutation_finds_its_line_and_names_tests_that_exist():
    names = [mutation.name for mutation in mutations.MUTATIONS]
    assert len(names) == len(set(names)) >= 40
    for mutation in mutations.MUTATIONS:
        ast.parse(mutations.place(mutation))
        assert mutation.tests and all((mutations.ROOT / test).is_file() for test in mutation.tests), mutation.name


def test_a_line_that_is_gone_is_named():
    lost = mutations.Mutation("lost", "deft/runtime.py", "no such line", "", ("tests/test_runtime.py",))
    with pytest.raises(LookupError, match="lost: deft/runtime.py holds its line 0 times"):
        mutations.place(lost)
