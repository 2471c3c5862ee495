"""`python -m deft.run.readme`: rewrite the generated parts of README.md: verdicts, the artifact table, the measured
cost of profiles, and what is faster than what.

Verdicts and their figure are those of the committed reference, ratios those of the committed bench.csv. Costs come
from the records of the last complete run on this machine; a profile without one keeps the line it has."""

import csv
import re
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

from deft import artifacts, config, paths, runtime
from deft.run import stale
from deft.run.chain import Chain

README = paths.ROOT / "README.md"
REFERENCE = paths.ROOT / "figures" / "demo" / "reference"  # the committed one, whatever $DEFT_FIGURES says
BENCH = paths.ROOT / "figures" / "demo" / "bench.csv"
GOAL = re.compile(r"ratio_to_first >= ([\d.]+)")
MACHINE = ", no GPU used"  # ends the words for the machine in a row of the profile table
HEAD = "| profile | data and models | stages | minutes | peak memory | measured on |\n|---|---|---|---|---|---|"
WORDS = {
    "demo": "`sim-v1`, three simulated datasets, small models from a random start",
    "smoke": "a handful of clips, tiny models: shows that the chain works",
    "full": "as `demo`, five complete draws of all that is trained; last run before recipe and rules of 2026-11-22",
    "sim2": "`sim-v2`: 96 people, and what faces have that `sim-v1` lacks; models as in `demo`",
    "gpu": "as `demo`, with a language model of 0.5 to 3 billion weights from elsewhere, on one GPU",
    "paper": "a language model of the 7-billion class, for licensed clips, on one GPU",
}


def _match(text: str, name: str) -> re.Match:
    match = re.search(rf"(<!-- {name}: generated[^>]*-->\n)(.*?)(<!-- end {name} -->)", text, re.S)
    if match is None:
        raise ValueError(f"the page has no generated block {name!r}")
    return match


def block(text: str, name: str) -> str:
    """The text between the markers of a generated block."""
    return _match(text, name)[2].strip("\n")


def replace(text: str, name: str, content: str) -> str:
    """A page's text with one generated block replaced."""
    match = _match(text, name)
    return f"{text[: match.start()]}{match[1]}{content}\n{match[3]}{text[match.end() :]}"


def holding(claim: dict) -> str:
    """How many checks of a claim of claims.json hold."""
    return f"{sum(check['outcome'] == 'holds' for check in claim['checks'])} of {len(claim['checks'])}"


def number(check: dict | None) -> str:
    """Value and interval of a check; empty where there is none."""
    if check is None or check["value"] is None:
        return ""
    bounds = "" if check["low"] is None else f" [{check['low']:.3f}, {check['high']:.3f}]"
    return f"{check['value']:.3f}{bounds}"


def decisive(claim: dict) -> str:
    """The first check that fails, else the first that is undecided, with its number."""
    order = {"fails": 0, "undecided": 1, "holds": 2}
    first = min(claim["checks"], key=lambda check: order[check["outcome"]], default=None)
    if first is None:
        return claim["note"]
    return "all hold" if first["outcome"] == "holds" else f"{first['outcome']}: *{first['rule']}*: {number(first)}"


def outcome(reference: Path = REFERENCE) -> str:
    """The verdict of every claim with the check that decides it, its verdicts in the reference's complete runs, and
    figure F1.
    """
    found = runtime.read_json(reference / "claims.json")
    runs = [
        run["verdicts"]
        for path in sorted(reference.glob("runs/*/run.json"))
        if (run := runtime.read_json(path)).get("role") == "complete"
    ]
    rows = [
        f"| claim | verdict | in {len(runs)} complete runs | checks that hold | what decides |",
        "|---|---|---|---|---|",
    ]
    for claim in found["claims"]:
        shares = Counter(verdicts[claim["claim"]] for verdicts in runs).most_common()
        told = ", ".join(f"{verdict} {times}" for verdict, times in shares)
        rows.append(
            f"| **{claim['claim']}** {claim['words']} | **{claim['verdict']}** | {told} | {holding(claim)} |"
            f" {decisive(claim)} |"
        )
    figure, caption = (
        (reference / "F1.png").relative_to(paths.ROOT).as_posix(),
        (reference / "F1.txt").read_text(encoding="utf-8").strip(),
    )
    return "\n".join(
        [
            (
                "Six claims of the paper, tried on **simulated** faces whose true motion is known (profile"
                f" `{found['profile']}`, commit {found['commit']}; rules of {found['rules']}:"
                " [docs/rules.md](docs/rules.md))."
            ),
            (
                "A claim is *supported* when all its checks hold, *not supported* when one fails, else *undecided*;"
                " another complete run, with other draws of all that is trained, may end otherwise. None of this"
                " reproduces the paper's own numbers."
            ),
            "",
            *rows,
            "",
            f"![{artifacts.get('F1').alt}]({figure})",
            "",
            caption,
        ]
    )


def cost(profile: str) -> str | None:
    """One row of the profile table, from the records of a complete run; None when there is none."""
    import torch

    chain = Chain(profile)
    records = [chain.record(stage) for stage in chain.stages]
    if any(r is None or r["state"] != stale.DONE for r in records):
        return None
    hardware = records[-1]["hardware"]
    minutes, memory = sum(r["seconds"] for r in records) / 60, max(r["peak_memory_gib"] for r in records)
    widest = torch.backends.cpu.get_cpu_capability().replace("AVX512", "AVX-512")  # on one maker's name minutes double
    machine = f"{hardware['cores']} cores ({hardware['cpu']}, {widest}){MACHINE}, commit {records[-1]['commit']}"
    return f"| `{profile}` | {WORDS.get(profile, '')} | {len(records)} | {minutes:.1f} | {memory:.1f} GiB | {machine} |"


def profiles_table(old: str) -> str:
    """The table of profiles: a row for each machine that a profile was measured on. What this machine measured takes
    the place of its own older row; rows of other machines stay.
    """
    rows = []
    for profile in sorted(config.profiles(paths.NOTEBOOKS)):
        mine, kept = cost(profile), [line for line in old.splitlines() if line.startswith(f"| `{profile}` |")]
        if mine:
            kept = [line for line in kept if MACHINE in line and _machine(line) != _machine(mine)] + [mine]
        rows += kept or [f"| `{profile}` | {WORDS.get(profile, '')} | | not measured | | |"]
    return "\n".join([HEAD, *rows])


def _machine(row: str) -> str:
    """The machine of a row of the profile table, as it is written there."""
    return row.split("|")[-2].split(MACHINE)[0].strip()


def _short(number: str) -> str:
    """Three digits, without an exponent."""
    return f"{float(f'{float(number):.3g}'):,g}"


def speed(bench: Path = BENCH) -> str:
    """What each opponent of a benchmark with a goal took, and how many times ours that is; goals that were missed say
    so.
    """
    with open(bench, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["| | measured | ours | the other way | took | times ours | goal |", "|---|---|---:|---|---:|---:|---|"]
    for _, group in groupby(rows, lambda row: (row["id"], row["metric"])):
        first, *others = group
        if not any(GOAL.fullmatch(row["limit"]) for row in others):
            continue
        for row in others:
            goal, ratio = GOAL.fullmatch(row["limit"]), float(row["ratio_to_first"])
            if goal is None and ratio < 1:
                continue  # a part of ours
            word = f"{goal[1]}{'' if ratio >= float(goal[1]) else ', missed'}" if goal else ""
            cells = row["id"], row["metric"], _short(first["median"]), row["arm"], _short(row["median"]), f"{ratio:.3g}"
            lines.append(f"| {' | '.join(cells)} | {word} |")
    where = sorted(
        {f"{row['cores']} cores ({row['device'].removeprefix('cpu: ')}), commit {row['commit']}" for row in rows}
    )
    return "\n".join([*lines, "", f"Measured on {'; '.join(where)}: medians of arms that took turns in one run."])


def renew(page: Path, blocks: dict[str, str]) -> None:
    """Put new contents into generated blocks of a page, whole or not at all."""
    text = page.read_text(encoding="utf-8")
    for name, content in blocks.items():
        text = replace(text, name, content)
    with runtime.atomic(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"written: {page}")


def main(path: Path = README) -> int:
    """Rewrite the generated parts of the page; returns 0."""
    old = block(path.read_text(encoding="utf-8"), "profiles")
    renew(
        path,
        {
            "verdicts": outcome(),
            "artifacts": artifacts.readme_table(),
            "profiles": profiles_table(old),
            "speed": speed(),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
