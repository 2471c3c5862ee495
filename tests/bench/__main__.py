"""`make bench`: run every benchmark b*.py of this folder and write figures/<profile>/bench.csv.

A benchmark is a module with `measure() -> list[dict]`; each row has id, what, value, unit, low, high, runs, limit.
"""

import argparse
import csv
import importlib
import sys
from pathlib import Path

from deft import config, paths, runtime

COLUMNS = ("id", "what", "value", "unit", "low", "high", "runs", "limit", "commit", "cores", "cpu")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--profile", default="demo", help="whose figures folder receives bench.csv")
    profile = parser.parse_args().profile
    if profile not in config.profiles(paths.NOTEBOOKS):
        print(
            f"error: unknown profile {profile!r}; {config.nearest(profile, config.profiles(paths.NOTEBOOKS))}",
            file=sys.stderr,
        )
        return 2
    rows, machine = [], runtime.provenance()["hardware"]["cpu"]
    for path in sorted(Path(__file__).parent.glob("b[0-9]*.py")):
        print(f"{path.stem} ...", flush=True)
        for row in importlib.import_module(f"tests.bench.{path.stem}").measure():
            row |= {"commit": runtime.commit(), "cores": runtime.jobs(), "cpu": machine}
            rows.append(row)
            print(
                f"  {row['what']}: {row['value']:.3g} {row['unit']} ({row['low']:.3g} to {row['high']:.3g} in"
                f" {row['runs']} runs; limit {row['limit']})",
                flush=True,
            )
    target = paths.figures(profile) / "bench.csv"
    with runtime.atomic(target) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"written: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
