"""What one expert alone knows of the units: how much worse unit decisions get when it is left out (claim C4).

A clip is 34 decisions: did this unit move on this side? A logistic reader answers them from what the experts say. Of an
expert with a head for units it is given the log odds of both sides, unit by unit. Structure has no such head: what it
knows is the resting face, which may say how strongly a unit shows on this person. So its tokens, as their first
principal components, moderate: they shift the odds of every unit and scale what the other experts' log odds are worth.
Moderators are many and people few, so how much they may weigh, nothing included, is chosen inside the training people;
a reader that is given more then loses next to nothing by it.

Everything is fitted on some people and answers for others, like the probes of `deft.experts.probes`. The tie must be
broken: where looks go with emotions, a resting face that shows the look says what will move. The idea is the usual one
of a likelihood ratio of nested models, out of sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

OWN = {"structure": "landmarks", "texture": "furrow", "motion": "region direction"}  # the factor an expert is there for
COMPONENTS = 8  # of the resting face
WEIGHTS = (0.0, 0.03, 0.1)  # what moderators of standard deviation 1 are multiplied by: the smaller, the less they say
FOLDS = 3
STRUCTURE, SPEAKING = "structure", ("texture", "motion")  # the expert without a head for units, and those that have one


@dataclass(frozen=True)
class Said:
    """What the experts say of N clips. odds: {expert: (N, U, 2)} log odds of units and sides; resting: (N, D) features
    of the resting face; moved: (N, U, 2) bool, the truth; person: (N,)."""

    odds: dict[str, np.ndarray]
    resting: np.ndarray
    moved: np.ndarray
    person: np.ndarray

    def shuffled(self, expert: str, order: np.ndarray) -> Said:
        """The same with what one expert says dealt to other clips: row i gets that of order[i]."""
        if expert == STRUCTURE:
            return replace(self, resting=self.resting[order])
        return replace(self, odds=self.odds | {expert: self.odds[expert][order]})


def losses(said: Said, experts: Sequence[str]) -> np.ndarray:
    """(N,) log loss of a clip (nats, the sum of its 2 U unit decisions) by a reader of `experts` fitted on other
    people. ValueError: fewer people than folds."""
    found, everyone = np.zeros(len(said.person)), np.arange(len(said.person))
    for train, test in GroupKFold(FOLDS).split(everyone, groups=said.person):
        weight = _weight(said, experts, train) if STRUCTURE in experts else 0.0
        found[test] = _read(said, experts, train, test, weight)
    return found


def _weight(said: Said, experts: Sequence[str], train: np.ndarray) -> float:
    """The weight of the moderators that answers best for a third of the training people, fitted on the others."""
    inner, outer = next(GroupKFold(FOLDS).split(train, groups=said.person[train]))
    return min(WEIGHTS, key=lambda one: _read(said, experts, train[inner], train[outer], one).mean())


def _read(said: Said, experts: Sequence[str], train: np.ndarray, test: np.ndarray, weight: float) -> np.ndarray:
    """(len(test),) log loss of a clip."""
    told = odds(said, experts, train, test, weight).reshape(len(test), -1)
    return np.logaddexp(0.0, np.where(said.moved[test].reshape(len(test), -1), -told, told)).sum(axis=1)


def odds(
    said: Said, experts: Sequence[str], train: np.ndarray, test: np.ndarray, weight: float | None = None
) -> np.ndarray:
    """(len(test), U, 2) log odds of units and sides by a reader of `experts` fitted on the rows `train`. weight: of the
    moderators (0: none); by default chosen inside the training people."""
    if weight is None:
        weight = _weight(said, experts, train) if STRUCTURE in experts else 0.0
    units = said.moved.shape[1]
    unit = np.tile(np.repeat(np.eye(units), 2, axis=0), (len(said.person), 1))  # (N 2U, U): whose decision it is
    columns, scores = [unit], []
    for name in experts:
        if name != STRUCTURE:
            own = said.odds[name]
            z = (own - own[train].mean((0, 2), keepdims=True)) / (own[train].std((0, 2), keepdims=True) + 1e-6)
            scores.append(z.reshape(-1, 1) * unit)
            columns += [scores[-1], z[:, :, ::-1].reshape(-1, 1) * unit]
    if STRUCTURE in experts and weight:
        parts = PCA(COMPONENTS, random_state=0).fit(said.resting[train])
        face = parts.transform(said.resting) / np.sqrt(np.maximum(parts.explained_variance_, 1e-12))
        face = weight * np.repeat(face, 2 * units, axis=0)
        columns += [(face[:, :, None] * one[:, None]).reshape(len(face), -1) for one in (unit, *scores)]
    x = np.hstack(columns).reshape(len(said.person), 2 * units, -1)
    y = said.moved.reshape(len(x), -1)
    model = LogisticRegression(solver="newton-cholesky", max_iter=100)
    model.fit(x[train].reshape(-1, x.shape[2]), y[train].ravel())
    return model.decision_function(x[test].reshape(-1, x.shape[2])).reshape(len(test), units, 2)
