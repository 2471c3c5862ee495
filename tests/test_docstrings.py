"""Whoever reads a public function learns from its head what goes in and what comes out: a docstring, and a type on
every argument.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from deft import paths

PACKAGES = [
    "",
    *sorted(path.parent.name for path in (paths.ROOT / "deft").glob("*/__init__.py")),
]  # "": the modules directly under deft/


def files(package: str) -> list[Path]:
    """Python files of a package of `deft`; of "" those directly under deft/."""
    folder = paths.ROOT / "deft" / package
    return sorted(folder.rglob("*.py") if package else folder.glob("*.py"))


@cache
def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Class of `deft` -> (names of its bases, its methods with a docstring). A method that overrides one of these
    needs none of its own.
    """
    found = {}
    for path in sorted((paths.ROOT / "deft").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                methods = {
                    item.name for item in node.body if isinstance(item, ast.FunctionDef) and ast.get_docstring(item)
                }
                found[node.name] = (bases, methods)
    return found


def inherits_docstring(method: str, bases: set[str]) -> bool:
    """Whether a base class, or a base of one, documents the method."""
    return any(
        method in documented()[base][1] or inherits_docstring(method, documented()[base][0])
        for base in bases
        if base in documented()
    )


def untyped(function: ast.FunctionDef, method: bool) -> list[str]:
    """What of a signature has no annotation: names of arguments, "->" for the result."""
    every = [
        *function.args.posonlyargs,
        *function.args.args,
        *function.args.kwonlyargs,
        function.args.vararg,
        function.args.kwarg,
    ]
    static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in function.decorator_list)
    given = [argument for argument in every if argument is not None][1 if method and not static else 0 :]
    lacking = [argument.arg for argument in given if argument.annotation is None]
    return lacking + (["->"] if function.returns is None and function.name != "__init__" else [])


def faults(tree: ast.Module) -> list[str]:
    """Public functions, methods and classes of a module without docstring or types. Exempt: private and nested
    names, dunders but __init__.
    """
    found = []

    def look_at(function: ast.FunctionDef, owner: ast.ClassDef | None) -> None:
        name = f"{owner.name}.{function.name}" if owner else function.name
        if function.name.startswith("_") and function.name != "__init__":
            return
        bases = {base.id for base in owner.bases if isinstance(base, ast.Name)} if owner else set()
        if (
            function.name != "__init__"
            and not ast.get_docstring(function)
            and not inherits_docstring(function.name, bases)
        ):
            found.append(f"{name} (line {function.lineno}): no docstring")
        if lacking := untyped(function, owner is not None):
            found.append(f"{name} (line {function.lineno}): no type for {', '.join(lacking)}")

    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            look_at(node, None)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                found.append(f"{node.name} (line {node.lineno}): no docstring")
            for item in node.body:
                if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    look_at(item, node)
    return found


def test_what_is_lacking_is_found():
    code = (
        'def f(a, *b, c: int = 1):\n    pass\nclass G:\n    """Doc."""\n    def h(self, x) -> int:\n       '
        ' """Doc."""\n    def _i(self, x): ...\n'
    )
    assert faults(ast.parse(code)) == [
        "f (line 1): no docstring",
        "f (line 1): no type for a, b, ->",
        "G.h (line 5): no type for x",
    ]


def test_private_and_nested_names_are_exempt():
    code = 'def f(a: int) -> int:\n    """Doc."""\n    def nested(x): ...\nclass _Private:\n    def g(self, y): ...\n'
    assert faults(ast.parse(code)) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_have_docstrings_and_types(package):
    lacking = [
        f"{path.relative_to(paths.ROOT)}: {fault}"
        for path in files(package)
        for fault in faults(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not lacking, "\n".join(lacking)
