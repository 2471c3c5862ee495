"""`python -m deft run|status|see|verify|check|reference|analyse|tune|plan|data-check|licensed|forget`: the command
line. Nothing heavy is imported before it is needed.
"""

import argparse
import errno
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from deft import paths, runtime

try:
    from deft.config import ConfigError, nearest
    from deft.run import RunError
except ModuleNotFoundError as error:
    raise SystemExit(
        f"error: {error.name} is not installed for {sys.executable}; run `make env`, then use the make commands or"
        " .venv/bin/python"
    ) from error

COMMANDS = (
    "run",
    "status",
    "see",
    "verify",
    "check",
    "reference",
    "analyse",
    "tune",
    "plan",
    "data-check",
    "licensed",
    "forget",
)


class Parser(argparse.ArgumentParser):
    """argparse with the nearest valid name in its complaint about an unknown command."""

    def error(self, message: str) -> NoReturn:
        """Print the complaint, with the nearest command, and exit with 2."""
        given = next((a for a in sys.argv[1:] if not a.startswith("-")), "")
        hint = f" ({nearest(given, COMMANDS)})" if "invalid choice" in message and given not in COMMANDS else ""
        super().error(message + hint)


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    main = Parser(
        prog="deft", description=__doc__.split(":")[0].strip("`") + ". `make help` lists the everyday commands."
    )
    commands = main.add_subparsers(dest="command", required=True)
    for name, words in (
        ("run", "run every notebook that needs it"),
        ("status", "what is stale and why"),
        ("see", "every sentence that the notebooks check, with its outcome and its numbers"),
        ("verify", "compare a run with the committed reference: verdicts, numbers, integrity"),
        ("check", "the reference's tables and verdicts again from its committed answers; nothing is trained"),
        ("reference", "make complete runs with other draws, and from them the spread that verify uses"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("--profile", default="demo", help="a file notebooks/params/<profile>.yaml (default: demo)")
        command.add_argument("--notebooks", type=Path, default=paths.NOTEBOOKS, help=argparse.SUPPRESS)
        if name == "run":
            command.add_argument("--only", metavar="STAGE", help="this stage alone")
            command.add_argument("--from", dest="start", metavar="STAGE", help="this stage and those after it")
            command.add_argument("--force", action="store_true", help="run even what has not changed")
        if name in ("status", "see", "verify", "check"):
            command.add_argument("--json", action="store_true", help="machine-readable")
        if name == "status":
            command.add_argument(
                "--dataset",
                default="",
                help="of what `licensed` made of this data set with the profile's models, instead of the notebooks",
            )
            command.add_argument(
                "--deep", action="store_true", help="read and hash every product again, whatever its size and time say"
            )
        if name == "reference":
            command.add_argument(
                "--runs", type=int, default=5, help="how many complete runs there shall be (default: 5)"
            )
            command.add_argument(
                "--limits", default="none,avx2", help="none, avx2 or openblas-haswell, in turn (default: none,avx2)"
            )
            command.add_argument(
                "--threads", default="2,1", help="threads of the matrix library, taken in turn (default: 2,1)"
            )
            command.add_argument(
                "--name",
                default="",
                help="put before the runs' names, so that runs of several machines lie side by side",
            )
            command.add_argument(
                "--trial",
                action="store_true",
                help="judge the new runs by the spread of the others, do not count them in it",
            )
            command.add_argument(
                "--fresh", action="store_true", help="take over no finished stage: each run makes everything"
            )
            command.add_argument(
                "--carry",
                action="store_true",
                help="first: the runs that are there (of older code) count for the spread alone from now on",
            )
            command.add_argument(
                "--spread-only", action="store_true", help="compute spread.csv from the runs that are there, make none"
            )
    analyse = commands.add_parser("analyse", help="look at one clip of your own: a video or a folder of frames")
    analyse.add_argument("clip", type=Path)
    for name in ("onset", "apex", "offset"):
        analyse.add_argument(
            f"--{name}", type=int, help="frame number, counted from 0; found from the motion when not given"
        )
    analyse.add_argument(
        "--landmarks",
        type=Path,
        help="CSV with 68 points per frame (of OpenFace, or x0 .. y67), or facemesh (docs/licensed.md)",
    )
    analyse.add_argument("--fps", type=float, help="frames per second, when the clip does not say")
    analyse.add_argument("--profile", default="demo", help="whose models answer (default: demo)")
    analyse.add_argument("--out", type=Path, help="folder of the report")
    tune = commands.add_parser("tune", help="one fold of joint tuning into a folder of your own, with any base")
    tune.add_argument("--profile", default="demo", help="whose data and settings are used (default: demo)")
    tune.add_argument("--system", default="deft", help="what is tuned (default: deft)")
    tune.add_argument("--draw", type=int, default=0, help="number of the draw (default: 0)")
    tune.add_argument("--fold", type=int, required=True, help="number of the fold whose people are left out")
    tune.add_argument("--base", help="a causal language model: folder, or hub id[@revision] (default: the profile's)")
    tune.add_argument("--chat", action="store_true", help="put the prompt into the base's chat template")
    tune.add_argument(
        "--school", type=int, help="steps in which a base from elsewhere learns to read soft words first (0: none)"
    )
    tune.add_argument("--unit-tokens", action="store_true", help="unit names that the base splits become tokens")
    tune.add_argument("--out", type=Path, required=True, help="folder of the run; while it trains, of its checkpoints")
    tune.add_argument("--resume", action="store_true", help="go on from the newest whole checkpoint in that folder")
    tune.add_argument(
        "--groups", type=int, default=0, help="groups of examples per step, never split (default: one per process)"
    )
    plan = commands.add_parser("plan", help="memory and hours of tuning on a real base, from its config alone")
    plan.add_argument("--base", help="0.5b, 3b, 7b, 32b, or a folder with a config.json (default: these four)")
    plan.add_argument("--gpus", type=int, help="how many (default: 1, 8 and 64)")
    plan.add_argument("--efficiency", type=float, help="share of a GPU's peak that you measured (assumed: .35)")
    plan.add_argument("--peak", type=float, default=989.0, help="TFLOP/s of dense bf16 products (default: 989, H100)")
    plan.add_argument("--school", type=int, default=0, help="steps of schooling before the folds (default: 0)")
    plan.add_argument("--memory", type=float, default=80.0, help="GiB of a GPU (default: 80)")
    plan.add_argument("--json", action="store_true", help="machine-readable")
    check = commands.add_parser(
        "data-check", help="what your copy of a licensed data set holds, and what is odd about it"
    )
    licensed = commands.add_parser(
        "licensed", help="the chain on a licensed data set: tuned and tested under subject-disjoint folds"
    )
    for command in (check, licensed):
        command.add_argument(
            "dataset",
            help=(
                "casme casme2 samm samm-lv smic-hs smic-vis smic-nir casme-sq casme-cube-a casme-cube-c mmew 4dme"
                " dfme csv" + ("; several with + under a protocol, or none for all of it" * (command is licensed))
            ),
            **({"nargs": "?", "default": ""} if command is licensed else {}),
        )
        command.add_argument(
            "--errata", action="store_true", help="read the cells that public loaders correct as they do"
        )
        command.add_argument(
            "--root", type=Path, help="its folder, or the sheet itself (default: $DEFT_DATA/<dataset>)"
        )
    forget = commands.add_parser("forget", help="list every file with faces of a licensed data set, or remove them")
    forget.add_argument("dataset", help="as for licensed")
    forget.add_argument("--yes", action="store_true", help="remove them; without it they are listed")
    forget.add_argument("--own", action="store_true", help="also the pages of `analyse`, of whatever clip they are")
    licensed.add_argument(
        "--folds", default="", help="how many, or loso: one per subject (default: 3, or those of the protocol)"
    )
    licensed.add_argument(
        "--protocol",
        default="",
        help="of the field: megc2019 casme2-5 samm-5 smic-3 cube-3 cube-4 cube-7 cube-c-4 dfme-7 objective-5"
        " cross:a+b>c units (default: none)",
    )
    licensed.add_argument(
        "--landmarks",
        type=Path,
        help="folder with a CSV of 68 points per clip, from any detector; or facemesh (docs/licensed.md)",
    )
    licensed.add_argument("--profile", default="demo", help="whose experts and language model are used (default: demo)")
    check.add_argument("--strict", action="store_true", help="exit with 1 when anything is odd")
    check.add_argument("--report", type=Path, metavar="FILE", help="also write the data report as CSV")
    return main


def status(profile: str, notebooks: Path, as_json: bool, deep: bool = False, dataset: str = "") -> int:
    """Print the state of every stage (of a licensed data set: of its steps) and why; returns 0."""
    if dataset:
        from deft import licensed

        rows = licensed.status(dataset, profile)
    else:
        from deft.run import stale
        from deft.run.chain import Chain

        rows = stale.states(Chain(profile, notebooks), deep)
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print(f"{row['stage']:<20} {row['state']:<12} {row['reason']}")
    return 0


def tune(given: argparse.Namespace) -> int:
    """Tune one fold as `given` says; 143 when it was stopped and has kept a checkpoint."""
    from deft.mllm import command
    from deft.restart import Stopped
    from deft.run import book
    from deft.run.chain import Chain

    chain = Chain(given.profile)
    try:
        parameters = chain.parameters(book.find(chain.stages, "07"))
        print(command.run(command.request(chain.work, given, parameters)), flush=True)
    except Stopped as stopped:
        print(f"{stopped}; say --resume", file=sys.stderr)
        return 143
    return 0


def plan(given: argparse.Namespace) -> int:
    """Print what tuning takes; returns 0."""
    from deft.mllm import planning

    measured = planning.Machine.efficiency if given.efficiency is None else given.efficiency
    machine = planning.Machine(given.peak, measured, given.memory)
    bases = [given.base] if given.base else list(planning.SHAPES)
    gpus = planning.GPUS if given.gpus is None else [given.gpus]
    task = planning.Task(school=given.school)
    rows = planning.table(bases, gpus, task, machine)
    print(
        json.dumps(rows, indent=1) if given.json else planning.words(rows, task, machine, given.efficiency is not None)
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. arguments: by default those of the process."""
    os.environ.pop(runtime.BY_HAND, None)  # a command that is given in a notebook's cell is not the notebook
    given = parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path that is not UTF-8 is printed as the bytes it has
    try:
        if given.command == "run":
            from deft.run import driver
            from deft.run.chain import Chain

            return driver.run(Chain(given.profile, given.notebooks), given.only, given.start, given.force)
        if given.command == "status":
            return status(given.profile, given.notebooks, given.json, given.deep, given.dataset)
        if given.command == "see":
            from deft.run import see

            return see.see(given.profile, given.json)
        if given.command == "verify":
            from deft.verify import judge

            return judge.verify(given.profile, given.notebooks, given.json)
        if given.command == "check":
            from deft.verify import check

            return check.check(given.profile, given.json)
        if given.command == "reference":
            from deft.verify import produce

            wanted = produce.Plan(  # checked before anything is carried
                given.profile,
                given.notebooks,
                given.runs,
                tuple(given.limits.split(",")),
                tuple(given.threads.split(",")),
                given.name,
                given.trial,
                given.fresh,
            )
            with produce.alone(given.profile):
                if given.carry:
                    produce.carry(given.profile)
                return produce.spread_only(given.profile) if given.spread_only else produce.reference_runs(wanted)
        if given.command == "data-check":
            from deft.clips.readers.check import check

            return check(given.dataset, given.root, given.strict, given.report, given.errata)
        if given.command == "licensed":
            from deft import licensed

            what = (
                given.dataset,
                given.root,
                given.profile,
                given.folds,
                given.protocol,
                given.landmarks,
                given.errata,
            )
            licensed.run(licensed.recipe_of(*what))
            return 0
        if given.command in ("tune", "plan"):
            return {"tune": tune, "plan": plan}[given.command](given)
        if given.command == "forget":
            from deft.forget import forget

            return forget(given.dataset, given.yes, given.own)
        from deft.analyse import analyse

        report = analyse(
            given.clip, given.onset, given.apex, given.offset, given.landmarks, given.profile, given.out, given.fps
        )
        for note in json.loads((report.parent / "report.json").read_text(encoding="utf-8"))["notes"]:
            print(f"note: {note}")
        print(f"report: {report}")
        return 0
    except (RunError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        if given.command not in ("analyse", "licensed", "tune", "plan") and not getattr(given, "dataset", ""):
            raise  # in the driver this would be a mistake of ours, so the traceback stays
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        remedy = "the disk is full, free some space" if error.errno == errno.ENOSPC else "mend the cause"
        print(f"error: {error}; {remedy} and run the same command again, finished work is intact", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; finished stages are intact, the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
