"""Majority: always the commonest class of the training subjects.  The score of a system that uses no input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deft.clips.facs import EMOTIONS
from deft.evaluation.peers.inputs import Inputs
from deft.evaluation.protocols import NEVER, roles_of


def shares(index: pd.DataFrame, folds: pd.DataFrame, fold: int, classes: tuple[str, ...] = EMOTIONS) -> np.ndarray:
    """Class shares (C,) among the kept clips of the training subjects of one fold."""
    train = (roles_of(index, folds, fold) == "train") & (index["condition"].to_numpy() == "kept")
    count = np.array([(index["emotion"].to_numpy()[train] == name).sum() for name in classes], np.float64)
    if not count.sum():
        raise ValueError(f"fold {fold} has no kept training clip of {', '.join(classes)}")
    return count / count.sum()


def probabilities(
    index: pd.DataFrame, folds: pd.DataFrame, target: pd.DataFrame | None = None, classes: tuple[str, ...] = EMOTIONS
) -> tuple[np.ndarray, np.ndarray]:
    """-> ((N, C) class shares answered for every clip, (N,) fold); `target`: held-back clips, mean over folds, fold
    -1.
    """
    numbers = sorted(set(folds["fold"]) - {NEVER})
    if target is not None:
        mean = np.mean([shares(index, folds, fold, classes) for fold in numbers], axis=0)
        return np.tile(mean, (len(target), 1)), np.full(len(target), -1)
    out, where = np.zeros((len(index), len(classes))), np.full(len(index), -1)
    for fold in numbers:
        test = roles_of(index, folds, fold) == "test"
        out[test], where[test] = shares(index, folds, fold, classes), fold
    return out, where


class Majority:
    """The same as a `Peer`: `fit` counts the training clips, `scores` answers their class shares."""

    def __init__(self, classes: Sequence[str]):
        self.classes, self.parameters, self.shares = tuple(classes), len(classes), None

    def fit(self, inputs: Inputs, labels: np.ndarray) -> Majority:
        """See `inputs.Peer.fit`. ValueError where no training clip shows one of the classes."""
        learns = np.asarray(labels)[~np.asarray(inputs.may_choose, bool)]
        count = np.array([(learns == name).sum() for name in self.classes], np.float64)
        if not count.sum():
            raise ValueError(f"no training clip of {', '.join(self.classes)}: give clips of these classes")
        self.shares = count / count.sum()
        return self

    def scores(self, inputs: Inputs) -> np.ndarray:
        """See `inputs.Peer.scores`. RuntimeError before `fit`."""
        if self.shares is None:
            raise RuntimeError("majority has learned nothing yet: call fit first")
        return np.tile(self.shares, (len(inputs), 1))


def peer(classes: Sequence[str], seed: int = 0) -> Majority:
    """The system `majority`. seed: unused, nothing is drawn."""
    return Majority(classes)
