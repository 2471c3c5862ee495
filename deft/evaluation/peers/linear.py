"""Linear readers: multinomial logistic regression on motion, on pixels or on the experts' outputs.

They say how much of the answer is already linear in what the language model is given.  Features are standardised with
the training subjects' mean and spread of each fold; the tie is never broken in training, and nothing is chosen on the
test subjects.  What is left to choose is the strength of the regularisation (and the view), in one of two ways:

`fit(..., grid=GRID)`: on the kept clips of each fold's validation subjects.  This is the recipe of the frozen yardstick
(`deft.evaluation.yardstick`), of the study of flow estimators (T8b) and of the demonstration in notebook 09, and stays
theirs. `fit(..., grid=(one point,))`: nothing is searched.  The peers of T2 use it with the settings of
`deft.evaluation.peers`, which were chosen once, on a benchmark of another seed, as the language model's recipe was."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from deft.clips import keyframes
from deft.clips.facs import EMOTIONS
from deft.evaluation.metrics import recognition_scores
from deft.evaluation.protocols import NEVER, roles_of
from deft.evaluation.protocols.mistake import best_on_test

# Smoothstep rise (1/3, 2/3, 1), hold, smoothstep fall (3/4, 1/2, 1/4, 0): the weight of a matched filter for the
# envelope that the recipe of the clips states, so late noisy frames count little.
ENVELOPE = {9: (0.26, 0.74, 1.0, 1.0, 0.84, 0.5, 0.16, 0.0), 3: (1.0, 1.0)}
VIEWS = ("apex", "peak", "peak+", "course", "course+", "true")
GRID = tuple((strength, weight) for strength in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0) for weight in (None, "balanced"))
MAX_ITER = 5_000  # the slowest fit of the demo, apex pixels at C = 1, needs about 500


class NotConverged(RuntimeError):
    """A fit whose solver stopped before its optimum: its scores would be those of another, unnamed reader."""


def features(name: str, motion: dict[str, np.ndarray]) -> np.ndarray:
    """Region motion as one row per clip.

    motion: 'courses' (N, T-1, 36, 5) [u, v, magnitude, coherence, strain], px of the aligned face, onset -> t; 'true'
    needs 'region_true' (N, 36, 2) px instead.
    name: 'apex' u, v at the apex (N, 72) · 'peak' mean of apex and hold (N, 72) · 'peak+' the same with magnitude and
    strain (N, 144) · 'course' mean over the course weighted by the expected envelope (N, 72) · 'course+' the same with
    magnitude and strain (N, 144) · 'true' the true region motion (N, 72), the ceiling of a linear reader.
    """
    if name not in VIEWS:
        raise ValueError(f"unknown linear features {name!r}; choose one of {', '.join(VIEWS)}")
    if name == "true":
        return _flat(motion["region_true"])
    courses = np.asarray(motion["courses"], np.float32)
    positions = courses.shape[1] + 1
    if positions not in ENVELOPE:
        raise ValueError(
            f"courses hold {positions} positions; linear features know {sorted(ENVELOPE)} "
            "(onset ... apex, hold ... offset, or onset, apex, hold)"
        )
    if name.startswith("course"):
        weight = np.asarray(ENVELOPE[positions], np.float32)
        mean = np.einsum("t,ntrc->nrc", weight / weight.sum(), courses)
    elif name == "apex":
        mean = keyframes.at_peak(courses, 1)[:, 0]
    else:
        mean = keyframes.peak_mean(courses, 1)
    return _flat(mean[..., [0, 1, 2, 4]] if name.endswith("+") else mean[..., :2])


def pixels(apex_gray: np.ndarray, side: int = 32) -> np.ndarray:
    """Apex frames (N, H, W) uint8 averaged to side x side and flattened: (N, side*side) float32 in [0, 1]."""
    n, height, width = apex_gray.shape
    if height % side or width % side:
        raise ValueError(f"frames of {height}x{width} px do not divide into {side}x{side} cells")
    cells = np.asarray(apex_gray, np.float32).reshape(n, side, height // side, side, width // side)
    return _flat(cells.mean(axis=(2, 4)) / 255.0)


@dataclass(frozen=True)
class Reader:
    """One fitted fold: standardisation and regression learned on its training subjects."""

    fold: int
    classes: tuple[str, ...]
    mean: np.ndarray  # (D,)
    scale: np.ndarray  # (D,)
    coef: np.ndarray  # (C, D)
    bias: np.ndarray  # (C,)
    chosen: dict  # C, class_weight and the validation UF1 they were chosen for

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """x (N, D) -> (N, C), rows sum to 1."""
        z = (x - self.mean) / self.scale @ self.coef.T + self.bias
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


def fit(
    x: np.ndarray,
    index: pd.DataFrame,
    folds: pd.DataFrame,
    seed: int = 7,
    classes: tuple[str, ...] = EMOTIONS,
    grid: tuple = GRID,
    numbers: Sequence[int] | None = None,
) -> list[Reader]:
    """One Reader per fold, from the kept clips of its training subjects; the grid is decided on validation subjects.

    x: (N, D), in the order of `index`.  grid: (C, class_weight) pairs to choose from, weakest fit first.  numbers: of
    the folds that are wanted, default all.
    seed: unused by the convex solver, part of every peer's signature.
    Raises NotConverged, naming fold and grid point, where the solver did not reach its optimum.
    """
    x = np.asarray(x, np.float64)
    if len(x) != len(index):
        raise ValueError(f"{len(x)} feature rows for {len(index)} clips")
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"feature {column} of clip {index['clip'].iloc[row]} is {x[row, column]}; run its stage again")
    truth = index["emotion"].to_numpy()
    classes = tuple(classes)
    usable = (index["condition"].to_numpy() == "kept") & np.isin(truth, classes)
    readers = []
    for fold in sorted(set(folds["fold"]) - {NEVER}) if numbers is None else numbers:
        role = roles_of(index, folds, fold)
        train, check = usable & (role == "train"), usable & (role == "validation")
        if not train.any():
            raise ValueError(f"fold {fold} has no kept clip of a training subject")
        if len(set(truth[train])) < 2:
            raise ValueError(f"fold {fold}: all training clips are {truth[train][0]!r}; render more clips or subjects")
        mean = x[train].mean(axis=0)
        scale = x[train].std(axis=0) + 1e-6
        z, turn = _turned((x[train] - mean) / scale)
        best: Reader | None = None
        for strength, weight in grid:
            try:
                coef, bias = _in_order(_solved(z, truth[train], strength, weight), classes)
            except ConvergenceWarning as warning:
                raise NotConverged(
                    f"fold {fold}, C = {strength:g}, class_weight {weight}: the solver stopped after {MAX_ITER}"
                    f" iterations on {int(train.sum())} clips x {x.shape[1]} features before its optimum; look for"
                    " features that are nearly constant or copies of each other, or raise MAX_ITER in"
                    " deft/evaluation/peers/linear.py"
                ) from warning
            reader = Reader(
                int(fold),
                classes,
                mean,
                scale,
                coef @ turn,
                bias,
                {"C": strength, "class_weight": weight, "validation_uf1": -1.0},
            )
            if check.any():
                answer = np.asarray(classes)[reader.probabilities(x[check]).argmax(axis=1)]
                reader.chosen["validation_uf1"] = recognition_scores(truth[check], answer, classes)["uf1"]
            if best is None or reader.chosen["validation_uf1"] > best.chosen["validation_uf1"]:
                best = reader  # ties go to the stronger regularisation, which comes first
        readers.append(best)
    return readers


def tempered(readers: list[Reader], temperature: float) -> list[Reader]:
    """The same readers with their logits divided by `temperature`: the same answers, with other confidence."""
    return [dataclasses.replace(r, coef=r.coef / temperature, bias=r.bias / temperature) for r in readers]


def _turned(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardised rows (n, D) -> (rows in the space that they span (n, d), the turn (d, D) into it), d <= n.

    An L2 penalty does not see a turn of the axes, and its optimum has no part outside the span of the training rows:
    the same reader comes out, and 1,024 pixels of 280 clips cost what 280 features cost.
    """
    if z.shape[1] <= z.shape[0]:
        return z, np.eye(z.shape[1])
    _, size, turn = np.linalg.svd(z, full_matrices=False)
    turn = turn[size > size[0] * 1e-10]
    return z @ turn.T, turn


def _solved(z: np.ndarray, truth: np.ndarray, strength: float, weight: str | None) -> LogisticRegression:
    """One fit; ConvergenceWarning is raised, not shown."""
    with (
        warnings.catch_warnings(),
        threadpool_limits(1),
    ):  # a few hundred rows: threads would wait for each other (30 times slower)
        warnings.simplefilter("error", ConvergenceWarning)
        return LogisticRegression(C=strength, class_weight=weight, max_iter=MAX_ITER).fit(z, truth)


def predict(readers: list[Reader], x: np.ndarray, index: pd.DataFrame, folds: pd.DataFrame | None) -> pd.DataFrame:
    """Every clip answered by the reader that never saw its subject.

    folds None: subjects nobody trained on (the held-back set), answered by the mean over the readers of all folds.
    -> DataFrame clip, dataset, subject, fold (-1 when averaged), condition, truth, prediction, scores (dict per class).
    """
    probability, fold = probabilities(readers, x, index, folds)
    return answers(index, probability, readers[0].classes, fold)


def probabilities(
    readers: list[Reader], x: np.ndarray, index: pd.DataFrame, folds: pd.DataFrame | None
) -> tuple[np.ndarray, np.ndarray]:
    """-> ((N, C) probabilities of the reader that never saw the clip's subject, (N,) its fold, -1 for the mean over
    all).
    """
    x, fold = np.asarray(x, np.float64), np.full(len(index), -1)
    if folds is None:
        return np.mean([reader.probabilities(x) for reader in readers], axis=0), fold
    total = np.zeros((len(index), len(readers[0].classes)))
    for reader in readers:
        test = roles_of(index, folds, reader.fold) == "test"
        total[test], fold[test] = reader.probabilities(x[test]), reader.fold
    if (fold[~index["subject"].isin(folds["subject"][folds["fold"] == NEVER])] < 0).any():
        raise ValueError("some clips belong to no test fold; every subject of folds.csv needs a fitted fold")
    return total, fold


def logits(probability: np.ndarray) -> np.ndarray:
    """Calibrated probabilities (N, 17, 2) -> log odds (N, 34), limited to about +-7."""
    p = np.clip(_flat(probability), 1e-3, 1 - 1e-3)
    return np.log(p / (1 - p))


def fit_predict(
    x: np.ndarray, index: pd.DataFrame, folds: pd.DataFrame, seed: int = 7, classes: tuple[str, ...] = EMOTIONS
) -> pd.DataFrame:
    """`fit` then `predict` on the same clips: out-of-fold answers for the kept and the broken condition."""
    return predict(fit(x, index, folds, seed, classes), x, index, folds)


def peek(x: np.ndarray, index: pd.DataFrame, folds: pd.DataFrame, classes: tuple[str, ...] = EMOTIONS) -> pd.DataFrame:
    """A mistake, for demonstration only: every test subject answered by the grid point that does best on *it*.

    This is "best epoch per subject" in miniature (`reported.csv`: it moved published networks by .06 and .14 UF1).
    -> rows like `fit_predict`, of the kept and broken clips; no table uses them.
    """
    x = np.asarray(x, np.float64)
    return best_on_test(
        [predict(fit(x, index, folds, classes=classes, grid=(point,)), x, index, folds) for point in GRID]
    )


def answers(index: pd.DataFrame, probability: np.ndarray, classes: tuple[str, ...], fold: np.ndarray) -> pd.DataFrame:
    """Probabilities (N, C) in the order of `index` -> the rows every peer hands back."""
    frame = index[["clip", "dataset", "subject", "condition"]].reset_index(drop=True).copy()
    frame.insert(3, "fold", np.asarray(fold, int))
    frame["truth"] = index["emotion"].to_numpy()
    frame["prediction"] = np.asarray(classes)[probability.argmax(axis=1)]
    frame["scores"] = [{c: round(float(p), 5) for c, p in zip(classes, row)} for row in probability]
    return frame


def scores(frame: pd.DataFrame, classes: tuple[str, ...] = EMOTIONS) -> dict[str, dict[str, float]]:
    """{'kept': {'uf1', 'uar', 'accuracy'}, 'broken': ...} of `fit_predict`, pooled over folds."""
    return {
        str(name): recognition_scores(part["truth"], part["prediction"], classes)
        for name, part in frame.groupby("condition")
    }


def _flat(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float32)
    return x.reshape(len(x), -1)


def _in_order(model: LogisticRegression, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients in the protocol's class order; a class without a training clip can never be answered."""
    coef = np.zeros((len(classes), model.coef_.shape[1]))
    bias = np.full(len(classes), -1e9)
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        model_coef, model_bias = (
            np.vstack([-model.coef_[0] / 2, model.coef_[0] / 2]),
            np.array([-model.intercept_[0] / 2, model.intercept_[0] / 2]),
        )
    else:
        model_coef, model_bias = model.coef_, model.intercept_
    for row, name in enumerate(model.classes_):
        coef[classes.index(name)], bias[classes.index(name)] = model_coef[row], model_bias[row]
    return coef, bias
