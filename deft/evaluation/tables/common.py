"""What the tables share: samples per subject and draw, and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from deft.clips.facs import EMOTIONS
from deft.evaluation import metrics
from deft.evaluation.source import Answers
from deft.systems import CONSTANT, SYSTEMS

FLOOR = 1e-6  # smaller probabilities count as this in the negative log likelihood
CONDITIONS = ("kept", "broken")
BROKEN = {"condition": "broken"}


def predictions(profile: str) -> pd.DataFrame:
    """All answers of a profile as a checked DataFrame with columns `set` and `look` (`deft.evaluation.source`)."""
    return Answers.of(profile).predictions


def constant(system: str) -> bool:
    """Whether nothing random enters a system beside what its inputs bring: one draw of it stands for every draw."""
    return system in CONSTANT


def sample(frame: pd.DataFrame, classes: Sequence[str] = EMOTIONS) -> metrics.Sample:
    """Rows of one system -> confusion counts (S, K, C, C + 1) per subject and draw."""
    return metrics.sample(
        frame, metrics.confusions(frame["truth"], frame["prediction"], classes), constant(frame["system"].iloc[0])
    )


def nll_sample(frame: pd.DataFrame) -> metrics.Sample | None:
    """Rows of one system -> (S, K, 2) [sum of -log probability of the true class, clips]; None if one has no scores.

    A probability below FLOOR counts as FLOOR, so that one certain mistake does not decide a mean.
    """
    if not all(isinstance(scores, dict) and scores for scores in frame["scores"]):
        return None
    given = np.array([scores.get(truth, 0.0) for scores, truth in zip(frame["scores"], frame["truth"])], float)
    lost = -np.log(np.maximum(given, FLOOR))
    return metrics.sample(frame, np.stack([lost, np.ones(len(lost))], axis=1), constant(frame["system"].iloc[0]))


def compared(
    column: str, a: metrics.Sample | None, b: metrics.Sample | None, statistic: Callable, seed: int
) -> tuple[dict, str]:
    """The three cells of a paired difference A - B and a word when it could not be made on all draws: ({}, "") if
    one is absent.
    """
    if a is None or b is None:
        return {}, ""
    shared = metrics.shared_draws(a, b)
    if shared == ():
        return {}, f"{column}: no draw is shared"
    most = max(len(one.draws or ()) for one in (a, b))
    word = (
        f"{column}: on draw{'s' * (len(shared) > 1)} {', '.join(map(str, shared))}"
        if shared and len(shared) < most
        else ""
    )
    return metrics.difference(a, b, statistic, seed=seed).columns(column), word


def told(one: metrics.Sample, system: str) -> dict:
    """How many draws a row rests on, and what its intervals cover."""
    count = len(one.draws or (0,))
    if one.draws is None:  # nothing random of its own; what some peers read was trained once
        return {
            "draws": count,
            "interval": (
                f"subjects; {'one draw of the experts' if SYSTEMS[system].on_experts else 'constant over draws'}"
            ),
        }
    return {"draws": count, "interval": "subjects, draws" if count > 1 else "subjects"}


def recognition(rows: pd.DataFrame, seed: int, classes: Sequence[str] = EMOTIONS) -> dict:
    """UF1, UAR, accuracy and NLL: mean over draws with intervals, and the spread of UF1 over draws."""
    mine, lost = sample(rows, classes), nll_sample(rows)
    row: dict = {}
    for name in metrics.SCORES:
        row |= metrics.interval(mine, getattr(metrics, name), seed=seed).columns(name)
    if lost is not None:
        row |= metrics.interval(lost, metrics.share, seed=seed).columns("nll")
    each = metrics.uf1(mine.counts.sum(axis=0))  # (K,)
    row["uf1_draw_sd"] = float(each.std(ddof=1)) if len(each) > 1 else np.nan
    return row


def both_answered(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of two systems on the clips that both answered; none is an error."""
    shared = set(a["clip"]) & set(b["clip"])
    if not shared:
        raise ValueError(f"{a['system'].iloc[0]} and {b['system'].iloc[0]} share no clip; score them on one set")
    return a[a["clip"].isin(shared)], b[b["clip"].isin(shared)]


def difference(a: pd.DataFrame, b: pd.DataFrame, seed: int = 7) -> metrics.Interval:
    """UF1 of system `a` less that of `b`, paired over subjects and draws, on the clips that both answered."""
    return metrics.difference(*map(sample, both_answered(a, b)), metrics.uf1, seed=seed)
