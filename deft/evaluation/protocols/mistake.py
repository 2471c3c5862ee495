"""A mistake, for demonstration only: choosing the epoch on the test clips. No table of results has such rows.

Published networks gained .06 and .14 UF1 from it (`reported.csv`: the same code with and without). The gain needs no
knowledge: where the epochs of a network that has learned nothing merely differ, the best of them is better than chance,
and the more so the fewer clips choose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from deft import runtime
from deft.clips.facs import EMOTIONS
from deft.evaluation import metrics
from deft.evaluation.protocols import roles_of

KIND = "DEMONSTRATION of a mistake"
EACH = ("dataset", "subject", "condition")


def best_on_test(frames: Sequence[pd.DataFrame], each: Sequence[str] = EACH) -> pd.DataFrame:
    """Answers of several epochs (or settings) -> the answers of the one that does best on the clips it is asked about.

    frames: one per epoch, the same clips in the same order, columns truth, prediction and `each`, by which the choice
    is made: "best epoch of each subject"; () chooses one for all. Ties go to the first; all but `prediction` is its.
    """
    chosen = frames[0].reset_index(drop=True).copy()
    right = np.stack([frame["prediction"].to_numpy() == frame["truth"].to_numpy() for frame in frames])  # (epochs, N)
    groups = chosen.groupby(list(each)).indices.values() if each else [np.arange(len(chosen))]
    for rows in groups:
        best = frames[int(right[:, rows].sum(axis=1).argmax())]
        chosen.loc[rows, "prediction"] = best["prediction"].to_numpy()[rows]
    return chosen


def demonstration(frames: Sequence[pd.DataFrame], classes: Sequence[str] = EMOTIONS) -> pd.DataFrame:
    """UF1 and accuracy of the last epoch, of the epoch that is best for all, and of the best of each subject.

    All are scored on the very clips that chose. over_last: UF1 less that of the last epoch. kind: KIND.
    """
    each = [name for name in EACH if name in frames[0]]
    said = {
        "last epoch": frames[-1],
        "best epoch on test (a mistake)": best_on_test(frames, ()),
        "best epoch of each subject on test (a mistake)": best_on_test(frames, each),
    }
    rows = []
    for name, frame in said.items():
        found = metrics.recognition_scores(frame["truth"], frame["prediction"], classes)
        rows.append({"kind": KIND, "selection": name, "epochs": len(frames), **found})
    return pd.DataFrame(rows).assign(over_last=lambda table: table["uf1"] - table["uf1"].iloc[0])


def epochs_of(
    x: np.ndarray, index: pd.DataFrame, folds: pd.DataFrame, number: int = 60, seed: int = 7, shuffled: bool = False
) -> list[pd.DataFrame]:
    """Answers to every clip, by the fold that never saw it, after each epoch of a linear reader trained step by step.

    x: (N, D) features in the order of `index`. shuffled: training labels are dealt anew, so that there is nothing to
    learn. -> one frame per epoch for `demonstration`.
    """
    from sklearn.linear_model import SGDClassifier

    x, truth = np.asarray(x, np.float64), index["emotion"].to_numpy()
    said = np.empty((number, len(index)), object)
    for fold in sorted(folds["fold"].unique()):
        role = roles_of(index, folds, fold)
        train, test = (index["condition"] == "kept").to_numpy() & (role == "train"), role == "test"
        mean, scale = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
        z, draw = (x - mean) / scale, runtime.rng(seed, "epochs-of-a-mistake", int(fold))
        labels = draw.permutation(truth[train]) if shuffled else truth[train]
        model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01, random_state=seed)
        for epoch in range(number):
            order = draw.permutation(len(labels))
            model.partial_fit(z[train][order], labels[order], classes=np.unique(truth))
            said[epoch, test] = model.predict(z[test])
    rows = index[["clip", *EACH]].assign(truth=truth).reset_index(drop=True)
    return [rows.assign(prediction=one.astype(str)) for one in said]
