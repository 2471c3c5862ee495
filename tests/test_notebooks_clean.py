"""The notebooks as they are committed: no outputs, stable ids, one parameters cell of typed literals, short cells,
no machine paths.
"""

import ast
import json
import re

import pytest

from deft import closure, config, paths
from deft.run import book, hand

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|work|tmp|mnt|data|workspace)/\w|[A-Z]:\\\\")
TYPES = {"str": str, "int": int, "float": float, "bool": bool, "list": list, "tuple": tuple, "dict": dict}

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def parameters_cell(path):
    found = [c for c in cells(path) if book.is_parameters(c)]
    assert len(found) == 1, f"{len(found)} cells tagged `parameters`"
    return book.source_of(found[0])


def test_no_outputs_no_counts(path):
    for cell in cells(path):
        assert not cell.get("outputs") and not cell.get("execution_count"), cell["id"]


def test_ids_are_readable_and_unique(path):
    ids = [c.get("id") for c in cells(path)]
    assert all(ids) and len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", i) for i in ids), ids


def test_size(path):
    assert 15 <= len(cells(path)) <= 30
    for cell in cells(path):
        if cell["cell_type"] == "code":
            assert len(book.source_of(cell).splitlines()) <= 25, cell["id"]


def test_parameters_are_literals_one_per_line(path):
    source = parameters_cell(path)
    defaults = config.literals(source, path.name)
    assert next(iter(defaults)) == "profile" and defaults["profile"] == "" and defaults.get("seed") == 7
    body = ast.parse(source).body
    assert len({node.lineno for node in body}) == len(body)
    for line in source.splitlines():
        assert "=" not in line.partition("#")[2], f"papermill misreads `=` in the help comment: {line}"
    for node in body:
        if isinstance(node, ast.AnnAssign):
            kind = (
                node.annotation.id
                if isinstance(node.annotation, ast.Name)
                else ast.unparse(node.annotation).split("[")[0]
            )
            assert isinstance(ast.literal_eval(node.value), TYPES[kind]), ast.unparse(node)


def test_no_machine_path(path):
    for cell in cells(path):
        assert not MACHINE_PATH.search(book.source_of(cell)), cell["id"]


def test_code_parses_and_imports_only_modules_that_exist(path):
    for cell in cells(path):
        if cell["cell_type"] == "code":
            source = closure.without_magics(book.source_of(cell))
            ast.parse(source)
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "deft":
                    assert closure.file_of(node.module, paths.ROOT), node.module


def test_links_point_to_notebooks_that_exist(path):
    for cell in cells(path):
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([\w./-]+\.ipynb)\)", book.source_of(cell)):
                assert (path.parent / target).is_file(), target


def test_it_says_what_it_reads_and_writes(path):
    stage = book.read(path)
    text = "\n".join(book.source_of(c) for c in cells(path)[:4] if c["cell_type"] == "markdown")
    assert "reads" in text.lower() and "writes" in text.lower() and "minute" in text.lower()
    assert isinstance(stage.reads, tuple) and isinstance(stage.writes, tuple)


def test_what_its_cells_name_under_work_is_declared(path):
    stage = book.read(path)
    declared = [name for name in (*stage.reads, *stage.writes) if not name.startswith("figures:")]
    code = "\n".join(book.source_of(c) for c in cells(path) if c["cell_type"] == "code")
    for found in re.finditer(r'(?<![.\w])work((?: / "[^"]+")+)', code):
        name = "/".join(re.findall(r'"([^"]+)"', found[1]))
        assert any(name == d or name.startswith(d + "/") or d.startswith(name + "/") for d in declared), (
            f"work/{name} is read or written, not declared"
        )


def test_what_a_reader_typed_can_be_told(path):
    """The file of smoke holds each literal as it is committed, so that a cell which differs from it was edited."""
    stages = {s.name: s.defaults for s in book.load(paths.NOTEBOOKS)}
    assert {**config.overrides(hand.LITERALS, stages, paths.NOTEBOOKS)[path.stem], "profile": ""} == stages[path.stem]


def test_it_shows_what_was_run(path):
    """The first thing after the imports: parameters of the profile that is shown, under this notebook's own name."""
    setup = next(book.source_of(c) for c in cells(path) if c["id"] == "setup")
    after = [line for line in setup.splitlines() if line and not line.startswith(("import ", "from ", " "))]
    assert after[0] == f'p = lab.parameters(globals(), "{path.stem}")'


def test_profiles_fit(path):
    stages = book.load(paths.NOTEBOOKS)
    defaults = {s.name: s.defaults for s in stages}
    for profile in config.profiles(paths.NOTEBOOKS):
        changed = config.overrides(profile, defaults, paths.NOTEBOOKS)[path.stem]
        assert set(changed) <= set(defaults[path.stem])
