"""T2b: an abstention beside the five classes (claim C5): who is right when only sure answers are given?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from deft.evaluation import metrics
from deft.evaluation.source import Answers
from deft.evaluation.tables.common import BROKEN, CONDITIONS, constant, told
from deft.evaluation.tables.present import Column, Page, Part, both, highest, said
from deft.systems import LISTED, spoken
from deft.unimer.check import CLASS_THRESHOLD


def t2b(source: str | Answers, seed: int = 7) -> pd.DataFrame:
    """Every system of T2 that gives probabilities: a class is withheld below CLASS_THRESHOLD.

    `coverage`: share of clips that are answered; `accuracy`: share right of all clips; `accuracy_answered`: of those
    answered; `accuracy_withheld`: what the withheld class would have scored."""
    frame = Answers.of(source).predictions
    frame = frame[frame["set"] == "bench"]
    rows = []
    for system in LISTED["T2"]:
        for condition in CONDITIONS:
            mine = frame[(frame["system"] == system) & (frame["condition"] == condition)]
            if not len(mine) or not all(isinstance(scores, dict) and scores for scores in mine["scores"]):
                continue
            right = (mine["prediction"] == mine["truth"]).to_numpy(float)
            sure = np.array([max(scores.values()) >= CLASS_THRESHOLD for scores in mine["scores"]], float)
            every = np.ones(len(mine))
            counts = {
                "coverage": (sure, every),
                "accuracy": (right, every),
                "accuracy_answered": (right * sure, sure),
                "accuracy_withheld": (right * (1 - sure), 1 - sure),
            }
            samples = {
                name: metrics.sample(mine, np.stack(pair, axis=1), constant(system)) for name, pair in counts.items()
            }
            row = {"kind": "simulated", "system": system, "condition": condition, "clips": mine["clip"].nunique()}
            row |= told(samples["coverage"], system)
            for name, one in samples.items():
                if one.counts[..., 1].sum(axis=0).min() > 0:
                    row |= metrics.interval(one, metrics.share, seed=seed).columns(name)
            rows.append(row)
    return pd.DataFrame(rows).round(4)


def _held(part: pd.DataFrame) -> list[str]:
    broken = part[part.condition == "broken"]
    return [
        said(
            "Right most often when it answers, tie broken: {}.", highest(broken, "accuracy_answered", "system", spoken)
        ),
        said("Answers most often: {}.", highest(broken, "coverage", "system", spoken)),
    ]


PAGE = Page(
    (
        Part(
            "an abstention beside the five classes",
            (Column("System", "system", spoken=spoken),),
            (
                *both("Answered", "coverage"),
                Column("Right of all, tie broken", "accuracy", BROKEN, best=max),
                *both("Right of those answered", "accuracy_answered", best=max),
                Column("Right of those withheld, tie broken", "accuracy_withheld", BROKEN),
            ),
            _held,
        ),
    ),
    f"A class is withheld when its probability is below {CLASS_THRESHOLD:g}, so that the others together are more"
    " probable. Brackets: 95 % intervals over subjects within looks and over draws.",
)
