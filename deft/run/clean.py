"""Remove what a profile made: its work folder and its tables and figures. What is committed (`paths.COMMITTED`)
stays. Standard library only.
"""

import difflib
import shutil
import sys
from pathlib import Path

from deft import paths
from deft.run import RunError, lock


def known() -> set[str]:
    """Names that can be cleaned: the profiles, and whatever has a folder under work/ or figures/ (licensed sets have
    no profile).
    """
    made = [
        path.name
        for base in (paths.work(""), paths.figures(""))
        if base.is_dir()
        for path in base.iterdir()
        if path.is_dir()
    ]
    return {path.stem for path in (paths.NOTEBOOKS / "params").glob("*.yaml")} | {
        name for name in made if not name.startswith(".")
    }


def remove(path: Path) -> bool:
    """Remove a file or a folder; of a link to a folder (a work folder on another disk) what it points to and the
    link. False: nothing there.
    """
    if path.is_symlink():
        if path.is_dir():
            shutil.rmtree(path.resolve())
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
    else:
        return False
    return True


def clean(profile: str) -> list[Path]:
    """Remove the products of a profile and return the paths removed. Raises RunError for an unknown name and during
    a run.
    """
    if not profile or "/" in profile or profile.startswith("."):
        raise RunError(f"{profile!r} is not the name of a profile")
    if profile not in known():
        near = difflib.get_close_matches(profile, known(), n=1, cutoff=0.5)
        raise RunError(
            f"no profile and no licensed set is called {profile!r}; "
            + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known()))}")
        )
    if any(lock.is_held(path.parent) for path in paths.work(profile).rglob(lock.NAME)):  # a reference's runs lie below
        raise RunError(
            f"a run of {profile!r} is going on; its finished stages would be removed under it. Stop it or wait for it"
            " to end"
        )
    return [
        path
        for path in [
            paths.work(profile),
            *(p for p in paths.figures(profile).glob("*") if p.name not in paths.COMMITTED),
        ]
        if remove(path)
    ]


def main(arguments: list[str]) -> int:
    """Command line: clean the profile that is named, and print what was removed."""
    try:
        removed = clean(arguments[0] if arguments else "")
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(f"removed {path}" for path in removed) or f"nothing of {arguments[0]} was there")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
