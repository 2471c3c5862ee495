"""Training facts per clip for each construction of Uni-MER, and whether a fact that is missing may be trained as
absent.

The second half of table T4 asks what a model trained on "none", "au", "flow" or "both" scores. A *lesson* is a clip's
facts (the wording is drawn anew in every epoch) and `complete`: may what the facts leave out be trained as absent?
Under "both", annotation and flow can disagree: a clip is complete only if every annotated unit was confirmed, as in the
records (`deft.mllm.data.unconfirmed`). The other constructions have one source ("none": the class, "au": the
annotation, "flow": the flow) and nothing to contradict it; what it leaves out counts as absent. (For "flow" one could
call probabilities between DOUBTFUL and one half undecided; that would leave 82 % of the clips incomplete and train next
to no lists.)"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deft import runtime
from deft.motion import evidence
from deft.unimer.build import Measured, each_clip, verdicts
from deft.unimer.facts import Facts
from deft.unimer.schema import CONSTRAINTS


def path(folder: Path, constraint: str) -> Path:
    """Where the lessons of a construction lie: facts-<constraint>.jsonl in `folder` (work/<profile>/unimer)."""
    if constraint not in CONSTRAINTS:
        raise ValueError(f"unknown construction '{constraint}'; known: {', '.join(CONSTRAINTS)}")
    return Path(folder) / f"facts-{constraint}.jsonl"


def lessons(
    index: pd.DataFrame,
    probability: np.ndarray,
    courses: np.ndarray,
    noise: np.ndarray,
    constraint: str,
    seed: int = 7,
    rate: float | Sequence[float] = evidence.RATE,
) -> list[dict]:
    """One row per clip: {"clip", "constraint", "facts", "complete"}. Arguments as in `build.build_records`."""
    return [
        {
            "clip": one.row.clip,
            "constraint": constraint,
            "facts": one.facts.to_json(),
            "complete": complete(constraint, one.annotated, one.clip),
        }
        for one in each_clip(index, probability, courses, noise, constraint, seed, rate)
    ]


def complete(constraint: str, annotated: np.ndarray, clip: Measured) -> bool:
    """May what the construction does not say about this clip be taught as absent? annotated: (17, 2) bool."""
    return constraint != "both" or not any(
        row["verdict"] in ("unsupported", "contradicted") for row in verdicts(annotated, clip)
    )


def write(folder: Path, rows: Sequence[dict]) -> Path:
    """Write the lessons of one construction; returns the file."""
    found = {row["constraint"] for row in rows}
    if len(found) != 1:
        raise ValueError(f"one file holds one construction, got {sorted(found)}")
    target = path(folder, found.pop())
    runtime.write_jsonl(target, rows)
    return target


def read(folder: Path, constraint: str) -> dict[str, tuple[Facts, bool]]:
    """clip -> (its facts, complete). Errors name file and line."""
    source, found = path(folder, constraint), {}
    if not source.is_file():
        raise FileNotFoundError(
            f"{source} does not exist: run 05_uni_mer, which writes the facts of every construction"
        )
    for line, row in enumerate(runtime.read_jsonl(source), 1):
        try:
            found[row["clip"]] = Facts.from_json(row["facts"]), bool(row["complete"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{source}:{line}: not a lesson ({error!r} in {json.dumps(row)[:80]}); run 05_uni_mer again"
            ) from error
    return found
