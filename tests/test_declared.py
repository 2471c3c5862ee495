"""What a stage opens is declared: the paths in its cells, and in the functions that these reach, are its reads or
writes.
"""

import ast
from functools import cache
from itertools import takewhile

import pytest

from deft import closure, paths
from deft.run import book

CHAIN = book.load(paths.NOTEBOOKS)
# 12 works below work/<set>, a folder of the same layout
STAGES = [stage for stage in CHAIN if stage.name != "12_licensed_data"]
# folders and files of a profile
TOPS = {name.split("/")[0] for stage in CHAIN for name in stage.writes if not name.startswith("figures:")}


def names_of(tree):
    """{name in this source: dotted name} of what is imported from deft."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deft"):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            named = [alias for alias in node.names if alias.asname and alias.name.startswith("deft")]
            found |= {alias.asname: alias.name for alias in named}
    return found


@cache
def module(name):
    """(imported names, {function, class or Class.method: node}) of a module; None when there is no such module."""
    path = closure.file_of(name, paths.ROOT)
    if path is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            inner[node.name] = node
        elif isinstance(node, ast.ClassDef):
            inner |= {f"{node.name}.{part.name}": part for part in node.body if isinstance(part, ast.FunctionDef)}
    return names_of(tree), inner


def dotted(node):
    """a.b.c of an attribute or a name, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{outer}.{node.attr}" if isinstance(node, ast.Attribute) and (outer := dotted(node.value)) else ""


def literals(node):
    """The parts of a path `x / "a" / "b" / name` up to the first that is no plain text: a, b."""
    parts = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts.insert(0, node.right)
        node = node.left
    texts = [part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else None for part in parts]
    return list(takewhile(lambda text: text is not None, texts))


def opened(node):
    """Paths written out below a node, relative to the profile's folder."""
    inner = {id(part.left) for part in ast.walk(node) if isinstance(part, ast.BinOp)}
    for part in ast.walk(node):
        if id(part) not in inner and (known := literals(part)) and known[0] in TOPS:
            yield "/".join(known)


def reached(sources):
    """(where, path) of every path written out in the sources or in a function that they name, directly or not."""
    waiting, done, found = [], set(), set()
    trees = [ast.parse(closure.without_magics(source)) for source in sources]
    names = {name: target for tree in trees for name, target in names_of(tree).items()}

    def follow(where, home, known, node):
        found.update((where, path) for path in opened(node))
        for part in ast.walk(node):
            if isinstance(part, (ast.Name, ast.Attribute)) and (name := dotted(part)):
                first, _, rest = name.partition(".")
                waiting.append(f"{known[first]}.{rest}".rstrip(".") if first in known else f"{home}.{name}")

    for tree in trees:
        follow("a cell", "", names, tree)
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        parts = name.split(".")
        for cut in range(len(parts) - 1, max(len(parts) - 3, 0), -1):
            home, inner = ".".join(parts[:cut]), ".".join(parts[cut:])
            if home.startswith("deft") and (seen := module(home)):
                if inner in seen[1]:
                    follow(name, home, seen[0], seen[1][inner])
                elif parts[cut] in seen[0]:  # passed on by a package
                    waiting.append(".".join([seen[0][parts[cut]], *parts[cut + 1 :]]))
                break
    return found


def undeclared(stage, promised):
    """[(path, where)] that the stage's code reaches and no name in `promised` covers."""
    return sorted(
        (path, where)
        for where, path in reached([source for _, source in stage.cells])
        if not any(book.overlap(path, name) for name in promised)
    )


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_paths_that_a_stage_reaches_are_declared(stage):
    missing = undeclared(stage, (*stage.reads, *stage.writes))
    assert not missing, f"{stage.name} neither reads nor writes {missing}"


@pytest.mark.parametrize(
    "number, name",
    [
        ("04", "faces/bench"),
        ("05", "evidence/calibration.json"),
        ("08", "unimer/bench.jsonl"),
        ("09", "evidence/calibration.json"),
        ("11", "faces/landmarks"),
        ("11", "motion/corpus/noise.npy"),
    ],
)
def test_the_check_itself_misses_what_is_taken_away(number, name):
    stage = book.find(STAGES, number)
    left = [known for known in (*stage.reads, *stage.writes) if known != name]
    assert [path for path, _ in undeclared(stage, left) if book.overlap(path, name)]
