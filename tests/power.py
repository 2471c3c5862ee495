"""What does `make verify` catch? `python -m tests.power [--profile demo] [--only NAME]`: by hand, hours, resumable;
writes the table into docs/verify.md.

Each sabotage spoils a copy of the package, of the parameters or of the data, reruns what depends on it in a work folder
of its own (work/<profile>-power/<name>) and asks verify's intervals and exact cells about the tables. A run that verify
refuses is caught.

Language models are trained again for the systems that `systems` names, each one touched by the sabotage; the answers of
the others are those of the honest run. So is T8. Less is spoiled than in a run that is spoiled throughout, so the power
in the table is a lower bound."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deft import paths, runtime
from deft.run.chain import Chain
from deft.verify import judge, produce, reference

ANSWERS = ("predictions.jsonl", "predictions_heldback.jsonl")
BEGIN, END = "<!-- power -->", "<!-- end power -->"


@dataclass(frozen=True)
class Sabotage:
    """`edits`: {file of the repository: (old text, new text)}; `first`: the first stage that they reach; `systems`:
    language models trained again; `answers`: only the answers are spoiled, nothing is trained."""

    words: str
    edits: dict
    first: str = ""
    systems: str = ""
    answers: bool = False


SABOTAGES = {
    "motion-noise": Sabotage(
        "motion expert replaced by noise",
        {
            "deft/experts/pretrain.py": (
                '    folder = paths.of_draw(work / "features", draw) / which\n',
                (
                    '    if name == "motion":\n        rng = np.random.default_rng(draw)\n        tokens, logits ='
                    " rng.normal(size=tokens.shape), rng.permutation(logits)\n    folder = paths.of_draw(work /"
                    ' "features", draw) / which\n'
                ),
            )
        },
        "06",
        "deft,deft-m",
    ),
    "no-soft-words": Sabotage(
        "soft words off: every unit is said with probability .13",
        {
            "deft/mllm/prompt.py": (
                "def soft_words(",
                (
                    "def soft_words(words, probability, *args, **kwargs):\n    return _soft_words(words, probability *"
                    " 0 + 0.13, *args, **kwargs)\n\n\ndef _soft_words("
                ),
            )
        },
        "07",
        "deft,deft-m",
    ),
    "no-adversaries": Sabotage(
        "adversaries off",
        {"deft/experts/disentangle.py": ("return -ctx.strength * gradient", "return 0.0 * gradient")},
        "06",
        "deft,deft-t",
    ),
    "trained-on-test": Sabotage(
        "one fold trained on its test subjects",
        {
            "deft/mllm/data.py": (
                "part = self.index.subject.map(roles(self.folds, fold)) == role",
                (
                    "told = self.index.subject.map(roles(self.folds, fold))\n        part = (told == role) | ((role =="
                    ' "train") & (fold == 0) & (told == "test"))'
                ),
            )
        },
        "07",
        "deft,rgb-only",
    ),
    "half-the-clips": Sabotage(
        "half the training clips",
        {"notebooks/params/demo.yaml": ("corpus_pairs: 13", "corpus_pairs: 6")},
        "01",
        "deft,rgb-only",
    ),
    "labels-swapped": Sabotage("labels of 5 % of the test clips swapped", {}, answers=True),
    "another-benchmark": Sabotage(
        "another seed of the benchmark",
        {
            "deft/clips/specs.py": ("    seed: int = 20251114", "    seed: int = 20251115"),
            "notebooks/01_clips.ipynb": ("freeze.check_frozen(spec)", "freeze.freeze_record(spec)"),
        },
        "01",
        "deft,rgb-only",
    ),
}


LAST_STAGE = "09"  # tables are made by TABLES: the driver would find that 08's answers were filled in
TABLES = """import sys
from deft.evaluation import claims, constructions, tables
profile = sys.argv[1]
tables.save(tables.t1(profile), "T1", profile)
for id in ("T2", "T3", "T7"):
    tables.save(getattr(tables, id.lower())(profile), id, profile)
tables.save(constructions.t4(profile), "T4", profile)
claims.write(profile)
"""


def fill_in(work: Path, honest: Path) -> None:
    """Add the honest run's answers of the systems that were not trained again."""
    for name in ANSWERS:
        spoiled = runtime.read_jsonl(work / name)
        there = {row["system"] for row in spoiled}
        rows = [row for row in runtime.read_jsonl(honest / name) if row["system"] not in there]
        runtime.write_jsonl(work / name, spoiled + rows)


def swap_labels(work: Path, share: float = 0.05) -> None:
    """Give that share of the test clips the label of another clip, in every system's answers alike."""
    for name in ANSWERS:
        if not (work / name).is_file():
            continue
        rows = runtime.read_jsonl(work / name)
        truth = {row["clip"]: row["truth"] for row in rows}
        clips, rng = sorted(truth), runtime.rng(7, "power/labels")
        chosen = [clips[i] for i in rng.permutation(len(clips))[: round(share * len(clips))]]
        moved = dict(zip(chosen, [truth[clip] for clip in (*chosen[1:], chosen[0])]))
        runtime.write_jsonl(work / name, [{**row, "truth": moved.get(row["clip"], row["truth"])} for row in rows])


def spoiled_copy(folder: Path, sabotage: Sabotage, profile: str) -> Path:
    """The repository's package, notebooks and lock in `folder`, with the edits; an edit whose text is not there is
    an error.
    """
    for name in ("deft", "notebooks", "constraints.txt"):
        source = paths.ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                folder / name,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
            )
        else:
            shutil.copyfile(source, folder / name)
    if sabotage.systems:
        parameters = folder / "notebooks" / "params" / f"{profile}.yaml"
        (line,) = re.findall(r"^  systems: .*$", parameters.read_text(encoding="utf-8"), re.MULTILINE)
        parameters.write_text(
            parameters.read_text(encoding="utf-8").replace(line, f'  systems: "{sabotage.systems}"'), encoding="utf-8"
        )
    for name, (old, new) in sabotage.edits.items():
        text = (folder / name).read_text(encoding="utf-8")
        if old not in text:
            raise SystemExit(f"{name} holds no {old!r} any more: bring SABOTAGES in tests/power.py up to date")
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


def run(profile: str, name: str) -> dict:
    """Spoil and rerun once; judge every time, since the intervals may have changed. The result is written and
    returned.
    """
    place = paths.work(f"{profile}-power") / name
    finished, kept = place / "finished", place / "result.json"
    if not finished.is_file():
        spoil(profile, SABOTAGES[name], place)
        finished.touch()
    runtime.write_json(kept, {"name": name, **judged(profile, place / "figures" / profile)})
    return runtime.read_json(kept)


def spoil(profile: str, sabotage: Sabotage, place: Path) -> None:
    """Copy the finished run into `place`, spoil the copy and run again what depends on it; what an earlier attempt
    finished is kept.
    """
    work, figures = place / "work" / profile, place / "figures" / profile
    if sabotage.answers:
        shutil.rmtree(work, ignore_errors=True)  # spoiling answers twice would undo part of it
    if not work.is_dir():
        shutil.copytree(
            paths.work(profile),
            work,
            copy_function=os.link if not sabotage.answers else shutil.copy2,
            ignore=shutil.ignore_patterns("own", "licensed", "site"),
        )
        shutil.copytree(paths.figures(profile), figures, ignore=shutil.ignore_patterns("reference"))
    code = spoiled_copy(place / "code", sabotage, profile)
    environment = {
        **os.environ,
        "DEFT_WORK": str(work.parent),
        "DEFT_FIGURES": str(figures.parent),
        "PYTHONPATH": str(code),
    }
    commands = []
    if sabotage.answers:
        swap_labels(work)
    else:
        chain = Chain(profile, code / "notebooks")
        commands = [
            [sys.executable, "-m", "deft", "run", "--profile", profile, "--only", stage.name]
            for stage in produce.needed(chain)
            if sabotage.first <= stage.name < LAST_STAGE
        ]
    commands.append([sys.executable, "-c", TABLES, profile])
    for command in commands:
        if command[1] == "-c" and not sabotage.answers:
            fill_in(work, paths.work(profile))
        if subprocess.run(command, env=environment, cwd=code).returncode:
            raise SystemExit(
                f"{place.name}: {' '.join(command[-4:])} failed; what is finished stays, the same command goes on from"
                " there"
            )


def judged(profile: str, figures: Path) -> dict:
    """What the numbers alone say: exact cells, intervals, drift, verdicts. Integrity is left out: it sees
    that these copies were rerun in part, which a whole rerun would not show.
    """
    where = reference.folder(profile)
    runs = reference.read_runs(where)
    tables = judge.compare_tables(where, figures, runs)
    verdicts = judge.compare_verdicts(
        where, figures, runs, {cell["row"] for cell in tables[reference.CHECKS]["outside"]}
    )
    drift = judge.drift_of(where, figures, runs)
    return {
        "exact": sum(len(entry["differs"]) for entry in tables.values()),
        "outside": sum(len(entry["outside"]) for entry in tables.values()),
        "drift": drift["value"] if drift else None,
        "drift_at_most": drift["critical"] if drift else None,
        "verdicts": sum(v["state"] == judge.OTHER for v in verdicts),
        "caught": (
            any(entry["differs"] or entry["outside"] for entry in tables.values())
            or any(v["state"] == judge.OTHER for v in verdicts)
            or bool(drift and not drift["inside"])
        ),
        "caught_by_trained_numbers": (
            any(entry["outside"] for entry in tables.values()) or bool(drift and not drift["inside"])
        ),
    }


def page(profile: str) -> str:
    """The table of what was tried so far, as Markdown."""
    lines = [
        (
            "| sabotage | caught | exact cells that differ | trained numbers outside | drift (at most) | verdicts that"
            " differ |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for name, sabotage in SABOTAGES.items():
        kept = paths.work(f"{profile}-power") / name / "result.json"
        if kept.is_file():
            r = runtime.read_json(kept)
            drift = "no spread yet" if r["drift"] is None else f"{r['drift']} ({r['drift_at_most']})"
            lines.append(
                f"| {sabotage.words} | {'yes' if r['caught'] else 'no'} | {r['exact']} | {r['outside']} | {drift} |"
                f" {r['verdicts']} |"
            )
        else:
            lines.append(f"| {sabotage.words} | not tried yet | | | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--only", choices=list(SABOTAGES), help="this sabotage alone")
    given = parser.parse_args()
    for name in [given.only] if given.only else SABOTAGES:
        print(json.dumps(run(given.profile, name)), flush=True)
        path = paths.ROOT / "docs" / "verify.md"
        text = path.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        with runtime.atomic(path) as fresh:
            fresh.write_text(f"{before}{BEGIN}\n{page(given.profile)}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
