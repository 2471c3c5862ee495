"""How much each kind of evidence says on a benchmark of another seed, by simple readers alone: the targets of `sim-v2`.

`python -m deft.evaluation.information sim-v2` renders people of a seed of its own, reads them with ridge and logistic
regression and prototype Bayes, and prints the table that docs/method.md#sim-v2 sets targets for. No network takes part.
Clips keep onset, apex and hold. Detectors of units learn on corpus people, in two halves: the first fits the ridges of
motion and of texture, the second what is put together of their scores. The benchmark's people are only answered.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from deft import runtime
from deft.clips import benchmark, freeze, keyframes, specs
from deft.clips.facs import EMOTIONS, UNITS
from deft.clips.store import ClipStore
from deft.evaluation.metrics import auroc, recognition_scores
from deft.evaluation.peers import bayes, linear
from deft.faces import regions
from deft.faces.stage import align_set
from deft.motion import courses

SEED = 20270701  # of the people who are rendered for this and for nothing else
SIDE = 16  # cells along each side of the maps that the reader of texture sees
PENALTY = {"motion": 30.0, "texture": 300.0, "structure": 300.0}  # of the ridges, for standardised features


def measured(plans: list[benchmark.ClipPlan], folder: Path) -> dict[str, np.ndarray | pd.DataFrame]:
    """Render plans (onset, apex and hold) and measure them -> index, units (N, 17), features by kind (N, D)."""
    short = [
        dataclasses.replace(p, key_frames=tuple(p.key_frames[k] for k in keyframes.SHORT), apex=1)
        if len(p.key_frames) > len(keyframes.SHORT)
        else p
        for p in plans
    ]
    benchmark.render_set(short, folder / "clips")
    align_set(folder / "clips", folder / "faces")
    courses.measure_set(folder / "clips", folder / "faces", folder / "motion")
    store = ClipStore(folder / "clips")
    motion = {name: runtime.load_array(folder / "motion", name) for name in ("courses", "residual", "region_true")}
    points, gray = runtime.load_array(folder / "faces", "landmarks"), runtime.load_array(folder / "faces", "gray")
    found = {
        "index": store.index,
        "units": store.array("units_true").max(-1) > 0,
        "motion": linear.features("peak+", motion),
        "peak": linear.features("peak", motion),
        "true": linear.features("true", motion),
        "texture": texture(np.asarray(motion["residual"], np.float32), points),
        "structure": structure(gray[:, 0], points),
    }
    if "gains_true" in np.load(store.shards[0]).files:
        found["gains"] = store.array("gains_true")  # (N, 2, 17)
        found["cues"] = store.array("cues_true")
    return found


def texture(residual: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Residuals (N, 2, 64, 64) -> (N, D): region means of change, of its size and of contrast; both maps, coarse."""
    rows = []
    for maps, points in zip(residual, landmarks):
        weights = regions.masks(points / 2, residual.shape[-1]).reshape(36, -1)
        pooled = np.stack([maps[0], np.abs(maps[0]), maps[1], maps[0] ** 2]).reshape(4, -1) @ weights.T
        coarse = cv2.resize(np.moveaxis(maps, 0, -1), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        rows.append(np.concatenate([pooled.ravel(), coarse.ravel()]))
    return np.array(rows, np.float32)


def structure(onset: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The resting face: onset frames (N, S, S) averaged to cells, and its landmarks -> (N, D)."""
    return np.hstack([linear.pixels(np.asarray(onset), SIDE), landmarks.reshape(len(landmarks), -1)])


def ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> Callable[[np.ndarray], np.ndarray]:
    """-> function of features that gives the ridge's answer to y (N, K); features are standardised."""
    scale = StandardScaler().fit(x)
    z, mean = scale.transform(x), y.mean(0)
    weight = np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ (y - mean))
    return lambda new: scale.transform(new) @ weight + mean


class Stacked:
    """Log odds of units (N, 17) from scores by logistic regression over all clips and units: an intercept and a slope
    for each unit and score. Moderators then may scale what each score contributes and add to the whole, alike for all
    units.
    """

    def __init__(self, scores: list[np.ndarray], moderators: list[np.ndarray], units: np.ndarray):
        self.spread = [(one.mean(0), one.std(0)) for one in scores]
        self.first = _logistic(np.hstack(self._parts(scores)), units)
        self.second = _logistic(self._moderated(scores, moderators), units) if moderators else None

    def _parts(self, scores: list[np.ndarray]) -> list[np.ndarray]:
        """(N * 17, 17) for the intercepts and for each score: its standardised value in the column of its unit."""
        z = [((one - mean) / spread).ravel() for one, (mean, spread) in zip(scores, self.spread)]
        unit = np.tile(np.eye(len(UNITS)), (len(scores[0]), 1))
        return [unit, *(one[:, None] * unit for one in z)]

    def _moderated(self, scores: list[np.ndarray], moderators: list[np.ndarray]) -> np.ndarray:
        slopes = np.split(self.first.coef_[0], len(scores) + 1)
        given = np.stack([part @ slope for part, slope in zip(self._parts(scores), slopes)], 1)
        m = np.stack([one.ravel() for one in moderators], 1)
        return np.hstack([given, m, *(given[:, [k + 1]] * m for k in range(len(scores)))])

    def __call__(self, scores: list[np.ndarray], moderators: list[np.ndarray] = ()) -> np.ndarray:
        model, x = self.first, None
        if self.second is not None:
            model, x = self.second, self._moderated(scores, list(moderators))
        return model.decision_function(np.hstack(self._parts(scores)) if x is None else x).reshape(-1, len(UNITS))


def _logistic(x: np.ndarray, units: np.ndarray) -> LogisticRegression:
    return LogisticRegression(C=1.0, max_iter=2000).fit(x, units.ravel())


def log_loss(logit: np.ndarray, units: np.ndarray) -> float:
    """Mean of minus the log of the probability given to what is true, over clips and units."""
    return float(np.logaddexp(0.0, np.where(units, -logit, logit)).mean())


def mean_auroc(score: np.ndarray, units: np.ndarray) -> float:
    """Mean over the units that occur and are missing at least once."""
    return float(
        np.mean([auroc(units[:, u], score[:, u]) for u in range(units.shape[1]) if 0 < units[:, u].mean() < 1])
    )


def report(corpus: dict, bench: dict, folds: pd.DataFrame, seed: int = 7) -> pd.DataFrame:
    """The table: columns what, value, target."""
    rows: list[tuple[str, float, str]] = []
    index = bench["index"]
    for kind, name in (
        ("peak", "motion"),
        ("texture", "texture"),
        ("structure", "resting face"),
        ("true", "true motion"),
    ):
        uf1 = linear.scores(linear.fit_predict(bench[kind], index, folds, seed))["broken"]["uf1"]
        rows.append((f"UF1 of a linear reader, {name}", uf1, "-" if kind == "true" else "<= .75"))
    people = sorted(set(corpus["index"].subject))
    first = np.isin(corpus["index"].subject, people[::2])
    y, later = corpus["units"].astype(float), ~first

    def crossed(kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Scores of the corpus, each half by the ridge of the other, and of the benchmark, by both."""
        a, b = (ridge(corpus[kind][half], y[half], PENALTY[kind]) for half in (first, later))
        own = np.where(first[:, None], b(corpus[kind]), a(corpus[kind]))
        return own, (a(bench[kind]) + b(bench[kind])) / 2

    (motion, motion_new), (textured, textured_new) = crossed("motion"), crossed("texture")
    units, truth = bench["units"], index["emotion"].to_numpy()
    rate = np.clip(y.mean(0), 0.01, 0.99)
    readers = {
        "motion": ([motion], [motion_new], [], []),
        "texture": ([textured], [textured_new], [], []),
        "motion and texture": ([motion, textured], [motion_new, textured_new], [], []),
    }
    if "gains" in corpus:
        log, log_new = np.log(corpus["gains"]), np.log(bench["gains"])  # (N, 2, 17)
        person = corpus["index"].subject.to_numpy()
        known = np.unique(person, return_index=True)[1]  # one row of each person teaches what shows at rest
        guess = ridge(corpus["structure"][known], log[known].reshape(len(known), -1), PENALTY["structure"])
        seen, seen_new = (guess(one["structure"]).reshape(-1, 2, len(UNITS)) for one in (corpus, bench))
        both, both_new = [motion, textured], [motion_new, textured_new]
        readers["both, true gains as moderator"] = (
            both,
            both_new,
            [log[:, 0], log[:, 1]],
            [log_new[:, 0], log_new[:, 1]],
        )
        readers["both, resting face as moderator"] = (
            both,
            both_new,
            [seen[:, 0], seen[:, 1]],
            [seen_new[:, 0], seen_new[:, 1]],
        )
    losses, areas, classes = {}, {}, {}
    for name, (s, s_new, m, m_new) in readers.items():
        logit = Stacked(s, m, corpus["units"])(s_new, m_new)
        losses[name], areas[name] = log_loss(logit, units), mean_auroc(logit, units)
        p = bayes.probabilities(1 / (1 + np.exp(-logit)), rate)  # blind to looks: both conditions count
        classes[name] = recognition_scores(truth, np.array(EMOTIONS)[p.argmax(1)], EMOTIONS)["uf1"]
        rows += [(f"unit AUROC, {name}", areas[name], "-"), (f"unit log loss, {name}", losses[name], "-")]
        rows.append((f"UF1 of Bayes, {name}", classes[name], "-"))
    rows.append(("unit AUROC, texture beside motion", areas["motion and texture"] - areas["motion"], "+.02 to +.04"))
    rows.append(
        ("UF1 of Bayes, texture beside motion", classes["motion and texture"] - classes["motion"], "+.03 to +.06")
    )
    for name in list(readers)[3:]:
        rows.append((f"unit log loss, {name[6:]}", losses[name] - losses["motion and texture"], "-.01"))
    return pd.DataFrame(rows, columns=["what", "value", "target"])


def measure(
    spec: specs.BenchmarkSpec, folder: Path, people: int = 12, clips: int = 14, corpus: tuple[int, int] = (72, 10)
) -> pd.DataFrame:
    """Render into `folder` and read: `people` for each camera, `clips` of each in both conditions, a corpus of (people,
    clips of each).
    """
    spec = dataclasses.replace(spec, seed=SEED)
    plans = benchmark.plan_bench(spec, subjects_per_dataset=people, clips_per_subject=clips)
    with threadpool_limits(1):
        bench = measured(plans, folder / "bench")
        return report(
            measured(benchmark.plan_corpus(spec, *corpus), folder / "corpus"), bench, benchmark.folds_of(plans, 3, 7)
        )


def main() -> None:
    """Command line: name a benchmark, with --without the devices that are switched off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=sorted(specs.SPECS))
    parser.add_argument("--without", nargs="+", default=(), help="devices of sim-v2 that are switched off")
    parser.add_argument("--people", type=int, default=12, help="people for each camera")
    parser.add_argument("--clips", type=int, default=14, help="clips of each person in each condition")
    parser.add_argument("--corpus", type=int, nargs=2, default=(72, 10), help="people and clips of each")
    parser.add_argument("--work", type=Path, help="keep the renderings here (default: a temporary folder)")
    parser.add_argument("--freeze", action="store_true", help="write the frozen record, with the table beside it")
    args = parser.parse_args()
    spec = specs.SPECS[args.benchmark]
    spec = specs.without(spec, *args.without) if args.without else spec
    with tempfile.TemporaryDirectory() as temporary:
        table = measure(spec, args.work or Path(temporary), args.people, args.clips, tuple(args.corpus))
    if args.freeze:
        freeze.freeze(spec, information=table.to_dict("records"))
    print(f"{spec.version}, seed {SEED}")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))


if __name__ == "__main__":
    main()
