"""T5: who knows what, and how far two experts tell the same story (claims C1 and C4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.store import ClipStore
from deft.evaluation import metrics, unique
from deft.evaluation.peers import linear
from deft.evaluation.tables.present import Column, Page, Part, figure, highest, listed, quote, said
from deft.evaluation.unique import OWN
from deft.experts import draws, probes
from deft.systems import DEFT, STREAMS, SYSTEMS

ROUNDS = 10  # permutations of the labels; `chance` is their mean
TESTS = 200  # permutations of the tests of independence
TOGETHER, ALONE = "dependence", "unique information"
DECISIONS, LOSS = "unit decisions", "log loss"
EXPERTS = tuple(STREAMS.values())
Statistic = Callable[[np.ndarray], np.ndarray]  # weights of the subjects (B, S) -> (B, scores that are averaged)


def t5(profile: str, seed: int = 7) -> pd.DataFrame:
    """Disentanglement: what linear probes read from each expert's tokens, and how dependent the experts are.

    Probes (`deft.experts.probes`) are fitted on some subjects and score others (identity: on other clips of the same
    subjects), on validation people of the corpus; for `emotion`, on the benchmark's clips with the tie broken. `value`:
    mean over the draws of the experts; `over_others*`: of an expert at its own factor (OWN), less the better of the
    other two. `chance`: the same with the labels reshuffled over people and clips; R² is then
    below 0, for a fit to nothing errs on new people. Rows of two experts: linear CKA and HSIC of their tokens, of the
    first draw, and `p` of the test of independence. `low`, `high`: 95 % by leaving out one subject at a time
    (jackknife), and over draws where several were made; nothing is fitted anew. The bootstrap of the other tables would
    bend R²: a sample with repeated faces varies less."""
    work, rows = paths.work(profile), []
    corpus, bench = (Asked(work, which) for which in ("corpus", "bench"))
    read: dict[tuple[str, str], list[Statistic]] = {}
    for name, tokens in corpus.tokens.items():
        answers = [probes.identity_answers(x, corpus.people, seed) for x in tokens]
        order = [runtime.rng(seed, "t5/identity", n).permutation(len(corpus.people)) for n in range(ROUNDS)]
        chance = [probes.identity_answers(tokens[0], corpus.people[one], seed)[1].mean() for one in order]
        known = [lambda weight, a=a: corpus.share(weight, *a) for a in answers]
        rows.append(corpus.row(name, "identity", probes.MEASURES["accuracy"], known, float(np.mean(chance))))
        for factor in probes.FACTORS[1:]:
            asked = bench if factor == "emotion" else corpus
            row, read[name, factor] = _probed(asked, name, factor, seed)
            rows.append(row)
    for row in rows:
        if OWN.get(row["expert"]) == row["factor"]:
            row |= _over_others(corpus, read, row["expert"], row["factor"])
    rows += alone(bench, seed)
    first = {name: tokens[0] for name, tokens in corpus.tokens.items() if name in SYSTEMS[DEFT].parts}
    for i, a in enumerate(first):
        for b in list(first)[i + 1 :]:
            found = probes.independence(first[a], first[b], corpus.people, TESTS, seed)
            about = corpus.about | {"what": TOGETHER, "expert": f"{a} + {b}", "factor": TOGETHER, "draws": 1}
            rows += [about | {"metric": metric, **row} for metric, row in found.items()]
    return pd.DataFrame(rows).round(4)


class Asked:
    """The clips of one set that are asked about: tokens of every draw of every expert, true factors, subjects."""

    def __init__(self, work: Path, which: str, experts: tuple[str, ...] = EXPERTS):
        store = ClipStore(work / "clips" / which)
        asked = store.index["split"] == "validation" if which == "corpus" else store.index["condition"] == "broken"
        rows = np.flatnonzero(asked)
        self.index = store.index.iloc[rows].reset_index(drop=True)
        self.moved = store.array("units_true")[rows] > 0  # (N, 17, 2)
        self.factors = {name: y[rows] for name, y in probes.factors(store, work, which).items()}
        self.people = self.index["subject"].to_numpy()
        names, self.where = np.unique(metrics.subject_of(self.index), return_inverse=True)
        self.count = len(names)
        self.about = {"kind": "simulated", "what": "probe", "clips": len(rows), "subjects": len(names)}
        folders = [paths.of_draw(work / "features", draw) / which for draw in range(draws.count(work))]
        self.read = lambda name: [np.asarray(runtime.load_array(folder, name))[rows] for folder in folders]
        self.tokens = {name: self.read(name) for name in experts}

    def row(self, expert: str, factor: str, metric: str, known: list[Statistic], chance: float) -> dict:
        """One row of T5. known: the statistic of every draw."""
        value, low, high = self.interval(known)
        return self.about | {
            "expert": expert,
            "factor": factor,
            "metric": metric,
            "value": value,
            "low": low,
            "high": min(high, 1.0),
            "chance": chance,
            "draws": len(known),
        }

    def interval(self, known: list[Statistic]) -> tuple[float, float, float]:
        """(mean over draws, low, high) of a statistic, by the jackknife over subjects and over draws."""
        count = self.count
        values = np.array([metrics.known_mean(statistic(np.ones((1, count))))[0] for statistic in known])
        less = np.mean([metrics.known_mean(statistic(1 - np.eye(count))) for statistic in known], axis=0)
        spread = (count - 1) * less.var() + (values.var(ddof=1) / len(values) if len(values) > 1 else 0)
        value, reach = float(values.mean()), 1.96 * float(np.sqrt(spread))
        return value, value - reach, value + reach

    def share(self, weight: np.ndarray, rows: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Statistic: the share of the clips `rows` that is right."""
        counted = [np.bincount(self.where[rows], part, self.count) for part in (right, np.ones(len(rows)))]
        return metrics.divide(*(weight @ part for part in counted))[:, None]

    def scores(self, rows: np.ndarray, truth: np.ndarray, told: np.ndarray, metric: str) -> Statistic:
        """Statistic of one fold as `probes.probe` scores it: recall of every class, or a score per column."""
        where, count = self.where[rows], self.count
        if metric == "accuracy":
            right = [np.bincount(where, (truth == c) & (told == c), count) for c in np.unique(truth)]
            there = [np.bincount(where, truth == c, count) for c in np.unique(truth)]
            return lambda weight: metrics.known_mean(
                metrics.divide(weight @ np.transpose(right), weight @ np.transpose(there))
            )[:, None]
        truth = truth.reshape(len(truth), -1)
        if metric == "auroc":
            pairs = [metrics.concordance(truth[:, c], told[:, c], where, count) for c in range(truth.shape[1])]
            return lambda weight: np.stack(
                [metrics.divide((weight @ r * weight).sum(1), (weight @ p) * (weight @ n)) for p, n, r in pairs], axis=1
            )
        varies = truth.std(axis=0) > 1e-6
        y, wrong = truth[:, varies].astype(np.float64), (truth - told)[:, varies].astype(np.float64)
        sums = np.zeros((count, 3, y.shape[1]))
        np.add.at(sums, where, np.stack([y, y**2, wrong**2], axis=1))
        number = np.bincount(where, minlength=count)

        def r2(weight: np.ndarray) -> np.ndarray:
            total, square, lost = np.moveaxis(np.tensordot(weight, sums, axes=1), 1, 0)
            return 1 - metrics.divide(lost, square - total**2 / np.maximum(weight @ number, 1)[:, None])

        return r2


def _probed(asked: Asked, expert: str, factor: str, seed: int) -> tuple[dict, list[Statistic]]:
    """(the row, the statistic of every draw)."""
    y = np.asarray(asked.factors[factor])
    metric = probes.measure_of(y)
    orders = [probes.reshuffled(asked.people, runtime.rng(seed, f"t5/{factor}", n)) for n in range(ROUNDS)]
    shuffled = [y[order] for order in orders]
    if metric != "accuracy":  # one model reads all of them at once
        shuffled = [np.concatenate([one.reshape(len(y), -1) for one in shuffled], axis=1)]

    def statistic(tokens: np.ndarray, labels: np.ndarray) -> Statistic:
        folds = [
            asked.scores(rows, labels[rows], told, metric)
            for rows, told in probes.held_out(tokens, labels, asked.people, seed)
        ]
        if not folds:  # so few people that no training part shows two labels
            return lambda weight: np.full((len(weight), 1), np.nan)
        return lambda weight: np.concatenate([fold(weight) for fold in folds], axis=1)

    alone = np.ones((1, asked.count))
    chance = [metrics.known_mean(statistic(asked.tokens[expert][0], one)(alone))[0] for one in shuffled]
    known = [statistic(tokens, y) for tokens in asked.tokens[expert]]
    return asked.row(expert, factor, probes.MEASURES[metric], known, float(np.mean(chance))), known


def _over_others(asked: Asked, read: dict[tuple[str, str], list[Statistic]], expert: str, factor: str) -> dict:
    """Columns `over_others*`: an expert at its own factor less the better of the other experts of DEFT, paired."""
    others = [name for name in OWN if name != expert]
    best = max(others, key=lambda name: asked.interval(read[name, factor])[0])
    pairs = zip(read[expert, factor], read[best, factor])
    known = [lambda w, a=a, b=b: (metrics.known_mean(a(w)) - metrics.known_mean(b(w)))[:, None] for a, b in pairs]
    return dict(zip(("over_others", "over_others_low", "over_others_high"), asked.interval(known)))


def alone(asked: Asked, seed: int) -> list[dict]:
    """Rows of what each expert alone knows of the units (`deft.evaluation.unique`): log loss of all three less that of
    the other two, below 0 where it is missed. chance: with what it says dealt to other people's clips, first draw."""
    experts, everything, rows = tuple(OWN), np.arange(len(asked.people)), []
    odds = {
        name: [linear.logits(p) for p in asked.read(f"{name}_units")] for name in experts if name in unique.SPEAKING
    }
    said = [
        unique.Said(
            {name: told[draw].reshape(asked.moved.shape) for name, told in odds.items()},
            resting.reshape(len(everything), -1).astype(np.float64),
            asked.moved,
            asked.people,
        )
        for draw, resting in enumerate(asked.tokens[unique.STRUCTURE])
    ]
    whole = [unique.losses(one, experts) for one in said]
    order = probes.reshuffled(asked.people, runtime.rng(seed, "t5/unique"))
    for name in experts:
        rest = [unique.losses(one, [other for other in experts if other != name]) for one in said]
        known = [lambda w, d=a - b: asked.share(w, everything, d) for a, b in zip(whole, rest)]
        chance = float((unique.losses(said[0].shuffled(name, order), experts) - rest[0]).mean())
        rows.append(asked.row(name, DECISIONS, LOSS, known, chance) | {"what": ALONE})
    return rows


# ---------------------------------------------------------------- the page
ENDS = ("low", "high")


def _read_best(part: pd.DataFrame) -> list[str]:
    part = part.dropna(subset=["value"])
    best = part.loc[part.groupby("factor", sort=False)["value"].idxmax()]
    words = [f"{row.factor} from {row.expert} ({quote(row, 'value', ends=ENDS)})" for _, row in best.iterrows()]
    own, told = part[part.expert.isin(OWN)].pivot(index="expert", columns="factor", values="value"), []
    for expert, factor in OWN.items():
        if factor not in own:
            continue
        mine, other = own[factor][expert], own[factor].drop(expert)
        leads = "leads" if mine > other.max() else "does not lead"
        told.append(f"{expert} {leads} at {factor} ({figure(mine)}, {other.idxmax()} {figure(other.max())})")
    return [f"Read best: {listed(words)}.", f"Of the three experts at their own factor: {listed(told)}."]


def _by_chance(part: pd.DataFrame) -> list[str]:
    return [said("Highest by chance: {}.", highest(part, "chance", "factor"))]


def _missed(part: pd.DataFrame) -> list[str]:
    words = [
        f"{row.expert} {quote(row, 'value', 4, ENDS)}"
        + (" (known to it alone)" if row.high < 0 else " (missed by nobody)" if row.low > 0 else "")
        for _, row in part.iterrows()
    ]
    return [f"Log loss of a clip (nats), all three less that without it: {listed(words)}."]


def _dependent(part: pd.DataFrame) -> list[str]:
    words = [
        f"{row.expert} {figure(row['value'])} against {figure(row.chance)} in shuffled clips (p {figure(row.p)})"
        for _, row in part[part.metric == "HSIC"].iterrows()
    ]
    return [f"HSIC: {listed(words)}."]


PAGE = Page(
    (
        Part(
            "what linear probes read from each expert's tokens",
            (Column("Factor", "factor"), Column("Measure", "metric")),
            tuple(Column(name, "value", {"expert": name}, best=max, ends=ENDS) for name in EXPERTS),
            _read_best,
            {"what": "probe"},
            along=True,
        ),
        Part(
            "chance, the same probes with reshuffled labels",
            (Column("Factor", "factor"), Column("Measure", "metric")),
            tuple(Column(name, "chance", {"expert": name}) for name in EXPERTS),
            _by_chance,
            {"what": "probe"},
        ),
        Part(
            "what an expert alone knows of 34 unit decisions a clip",
            (Column("Expert", "expert"),),
            (
                Column("Log loss of a clip, all three less the other two", "value", digits=4, ends=ENDS),
                Column("With what it says dealt to other people", "chance", digits=4),
            ),
            _missed,
            {"what": ALONE},
        ),
        Part(
            "dependence between experts",
            (Column("Experts", "expert"),),
            tuple(
                column
                for metric in probes.KERNELS
                for column in (
                    Column(f"{metric}", "value", {"metric": metric}, ends=ENDS),
                    Column(f"{metric}, shuffled clips", "chance", {"metric": metric}),
                    Column(f"p of {metric}", "p", {"metric": metric}),
                )
            ),
            _dependent,
            {"what": TOGETHER},
        ),
    ),
    "Brackets: 95 % intervals, one subject left out at a time (jackknife). Accuracies are balanced but for identity."
    " Probes are fitted on some people and score others; identity: on other clips of the same people. Shuffled clips:"
    " every person gets the clips of another.",
)
