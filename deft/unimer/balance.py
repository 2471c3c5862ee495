"""Stratified splits by subject: every word, unit and answer has its share in each, so that no rare unit and no "no" is
in one split only.

Subjects are indivisible, so balance is approximate: the rarest things are dealt first (iterative stratification,
Sechidis, Tsoumakas and Vlahavas, ECML 2011, here with whole subjects), then subjects are moved or exchanged as long as
that helps. The paper does not say how its splits were made. `report` tells what subjects did not permit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from deft import runtime
from deft.unimer.facts import Facts, UnitFact
from deft.unimer.kinds import KINDS
from deft.unimer.wording import tokens

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
STARTS = 5  # first deals; the best outcome is kept


def items(record: Mapping) -> Counter:
    """What a record contributes to the balance of the splits: its kind, words, units stated or denied, and its yes
    or no (by unit, too).
    """
    stated = Facts.from_json(record["stated"])
    found = Counter({f"kind {record['kind']}": 1, f"set {record['dataset']}": 1})
    found.update(f"word {word}" for word in set(tokens(record["answer"])) if word.isalnum())
    found.update(f"unit {fact.code}" for fact in stated.units)
    if stated.emotion:
        found[f"emotion {stated.emotion}"] = 1
    if KINDS[record["kind"]].yes_no:
        yes = not stated.denied
        found[f"answer {'yes' if yes else 'no'}"] = 1
        found.update(
            f"{'yes' if yes else 'no'} to unit {fact.code}"
            for fact in (*stated.units, *stated.denied)
            if isinstance(fact, UnitFact)
        )
    return found


def counts(records: Iterable[Mapping]) -> pd.DataFrame:
    """(S subjects, I items) how often; the index is (dataset, subject), because two sets may both have a subject 1."""
    table: dict[tuple[str, str], Counter] = {}
    for record in records:
        table.setdefault((record["dataset"], record["subject"]), Counter()).update(items(record))
    if not table:
        raise ValueError("no records to split; run 05_uni_mer first")
    return pd.DataFrame.from_dict(table, orient="index").fillna(0).sort_index().sort_index(axis=1)


def split(
    records: Iterable[Mapping], shares: Mapping[str, float] | None = None, seed: int = 7
) -> dict[tuple[str, str], str]:
    """(dataset, subject) -> name of its split; every subject is in exactly one, and no split is empty.

    shares: {name: share of everything}, adding up to 1. Raises ValueError when there are fewer subjects than splits.
    """
    shares = dict(SHARES if shares is None else shares)
    if abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) <= 0:
        raise ValueError(f"shares must be positive and add up to 1, got {shares}")
    table = counts(records)
    if len(table) < len(shares):
        raise ValueError(f"{len(table)} subjects cannot fill {len(shares)} splits; bring more subjects or fewer splits")
    whole = table.to_numpy(float)
    # Between 1/sqrt(n), by which chance errors of all items weigh alike, and 1/n, by which a word of one subject rules
    # the split.
    weight = whole.sum(0) ** -0.75
    target = np.outer(list(shares.values()), whole.sum(0))
    tries = [
        _improve(whole, target, weight, _deal(whole, target, runtime.rng(seed, "unimer/balance", start)))
        for start in range(STARTS)
    ]
    place = min(
        tries, key=lambda place: sum(_cost(whole[place == k].sum(0), target[k], weight) for k in range(len(shares)))
    )
    return {subject: list(shares)[k] for subject, k in zip(table.index, place)}


def _cost(part: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(..., I) counts in a split -> (...) weighted squared distance from its target, divided by the split's size."""
    return np.square((part - target) * weight).sum(-1) / target.sum()


def _deal(whole: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, I) counts, (K, I) wanted counts -> (S,) first assignment: each subject goes where its rarest item is
    missed most.
    """
    place, left = np.full(len(whole), -1), target.copy()
    order = rng.permutation(len(whole))  # ties fall by chance, not by name
    common = whole.sum(0)
    for subject in sorted(order, key=lambda s: common[whole[s] > 0].min()):
        rarest = np.flatnonzero(whole[subject] > 0)[common[whole[subject] > 0].argmin()]
        need = left[:, rarest] / target[:, rarest] + left.sum(1) / target.sum(1)
        place[subject] = need.argmax()
        left[place[subject]] -= whole[subject]
    for k in set(range(len(target))) - set(place):  # an empty split takes from the largest
        sizes = np.bincount(place, minlength=len(target))
        place[np.flatnonzero(place == sizes.argmax())[0]] = k
    return place


def _improve(whole: np.ndarray, target: np.ndarray, weight: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Move or exchange subjects as long as the weighted squared distance from `target` falls; the best step first."""
    place, splits = place.copy(), len(target)
    sums = np.stack([whole[place == k].sum(0) for k in range(splits)])

    while True:
        now, best, step = [float(_cost(sums[k], target[k], weight)) for k in range(splits)], 0.0, None
        for a in range(splits):
            for b in range(splits):
                mine, theirs = np.flatnonzero(place == a), np.flatnonzero(place == b)
                if a == b or len(mine) < 2:
                    continue
                back = np.concatenate(
                    [np.zeros((1, whole.shape[1])), whole[theirs]]
                )  # row 0: nobody comes back, a plain move
                for subject in mine:
                    change = back - whole[subject]
                    gain = (
                        _cost(sums[a] + change, target[a], weight)
                        + _cost(sums[b] - change, target[b], weight)
                        - now[a]
                        - now[b]
                    )
                    if gain.min() < best - 1e-12:
                        best, step = float(gain.min()), (subject, a, b, int(gain.argmin()), theirs)
        if step is None:
            return place
        subject, a, b, other, theirs = step
        change = -whole[subject] + (whole[theirs[other - 1]] if other else 0)
        sums[a] += change
        sums[b] -= change
        place[subject] = b
        if other:
            place[theirs[other - 1]] = a


def report(
    records: Iterable[Mapping], assignment: Mapping[tuple[str, str], str], shares: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """One row per item: how often, by how many subjects, the share in each split, and the largest distance from the
    wanted share.
    """
    shares = dict(SHARES if shares is None else shares)
    table = counts(records)
    if absent := [subject for subject in table.index if tuple(subject) not in assignment]:
        raise ValueError(f"subject {absent[0]} has records and no split")
    place = np.array([assignment[tuple(subject)] for subject in table.index])
    whole = table.sum(0)
    out = pd.DataFrame({"count": whole.astype(int), "subjects": (table > 0).sum(0)})
    for name in shares:
        out[name] = (table[place == name].sum(0) / whole).round(4)
    out["off"] = np.abs(out[list(shares)] - list(shares.values())).max(axis=1).round(4)
    return out.rename_axis("item").sort_values(["off", "count"], ascending=[False, False])


def yes_shares(records: Iterable[Mapping], assignment: Mapping[tuple[str, str], str]) -> pd.Series:
    """Share of yes among the answers of yes-no kinds, per split: near one half, or a model may guess."""
    rows = [
        (assignment[(r["dataset"], r["subject"])], items(r)["answer yes"]) for r in records if KINDS[r["kind"]].yes_no
    ]
    return pd.DataFrame(rows, columns=["split", "yes"]).groupby("split")["yes"].mean().round(4)
