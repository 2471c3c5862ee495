"""A linear support vector machine over any hand-crafted feature, as a peer (`deft.evaluation.peers.inputs.Peer`).

LBP-TOP, MDMO and Bi-WOOF are published with a support vector machine (SVM); this is the one that all of them share
here, so that they differ in the feature alone. One class against the rest, squared hinge loss, scikit-learn's
`LinearSVC`, whose primal solver is convex and unseeded: another draw gives the same machine. Strength C and class
weights are those with the best UF1 on the rows that `may_choose`; the temperature that turns margins into
probabilities is fitted on the same rows (Guo et al., ICML 2017) and moves no answer. Those rows are never trained on.
Sources give a fixed C (28 for MDMO, 10,000 for Bi-WOOF) for their own scaling; ours is standardised, so C is chosen
instead. A kernel enters by its exact map: Nystroem's method with every training row as its basis.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from deft.evaluation.metrics import recognition_scores
from deft.evaluation.peers import choose, linear
from deft.evaluation.peers.inputs import Inputs

GRID = tuple((strength, weight) for strength in (0.01, 0.1, 1.0, 10.0, 100.0) for weight in (None, "balanced"))
KERNEL = {"gamma": 1.0, "coef0": 1.0, "degree": 2}  # of "poly", for rows of mean square length 1


@dataclass
class Svm:
    """name: of the system, for errors. features: N clips -> (N, D), or (N, V, D) where a clip is seen in V ways, the
    whole of it first; every view is trained on. classes: names, in the order of the scores. standardise: every column
    to mean 0 and spread 1; without it, columns keep their weights. kernel: linear or poly. whole: answer from the first
    view, not from the mean over views. grid: (C, class_weight) to choose from, the weakest fit first.

    After `fit`: chosen {C, class_weight, validation_uf1, temperature, log_loss}; parameters: the numbers trained, per
    class one for every column (poly: for every training row) and a bias.
    """

    name: str
    features: Callable[[Inputs], np.ndarray]
    classes: Sequence[str]
    standardise: bool = True
    kernel: str = "linear"
    whole: bool = False
    grid: tuple = GRID
    parameters: int = 0
    chosen: dict = field(default_factory=dict)

    def fit(self, inputs: Inputs, labels: np.ndarray) -> Svm:
        """Learn from labelled clips, labels (N,) class names; see `inputs.Peer`. ValueError names a label outside the
        classes, a class without a training clip, clips none of which may choose, and a feature that is not finite;
        NotConverged a fit that stopped before its optimum.
        """
        choosing = np.asarray(inputs.may_choose, bool)
        code = self._codes(labels, choosing)
        x = self._read(inputs)
        views, columns = x.shape[1:]
        train = x[~choosing].reshape(-1, columns).astype(np.float64)
        self._scaler = StandardScaler(with_std=self.standardise).fit(train)
        z = self._scaler.transform(train)
        self._length = max(float(np.sqrt((z**2).sum(1).mean())), 1e-12)  # so that one C means the same for every D
        z, self._map = z / self._length, None
        if self.kernel == "linear":
            z, turn = linear._turned(z)
        else:
            self._map = Nystroem(kernel=self.kernel, **KERNEL, n_components=len(z), random_state=0).fit(z)
            z, turn = self._map.transform(z), np.eye(len(z))
        best = None
        for strength, weight in self.grid:
            machine = self._solved(z, np.repeat(code[~choosing], views), strength, weight)
            coef, bias = machine.coef_ @ turn, machine.intercept_
            if len(self.classes) == 2:  # scikit-learn keeps one row for two classes
                coef, bias = np.vstack([-coef, coef]) / 2, np.append(-bias, bias) / 2
            self._coef, self._bias = coef, bias
            margins = self._margins(x[choosing])
            uf1 = recognition_scores(code[choosing], margins.argmax(1), range(len(self.classes)))["uf1"]
            if best is None or uf1 > best[0]["validation_uf1"]:  # of equal ones the first, the more regularised
                best = ({"C": strength, "class_weight": weight, "validation_uf1": uf1}, self._coef, self._bias, margins)
        self.chosen, self._coef, self._bias, margins = best
        self.chosen["temperature"], self.chosen["log_loss"] = choose.temperature(_softmax(margins), code[choosing])
        self.parameters = self._coef.size + self._bias.size
        return self

    def scores(self, inputs: Inputs) -> np.ndarray:
        """(N, C) probabilities in the order of the classes; rows sum to 1. RuntimeError before `fit`."""
        if not self.chosen:
            raise RuntimeError("this machine has learned nothing yet: call fit(inputs, labels) first")
        return _softmax(self._margins(self._read(inputs)) / self.chosen["temperature"])

    def _read(self, inputs: Inputs) -> np.ndarray:
        """(N, V, D) of finite numbers."""
        x = np.asarray(self.features(inputs))
        x = x[:, None] if x.ndim == 2 else x
        if not np.isfinite(x).all():
            row, view, column = np.argwhere(~np.isfinite(x))[0]
            raise ValueError(
                f"{self.name}: feature {column} of clip {row} (view {view}) is {x[row, view, column]}; prepare it again"
            )
        return x

    def _codes(self, labels: np.ndarray, choosing: np.ndarray) -> np.ndarray:
        """Class names (N,) -> positions, after the checks that `fit` promises."""
        names = [str(label) for label in labels]
        if len(names) != len(choosing):
            raise ValueError(f"{len(names)} labels for {len(choosing)} clips; give one label per clip")
        for row, name in enumerate(names):
            if name not in self.classes:
                raise ValueError(
                    f"label {name!r} of clip {row} is not in the class list {list(self.classes)}; map or drop it first"
                )
        code = np.array([list(self.classes).index(name) for name in names], int)
        absent = [name for place, name in enumerate(self.classes) if not (code[~choosing] == place).any()]
        if absent:
            raise ValueError(
                f"class {', '.join(absent)} has no training clip (rows that may choose do not count); use another split"
            )
        if not choosing.any():
            raise ValueError("no clip may choose (inputs.may_choose): strength and temperature need validation clips")
        return code

    def _solved(self, z: np.ndarray, code: np.ndarray, strength: float, weight: str | None) -> LinearSVC:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("error", ConvergenceWarning)
            try:  # the bias is penalised too: scaled by 10, it costs a hundredth
                return LinearSVC(
                    C=strength, class_weight=weight, dual=False, intercept_scaling=10.0, max_iter=linear.MAX_ITER
                ).fit(z, code)
            except ConvergenceWarning as warning:
                raise linear.NotConverged(
                    f"{self.name}, C = {strength:g}, class_weight {weight}: the solver stopped after "
                    f"{linear.MAX_ITER} iterations on {len(z)} rows before its optimum; look for columns that are "
                    "nearly constant or copies of each other"
                ) from warning

    def _margins(self, x: np.ndarray) -> np.ndarray:
        """(N, V, D) -> (N, C): of the first view, or the mean over all."""
        x = x[:, :1] if self.whole else x
        z = self._scaler.transform(x.reshape(-1, x.shape[2]).astype(np.float64)) / self._length
        z = z if self._map is None else self._map.transform(z)
        return (z @ self._coef.T + self._bias).reshape(*x.shape[:2], -1).mean(1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
