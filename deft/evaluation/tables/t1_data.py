"""T1: the data, and what the annotations say against what moved (claim C2)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.store import ClipStore
from deft.evaluation import metrics
from deft.evaluation.tables.present import Column, Page, Part, called, listed, quote, said
from deft.motion import evidence
from deft.unimer.build import annotated_array, truth_counts


def t1(profile: str, seed: int = 7) -> pd.DataFrame:
    """Data, and what the annotations say against what moved.

    Per dataset: subjects, clips, classes, fps; `unsupported_*` share of annotated units (per clip and side) that did
    not move, `unannotated_*` share of moved units that nobody annotated, by truth (`_truth`, intensity > 0) and by flow
    (`_flow`, as far as flow and annotation together can say: `evidence.is_confirmed`); `flow_auroc` how well the flow
    alone tells moved from unmoved among the annotated; `unimer_*` records of Uni-MER and the share of the units and
    motions they state that the truth bears out."""
    work = paths.work(profile)
    store = ClipStore(work / "clips" / "bench")
    index, intensity = store.index, store.array("units_true")  # (N, 17, 2)
    truth = intensity > 0
    written = annotated_array(index["units"])
    probability = np.asarray(runtime.load_array(work / "evidence" / "bench", "probability"))
    rate = evidence.Calibration.load(work / "evidence" / "calibration.json").rate
    moved = evidence.is_confirmed(probability, written, rate)
    path = work / "unimer" / "bench.jsonl"
    records = runtime.read_jsonl(path) if path.is_file() else []
    region_true, rows = np.asarray(runtime.load_array(work / "motion" / "bench", "region_true")), []
    for name in (*sorted(index["dataset"].unique()), "all"):
        here = np.ones(len(index), bool) if name == "all" else (index["dataset"] == name).to_numpy()
        part = index[here]
        row = {
            "dataset": name,
            "kind": "simulated",
            "subjects": part["subject"].nunique(),
            "clips": len(part),
            "classes": part["emotion"].nunique(),
            "units": int(truth[here].any(axis=(0, 2)).sum()),
            "fps": "/".join(f"{f:g}" for f in sorted(part["fps"].unique())),
            "annotated_units": int(written[here].sum()),
        }
        for how, there in (("truth", truth), ("flow", moved)):
            for column, top, whole in (
                ("unsupported", written & ~there, written),
                ("unannotated", there & ~written, there),
            ):
                pairs = np.stack([top[here].sum((1, 2)), whole[here].sum((1, 2))], axis=1)
                row |= metrics.interval(metrics.sample(part, pairs), metrics.share, seed=seed).columns(
                    f"{column}_{how}"
                )
        mine = [record for record in records if name in ("all", record["dataset"])]
        stated = truth_counts(mine, index, intensity, region_true)
        row |= {
            "unimer_records": len(mine),
            "unimer_units_true": stated["unit_precision"],
            "unimer_motions_true": stated["motion_precision"],
        }
        clip, unit, side = np.nonzero(written[here])
        row |= metrics.auroc_interval(
            truth[here][clip, unit, side][:, None],
            probability[here][clip, unit, side][:, None],
            part.iloc[clip],
            seed=seed,
        ).columns("flow_auroc")
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def _judged(part: pd.DataFrame) -> list[str]:
    row = part.iloc[-1]  # all data sets
    words = [
        f"{'more' if row[f'{name}_flow'] > row[f'{name}_truth'] else 'fewer'} units {name} than the truth does "
        f"({quote(row, f'{name}_flow')} against {quote(row, f'{name}_truth')})"
        for name in ("unsupported", "unannotated")
    ]
    return [f"Over all clips flow finds {listed(words)}."]


def _made(part: pd.DataFrame) -> list[str]:
    row = part.iloc[-1]
    return [
        f"Uni-MER has {row.unimer_records:.0f} records.",
        said(
            "The truth bears out {} of the units that they state and {} of the motions.",
            quote(row, "unimer_units_true"),
            quote(row, "unimer_motions_true"),
        ),
    ]


DATASET = (Column("Data set", "dataset", spoken=called(all="all together")),)
PAGE = Page(
    (
        Part(
            "annotations against what moved",
            DATASET,
            (
                Column("Unsupported, by truth", "unsupported_truth"),
                Column("Unsupported, by flow", "unsupported_flow"),
                Column("Unannotated, by truth", "unannotated_truth"),
                Column("Unannotated, by flow", "unannotated_flow"),
                Column("AUROC of flow", "flow_auroc"),
            ),
            _judged,
        ),
        Part(
            "clips, and the Uni-MER records made of them",
            DATASET,
            (
                Column("Subjects", "subjects", digits=0),
                Column("Clips", "clips", digits=0),
                Column("Annotated units", "annotated_units", digits=0),
                Column("Uni-MER records", "unimer_records", digits=0),
                Column("Units borne out", "unimer_units_true"),
                Column("Motions borne out", "unimer_motions_true"),
            ),
            _made,
        ),
    ),
    "Units are counted per clip and side. Unsupported: share of annotated units that did not move; unannotated: share"
    " of moved units that nobody annotated. Brackets: 95 % intervals over subjects within looks.",
)
