"""T7: what the free text says against true and measured motion (claim C6)."""
from __future__ import annotations

import numpy as np
import pandas as pd

from deft.evaluation import grounding, metrics
from deft.evaluation.source import Answers
from deft.evaluation.tables.common import CONDITIONS, Table, constant, sample, told
from deft.systems import DEFT, LISTED, RGB


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
