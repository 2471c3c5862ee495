"""Which files of the package a notebook depends on: its imports, followed through the syntax trees of `deft`.

Imports inside functions count. A package counts with its `__init__` and with the data files (.json, .yaml, .csv) beside it.
"""

import ast
import hashlib
from pathlib import Path

DATA = (".json", ".yaml", ".csv")


def imports(source: str, package: str = "", top: str = "deft") -> set[str]:
    """Dotted names under `top` that the source imports. `package` resolves relative imports.

    `from deft.a import b` yields deft.a and deft.a.b; names that turn out not to be modules are dropped by the caller.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[:len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            names.add(base)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {n for n in names if n == top or n.startswith(top + ".")}


def without_magics(source: str) -> str:
    """A cell without IPython's own lines (%magic, !shell), so that it parses."""
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())


def file_of(name: str, root: Path) -> Path | None:
    """The file of a dotted module name under `root`, or None."""
    base = root.joinpath(*name.split("."))
    for candidate in (base / "__init__.py", base.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


class Closure:
    """Hashes of every package file that sources reach; files are parsed once for all notebooks."""

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
                text = path.read_bytes()
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                try:
                    found = imports(text.decode("utf-8"), package, self.top)
                except (SyntaxError, UnicodeDecodeError):
                    found = set()  # the notebook that imports it will fail and show where; here only its content counts
                self._known[name] = (path.relative_to(self.root).as_posix(), hashlib.sha256(text).hexdigest(), found)
        return self._known[name]

    def _data(self, package_file: str) -> dict[str, str]:
        folder = (self.root / package_file).parent
        return {p.relative_to(self.root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted(folder.iterdir()) if p.suffix in DATA and p.is_file()}

    def files(self, sources, extra=()) -> dict[str, str]:
        """{path relative to root: sha256} of everything the sources (code cells) and the extra dotted names reach."""
        waiting = set(extra)
        for source in sources:
            try:
                waiting |= imports(without_magics(source), top=self.top)
            except SyntaxError:
                continue  # the cell itself is part of the fingerprint and will fail when it runs
        reached, result = set(), {}
        while waiting:
            name = waiting.pop()
            if name in reached or not name:
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
