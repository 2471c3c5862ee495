"""`python -m deft.verify.second`: rewrite the generated parts of the page of the second benchmark: verdicts of both
benchmarks side by side, and tables of the second, from the committed references."""

import sys
from pathlib import Path

from deft import artifacts, paths, runtime
from deft.evaluation.tables import present
from deft.run import readme

PAGE = paths.ROOT / "docs/sim2.md"
SECOND = paths.ROOT / "figures" / "sim2" / "reference"


def both(first: Path = readme.REFERENCE, second: Path = SECOND, checks: tuple[str, ...] = ("C4", "C5")) -> str:
    """Verdicts of both benchmarks side by side, and every check of the claims `checks`."""
    ours, theirs = (
        {claim["claim"]: claim for claim in runtime.read_json(folder / "claims.json")["claims"]}
        for folder in (second, first)
    )
    lines = [
        "| claim | `sim-v2` | `sim-v1` (kept run of the reference) | checks that hold, `sim-v2` |"
        " what decides on `sim-v2` |",
        "|---|---|---|---|---|",
    ] + [
        f"| **{id}** {claim['words']} | **{claim['verdict']}** | {theirs[id]['verdict']} | {readme.holding(claim)} |"
        f" {readme.decisive(claim)} |"
        for id, claim in ours.items()
    ]
    for id in checks:
        other = {check["rule"]: check for check in theirs[id]["checks"]}
        lines += ["", f"Checks of {id}:", "", "| check | outcome | `sim-v2` | `sim-v1` |", "|---|---|---|---|"] + [
            f"| {check['rule']} | {check['outcome']} | {readme.number(check)} |"
            f" {readme.number(other.get(check['rule']))} |"
            for check in ours[id]["checks"]
        ]
    return "\n".join(lines)


def tables(ids: tuple[str, ...] = ("T2", "T3", "T5", "T7"), reference: Path = SECOND) -> str:
    """The pages of tables of a committed reference, as 09 shows them."""
    found = runtime.read_json(reference / "claims.json")
    stamp = artifacts.stamp(found["profile"], found["seed"], found["commit"])
    pages = {id: present.pages(id, (reference / f"{id}.csv").read_text(encoding="utf-8"), stamp)["md"] for id in ids}
    return "\n\n".join(f"## {id}\n\n{page.strip()}" for id, page in pages.items())


def main(page: Path = PAGE) -> int:
    """Rewrite the generated parts of the page; returns 0."""
    readme.renew(page, {"verdicts": both(), "tables": tables()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
