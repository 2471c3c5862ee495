"""Disentangling: removing a factor from a representation, and measuring what is left of it (claim C4, table T5).

Training: gradient reversal. Measuring: linear CKA and HSIC between experts, linear probes of factors on tokens with
subject-disjoint splits.

Sources: Ganin and Lempitsky (2015), domain-adversarial training (gradient reversal); Kornblith et al. (2019),
similarity of representations revisited (linear CKA); Gretton et al. (2005), Hilbert-Schmidt norms (biased HSIC
estimator). The paper names the goal, not the tool."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

# ---------------------------------------------------------------- while training


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


def reverse(x: Tensor, strength: float = 1.0) -> Tensor:
    """Gradient reversal (Ganin and Lempitsky 2015): identity in the forward pass, gradient times -strength in the
    backward pass.

    The layers behind it (the adversary) learn to predict a factor from x; the layers before it (the encoder) are pushed
    to remove from x what the adversary can predict. x: any shape."""
    return _Reverse.apply(x, strength)


class Adversary(nn.Module):
    """A small network behind a gradient reversal: tokens (B, K, D) -> `outputs` numbers or class logits."""

    def __init__(self, tokens: int, width: int, outputs: int, hidden: int = 64):
        super().__init__()
        self.read = nn.Sequential(nn.Linear(tokens * width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, tokens: Tensor, strength: float) -> Tensor:
        """(B, K, D) -> (B, outputs); strength: of the reversal."""
        return self.read(reverse(tokens.flatten(1), strength))


# ---------------------------------------------------------------- measuring


def _centred(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    return x - x.mean(0)


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Linear CKA of two sets of features (N, ...) in [0, 1]: 1 for the same features up to rotation and scale."""
    a, b = _centred(a), _centred(b)
    norm = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / norm) if norm > 0 else 0.0


def hsic(a: np.ndarray, b: np.ndarray) -> float:
    """Biased HSIC with Gaussian kernels at the median distance, divided by sqrt(HSIC(a,a) HSIC(b,b)): in [0, 1]; for
    N <= 2,000.
    """

    def kernel(x):
        x = _centred(x)
        square = (x**2).sum(1)
        distance = np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0.0)
        positive = distance[distance > 1e-12]
        k = np.exp(-distance / (np.median(positive) if len(positive) else 1.0))
        return k - k.mean(0) - k.mean(1)[:, None] + k.mean()

    ka, kb = kernel(a), kernel(b)
    norm = np.sqrt((ka * ka).sum() * (kb * kb).sum())
    return float((ka * kb).sum() / norm) if norm > 0 else 0.0


def dependence(features: dict[str, np.ndarray], limit: int = 1000, seed: int = 7) -> list[dict]:
    """Rows (a, b, cka, hsic) for every pair of experts, on at most `limit` clips."""
    from deft.runtime import rng

    names = list(features)
    count = len(features[names[0]])
    rows = np.sort(rng(seed, "dependence").permutation(count)[:limit])
    return [
        {
            "a": a,
            "b": b,
            "cka": linear_cka(features[a][rows], features[b][rows]),
            "hsic": hsic(features[a][rows], features[b][rows]),
        }
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]


# ---------------------------------------------------------------- probes: which factor can be read from which expert


def probe(x: np.ndarray, y: np.ndarray, groups: np.ndarray, seed: int = 7, splits: int = 3) -> dict:
    """Linear probe: how well a linear model predicts the factor y from tokens x (N, ...), on subjects that were held
    out.

    y: (N,) integers or strings -> balanced accuracy beside chance; (N,) or (N, M) booleans -> mean AUROC, chance .5;
    (N, M) floats -> mean R2, chance 0. groups: (N,) subject of every clip; folds never share one.
    Returns {"score", "chance", "measure"}; score is NaN when the factor does not vary enough to ask.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import r2_score, recall_score, roc_auc_score
    from sklearn.model_selection import GroupKFold

    x = np.asarray(x, np.float64).reshape(len(x), -1)
    y = np.asarray(y)
    boolean, classes = y.dtype == bool, y.dtype.kind in "iuUSO"
    measure = "auroc" if boolean else "accuracy" if classes else "r2"
    if boolean or not classes:
        y = y.reshape(len(y), -1)
    chance = {"auroc": 0.5, "r2": 0.0}.get(measure, 1.0 / max(len(np.unique(y)), 1))
    scores = []
    for train, test in GroupKFold(min(splits, len(np.unique(groups))), shuffle=True, random_state=seed).split(
        x, groups=groups
    ):
        mean, scale = x[train].mean(0), x[train].std(0) + 1e-6
        a, b = (x[train] - mean) / scale, (x[test] - mean) / scale
        if measure == "accuracy":
            if len(np.unique(y[train])) < 2:
                continue
            model = LogisticRegression(C=0.03, max_iter=100, tol=1e-3).fit(a, y[train])
            scores.append(
                recall_score(y[test], model.predict(b), labels=np.unique(y[test]), average="macro")
            )  # balanced accuracy
            continue
        model = Ridge(alpha=len(a) * 0.1).fit(
            a, y[train].astype(np.float64)
        )  # least squares ranks as well as logistic here, and is one solve
        predicted = model.predict(b).reshape(len(b), -1)
        for column in range(y.shape[1]):
            truth = y[test, column]
            if measure == "auroc" and 0 < truth.sum() < len(truth):
                scores.append(roc_auc_score(truth, predicted[:, column]))
            elif measure == "r2" and truth.std() > 1e-6:
                scores.append(r2_score(truth, predicted[:, column]))
    return {"score": float(np.mean(scores)) if scores else float("nan"), "chance": chance, "measure": measure}


def probe_identity(x: np.ndarray, subject: np.ndarray, seed: int = 7) -> dict:
    """Linear probe of identity: predict a clip's subject from tokens x (N, ...); half of each subject's clips are held
    out.

    Identity cannot be probed on unseen subjects, so here (and only here) the split is by clip. subject: (N,) labels.
    Returns {"score", "chance", "measure"}; NaN where there are fewer than two subjects or no second clip."""
    from deft.runtime import rng

    x = np.asarray(x, np.float64).reshape(len(x), -1)
    subject = np.asarray(subject)
    order = rng(seed, "probe-identity").permutation(len(x))
    first: dict = {}
    held = np.zeros(len(x), bool)
    for row in order:  # every second clip of a subject, in random order, is held out
        first[subject[row]] = first.get(subject[row], 0) + 1
        held[row] = first[subject[row]] % 2 == 0
    names, codes = np.unique(subject, return_inverse=True)
    if len(names) < 2 or not held.any():
        return {"score": float("nan"), "chance": float("nan"), "measure": "accuracy"}
    mean, scale = x[~held].mean(0), x[~held].std(0) + 1e-6
    a, b = (x[~held] - mean) / scale, (x[held] - mean) / scale
    within = (
        a
        - np.stack(
            [
                a[codes[~held] == c].mean(0) if (codes[~held] == c).any() else np.zeros(a.shape[1])
                for c in range(len(names))
            ]
        )[codes[~held]]
    )
    whiten = np.linalg.inv(
        np.linalg.cholesky(within.T @ within / len(a) + 0.1 * np.eye(a.shape[1]))
    )  # a linear discriminant, nearest mean
    a, b = a @ whiten.T, b @ whiten.T
    present = np.unique(codes[~held])
    means = np.stack([a[codes[~held] == c].mean(0) for c in present])
    nearest = present[np.argmin(((b[:, None] - means[None]) ** 2).sum(-1), axis=1)]
    return {"score": float((nearest == codes[held]).mean()), "chance": 1.0 / len(names), "measure": "accuracy"}


FACTORS = ("identity", "look", "landmarks", "region direction", "unit", "furrow", "emotion")


def probe_matrix(
    features: dict[str, np.ndarray], factors: dict[str, np.ndarray], subject: np.ndarray, seed: int = 7
) -> list[dict]:
    """Rows (expert, factor, score, chance, measure) for every expert's tokens (N, K, D) and factor (N, ...).

    `factors` maps names of FACTORS (all but identity, which is `subject`) to arrays as `probe` takes them; an absent
    one is not asked."""
    unknown = set(factors) - set(FACTORS)
    if unknown:
        raise ValueError(f"unknown factors {sorted(unknown)}; choose among {', '.join(FACTORS)}")
    rows = []
    for expert, x in features.items():
        for factor in FACTORS:
            if factor == "identity":
                rows.append({"expert": expert, "factor": factor, **probe_identity(x, subject, seed)})
            elif factor in factors:
                rows.append({"expert": expert, "factor": factor, **probe(x, factors[factor], subject, seed)})
    return rows
