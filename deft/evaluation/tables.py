"""Tables T1, T2, T3, T7 and T9 (T4: `deft.evaluation.constructions`): pure functions of the files under work/<profile>, no model and no torch.

A table is long (one row per thing and condition) with plain numbers, so that a reader, a test and a figure read the same
cells.  Column `kind` keeps simulated, reproduced and reported numbers apart.  Scores pool counts over folds, average over
seeds, and carry a 95 % interval over subjects (`*_low`, `*_high`); differences are paired on the same resamples.
"""
from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.facs import EMOTIONS, UNITS
from deft.clips.store import ClipStore
from deft.evaluation import grounding, metrics, reported
from deft.motion import evidence
from deft.unimer.build import annotated_array, truth_counts
from deft.unimer.check import UNIT_THRESHOLD

DEFT = "deft"
SYSTEMS = {  # T2, in the order of its rows
    "deft": "three experts, soft words, small language model",
    "rgb-only": "the same language model on an RGB encoder of the same size and training",
    "lr-flow": "logistic regression on DIS region flow (frozen yardstick)",
    "lr-experts": "logistic regression on the experts' outputs",
    "bayes-experts": "textbook prototypes on the motion expert's unit probabilities",
    "lr-pixels": "logistic regression on apex pixels",
    "majority": "commonest emotion of the training subjects",
    "deft-flat": "deft, its text pretrained with flat emotion prototypes",
}
SUBSETS = {  # T3
    "deft-s": "structure", "deft-t": "texture", "deft-m": "motion", "deft-st": "structure + texture",
    "deft-sm": "structure + motion", "deft-tm": "texture + motion", "deft": "structure + texture + motion",
}
PROTOCOL = "sim-v1, 3 subject-disjoint folds, 5 classes"


# ---------------------------------------------------------------- what is read
def predictions(profile: str) -> pd.DataFrame:
    """predictions.jsonl (and predictions_heldback.jsonl where there is one) as a checked DataFrame, with column `set`."""
    work = paths.work(profile)
    first = work / "predictions.jsonl"
    if not first.is_file():
        raise FileNotFoundError(f"{first} does not exist: run 08_answers first (`make reproduce` runs every stage in order)")
    files = [first, work / "predictions_heldback.jsonl"]
    rows = [row for path in files if path.is_file() for row in runtime.read_jsonl(path)]
    frame = pd.DataFrame(rows)
    wanted = {"clip", "dataset", "subject", "fold", "system", "condition", "truth", "prediction", "scores", "text", "seed"}
    if absent := wanted - set(frame.columns):
        raise ValueError(f"{first.name} lacks {', '.join(sorted(absent))}; run 08_answers again")
    held = frame["fold"].to_numpy() == -1  # answered by the readers of all folds, because nobody trained on the subject
    told = frame["set"] if "set" in frame else pd.Series([None] * len(frame))
    frame["set"] = told.where(told.notna(), np.where(held, "heldback", "bench"))
    key = ["set", "system", "condition", "seed", "clip"]
    if frame.duplicated(key).any():
        row = frame[frame.duplicated(key)].iloc[0]
        raise ValueError(f"{first.name}: {row['system']}, seed {row['seed']}, answers clip {row['clip']} twice; run 08_answers again")
    return frame


def counts(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one system -> (S subject names, (S, K seeds, C, C + 1) confusion counts)."""
    parts = [metrics.confusion_per_subject(part["truth"], part["prediction"], metrics.subject_of(part), EMOTIONS)
             for _, part in frame.groupby("seed", sort=True)]
    names = parts[0][0]
    for other in parts[1:]:
        metrics.aligned(parts[0], other)
    return names, np.stack([c for _, c in parts], axis=1)


def over_seeds(statistic: Callable) -> Callable:
    """A statistic of one confusion matrix -> its mean over the seed axis, for the bootstraps."""
    return lambda c: statistic(c).mean(axis=-1)


def readable(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """The same table for a page: `x`, `x_low`, `x_high` become one cell "x [low, high]"; empty columns go."""
    out = {}
    for name in table.columns:
        stem = name.removesuffix("_low").removesuffix("_high")
        if stem != name and {f"{stem}_low", f"{stem}_high"} <= set(table.columns):
            continue
        column = table[name]
        if f"{name}_low" in table:
            out[name] = ["" if pd.isna(x) else f"{x:.{digits}f}" + ("" if pd.isna(a) else f" [{a:.{digits}f}, {b:.{digits}f}]")
                         for x, a, b in zip(column, table[f"{name}_low"], table[f"{name}_high"])]
        elif pd.api.types.is_float_dtype(column):
            whole = (column.dropna() % 1 == 0).all()
            out[name] = ["" if pd.isna(x) else f"{x:.0f}" if whole else f"{x:.{digits}f}" for x in column]
        else:
            out[name] = column.astype(object).where(column.notna(), "")
    page = pd.DataFrame(out, index=table.index)
    for name in {"uf1", "uar"} & set(page) if "kind" in table else ():
        page.loc[(table["kind"] == "reported") & (page[name] == ""), name] = reported.NOT_AVAILABLE
    return page.loc[:, [(page[name].astype(str) != "").any() for name in page]]


class Table(pd.DataFrame):
    """Plain numbers as CSV; for a page (Markdown, LaTeX) intervals are written into the cell of their number."""

    @property
    def _constructor(self):
        return Table

    def to_markdown(self, *args, **options):
        return readable(self).to_markdown(*args, **options)

    def to_latex(self, *args, **options):
        return readable(self).to_latex(*args, **options)


# ---------------------------------------------------------------- T1
def t1(profile: str, seed: int = 7) -> pd.DataFrame:
    """Data, and what the annotations say against what moved.

    Per dataset: subjects, clips, classes, fps; `unsupported_*` share of annotated units (per clip and side) that did not
    move, `unannotated_*` share of moved units that nobody annotated, by truth (`_truth`, intensity > 0) and by flow
    (`_flow`, as far as flow and annotation together can say: `evidence.held`); `flow_auroc` how well the flow
    alone tells moved from unmoved among the annotated; `unimer_*` records of Uni-MER and the share of the units and motions they state that the truth bears out.
    """
    work = paths.work(profile)
    store = ClipStore(work / "clips" / "bench")
    index, intensity = store.index, store.array("units_true")  # (N, 17, 2)
    truth = intensity > 0
    written = annotated_array(index["units"])
    probability = np.asarray(runtime.load_array(work / "evidence" / "bench", "probability"))
    rate = evidence.Calibration.load(work / "evidence" / "calibration.json").rate
    moved = evidence.held(probability, written, rate)
    path = work / "unimer" / "bench.jsonl"
    records = runtime.read_jsonl(path) if path.is_file() else []
    region_true, rows = np.asarray(runtime.load_array(work / "motion" / "bench", "region_true")), []
    for name in (*sorted(index["dataset"].unique()), "all"):
        here = np.ones(len(index), bool) if name == "all" else (index["dataset"] == name).to_numpy()
        part = index[here]
        row = {"dataset": name, "kind": "simulated", "subjects": part["subject"].nunique(), "clips": len(part),
               "classes": part["emotion"].nunique(), "units": int(truth[here].any(axis=(0, 2)).sum()),
               "fps": "/".join(f"{f:g}" for f in sorted(part["fps"].unique())), "annotated_units": int(written[here].sum())}
        subject = metrics.subject_of(part)
        for how, there in (("truth", truth), ("flow", moved)):
            for column, top, whole in (("unsupported", written & ~there, written), ("unannotated", there & ~written, there)):
                pairs = np.stack([top[here].sum((1, 2)), whole[here].sum((1, 2))], axis=1)
                interval = metrics.subject_bootstrap(metrics.counts_per_subject(pairs, subject)[1], metrics.share, seed=seed)
                row |= interval.columns(f"{column}_{how}")
        mine = [record for record in records if name in ("all", record["dataset"])]
        stated = truth_counts(mine, index, intensity, region_true)
        row |= {"unimer_records": len(mine), "unimer_units_true": stated["unit_precision"], "unimer_motions_true": stated["motion_precision"]}
        row["flow_auroc"] = auroc(truth[here][written[here]], probability[here][written[here]])
        rows.append(row)
    return Table(rows).round(4)


def auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve of `score` (N,) for `truth` (N,) bool, by ranks with ties; NaN without both classes."""
    truth = np.asarray(truth, bool)
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return float("nan")
    rank = pd.Series(np.asarray(score, np.float64)).rank().to_numpy()
    return float((rank[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


# ---------------------------------------------------------------- T2
def t2(profile: str, seed: int = 7) -> pd.DataFrame:
    """Main results: every system, tie kept and broken, bench and held-back, then the published numbers.

    `deft_minus*`: UF1 of DEFT less that of the row's system on the same clips.  `kept_minus_broken*`: what the system
    loses when looks no longer go with emotions; the same value stands in both of its rows.
    """
    frame = predictions(profile)
    rows = []
    for part in ("bench", "heldback"):
        for system in SYSTEMS:
            rows += _system_rows(frame[frame["set"] == part], system, part, seed)
    for line in reported.load().itertuples():
        rows.append({"kind": "reported", "protocol": line.protocol, "system": line.method, "uf1": line.uf1, "uar": line.uar,
                     "note": reported.note(line), "source": line.source})
    return Table(rows).round(4)


def _system_rows(frame: pd.DataFrame, system: str, part: str, seed: int) -> list[dict]:
    mine = frame[frame["system"] == system]
    conditions = {c: mine[mine["condition"] == c] for c in ("kept", "broken")}
    if any(len(rows) == 0 for rows in conditions.values()):
        return []
    fall = metrics.paired_bootstrap(*metrics.aligned(counts(conditions["kept"]), counts(conditions["broken"])),
                                    over_seeds(metrics.uf1), seed=seed)
    out = []
    for condition, rows in conditions.items():
        asked = frame[(frame["condition"] == condition)]["clip"].nunique()
        row = {"kind": "simulated", "protocol": PROTOCOL, "system": system, "set": part, "condition": condition,
               "clips": rows["clip"].nunique(), "seeds": rows["seed"].nunique()}
        row |= _recognition(rows, seed)
        deft = frame[(frame["system"] == DEFT) & (frame["condition"] == condition)]
        if system != DEFT and len(deft):
            row |= difference(deft, rows, seed).columns("deft_minus")
        row |= fall.columns("kept_minus_broken")
        row["note"] = SYSTEMS[system] + ("" if row["clips"] == asked else f"; answered {row['clips']} of {asked} clips")
        out.append(row)
    return out


def _recognition(rows: pd.DataFrame, seed: int) -> dict:
    """UF1, UAR and accuracy: mean over seeds with subject intervals, and the spread of UF1 over seeds."""
    _, c = counts(rows)
    row: dict = {}
    for name in metrics.SCORES:
        row |= metrics.subject_bootstrap(c, over_seeds(getattr(metrics, name)), seed=seed).columns(name)
    each = metrics.uf1(c.sum(axis=0))  # (K,)
    row["uf1_seed_sd"] = float(each.std(ddof=1)) if len(each) > 1 else np.nan
    return row


def difference(a: pd.DataFrame, b: pd.DataFrame, seed: int = 7) -> metrics.Interval:
    """UF1 of system `a` less that of `b`, paired over subjects, on the clips that both answered."""
    shared = set(a["clip"]) & set(b["clip"])
    if not shared:
        raise ValueError(f"{a['system'].iloc[0]} and {b['system'].iloc[0]} share no clip; score them on one set")
    pair = [counts(rows[rows["clip"].isin(shared)]) for rows in (a, b)]
    return metrics.paired_bootstrap(*metrics.aligned(*pair), over_seeds(metrics.uf1), seed=seed)


# ---------------------------------------------------------------- T3
def t3(profile: str, seed: int = 7) -> pd.DataFrame:
    """Experts: each alone, all pairs, all three, tie kept and broken.

    `all_minus*`: UF1 of all three less that of the row.  `unit_auroc`: macro AUROC of the unit probabilities of a row
    with one expert, over units and sides that occur 10 times.  `probe_*`: what linear probes read from that expert.
    """
    frame = predictions(profile)
    frame = frame[frame["set"] == "bench"]
    probes, rows = _probes(paths.work(profile) / "experts" / "probes.json"), []
    for system, experts in SUBSETS.items():
        for condition in ("kept", "broken"):
            mine = frame[(frame["system"] == system) & (frame["condition"] == condition)]
            if not len(mine):
                continue
            row = {"kind": "simulated", "experts": experts, "system": system, "condition": condition,
                   "clips": mine["clip"].nunique(), "seeds": mine["seed"].nunique(), **_recognition(mine, seed)}
            whole = frame[(frame["system"] == DEFT) & (frame["condition"] == condition)]
            if system != DEFT and len(whole):
                row |= difference(whole, mine, seed).columns("all_minus")
            if "+" not in experts:
                row["unit_auroc"] = unit_auroc(profile, experts)
                row |= probes.get(experts, {})
            rows.append(row)
    if not rows:
        raise ValueError("predictions.jsonl holds none of the systems " + ", ".join(SUBSETS) + "; run 07 and 08 first")
    return Table(rows).round(4)


def unit_auroc(profile: str, expert: str) -> float:
    """Macro AUROC over the (unit, side) pairs that truly occur at least 10 times; NaN for an expert without a unit head."""
    work = paths.work(profile)
    if not (work / "features" / "bench" / f"{expert}_units.npy").is_file():
        return float("nan")
    score = np.asarray(runtime.load_array(work / "features" / "bench", f"{expert}_units"))
    return macro_auroc(ClipStore(work / "clips" / "bench").array("units_true") > 0, score)


def macro_auroc(truth: np.ndarray, score: np.ndarray, minimum: int = 10) -> float:
    """Mean AUROC over the columns of (N, ...) arrays where at least `minimum` clips are true and as many are not; else NaN."""
    truth, score = truth.reshape(len(truth), -1), score.reshape(len(score), -1)
    often = np.flatnonzero((truth.sum(axis=0) >= minimum) & ((~truth).sum(axis=0) >= minimum))
    return float(np.mean([auroc(truth[:, c], score[:, c]) for c in often])) if len(often) else float("nan")


def _probes(path: Path) -> dict[str, dict]:
    """experts/probes.json, rows (expert, factor, score) -> {expert: {'probe_<factor>': score}}; empty when no probe was run."""
    out: dict[str, dict] = {}
    for row in runtime.read_json(path) if path.is_file() else ():
        out.setdefault(row["expert"], {})[f"probe_{row['factor']}"] = row["score"]
    return out


# ---------------------------------------------------------------- T7
def t7(profile: str, seed: int = 7) -> pd.DataFrame:
    """Interpretability: what the free text says against true and measured motion, for every system that writes text.

    `unit_f1`: macro F1 of the units named.  `unsupported`: share of statements that neither true nor measured motion
    bears out.  `precision`, `recall`: of the statements against the truth alone.  `bleu`, `rouge1`: against the
    reference answers of Uni-MER.  `text_uf1`: of the class the text names, `head_uf1`: of the emotion head.  METEOR is left out: it needs the WordNet files, which cannot be fetched offline.
    `rgb_minus*`: the share of the RGB-only model less the row's.
    """
    frame = predictions(profile)
    frame = frame[(frame["set"] == "bench") & (frame["text"].fillna("").str.len() > 0)]
    if not len(frame):
        raise ValueError("no system in predictions.jsonl wrote any text; run 08_answers first")
    judged = grounding.judge(profile, frame)
    rows = []
    order = [s for s in (*SYSTEMS, *SUBSETS) if s in set(frame["system"])]
    for system in dict.fromkeys(order):
        for condition in ("kept", "broken"):
            here = ((frame["system"] == system) & (frame["condition"] == condition)).to_numpy()
            if not here.any():
                continue
            other = ((frame["system"] == "rgb-only") & (frame["condition"] == condition)).to_numpy()
            rows.append({"kind": "simulated", "system": system, "condition": condition, "texts": int(here.sum()),
                         "seeds": frame[here]["seed"].nunique(), **_other_readings(frame[here], seed),
                         **grounding.summary(frame, judged, here, other if system != "rgb-only" else None, seed)})
    return Table(rows).round(4)


def _other_readings(rows: pd.DataFrame, seed: int) -> dict:
    """UF1 of the class that the free text names (`text_uf1`) and of the emotion head (`head_uf1`), where they were kept."""
    row: dict = {}
    for column, name in (("text_class", "text_uf1"), ("head_class", "head_uf1")):
        if column in rows and rows[column].notna().all():
            c = counts(rows.assign(prediction=rows[column]))[1]
            row |= metrics.subject_bootstrap(c, over_seeds(metrics.uf1), seed=seed).columns(name)
    return row


# ---------------------------------------------------------------- T9
def t9(profile: str) -> pd.DataFrame:
    """Cost: minutes and memory of every stage as the driver recorded them, parameters of every saved model.

    The stage that writes this table, and those after it, appear with the numbers of their last complete run, if any.
    """
    work, rows = paths.work(profile), []
    for path in sorted((work / "status").glob("[0-9]*.json")):
        record = runtime.read_json(path)
        if record.get("state") == "done":
            rows.append({"kind": "simulated", "what": "stage", "name": path.stem, "seconds": record.get("seconds"),
                         "peak_memory_gib": record.get("peak_memory_gib")})
    if rows:
        rows.append({"kind": "simulated", "what": "stage", "name": "all stages above", "seconds": sum(r["seconds"] or 0 for r in rows),
                     "peak_memory_gib": max(r["peak_memory_gib"] or 0 for r in rows)})
    for path in sorted((*work.glob("experts/*/*.safetensors"), *work.glob("mllm/base*/*.safetensors"),
                        *_first_runs(work / "mllm" / "runs"))):
        rows.append({"kind": "simulated", "what": "model", "name": str(path.parent.relative_to(work)) + "/" + path.name,
                     "parameters": parameters(path), "mib": path.stat().st_size / 2**20})
    if not rows:
        raise ValueError(f"nothing to cost under {work}: neither stage records nor models; run the stages first")
    columns = ["kind", "what", "name", "seconds", "peak_memory_gib", "parameters", "mib"]
    table = Table(rows).reindex(columns=columns).round(3)
    table["parameters"] = table["parameters"].astype("Int64")
    return table


def parameters(path: Path) -> int:
    """Numbers stored in a safetensors file, from its header alone: 8 bytes little-endian length, then JSON."""
    with open(path, "rb") as file:
        head = file.read(8)
        if len(head) < 8:
            raise ValueError(f"{path} is too short for a safetensors file; remove it and run its stage again")
        size = struct.unpack("<Q", head)[0]
        if size > path.stat().st_size:
            raise ValueError(f"{path}: header of {size} bytes in a smaller file; remove it and run its stage again")
        header = json.loads(file.read(size))
    return sum(int(np.prod(entry["shape"], dtype=np.int64)) for name, entry in header.items() if name != "__metadata__")


def _first_runs(runs: Path) -> list[Path]:
    """Weights of one seed and fold per system: the others have the same shapes."""
    if not runs.is_dir():
        return []
    found = []
    for system in sorted(p for p in runs.iterdir() if p.is_dir()):
        weights = sorted(system.rglob("*.safetensors"))
        found += [w for w in weights if w.parent == weights[0].parent]
    return found
