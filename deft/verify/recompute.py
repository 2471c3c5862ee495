"""Tables again, from the answers and stored features, by a short path of its own: scikit-learn and pandas, nothing of `deft.evaluation`.

Point values only: intervals are resampled, so another generator gives other bounds; that they enclose their value is checked.
Everything is read from work/<profile>, or from the folder of a committed source with the same names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

TOLERANCE = 5e-4
Numbers = dict[tuple[str, str], float]  # (row, column) -> number
CONSTANT = ("lr-flow", "lr-experts", "bayes-experts", "lr-pixels", "majority", "template")  # one answer stands for every draw
ALONE = {"deft-s": "structure", "deft-t": "texture", "deft-m": "motion"}


def answers(path: Path, *more: Path) -> pd.DataFrame:
    """Rows of predictions (.jsonl or .jsonl.gz) of one or several files; `set` is bench or heldback."""
    frame = pd.concat([pd.read_json(p, lines=True, dtype={"clip": str, "subject": str, "text": str}) for p in (path, *more) if p.is_file()], ignore_index=True)
    told = frame["set"] if "set" in frame else pd.Series([None] * len(frame))
    frame["set"] = told.where(told.notna(), np.where(frame["fold"] == -1, "heldback", "bench"))
    return frame


def scores(truth: np.ndarray, said: np.ndarray, classes: int) -> dict[str, float]:
    """UF1, UAR and accuracy of numbered classes; `classes` stands for an answer outside the vocabulary. As scikit-learn's macro F1 and recall."""
    table = np.bincount(truth * (classes + 1) + said, minlength=classes * (classes + 1)).reshape(classes, classes + 1)
    hit, true, answered = np.diag(table), table.sum(1), table.sum(0)[:classes]
    return {"uf1": float((2 * hit / np.maximum(true + answered, 1)).mean()), "uar": float((hit / np.maximum(true, 1)).mean()), "accuracy": float(hit.sum() / true.sum())}


def recognition(rows: pd.DataFrame, classes: list[str]) -> dict[str, float]:
    """UF1, UAR, accuracy, NLL and the spread of UF1, each the mean over draws."""
    number, each = {name: place for place, name in enumerate(classes)}, []
    for _, part in rows.groupby("seed"):
        truth, said = (part[name].map(lambda word: number.get(word, len(classes))).to_numpy(int) for name in ("truth", "prediction"))
        given = [max(float(given[name]), 1e-6) for given, name in zip(part["scores"], part["truth"])]
        each.append({**scores(truth, said, len(classes)), "nll": float(-np.log(given).mean())})
    frame = pd.DataFrame(each)
    return {**frame.mean().to_dict(), **({"uf1_draw_sd": float(frame["uf1"].std())} if len(frame) > 1 else {})}


def paired(a: pd.DataFrame, b: pd.DataFrame, constant: set) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Both on the clips that both answered and, unless one of them is the same in every draw, on the draws that both have."""
    clips, draws = set(a["clip"]) & set(b["clip"]), set(a["seed"]) & set(b["seed"])
    if not clips or not (draws or constant):
        return None
    return tuple(side[side["clip"].isin(clips) & (side["seed"].isin(draws) if not constant else True)] for side in (a, b))


def t2(frame: pd.DataFrame) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """({system, set, condition}, {column: number}) of every answered row."""
    classes, parts = sorted(frame["scores"].iloc[0]), dict(list(frame.groupby(["set", "system", "condition"])))
    whole = {key: recognition(rows, classes) for key, rows in parts.items()}
    for (part, system, condition), rows in parts.items():
        found = {"clips": rows["clip"].nunique(), "draws": rows["seed"].nunique(), **whole[part, system, condition]}
        if {(part, system, "kept"), (part, system, "broken")} <= whole.keys():
            found["kept_minus_broken"] = whole[part, system, "kept"]["uf1"] - whole[part, system, "broken"]["uf1"]
        for other, column, sign in (("deft", "deft_minus", 1), ("deft", "all_minus", 1), ("majority", "over_majority", -1)):
            theirs = parts.get((part, other, condition))
            if system != other and theirs is not None and (pair := paired(theirs, rows, {system, other} & set(CONSTANT))):
                one, two = (recognition(side, classes) for side in pair)
                found |= {column: sign * (one["uf1"] - two["uf1"]), f"{column}_nll": sign * (one["nll"] - two["nll"])}
        yield {"system": str(system), "set": str(part), "condition": str(condition)}, found


def unit_auroc(truth: np.ndarray, score: np.ndarray, least: int = 10) -> float:
    """Mean area under the curve of the (unit, side) columns with at least `least` clips of either kind. (N, 17, 2) each."""
    truth, score = truth.reshape(len(truth), -1), score.reshape(len(score), -1)
    often = [c for c in range(truth.shape[1]) if least <= truth[:, c].sum() <= len(truth) - least]
    return float(np.mean([roc_auc_score(truth[:, c], score[:, c]) for c in often])) if often else float("nan")


def units_true(work: Path) -> tuple[list[str], np.ndarray]:
    """Names of the benchmark's clips and true intensity (N, 17, 2), straight from the shards."""
    clips, arrays = [], []
    for path in sorted((work / "clips" / "bench").glob("*.npz")):
        with np.load(path, allow_pickle=False) as shard:
            clips += [row["clip"] for row in json.loads(str(shard["_header"]))["rows"]]
            arrays.append(shard["units_true"])
    return clips, np.concatenate(arrays) if arrays else np.zeros((0, 17, 2))


def of_work(work: Path) -> dict[str, list[tuple[dict[str, str], dict[str, float]]]]:
    """{table: [(what names the row, numbers)]} of one finished work folder."""
    found = of_answers(answers(work / "predictions.jsonl", work / "predictions_heldback.jsonl"))
    truth = units_true(work)[1] > 0
    for where, numbers in found["T3"]:
        path = work / "features" / "bench" / f"{ALONE.get(where['system'], '')}_units.npy"
        if len(truth) and where["system"] in ALONE and path.is_file():
            numbers["unit_auroc"] = unit_auroc(truth, np.load(path, allow_pickle=False))
    return found


def of_source(folder: Path) -> dict[str, list[tuple[dict[str, str], dict[str, float]]]]:
    """The same from the committed answers of a reference."""
    return of_answers(answers(folder / "predictions.jsonl.gz"))


def of_answers(frame: pd.DataFrame) -> dict[str, list[tuple[dict[str, str], dict[str, float]]]]:
    """What the answers alone give: T2 and the scores of T3."""
    recognised = list(t2(frame))
    return {"T2": recognised, "T3": [({name: where[name] for name in ("system", "condition")}, dict(numbers)) for where, numbers in recognised if where["set"] == "bench"]}


def differences(again: list[tuple[dict[str, str], dict[str, float]]], table: list[dict[str, str]]) -> tuple[int, list[str]]:
    """-> (numbers compared, differences in words). table: rows of the CSV. Of intervals only their order is checked."""
    found, compared = [], 0
    for row in table:
        named = ", ".join(v for k, v in row.items() if k in ("system", "set", "condition", "construction") and v)
        for column in row:
            if column.endswith("_low") and row[column] and float(row[column]) > float(row[column.removesuffix("_low") + "_high"]):
                found.append(f"{named}, {column}: {row[column]} lies above its upper bound")
        if row.get("kind") == "reported":
            continue
        mine = [numbers for where, numbers in again if all(row.get(name, value) == value for name, value in where.items())]
        if not mine:
            found.append(f"{named}: stands in the table and not in the answers")
            continue
        for column, number in mine[0].items():
            if row.get(column, "") == "" or number != number:
                continue
            compared += 1
            if abs(float(row[column]) - number) > TOLERANCE + 5e-5:
                found.append(f"{named}, {column}: the table says {row[column]}, its answers give {number:.4f}")
    return compared, found
