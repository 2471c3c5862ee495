"""Does this interpreter have what the lock file names? Standard library only: it runs before anything is installed.

`python -m deft.run.environment` exits 0 when every pinned package is there in its version, else prints what is not.
A local build tag (torch 2.13.0+cpu) counts as the version it was built from.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "constraints.txt"


def pins(text: str) -> dict[str, str]:
    """{package: version} of the lines `name==version`; comments and environment markers are dropped."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)==([^\s;#]+)", line.strip())
        if match:
            found[match[1]] = match[2]
    return found


def problems(lock: Path = LOCK) -> list[str]:
    """What differs between the lock file and the running interpreter, in words."""
    if sys.version_info < (3, 11):  # noqa: UP036  who runs make has any Python
        return [f"Python {sys.version.split()[0]} is too old, 3.11 or newer is needed"]
    found = []
    for name, wanted in pins(lock.read_text(encoding="utf-8")).items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(f"{name} {wanted} is not installed")
            continue
        if here.split("+")[0] != wanted:
            found.append(f"{name} is {here}, the lock says {wanted}")
    return found


if __name__ == "__main__":
    wrong = problems()
    for words in wrong if "--quiet" not in sys.argv else []:
        print(words)
    sys.exit(1 if wrong else 0)
