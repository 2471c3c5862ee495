"""Remove what a profile made: its work folder and its tables and figures. The committed reference stays. Standard library only."""

import shutil
import sys

from deft import paths


def clean(profile: str) -> list:
    """Remove the products of a profile and return the paths removed."""
    if not profile or "/" in profile or profile.startswith("."):
        raise SystemExit(f"error: {profile!r} is not the name of a profile")
    removed = []
    products = [p for p in paths.figures(profile).glob("*") if p.name != "reference"]
    for path in [paths.work(profile), *products]:
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        else:
            continue
        removed.append(path)
    return removed


if __name__ == "__main__":
    for path in clean(sys.argv[1] if len(sys.argv) > 1 else ""):
        print(f"removed {path}")
