"""`python -m deft see`: every sentence that the notebooks of a profile check (`deft.lab.see`), with its outcome and its
numbers.

They are read from the executed copies of a run; without a run of one's own from the committed reference of the profile.
"""

import json
from pathlib import Path

from deft import config, paths, runtime
from deft.run import RunError

MIME = "application/vnd.deft.see+json"  # mime type under which a check is kept in the executed notebook
EXPECTED, NOT_HERE, TOO_SMALL = "as expected", "not here", "too small to show"
MARKS = {EXPECTED: "✓", NOT_HERE: "✗", TOO_SMALL: "–"}
STORED = "see.json"  # in the reference


def told(check: dict) -> str:
    """A check as one line of text: mark, sentence, numbers, open question."""
    open_ = f" Open question: {check['unanswered']}" if is_open(check) else ""
    outcome = "smoke is too small to show it" if check["outcome"] == TOO_SMALL else check["outcome"]
    return (
        f"{MARKS[check['outcome']]} {outcome}: {check['words']}"
        + (f" ({check['numbers']})" if check["numbers"] else "")
        + open_
    )


def is_open(check: dict) -> bool:
    """Whether the expectation fails and is left standing as an open question, with the reason."""
    return check["outcome"] == NOT_HERE and bool(check["unanswered"])


def fails(check: dict) -> bool:
    """Whether the sentence is contradicted by its numbers, and nobody says why it is left standing."""
    return check["outcome"] == NOT_HERE and not check["unanswered"]


def executed(*folders: Path) -> list[dict]:
    """The checks of the executed notebooks in `folders`, in order: {notebook, words, outcome, numbers, unanswered}.

    Of a notebook that lies in several folders the first counts.
    """
    copies = {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    return [
        {"notebook": name, **output["data"][MIME]}
        for name, path in sorted(copies.items())
        for cell in runtime.read_json(path)["cells"]
        for output in cell.get("outputs", ())
        if MIME in output.get("data", ())
    ]


def checks(profile: str) -> tuple[list[dict], str]:
    """(checks, where they stand in words). Raises ConfigError for an unknown profile, RunError when nothing was run."""
    config.check_profile(profile, paths.NOTEBOOKS)
    folder, stored = paths.work(profile) / "executed", paths.figures(profile) / "reference" / STORED
    if found := executed(folder):
        return found, f"the executed notebooks at {folder}"
    if stored.is_file():
        return (
            runtime.read_json(stored),
            f"the committed reference, {stored.relative_to(paths.figures(profile).parent).as_posix()}",
        )
    raise RunError(
        f"no executed notebook of profile {profile} holds a check ({folder}), and it has no reference; run `make"
        f" reproduce PROFILE={profile}`"
    )


def see(profile: str, as_json: bool = False) -> int:
    """Print every check; returns 1 when one fails and is no open question."""
    found, where = checks(profile)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for name in dict.fromkeys(check["notebook"] for check in found):
            print(name, *(f"  {told(check)}" for check in found if check["notebook"] == name), sep="\n")
        count = {outcome: sum(check["outcome"] == outcome for check in found) for outcome in MARKS}
        print(
            f"{len(found)} checks from {where}: {count[EXPECTED]} as expected, {sum(map(fails, found))} not here, "
            f"{sum(map(is_open, found))} open questions"
            + (f", {count[TOO_SMALL]} too small to show" if count[TOO_SMALL] else "")
        )
    return int(any(map(fails, found)))
