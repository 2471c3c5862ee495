"""What syntax trees tell of modules, kept from one process to the next: to read them all takes 1.5 s, and `status` is
asked often. The driver's alone; what a stage keeps is told by `deft.cache`, which reads its modules once per process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path

from deft import closure, runtime

MANY = 4000  # modules; beyond that, older versions of them are forgotten


class KeptClosure(closure.Closure):
    """A `Closure` that remembers {hash of a module's bytes, its name and the reader: (syntax hash, imported names)}
    beside the bytecode."""

    def __init__(self, root: Path, top: str = "deft"):
        super().__init__(root, top)
        self.place = self.root / top / "__pycache__" / "syntax.json"
        self.reader = runtime.sha256(closure.__file__) + sys.version
        self.used: dict[str, list] = {}
        try:
            self.kept = json.loads(self.place.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or cut short: told again and replaced
            self.kept = {}

    def _module(self, name: str) -> tuple[str, str, set[str]] | None:
        path = closure.file_of(name, self.root) if name not in self._known else None
        if path is None:
            return super()._module(name)
        source = path.read_bytes()
        key = hashlib.sha256(b"\0".join([source, name.encode(), self.reader.encode()])).hexdigest()
        if key in self.kept:
            digest, found = self.kept[key]
            self._known[name] = path.relative_to(self.root).as_posix(), digest, set(found)
        _, digest, found = super()._module(name)
        if key in self.kept or path.read_bytes() == source:  # not edited while it was told
            self.used[key] = [digest, sorted(found)]
        return self._known[name]

    def keep(self) -> None:
        """Write what was told of new modules, whole or not at all."""
        if self.used.keys() <= self.kept.keys():
            return
        self.kept = self.used if len(self.kept) > MANY else self.kept | self.used
        fresh = self.place.with_name(f".{self.place.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a package that cannot be written to is read again each time
            self.place.parent.mkdir(exist_ok=True)
            fresh.write_text(json.dumps(self.kept), encoding="utf-8")
            fresh.replace(self.place)
