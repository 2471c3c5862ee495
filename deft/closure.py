"""Which files of the package some code depends on: its imports, followed through the syntax trees of `deft`.

Imports inside functions count. A package counts with its `__init__` and with the data files (.json, .yaml, .csv) beside
it. Code is hashed without comments, docstrings and layout, data by content: a changed sentence makes nothing stale."""

import ast
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

DATA = (".json", ".yaml", ".csv")
MAGIC = ("%", "!")


def imports(source: str | ast.Module, package: str = "", top: str = "deft") -> set[str]:
    """Dotted names under `top` that the source imports. `package` resolves relative imports.

    `from deft.a import b` yields deft.a and deft.a.b; names that turn out not to be modules are dropped by the caller.
    """
    names = set()
    for node in ast.walk(ast.parse(source) if isinstance(source, str) else source):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            names.add(base)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {n for n in names if n == top or n.startswith(top + ".")}


def without_magics(source: str) -> str:
    """A cell without IPython's own lines (%magic, !shell), so that it parses."""
    return "\n".join("" if line.lstrip().startswith(MAGIC) else line for line in source.splitlines())


def _hash(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def syntax_hash(tree: ast.Module) -> str:
    """Hash of what a module or cell does. Takes the docstrings out of `tree`; any other text that the code holds
    counts.
    """
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return _hash(ast.unparse(tree))


def cell_hash(source: str) -> str:
    """Hash of a notebook's code cell: its syntax, and IPython's own lines by their text. A cell that does not parse
    counts by its text.

    A last `;` counts: it decides whether the notebook shows the value.
    """
    lines = [line for line in source.splitlines() if line.lstrip().startswith(MAGIC)]
    try:
        tree = ast.parse(without_magics(source))
        tree.body.insert(0, ast.Pass())  # a cell has no docstring: a text that it begins with is shown
        return _hash("\n".join([syntax_hash(tree), str(source.rstrip().endswith(";")), *lines]))
    except (SyntaxError, ValueError):
        return _hash(source)


SHOWS = frozenset({"deft.lab"})  # modules that show what is there and decide no byte of a product


def file_of(name: str, root: Path) -> Path | None:
    """The file of a dotted module name under `root`, or None."""
    base = root.joinpath(*name.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


class Closure:
    """Hashes of every package file that sources reach; files are parsed once for all of them."""

    def __init__(self, root: Path, top: str = "deft"):
        self.root, self.top = Path(root), top
        self._known: dict[str, tuple[str, str, set[str]] | None] = {}

    def _module(self, name: str):
        """(relative path, hash, imported names) of one module, or None when there is no such file."""
        if name not in self._known:
            path = file_of(name, self.root)
            if path is None:
                self._known[name] = None
            else:
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                try:
                    tree = ast.parse(path.read_bytes())
                    found, digest = imports(tree, package, self.top), syntax_hash(tree)
                except (
                    SyntaxError,
                    ValueError,
                ):  # who imports it will fail and show where; here only its content counts
                    found, digest = set(), _hash(path.read_bytes())
                self._known[name] = (path.relative_to(self.root).as_posix(), digest, found)
        return self._known[name]

    def _data(self, package_file: str) -> dict[str, str]:
        folder = (self.root / package_file).parent
        return {
            p.relative_to(self.root).as_posix(): _hash(p.read_bytes())
            for p in sorted(folder.iterdir())
            if p.suffix in DATA and p.is_file()
        }

    def files(self, sources: Iterable[str], extra: Iterable[str] = (), apart: Iterable[str] = ()) -> dict[str, str]:
        """{path relative to root: hash} of everything the sources (code cells) and the extra dotted names reach.

        extra: modules, packages, or functions and classes of a module; ValueError for a name that is none of these.
        apart: modules that are left out.
        """
        for name in extra:
            outer, _, inner = name.rpartition(".")
            if file_of(name, self.root) is None and not (
                (path := file_of(outer, self.root))
                and re.search(rf"^(async )?(def|class) {inner}\b", path.read_text(encoding="utf-8"), re.M)
            ):
                raise ValueError(f"{name} is no module of {self.top} and no function of one")
        waiting = set(extra)
        for source in sources:
            try:
                waiting |= imports(without_magics(source), top=self.top)
            except SyntaxError:
                continue  # the cell itself is part of the fingerprint and will fail when it runs
        reached, result = set(), {}
        while waiting:
            name = waiting.pop()
            if name in reached or not name or name in SHOWS or name in apart:
                continue
            reached.add(name)
            waiting.add(name.rpartition(".")[0])
            module = self._module(name)
            if module is not None:
                path, digest, found = module
                result[path] = digest
                if path.endswith("__init__.py"):
                    result.update(self._data(path))
                waiting |= found
        return dict(sorted(result.items()))
