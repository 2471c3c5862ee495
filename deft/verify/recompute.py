"""Tables again, from the answers and stored features, by a short path of its own: scikit-learn and pandas, nothing of
`deft.evaluation`.

T2; T3 but for the probes; T7 but for BLEU and ROUGE; of T4 what models trained on a construction score; of T1, from a
work folder alone, the shares by the truth and the AUROC. Not: T1's shares by flow and its counts of Uni-MER, T4's rows
of statements, T8, T8b, T9. Point values only; of intervals the order of the bounds is checked here, the bounds
themselves in `deft.verify.again.made_again`. Everything is read from work/<profile>, or from the folder of a committed
source with the same names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from deft.verify import reader

TOLERANCE = 5e-4
Numbers = dict[tuple[str, str], float]  # (row, column) -> number
CONSTANT = (
    "lr-flow",
    "lr-experts",
    "bayes-experts",
    "lr-pixels",
    "majority",
    "template",
    "lbptop",
    "mdmo",
    "biwoof",
    "dynamic-image",
)  # one answer stands for every draw
TAUGHT = {
    "none": "deft-none",
    "au": "deft-au",
    "flow": "deft-flow",
    "both": "deft",
}  # construction of T4 -> the system tuned on it
FALLS = {
    "kept_minus_broken": "",
    "kept_minus_broken_over_blind": "bayes-experts",
    "kept_minus_broken_over_deft": "deft",
}  # column of T2 -> less whose
SPOKEN = ("uf1", "unit_f1", "motion_f1", "precision", "unsupported")
ALONE = {"deft-s": "structure", "deft-t": "texture", "deft-m": "motion"}


def answers(path: Path, *more: Path) -> pd.DataFrame:
    """Rows of predictions (.jsonl or .jsonl.gz) of one or several files; `set` is bench or heldback."""
    frame = pd.concat(
        [
            pd.read_json(p, lines=True, dtype={"clip": str, "subject": str, "text": str})
            for p in (path, *more)
            if p.is_file()
        ],
        ignore_index=True,
    )
    told = frame["set"] if "set" in frame else pd.Series([None] * len(frame))
    frame["set"] = told.where(told.notna(), np.where(frame["fold"] == -1, "heldback", "bench"))
    return frame


def scores(truth: np.ndarray, said: np.ndarray, classes: int) -> dict[str, float]:
    """UF1, UAR and accuracy of numbered classes; `classes` stands for an answer outside the vocabulary. As
    scikit-learn's macro F1 and recall.
    """
    table = np.bincount(truth * (classes + 1) + said, minlength=classes * (classes + 1)).reshape(classes, classes + 1)
    hit, true, answered = np.diag(table), table.sum(1), table.sum(0)[:classes]
    return {
        "uf1": float((2 * hit / np.maximum(true + answered, 1)).mean()),
        "uar": float((hit / np.maximum(true, 1)).mean()),
        "accuracy": float(hit.sum() / true.sum()),
    }


def recognition(rows: pd.DataFrame, classes: list[str]) -> dict[str, float]:
    """UF1, UAR, accuracy, NLL and the spread of UF1, each the mean over draws."""
    number, each = {name: place for place, name in enumerate(classes)}, []
    for _, part in rows.groupby("seed"):
        truth, said = (
            part[name].map(lambda word: number.get(word, len(classes))).to_numpy(int)
            for name in ("truth", "prediction")
        )
        given = [max(float(given[name]), 1e-6) for given, name in zip(part["scores"], part["truth"])]
        each.append({**scores(truth, said, len(classes)), "nll": float(-np.log(given).mean())})
    frame = pd.DataFrame(each)
    return {**frame.mean().to_dict(), **({"uf1_draw_sd": float(frame["uf1"].std())} if len(frame) > 1 else {})}


def constant(rows: pd.DataFrame) -> bool:
    """Whether the one answer of this system stands for every draw. Systems that read trained experts have one answer
    per draw of them.
    """
    return rows["system"].iloc[0] in CONSTANT and rows["seed"].nunique() == 1


def on_shared_draws(*parts: pd.DataFrame) -> tuple[pd.DataFrame, ...] | None:
    """The parts on the draws that all have, those that are constant whole; None when no draw is shared."""
    draws = [set(rows["seed"]) for rows in parts if not constant(rows)]
    shared = set.intersection(*draws) if draws else {None}
    return tuple(rows if constant(rows) else rows[rows["seed"].isin(shared)] for rows in parts) if shared else None


def paired(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, ...] | None:
    """Both on the clips that both answered, and on the draws that both have."""
    clips = set(a["clip"]) & set(b["clip"])
    return on_shared_draws(*(side[side["clip"].isin(clips)] for side in (a, b))) if clips else None


def fall(parts: dict, names: tuple[str, ...], part: str, classes: list[str]) -> float | None:
    """UF1 kept less broken of the first system, less that of the second where there is one, on the draws that all
    have.
    """
    keys = [(part, name, condition) for name in names for condition in ("kept", "broken")]
    rows = on_shared_draws(*(parts[key] for key in keys)) if all(key in parts for key in keys) else None
    if rows is None:
        return None
    kept, broken, *others = (recognition(side, classes)["uf1"] for side in rows)
    return kept - broken - (others[0] - others[1] if others else 0.0)


def t2(frame: pd.DataFrame) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """({system, set, condition}, {column: number}) of every answered row."""
    classes, parts = sorted(frame["scores"].iloc[0]), dict(list(frame.groupby(["set", "system", "condition"])))
    whole = {key: recognition(rows, classes) for key, rows in parts.items()}
    for (part, system, condition), rows in parts.items():
        found = {"clips": rows["clip"].nunique(), "draws": rows["seed"].nunique(), **whole[part, system, condition]}
        for column, other in FALLS.items():
            if (
                system != other
                and (value := fall(parts, (system, other) if other else (system,), part, classes)) is not None
            ):
                found[column] = value
        for other, column, sign in (
            ("deft", "deft_minus", 1),
            ("deft", "all_minus", 1),
            ("majority", "over_majority", -1),
        ):
            theirs = parts.get((part, other, condition))
            if system != other and theirs is not None and (pair := paired(theirs, rows)):
                one, two = (recognition(side, classes) for side in pair)
                found |= {column: sign * (one["uf1"] - two["uf1"]), f"{column}_nll": sign * (one["nll"] - two["nll"])}
        yield {"system": str(system), "set": str(part), "condition": str(condition)}, found


def unit_auroc(truth: np.ndarray, score: np.ndarray, least: int = 10) -> float:
    """Mean area under the curve of the (unit, side) columns with at least `least` clips of either kind. (N, 17, 2)
    each.
    """
    truth, score = truth.reshape(len(truth), -1), score.reshape(len(score), -1)
    often = [c for c in range(truth.shape[1]) if least <= truth[:, c].sum() <= len(truth) - least]
    return float(np.mean([roc_auc_score(truth[:, c], score[:, c]) for c in often])) if often else float("nan")


def benchmark(work: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """The benchmark's clips (clip, dataset, units as written, ...) and true intensity (N, 17, 2), straight from the
    shards.
    """
    rows, arrays = [], []
    for path in sorted((work / "clips" / "bench").glob("*.npz")):
        with np.load(path, allow_pickle=False) as shard:
            rows += json.loads(str(shard["_header"]))["rows"]
            arrays.append(shard["units_true"])
    return pd.DataFrame(rows), np.concatenate(arrays) if arrays else np.zeros((0, 17, 2))


def written_units(cell: str) -> np.ndarray:
    """A coder's cell ("4+L12") -> (17, 2) bool; a unit without a side is on both, alternatives and doubtful ones are
    on none.
    """
    out = np.zeros((len(reader.UNITS), 2), bool)
    for word in str(cell).split("+"):
        if (match := re.fullmatch(r"([LR]?)(\d+)", word.strip())) and int(match[2]) in reader.UNITS:
            out[reader.UNITS.index(int(match[2])), {"L": [0], "R": [1], "": [0, 1]}[match[1]]] = True
    return out


def t1(
    clips: pd.DataFrame, units: np.ndarray, probability: np.ndarray | None
) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """({dataset}, {column: number}): what was written against what moved (units (N, 17, 2) > 0), and how well the
    flow tells it.
    """
    written, truth = np.array([written_units(cell) for cell in clips["units"]]), units > 0
    for name in (*sorted(clips["dataset"].unique()), "all"):
        here = np.ones(len(clips), bool) if name == "all" else (clips["dataset"] == name).to_numpy()
        mine, moved = written[here], truth[here]
        found = {
            "clips": int(here.sum()),
            "annotated_units": int(mine.sum()),
            "unsupported_truth": float((mine & ~moved).sum() / max(mine.sum(), 1)),
            "unannotated_truth": float((moved & ~mine).sum() / max(moved.sum(), 1)),
        }
        if probability is not None and len(set(moved[mine])) == 2:
            found["flow_auroc"] = float(roc_auc_score(moved[mine], np.asarray(probability)[here][mine]))
        yield {"dataset": name}, found


def of_work(work: Path) -> dict[str, list[tuple[dict[str, str], dict[str, float]]]]:
    """{table: [(what names the row, numbers)]} of one finished work folder."""

    def array(*parts):
        path = work.joinpath(*parts)
        return np.load(path, allow_pickle=False) if path.is_file() else None

    clips, units = benchmark(work)
    courses, noise = array("motion", "bench", "courses.npy"), array("motion", "bench", "noise.npy")
    held = {
        "clip": list(clips["clip"]) if len(clips) else [],
        "condition": list(clips["condition"]) if len(clips) else [],
        "units_true": units,
        "region_true": array("motion", "bench", "region_true.npy"),
        "probability": array("evidence", "bench", "probability.npy"),
        "flow": (
            None
            if courses is None
            else courses[:, [2, 3] if courses.shape[1] == 8 else [0, 1], :, :2].astype(np.float32).mean(axis=1)
        ),  # apex and hold
        "noise": None if noise is None else noise.reshape(len(noise), -1)[:, 0],
    }
    held |= {f"{expert}_units": array("features", "bench", f"{expert}_units.npy") for expert in ALONE.values()}
    found = of_answers(answers(work / "predictions.jsonl", work / "predictions_heldback.jsonl"), held)
    return {"T1": list(t1(clips, units, held["probability"])), **found} if len(clips) else found


def of_source(folder: Path) -> dict[str, list[tuple[dict[str, str], dict[str, float]]]]:
    """The same from the committed answers of a reference: predictions.jsonl.gz and answers.npz."""
    with np.load(folder / "answers.npz", allow_pickle=False) as stored:
        held = {name: stored[name] for name in stored.files}
    return of_answers(answers(folder / "predictions.jsonl.gz"), held)


def of_answers(
    frame: pd.DataFrame, held: dict[str, np.ndarray | None]
) -> dict[str, list[tuple[dict[str, str], dict[str, float]]]]:
    """Answers and what they are compared with (arrays by name, (N, ...) in the order of `clip`) -> {table: [(what
    names the row, numbers)]}.
    """
    recognised = list(t2(frame))
    subsets = [
        ({name: where[name] for name in ("system", "condition")}, dict(numbers))
        for where, numbers in recognised
        if where["set"] == "bench"
    ]
    for where, numbers in subsets:
        score = held.get(f"{ALONE.get(where['system'])}_units")
        if score is not None:
            here = np.asarray(held["condition"]) == where["condition"]
            numbers["unit_auroc"] = unit_auroc(np.asarray(held["units_true"])[here] > 0, np.asarray(score)[here])
    found = {"T2": recognised, "T3": subsets}
    if all(held.get(name) is not None for name in ("units_true", "region_true", "probability", "flow", "noise")):
        said = spoken(frame, held)
        found["T7"], found["T4"] = list(t7(said)), list(t4(said))
    return found


@dataclass(frozen=True)
class Spoken:
    """Of every (system, condition) that wrote any text: all its rows, the empty answers too, and its counts per draw
    by `deft.verify.reader`.
    """

    classes: list[str]
    parts: dict[tuple[str, str], pd.DataFrame]
    counted: dict[tuple[str, str], dict[int, Counter]]

    def pair(
        self, one: tuple[str, str], other: tuple[str, str]
    ) -> tuple[tuple[pd.DataFrame, list[Counter]], ...] | None:
        """Rows and counts of two on the draws that both have: ((rows, counts), (rows, counts)); None where one wrote
        no text or no draw is shared.
        """
        shared = (
            on_shared_draws(self.parts[one], self.parts[other]) if one in self.parts and other in self.parts else None
        )
        if shared is None:
            return None
        return tuple(
            (rows, [self.counted[key][draw] for draw in sorted(rows["seed"].unique())])
            for key, rows in zip((one, other), shared)
        )


def spoken(frame: pd.DataFrame, held: dict[str, np.ndarray | None]) -> Spoken:
    """Texts of the benchmark's clips. An empty text makes no statement and misses all that is true; it is counted."""
    clips = {
        str(name): reader.Clip(
            *(np.asarray(held[part][place]) for part in ("units_true", "region_true", "probability", "flow", "noise"))
        )
        for place, name in enumerate(held["clip"])
    }
    classes, frame = (
        sorted(frame["scores"].iloc[0]),
        frame[frame["set"] == "bench"].assign(text=frame["text"].fillna("")),
    )
    parts = {key: rows for key, rows in frame.groupby(["system", "condition"]) if (rows["text"] != "").any()}
    counted = {
        key: {
            int(draw): sum(
                (reader.counts(text, clips[clip]) for clip, text in zip(rows["clip"], rows["text"])), Counter()
            )
            for draw, rows in part.groupby("seed")
        }
        for key, part in parts.items()
    }
    return Spoken(classes, parts, counted)


def t4(said: Spoken) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """({construction, annotation_noise}, {column: number}) of the systems tuned on the constructions, tie broken."""
    deft = (TAUGHT["both"], "broken")
    for name, system in TAUGHT.items():
        if (key := (system, "broken")) not in said.parts:
            continue
        scores = {**recognition(said.parts[key], said.classes), **reader.row(list(said.counted[key].values()))}
        found = {f"model_{column}": scores[column] for column in SPOKEN if column in scores}
        if name != "both" and (pair := said.pair(deft, key)):
            (rows, theirs), (mine, own) = pair
            one, two = reader.row(theirs), reader.row(own, like=theirs)
            found["both_minus_model_uf1"] = (
                recognition(rows, said.classes)["uf1"] - recognition(mine, said.classes)["uf1"]
            )
            found |= {
                f"both_minus_model_{column}": one[column] - two[column]
                for column in ("unit_f1", "precision")
                if column in one and column in two
            }
        yield {"construction": name, "annotation_noise": "own"}, found


def t7(said: Spoken) -> Iterator[tuple[dict[str, str], dict[str, float]]]:
    """({system, condition}, {column: number}) of every system that writes texts."""
    for (system, condition), draws in said.counted.items():
        rows = said.parts[system, condition]
        found = {"texts": len(rows), "draws": len(draws), **reader.row(list(draws.values()))}
        for column, name in (("text_class", "text_uf1"), ("head_class", "head_uf1")):
            if column in rows and rows[column].notna().all():
                found[name] = recognition(rows.assign(prediction=rows[column]), said.classes)["uf1"]
        for other, columns in (
            ("rgb-only", {"rgb_minus": "unsupported"}),
            ("deft", {f"deft_minus_{name}": name for name in ("unit_f1", "unsupported_units", "recall")}),
        ):
            if system == other or (pair := said.pair((other, condition), (system, condition))) is None:
                continue
            (_, a), (_, b) = pair
            one, two = reader.row(a), reader.row(b, like=a)
            found |= {column: one[name] - two[name] for column, name in columns.items() if name in one and name in two}
        yield {"system": str(system), "condition": str(condition)}, found


def differences(
    again: list[tuple[dict[str, str], dict[str, float]]], table: list[dict[str, str]]
) -> tuple[int, list[str]]:
    """-> (numbers compared, differences in words). table: rows of the CSV. Of intervals only their order is checked."""
    found, compared = [], 0
    for row in table:
        named = ", ".join(
            v for k, v in row.items() if k in ("system", "set", "condition", "construction", "dataset") and v
        )
        for column in row:
            if (
                column.endswith("_low")
                and row[column]
                and float(row[column]) > float(row[column.removesuffix("_low") + "_high"])
            ):
                found.append(f"{named}, {column}: {row[column]} lies above its upper bound")
        if row.get("kind") in ("reported", "not built", "committed"):  # no answers of this run
            continue
        mine = [
            numbers for where, numbers in again if all(row.get(name, value) == value for name, value in where.items())
        ]
        if not mine and "annotation_noise" in row:
            continue  # only the rows of models follow from answers
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
