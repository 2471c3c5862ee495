"""The architecture and the safety rules, read from the syntax trees: who may import whom, and calls that must not
occur.
"""

import ast
from pathlib import Path

import pytest

from deft.closure import Closure, imports

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "deft").rglob("*.py"))
# An arrow points from left to right only; the last two are applications, which nothing below imports.
ORDER = ["clips", "faces", "motion", "unimer", "experts", "mllm", "drawing", "evaluation", "licensed", "analyse"]
BASE = {
    "linear",
    "palette",
    "parallel",
    "paths",
    "runtime",
    "artifacts",
    "config",
    "closure",
    "cache",
    "checkpoint",
    "restart",
    "systems",
    "weights",
}
NO_TORCH = [
    "deft.clips",
    "deft.evaluation.metrics",
    "deft.evaluation.tables",
    "deft.evaluation.figures",
    "deft.run",
    "deft.verify",
    "deft.runtime",
    "deft.paths",
    "deft.artifacts",
    "deft.config",
    "deft.cache",
    "deft.systems",
]
LIGHT = ["deft.run", "deft.__main__", "deft.paths", "deft.runtime", "deft.artifacts", "deft.config", "deft.cache"]
DOORS = {
    "run": ("licensed", "forget", "lab", "verify", "__main__"),
    "forget": ("__main__",),
    "lab": (),
    "__main__": (),
}  # room -> who may import it
HABITS = "deft.clips.simulator.habits"


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(name):
    """The part of the package a dotted name belongs to: deft.motion.flow -> motion."""
    return name.split(".")[1] if "." in name else ""


def imported(path):
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    return imports(path.read_text(encoding="utf-8"), package)


def for_types(node):
    """`if TYPE_CHECKING:`, whose imports no run meets."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def third_party(path, top_level_only=False):
    """Top names of absolute imports outside deft; with `top_level_only`, those that importing the module triggers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body) if top_level_only else list(ast.walk(tree))
    if top_level_only:
        nodes += [
            inner
            for node in tree.body
            if isinstance(node, (ast.If, ast.Try)) and not for_types(node)
            for inner in ast.walk(node)
        ]
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_arrows_point_from_left_to_right(path):
    mine = part_of(name_of(path))
    for name in imported(path):
        theirs = part_of(name)
        if mine in ORDER and theirs in ORDER:
            assert ORDER.index(theirs) <= ORDER.index(mine), f"{name_of(path)} imports {name}"
        if mine in BASE:
            assert theirs in BASE | {""}, f"{name_of(path)} imports {name}"
        if mine in ORDER:
            assert theirs not in ("verify", "lab"), f"{name_of(path)} imports {name}"
        if mine == "analyse":
            assert theirs not in (
                "evaluation",
                "licensed",
            ), f"a clip of one's own is answered, not evaluated: {name_of(path)} imports {name}"
        if theirs != mine:
            assert mine in DOORS.get(theirs, (mine,)), f"{name_of(path)} imports {name}"
        if mine in ("run", "lab"):
            assert theirs not in (
                *ORDER,
                "verify",
            ), f"the driver knows notebooks, not models: {name_of(path)} imports {name}"
        if mine == "verify" and theirs in ORDER:
            assert (
                name_of(path)
                in (
                    "deft.verify.again",
                    "deft.verify.check",
                    "deft.verify.integrity",
                    "deft.verify.reference",
                    "deft.verify.second",  # a page, no judgement
                )
                and theirs == "evaluation"
            ), f"what judges a table shares no arithmetic with what makes it: {name_of(path)} imports {name}"


def test_every_room_has_its_place():
    rooms = {part_of(name_of(path)) for path in SOURCES}
    assert rooms == {*ORDER, *BASE, *DOORS, "verify", ""}, "a new room: say in ORDER, BASE or DOORS who may import it"


def test_no_two_modules_need_each_other():
    """Imports inside functions count: a circle that is hidden there is still one."""
    files = {name_of(path): path for path in SOURCES}
    needs = {
        name: {
            n
            for n in imported(path)
            if n in files and n != name and not name.startswith(n + ".") and not n.startswith(name + ".")
        }
        for name, path in files.items()
    }
    while free := {name for name, others in needs.items() if not others & needs.keys()}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert not needs, f"these need each other: {', '.join(sorted(needs))}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_simulator_and_the_benchmark_know_the_habits(path):
    if HABITS in imported(path) or any(name.startswith(HABITS + ".") for name in imported(path)):
        assert name_of(path).startswith(("deft.clips.simulator", "deft.clips.benchmark")), (
            f"{name_of(path)} imports {HABITS}"
        )


@pytest.mark.parametrize("top", NO_TORCH)
def test_these_reach_no_torch(top):
    """Not even through what they import when they are imported."""
    waiting, seen = [p for p in SOURCES if name_of(p) == top or name_of(p).startswith(top + ".")], set()
    files = {name_of(p): p for p in SOURCES}
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        heavy = third_party(path, top_level_only=True) & {"torch", "transformers", "peft"}
        assert not heavy, f"{top} reaches {heavy} through {name_of(path)}"
        package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
        body = [
            n
            for n in ast.parse(path.read_text()).body
            if isinstance(n, (ast.Import, ast.ImportFrom, ast.If, ast.Try)) and not for_types(n)
        ]
        waiting += [files[n] for n in imports("\n".join(ast.unparse(n) for n in body), package) if n in files]


@pytest.mark.parametrize("path", [p for p in SOURCES if name_of(p).startswith(tuple(LIGHT))], ids=name_of)
def test_the_path_of_status_is_light(path):
    heavy = {"numpy", "pandas", "torch", "cv2", "matplotlib", "papermill", "nbformat", "scipy", "sklearn", "psutil"}
    assert not third_party(path, top_level_only=True) & heavy


def test_the_rule_above_sees_relative_and_inner_imports():
    assert imports("from .a import b\ndef f():\n    from .. import c", "deft.x") == {
        "deft",
        "deft.x.a",
        "deft.x.a.b",
        "deft.c",
    }
    assert "deft/clips/facs.py" in Closure(ROOT).files(["from deft.clips import facs"])


# ---------------------------------------------------------------- forbidden calls


def dotted(node):
    """`a.b.c` of a call's function; what is not a name (a call, an index) stands as `?`."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id if isinstance(node, ast.Name) else "?"]))


def is_constant(node, value):
    return isinstance(node, ast.Constant) and node.value is value


def unsafe(source):
    """What is unsafe in a source, as (line, words)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [
                (node.lineno, f"import {n}")
                for n in names
                if n.split(".")[0] in ("pickle", "dill", "cloudpickle", "shelve", "marshal")
            ]
        if isinstance(node, ast.ExceptHandler):
            silent = all(
                isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
                for s in node.body
            )
            broad = isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            if node.type is None:
                found.append((node.lineno, "bare except"))
            elif broad and silent:
                found.append((node.lineno, "except Exception: pass"))
        if isinstance(node, ast.Call):
            name, given = dotted(node.func), {k.arg: k.value for k in node.keywords}
            if (
                name.split(".")[0] == "pickle"
                or name.endswith(("read_pickle", "to_pickle"))
                or name in ("joblib.load", "joblib.dump")
            ):
                found.append((node.lineno, name))
            if name in (
                "yaml.load",
                "yaml.unsafe_load",
                "yaml.full_load",
                "yaml.load_all",
                "eval",
                "exec",
                "os.system",
            ):
                found.append((node.lineno, name))
            if name == "torch.load" and not is_constant(given.get("weights_only"), True):
                found.append((node.lineno, "torch.load without weights_only=True"))
            if name.endswith("extractall"):
                found.append((node.lineno, name))
            for option in ("allow_pickle", "trust_remote_code", "shell"):
                if option in given and not is_constant(given[option], False):
                    found.append((node.lineno, f"{option}={ast.unparse(given[option])}"))
    return found


@pytest.mark.parametrize(
    "path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_no_forbidden_call(path):
    assert not unsafe(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "import yaml\nyaml.load(x)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
        "z.extractall()",
        "A.from_pretrained(p, trust_remote_code=True)",
        "try:\n    f()\nexcept:\n    g()",
        "try:\n    f()\nexcept Exception:\n    pass",
        "subprocess.run(c, shell=True)",
        "pd.read_pickle(p)",
        "eval(x)",
    ],
)
def test_the_check_itself_finds_each_of_them(source):
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(p, weights_only=True)",
        "make(x).eval()",
        "np.load(p, allow_pickle=False)",
        "model.eval()",
        "try:\n    f()\nexcept OSError:\n    g()",
    ],
)
def test_the_check_lets_the_safe_form_pass(source):
    assert not unsafe(source)
