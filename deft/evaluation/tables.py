"""Tables T1, T2, T3, T7 and T9 (T4: `deft.evaluation.constructions`): pure functions of the files under work/<profile>, no model and no torch.

A table is long (one row per thing and condition) with plain numbers, so that a reader, a test and a figure read the same
cells.  Column `kind` keeps simulated, reproduced and reported numbers apart.  Scores pool counts over folds, average over
draws of training (column `seed` of predictions.jsonl), and carry a 95 % interval (`*_low`, `*_high`) over subjects within
looks and over draws; column `interval` says "subjects" where one draw was made.  With few draws an interval may enclose
the truth less often than 95 % says (`metrics.coverage`).  Differences are paired: the same replicates, and only the draws
that both sides have.  T2, T3 and T7 take a profile's name or `deft.evaluation.source.Answers`.
"""
from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.facs import EMOTIONS, UNITS
from deft.clips.store import ClipStore
from deft.evaluation import grounding, metrics, reported
from deft.evaluation.source import Answers
from deft.motion import evidence
from deft.systems import BLIND, DEFT, LISTED, MAJORITY, PEERS, RGB, SYSTEMS
from deft.unimer.build import annotated_array, truth_counts
from deft.unimer.check import UNIT_THRESHOLD

FLOOR = 1e-6  # smaller probabilities count as this in the negative log likelihood
CONDITIONS = ("kept", "broken")
OFTEN = 10  # clips that must show a unit, and as many that must not
PROTOCOL = "sim-v1, 3 subject-disjoint folds, 5 classes"


# ---------------------------------------------------------------- what is read
def predictions(profile: str) -> pd.DataFrame:
    """All answers of a profile as a checked DataFrame with columns `set` and `look` (`deft.evaluation.source`)."""
    return Answers.of(profile).predictions


def constant(system: str) -> bool:
    """Whether nothing random enters a system beside what its inputs bring: one draw of it stands for every draw."""
    return system in PEERS


def sample(frame: pd.DataFrame, classes: Sequence[str] = EMOTIONS) -> metrics.Sample:
    """Rows of one system -> confusion counts (S, K, C, C + 1) per subject and draw."""
    return metrics.sample(frame, metrics.confusions(frame["truth"], frame["prediction"], classes), constant(frame["system"].iloc[0]))


def nll_sample(frame: pd.DataFrame) -> metrics.Sample | None:
    """Rows of one system -> (S, K, 2) [sum of -log probability of the true class, clips]; None if one has no scores.

    A probability below FLOOR counts as FLOOR, so that one certain mistake does not decide a mean.
    """
    if not all(isinstance(scores, dict) and scores for scores in frame["scores"]):
        return None
    given = np.array([scores.get(truth, 0.0) for scores, truth in zip(frame["scores"], frame["truth"])], float)
    lost = -np.log(np.maximum(given, FLOOR))
    return metrics.sample(frame, np.stack([lost, np.ones(len(lost))], axis=1), constant(frame["system"].iloc[0]))


def compared(column: str, a: metrics.Sample | None, b: metrics.Sample | None, statistic: Callable, seed: int) -> tuple[dict, str]:
    """The three cells of a paired difference A - B and a word when it could not be made on all draws: ({}, "") if one is absent."""
    if a is None or b is None:
        return {}, ""
    shared = metrics.shared_draws(a, b)
    if shared == ():
        return {}, f"{column}: no draw is shared"
    most = max(len(one.draws or ()) for one in (a, b))
    word = f"{column}: on draw{'s' * (len(shared) > 1)} {', '.join(map(str, shared))}" if shared and len(shared) < most else ""
    return metrics.difference(a, b, statistic, seed=seed).columns(column), word


def told(one: metrics.Sample, system: str) -> dict:
    """How many draws a row rests on, and what its intervals cover."""
    count = len(one.draws or (0,))
    if one.draws is None:  # nothing random of its own; what some peers read was trained once
        return {"draws": count, "interval": f"subjects; {'one draw of the experts' if SYSTEMS[system].on_experts else 'constant over draws'}"}
    return {"draws": count, "interval": "subjects, draws" if count > 1 else "subjects"}


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
        for how, there in (("truth", truth), ("flow", moved)):
            for column, top, whole in (("unsupported", written & ~there, written), ("unannotated", there & ~written, there)):
                pairs = np.stack([top[here].sum((1, 2)), whole[here].sum((1, 2))], axis=1)
                row |= metrics.interval(metrics.sample(part, pairs), metrics.share, seed=seed).columns(f"{column}_{how}")
        mine = [record for record in records if name in ("all", record["dataset"])]
        stated = truth_counts(mine, index, intensity, region_true)
        row |= {"unimer_records": len(mine), "unimer_units_true": stated["unit_precision"], "unimer_motions_true": stated["motion_precision"]}
        clip, unit, side = np.nonzero(written[here])
        row |= metrics.auroc_interval(truth[here][clip, unit, side][:, None], probability[here][clip, unit, side][:, None], part.iloc[clip],
                                      seed=seed).columns("flow_auroc")
        rows.append(row)
    return Table(rows).round(4)


# ---------------------------------------------------------------- T2
def t2(source: str | Answers, seed: int = 7) -> pd.DataFrame:
    """Main results: every system, tie kept and broken, bench and held-back, then the published numbers.

    `nll`: mean negative log probability of the true class (lower is better), for systems with scores. `deft_minus*`: UF1
    of DEFT less that of the row's system on the same clips and draws; `deft_minus_nll*`: the same of NLL. `over_majority*`:
    UF1 of the row less that of `majority`. `kept_minus_broken*`: what the system loses when looks no longer go with
    emotions; `kept_minus_broken_over_blind*`: the same less what a reader loses that cannot see looks (bayes-experts: the
    clips themselves differ); `kept_minus_broken_over_deft*`: the same less what DEFT loses. The last three stand in both rows.
    """
    frame = Answers.of(source).predictions
    rows = []
    for part in ("bench", "heldback"):
        here = frame[frame["set"] == part]
        known = {(system, condition): rows_of for (system, condition), rows_of in here.groupby(["system", "condition"]) if system in LISTED["T2"]}
        for system in LISTED["T2"]:
            rows += _system_rows(known, system, part, here.groupby("condition")["clip"].nunique(), seed)
    for line in reported.load().itertuples():
        rows.append({"kind": "reported", "protocol": line.protocol, "system": line.method, "uf1": line.uf1, "uar": line.uar,
                     "note": reported.note(line), "source": line.source})
    return Table(rows).round(4)


def _system_rows(known: dict[tuple[str, str], pd.DataFrame], system: str, part: str, asked: pd.Series, seed: int) -> list[dict]:
    """Both rows of one system. known: (system, condition) -> its answers; asked: condition -> number of clips."""
    if any((system, condition) not in known for condition in CONDITIONS):
        return []
    fall, out = _falls(known, system, seed), []
    for condition in CONDITIONS:
        rows, mine = known[system, condition], sample(known[system, condition])
        row = {"kind": "simulated", "protocol": PROTOCOL, "system": system, "set": part, "condition": condition,
               "clips": rows["clip"].nunique(), **told(mine, system), **_recognition(rows, seed)}
        words = [] if row["clips"] == asked[condition] else [f"answered {row['clips']} of {asked[condition]} clips"]
        for other, column, sign in ((DEFT, "deft_minus", 1), (MAJORITY, "over_majority", -1)):
            theirs = known.get((other, condition))
            if system == other or theirs is None:
                continue
            pair = both_answered(theirs, rows)[::sign]
            cells, word = compared(column, *map(sample, pair), metrics.uf1, seed)
            row |= cells
            words += [word] * bool(word)
            if other == DEFT:
                row |= compared("deft_minus_nll", *map(nll_sample, pair), metrics.share, seed)[0]
        out.append({**row, **fall, "note": "; ".join([SYSTEMS[system].note, *words])})
    return out


def _falls(known: dict[tuple[str, str], pd.DataFrame], system: str, seed: int) -> dict:
    """UF1 kept less broken of a system, alone and less that of the blind reader and of DEFT."""
    def fall(name: str) -> list[metrics.Sample]:
        return [sample(known[name, condition]) for condition in CONDITIONS if (name, condition) in known]

    mine = fall(system)
    row: dict = {} if metrics.shared_draws(*mine) == () else metrics.difference(*mine, metrics.uf1, seed=seed).columns("kept_minus_broken")
    for other, column in ((BLIND, "kept_minus_broken_over_blind"), (DEFT, "kept_minus_broken_over_deft")):
        four = [*mine, *fall(other)]
        if system != other and len(four) == 4 and metrics.shared_draws(*four) != ():
            row |= metrics.combined([(one, metrics.uf1) for one in four], lambda a, b, c, d: (a - b) - (c - d), seed=seed).columns(column)
    return row


def _recognition(rows: pd.DataFrame, seed: int) -> dict:
    """UF1, UAR, accuracy and NLL: mean over draws with intervals, and the spread of UF1 over draws."""
    mine, lost = sample(rows), nll_sample(rows)
    row: dict = {}
    for name in metrics.SCORES:
        row |= metrics.interval(mine, getattr(metrics, name), seed=seed).columns(name)
    if lost is not None:
        row |= metrics.interval(lost, metrics.share, seed=seed).columns("nll")
    each = metrics.uf1(mine.counts.sum(axis=0))  # (K,)
    row["uf1_draw_sd"] = float(each.std(ddof=1)) if len(each) > 1 else np.nan
    return row


def both_answered(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of two systems on the clips that both answered; none is an error."""
    shared = set(a["clip"]) & set(b["clip"])
    if not shared:
        raise ValueError(f"{a['system'].iloc[0]} and {b['system'].iloc[0]} share no clip; score them on one set")
    return a[a["clip"].isin(shared)], b[b["clip"].isin(shared)]


def difference(a: pd.DataFrame, b: pd.DataFrame, seed: int = 7) -> metrics.Interval:
    """UF1 of system `a` less that of `b`, paired over subjects and draws, on the clips that both answered."""
    return metrics.difference(*map(sample, both_answered(a, b)), metrics.uf1, seed=seed)


# ---------------------------------------------------------------- T3
def t3(source: str | Answers, seed: int = 7) -> pd.DataFrame:
    """Experts: each alone, all pairs, all three, tie kept and broken.

    `all_minus*`: UF1 of all three less that of the row, on the draws that both have; `all_minus_nll*`: the same of NLL.
    `unit_auroc*`: macro AUROC of the unit probabilities of a row with one expert, over units and sides that occur 10
    times. `probe_*`: what linear probes read from that expert. Both of the first draw of the experts.
    """
    answers = Answers.of(source)
    frame = answers.predictions[answers.predictions["set"] == "bench"]
    probes: dict[str, dict] = {}
    for probe in answers.probes:
        probes.setdefault(probe["expert"], {})[f"probe_{probe['factor']}"] = probe["score"]
    known, rows = {key: part for key, part in frame.groupby(["system", "condition"])}, []
    for system in LISTED["T3"]:
        experts = SYSTEMS[system].parts
        for condition in CONDITIONS:
            if (mine := known.get((system, condition))) is None:
                continue
            row = {"kind": "simulated", "experts": experts, "system": system, "condition": condition,
                   "clips": mine["clip"].nunique(), **told(sample(mine), system), **_recognition(mine, seed)}
            if system != DEFT and (whole := known.get((DEFT, condition))) is not None:
                pair = both_answered(whole, mine)
                cells, row["note"] = compared("all_minus", *map(sample, pair), metrics.uf1, seed)
                row |= cells | compared("all_minus_nll", *map(nll_sample, pair), metrics.share, seed)[0]
            if "+" not in experts:
                row |= _unit_auroc(answers, experts, seed)
                row |= probes.get(experts, {})
            rows.append(row)
    if not rows:
        raise ValueError("predictions.jsonl holds none of the systems " + ", ".join(LISTED["T3"]) + "; run 07 and 08 first")
    return Table(rows).round(4)


def _unit_auroc(answers: Answers, expert: str, seed: int) -> dict:
    """Macro AUROC over the (unit, side) pairs of which 10 clips show and 10 do not; empty for an expert without a unit head."""
    score = answers.unit_scores(expert)
    if score is None:
        return {}
    truth = (answers.units_true > 0).reshape(len(score), -1)
    often = (truth.sum(axis=0) >= OFTEN) & ((~truth).sum(axis=0) >= OFTEN)
    if not often.any():
        return {}
    return metrics.auroc_interval(truth[:, often], score.reshape(len(score), -1)[:, often], answers.clips, seed=seed).columns("unit_auroc")


# ---------------------------------------------------------------- T7
def t7(source: str | Answers, seed: int = 7) -> pd.DataFrame:
    """Interpretability: what the free text says against true and measured motion, for every system that writes text.

    A system writes text when one of its answers holds any: then every answer counts. An empty text states nothing and misses all that
    moved, so that silence lowers `unit_f1` and `recall`.
    Row `template` has no language model: it reads the motion expert's unit probabilities out (`deft.evaluation.peers.template`).
    Its motions are read off the flow that judges, so compare units with it.
    `unit_f1`: macro F1 of the units named.  `unsupported`: share of statements that neither true nor measured motion
    bears out.  `precision`, `recall`: of the statements against the truth alone.  `bleu`, `rouge1`: against the
    reference answers of Uni-MER.  `text_uf1`: of the class the text names, `head_uf1`: of the emotion head.  METEOR is left
    out: it needs the WordNet files, which cannot be fetched offline.
    `rgb_minus*`: unsupported share of the RGB-only model less the row's. `deft_minus_*`: DEFT less the row: unit F1,
    unsupported share of the units named, recall.
    """
    answers = Answers.of(source)
    frame = answers.predictions
    frame = frame[frame["set"] == "bench"].assign(text=frame["text"].fillna(""))
    speaks = (frame["text"] != "").groupby([frame["system"], frame["condition"]]).transform("any")
    frame = frame[speaks].reset_index(drop=True)
    if not len(frame):
        raise ValueError("no system in predictions.jsonl wrote any text; run 08_answers first")
    judged = grounding.judge(answers, frame)
    place = {key: np.asarray(rows) for key, rows in frame.groupby(["system", "condition"]).indices.items()}
    spoken = {key: grounding.Spoken(frame.iloc[rows], {name: value[rows] for name, value in judged.items()}, constant(key[0]))
              for key, rows in place.items()}
    rows = []
    for system in LISTED["T7"]:
        for condition in CONDITIONS:
            if (mine := spoken.get((system, condition))) is None:
                continue
            row = {"kind": "simulated", "system": system, "condition": condition, "texts": len(mine.rows),
                   **told(mine.sample("unsupported"), system)}
            row |= _other_readings(mine.rows, seed) | grounding.summary(mine, seed)
            cells, words = grounding.against(mine, spoken.get((RGB, condition)), spoken.get((DEFT, condition)), seed)
            rows.append({**row, **cells, "note": words})
    return Table(rows).round(4)


def _other_readings(rows: pd.DataFrame, seed: int) -> dict:
    """UF1 of the class that the free text names (`text_uf1`) and of the emotion head (`head_uf1`), where they were kept."""
    row: dict = {}
    for column, name in (("text_class", "text_uf1"), ("head_class", "head_uf1")):
        if column in rows and rows[column].notna().all():
            row |= metrics.interval(sample(rows.assign(prediction=rows[column])), metrics.uf1, seed=seed).columns(name)
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
