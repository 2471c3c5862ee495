"""The registry of systems: known names in every list, and no second list of them anywhere in the package."""

import ast

import pytest

from deft import cache, closure, paths, systems
from deft.config import profiles
from deft.run import book
from deft.run.chain import Chain

OWN_PATH = "deft/verify/recompute.py"  # makes the tables again without anything that they are made with


def test_every_list_names_registered_systems_once():
    for where, names in systems.LISTED.items():
        assert len(set(names)) == len(names) and set(names) <= set(systems.SYSTEMS), where
    kinds = (systems.MODELS, systems.PEERS, systems.FIELD, (systems.ELSEWHERE, systems.CHECKED))
    assert sorted(name for names in kinds for name in names) == sorted(systems.SYSTEMS)
    assert set(systems.UNTRAINED) < set(systems.CONSTANT) < {*systems.PEERS, *systems.FIELD}
    assert not set(systems.NOT_BUILT) & set(systems.SYSTEMS)


def test_profiles_tune_registered_models():
    for profile in profiles(paths.NOTEBOOKS):
        chain = Chain(profile)
        given = chain.parameters(book.find(chain.stages, "07"))["systems"].split(",")
        assert [systems.model(name).name for name in given] == given


@pytest.mark.parametrize("name", ["oracle", "majority", systems.ELSEWHERE, systems.CHECKED])
def test_what_cannot_be_tuned_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}'.*rgb-only"):
        systems.model(name)


def test_no_other_module_lists_systems():
    for path in sorted((paths.ROOT / "deft").rglob("*.py")):
        where = path.relative_to(paths.ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Tuple, ast.List, ast.Set, ast.Dict)) and where not in (
                "deft/systems.py",
                OWN_PATH,
            ):
                parts = [*(node.keys + node.values if isinstance(node, ast.Dict) else node.elts)]
                named = {part.value for part in parts if isinstance(part, ast.Constant)} & set(systems.SYSTEMS)
                assert len(named) < 3 or where == "deft/evaluation/peers/__init__.py" and "lr-experts" in named, (
                    f"{where}:{node.lineno} {named}"
                )


def test_a_spoken_name_makes_no_training_stale():
    for code in ("deft.mllm.tune", "deft.mllm.language"):
        assert "deft/systems.py" in cache.code_of(code) and "deft/systems.py" not in cache.code_of(
            code, ("deft.systems",)
        )
    assert "deft/systems.py" in closure.Closure(paths.ROOT).files(["from deft.evaluation import tables"])
