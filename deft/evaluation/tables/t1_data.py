"""T1: the data, and what the annotations say against what moved (claim C2)."""
from __future__ import annotations

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.store import ClipStore
from deft.evaluation import metrics
from deft.evaluation.tables.common import Table
from deft.motion import evidence
from deft.unimer.build import annotated_array, truth_counts


def t1(profile: str, seed: int = 7) -> pd.DataFrame:
    """Data, and what the annotations say against what moved.

    Per dataset: subjects, clips, classes, fps; `unsupported_*` share of annotated units (per clip and side) that did not
    move, `unannotated_*` share of moved units that nobody annotated, by truth (`_truth`, intensity > 0) and by flow
    (`_flow`, as far as flow and annotation together can say: `evidence.is_confirmed`); `flow_auroc` how well the flow
    alone tells moved from unmoved among the annotated; `unimer_*` records of Uni-MER and the share of the units and motions they state that the truth bears out.
    """
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
