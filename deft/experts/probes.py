"""Who knows what: linear probes of factors on experts' tokens, and how far two experts tell the same story (claim C4).

No network is run here: tokens are read from `features/`, so tables and figures may use it.

Sources: Kornblith et al. (2019), similarity of representations revisited (linear CKA); Gretton et al. (2005, 2007),
Hilbert-Schmidt norms (biased HSIC estimator) and the test of independence by permutation. The paper names the goal,
not the tool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deft import runtime
from deft.clips.store import ClipStore
from deft.faces import align

FACTORS = ("identity", "look", "landmarks", "region direction", "unit", "furrow", "emotion")
MEASURES = {"auroc": "AUROC", "r2": "R²", "accuracy": "accuracy"}  # as `probe` calls them -> in pages and figures
RIDGE, LOGISTIC = 0.1, 0.03  # strengths: share of the number of clips; scikit-learn's C


def factors(store: ClipStore, work: Path, which: str) -> dict[str, np.ndarray]:
    """What the clips of set `which` truly show, as `probe` takes it: {factor: (N, ...)}; identity is the subject.

    look (N,) int; unit (N, 17) bool, on either side; furrow (N, 10) depth; landmarks (N, 136) px and region direction
    (N, 72) px of the aligned face; emotion (N,) str, absent where the set has none."""
    matrix = runtime.load_array(Path(work) / "faces" / which, "matrix")
    points = [align.points(face, turn) for face, turn in zip(store.array("landmarks_true")[:, 0], matrix)]
    moved = np.asarray(runtime.load_array(Path(work) / "motion" / which, "region_true"), np.float32)
    found = {
        "look": store.index["look"].to_numpy(),
        "landmarks": np.stack(points).reshape(len(points), -1).astype(np.float32),
        "region direction": moved.reshape(len(moved), -1),
        "unit": (store.array("units_true") > 0).any(2),
        "furrow": store.array("furrows_true"),
    }
    emotion = store.index["emotion"].to_numpy().astype(str)
    return found | ({"emotion": emotion} if (emotion != "").all() else {})


# ---------------------------------------------------------------- dependence between experts


def _centred(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    return x - x.mean(0)


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Linear CKA of two sets of features (N, ...) in [0, 1]: 1 for the same features up to rotation and scale."""
    a, b = _centred(a), _centred(b)
    norm = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / norm) if norm > 0 else 0.0


def _gaussian(x: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, N) kernel at the median distance."""
    x = _centred(x)
    square = (x**2).sum(1)
    distance = np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0.0)
    positive = distance[distance > 1e-12]
    return np.exp(-distance / (np.median(positive) if len(positive) else 1.0))


def _doubly_centred(k: np.ndarray) -> np.ndarray:
    return k - k.mean(0) - k.mean(1)[:, None] + k.mean()


def _cosine(ka: np.ndarray, kb: np.ndarray) -> float:
    """Of two centred kernels (N, N): 0 to 1."""
    norm = np.sqrt((ka * ka).sum() * (kb * kb).sum())
    return float((ka * kb).sum() / norm) if norm > 0 else 0.0


def hsic(a: np.ndarray, b: np.ndarray) -> float:
    """Biased HSIC with Gaussian kernels at the median distance, divided by sqrt(HSIC(a,a) HSIC(b,b)): in [0, 1]; for
    N <= 2,000.
    """
    return _cosine(_doubly_centred(_gaussian(a)), _doubly_centred(_gaussian(b)))


def dependence(features: dict[str, np.ndarray], limit: int = 1000, seed: int = 7) -> list[dict]:
    """Rows (a, b, cka, hsic) for every pair of experts, on at most `limit` clips."""
    names = list(features)
    count = len(features[names[0]])
    rows = np.sort(runtime.rng(seed, "dependence").permutation(count)[:limit])
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


KERNELS = {"CKA": lambda x: _centred(x) @ _centred(x).T, "HSIC": _gaussian}


def reshuffled(groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(N,) rows: every subject gets the clips of a random subject with as many clips, in random order.

    So a permutation cuts all that two sets of features share, clip by clip and person by person, and keeps how alike
    one person's clips are. To shuffle single clips would call two experts dependent because each has its own idea of
    every person. A subject whose number of clips nobody shares keeps its clips, in random order. groups: (N,)."""
    groups, out = np.asarray(groups), np.arange(len(groups))
    rows = [np.flatnonzero(groups == one) for one in np.unique(groups)]
    for size in sorted({len(mine) for mine in rows}):
        alike = [mine for mine in rows if len(mine) == size]
        for mine, other in zip(alike, generator.permutation(len(alike))):
            out[mine] = generator.permutation(alike[other])
    return out


def independence(a: np.ndarray, b: np.ndarray, groups: np.ndarray, rounds: int = 200, seed: int = 7) -> dict[str, dict]:
    """Test whether features a (N, ...) and b (N, ...) of the same clips are independent: {"CKA": row, "HSIC": row}.

    row: value; low, high: 95 % by leaving out one subject at a time (jackknife); chance: mean over `rounds`
    permutations (`reshuffled`), which is not 0 with few clips and many columns; p: share of permutations, the true
    order among them, that reach the value. groups: (N,) subject of every clip."""
    groups, generator, found = np.asarray(groups), runtime.rng(seed, "independence"), {}
    orders = [reshuffled(groups, generator) for _ in range(rounds)]
    people = np.unique(groups)
    for name, kernel in KERNELS.items():
        raw = [kernel(x).astype(np.float32) for x in (a, b)]
        ka, kb = map(_doubly_centred, raw)
        value = _cosine(ka, kb)
        shuffled = np.array([_cosine(ka, kb[np.ix_(order, order)]) for order in orders])
        less = [
            _cosine(*(_doubly_centred(k[np.ix_(rest, rest)]) for k in raw)) for rest in (groups != p for p in people)
        ]
        spread = 1.96 * np.sqrt((len(people) - 1) * np.var(less))
        found[name] = {
            "value": value,
            "low": max(value - spread, 0.0),
            "high": min(value + spread, 1.0),
            "chance": float(shuffled.mean()),
            "p": float((1 + (shuffled >= value).sum()) / (1 + rounds)),
        }
    return found


# ---------------------------------------------------------------- probes: which factor can be read from which expert


def measure_of(y: np.ndarray) -> str:
    """How answers about a factor are scored: "auroc" (booleans), "accuracy" (integers, strings) or "r2" (floats)."""
    kind = np.asarray(y).dtype.kind
    return "auroc" if kind == "b" else "accuracy" if kind in "iuUSO" else "r2"


def held_out(
    x: np.ndarray, y: np.ndarray, groups: np.ndarray, seed: int = 7, splits: int = 3
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (rows, answers) per fold: a linear model that was fitted on the other subjects predicts y from tokens x.

    x: (N, ...). y: (N,) labels -> answers (n,) labels; (N, M) numbers or booleans -> answers (n, M) float. A fold whose
    training part holds one label only is left out."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import GroupKFold

    x = np.asarray(x, np.float64).reshape(len(x), -1)
    if len(np.unique(groups)) < 2:
        return  # nobody is left to predict
    for train, test in GroupKFold(min(splits, len(np.unique(groups))), shuffle=True, random_state=seed).split(
        x, groups=groups
    ):
        mean, scale = x[train].mean(0), x[train].std(0) + 1e-6
        a, b = (x[train] - mean) / scale, (x[test] - mean) / scale
        if measure_of(y) == "accuracy":
            if len(np.unique(y[train])) > 1:
                yield test, LogisticRegression(C=LOGISTIC, max_iter=100, tol=1e-3).fit(a, y[train]).predict(b)
        else:  # least squares ranks as well as logistic here, and is one solve
            model = Ridge(alpha=len(a) * RIDGE).fit(a, y[train].astype(np.float64))
            yield test, model.predict(b).reshape(len(b), -1)


def probe(x: np.ndarray, y: np.ndarray, groups: np.ndarray, seed: int = 7, splits: int = 3) -> dict:
    """Linear probe: how well a linear model predicts the factor y from tokens x (N, ...), on subjects that were held
    out.

    y: (N,) integers or strings -> balanced accuracy beside chance; (N,) or (N, M) booleans -> mean AUROC, chance .5;
    (N, M) floats -> mean R2, chance 0. groups: (N,) subject of every clip; folds never share one.
    Returns {"score", "chance", "measure"}; score is NaN when the factor does not vary enough to ask.
    """
    from sklearn.metrics import r2_score, recall_score, roc_auc_score

    y = np.asarray(y)
    measure = measure_of(y)
    if measure != "accuracy":
        y = y.reshape(len(y), -1)
    chance = {"auroc": 0.5, "r2": 0.0}.get(measure, 1.0 / max(len(np.unique(y)), 1))
    scores = []
    for test, predicted in held_out(x, y, groups, seed, splits):
        if measure == "accuracy":  # balanced
            scores.append(recall_score(y[test], predicted, labels=np.unique(y[test]), average="macro"))
            continue
        for column in range(y.shape[1]):
            truth = y[test, column]
            if measure == "auroc" and 0 < truth.sum() < len(truth):
                scores.append(roc_auc_score(truth, predicted[:, column]))
            elif measure == "r2" and truth.std() > 1e-6:
                scores.append(r2_score(truth, predicted[:, column]))
    return {"score": float(np.mean(scores)) if scores else float("nan"), "chance": chance, "measure": measure}


def identity_answers(x: np.ndarray, subject: np.ndarray, seed: int = 7) -> tuple[np.ndarray, np.ndarray] | None:
    """(rows, right): which clips are held out, every second one of a subject in random order, and whether a linear
    discriminant that was fitted on the others names their subject. None for fewer than two subjects or no second clip.

    x: (N, ...) tokens; subject: (N,) labels."""
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    subject = np.asarray(subject)
    order = runtime.rng(seed, "probe-identity").permutation(len(x))
    first: dict = {}
    held = np.zeros(len(x), bool)
    for row in order:
        first[subject[row]] = first.get(subject[row], 0) + 1
        held[row] = first[subject[row]] % 2 == 0
    names, codes = np.unique(subject, return_inverse=True)
    if len(names) < 2 or not held.any():
        return None
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
    return np.flatnonzero(held), nearest == codes[held]


def probe_identity(x: np.ndarray, subject: np.ndarray, seed: int = 7) -> dict:
    """Linear probe of identity: predict a clip's subject from tokens x (N, ...); half of each subject's clips are held
    out.

    Identity cannot be probed on unseen subjects, so here (and only here) the split is by clip. subject: (N,) labels.
    Returns {"score", "chance", "measure"}; NaN where there are fewer than two subjects or no second clip."""
    found = identity_answers(x, subject, seed)
    score, chance = (float(found[1].mean()), 1.0 / len(np.unique(subject))) if found else (float("nan"), float("nan"))
    return {"score": score, "chance": chance, "measure": "accuracy"}


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
