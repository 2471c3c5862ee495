"""`make bench`: run the benchmarks b*.py of this folder, or those named by ONLY, and write figures/<profile>/bench.csv.

A benchmark is a module with `measure() -> list[dict]`, rows made by `tests.bench.rows`. The file is written after every
benchmark; the rows of one stay until it is measured again. All arms run on the processor.
"""

import argparse
import csv
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from deft import config, paths, runtime

COLUMNS = "id arm metric median low high ratio_to_first device runs limit commit cores".split()


def benchmarks() -> dict[str, str]:
    """Short name ("b1") -> module, in the order of their numbers."""
    stems = sorted(
        (path.stem for path in Path(__file__).parent.glob("b[0-9]*.py")), key=lambda s: int(s.split("_")[0][1:])
    )
    return {stem.split("_")[0]: f"tests.bench.{stem}" for stem in stems}


def store(target: Path, name: str, rows: list[dict]) -> None:
    """Put the rows of benchmark `name` in the place of its old ones, whole or not at all. A file of other columns is
    replaced.
    """
    kept, order = [], list(benchmarks())
    if target.is_file():
        with open(target, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            kept = [row for row in reader if row["id"].lower() in order] if reader.fieldnames == COLUMNS else []
    whole = [row for row in kept if row["id"].lower() != name] + rows
    with runtime.atomic(target) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(whole, key=lambda row: order.index(row["id"].lower())))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--profile", default="demo", help="whose figures folder receives bench.csv")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="b1 b4: these alone")
    given, known = parser.parse_args(arguments), benchmarks()
    if given.profile not in (profiles := config.profiles(paths.NOTEBOOKS)):
        parser.error(f"unknown profile {given.profile!r}; {config.nearest(given.profile, profiles)}")
    only = set(" ".join(given.only).lower().split()) or set(known)
    if unknown := sorted(only - set(known)):
        parser.error(f"unknown benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    common = {
        "commit": runtime.commit(),
        "cores": runtime.jobs(),
        "device": f"cpu: {runtime.provenance()['hardware']['cpu']}",
    }
    target, failed = paths.figures(given.profile) / "bench.csv", []
    for name in (name for name in known if name in only):
        print(f"{known[name]} ...", flush=True)
        try:
            rows = [row | common for row in importlib.import_module(known[name]).measure()]
        except Exception:  # the others are still worth measuring; the end says which failed
            traceback.print_exc()
            failed.append(name)
            continue
        store(target, name, rows)
        for row in rows:
            print(
                "  {metric} | {arm}: {median:.4g} ({low:.4g} to {high:.4g} in {runs} runs), {ratio_to_first:.3g} x the"
                " first; limit {limit}".format(**row),
                flush=True,
            )
    print(f"written: {target}" if len(failed) < len(only) else "nothing was measured")
    if failed:
        print(f"error: failed: {', '.join(failed)}; their older rows, if any, stay as they were", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
