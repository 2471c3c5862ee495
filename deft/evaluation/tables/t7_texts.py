"""T7: what the free text says against true and measured motion (claim C6)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deft.evaluation import grounding, metrics
from deft.evaluation.source import Answers
from deft.evaluation.tables.common import BROKEN, CONDITIONS, constant, sample, told
from deft.evaluation.tables.present import Column, Page, Part, both, highest, quote, said
from deft.systems import DEFT, LISTED, RGB, spoken


def t7(source: str | Answers, seed: int = 7) -> pd.DataFrame:
    """Interpretability: what the free text says against true and measured motion, for every system that writes text.

    A system writes text when one of its answers holds any: then every answer counts. An empty text states nothing and
    misses all that moved, so that silence lowers `unit_f1` and `recall`. Row `template` has no language model: it reads
    the motion expert's unit probabilities out (`deft.evaluation.peers.template`). Its motions are read off the flow
    that judges, so compare units with it. Row `deft-checked` is DEFT's text after `deft.mllm.checked`, whose motions
    need that flow too. `unit_f1`: macro F1 of the units named.  `unsupported`: share of statements
    that neither true nor measured motion bears out.  `precision`, `recall`: of the statements against the truth alone.
    `bleu`, `rouge1`: against the reference answers of Uni-MER.  `text_uf1`: of the class the text names, `head_uf1`: of
    the emotion head.  METEOR is left out: it needs the WordNet files, which cannot be fetched offline. `rgb_minus*`:
    unsupported share of the RGB-only model less the row's. `deft_minus_*`: DEFT less the row: unit F1, unsupported
    share of the units named, recall."""
    answers = Answers.of(source)
    frame = answers.predictions
    frame = frame[frame["set"] == "bench"].assign(text=frame["text"].fillna(""))
    speaks = (frame["text"] != "").groupby([frame["system"], frame["condition"]]).transform("any")
    frame = frame[speaks].reset_index(drop=True)
    if not len(frame):
        raise ValueError("no system in predictions.jsonl wrote any text; run 08_answers first")
    judged = grounding.judge(answers, frame)
    place = {key: np.asarray(rows) for key, rows in frame.groupby(["system", "condition"]).indices.items()}
    spoken = {
        key: grounding.Spoken(frame.iloc[rows], {name: value[rows] for name, value in judged.items()}, constant(key[0]))
        for key, rows in place.items()
    }
    rows = []
    for system in LISTED["T7"]:
        for condition in CONDITIONS:
            if (mine := spoken.get((system, condition))) is None:
                continue
            row = {
                "kind": "simulated",
                "system": system,
                "condition": condition,
                "texts": len(mine.rows),
                **told(mine.sample("unsupported"), system),
            }
            row |= _other_readings(mine.rows, seed) | grounding.summary(mine, seed)
            cells, words = grounding.against(mine, spoken.get((RGB, condition)), spoken.get((DEFT, condition)), seed)
            rows.append({**row, **cells, "note": words})
    return pd.DataFrame(rows).round(4)


def _other_readings(rows: pd.DataFrame, seed: int) -> dict:
    """UF1 of the class that the free text names (`text_uf1`) and of the emotion head (`head_uf1`), where they were
    kept.
    """
    row: dict = {}
    for column, name in (("text_class", "text_uf1"), ("head_class", "head_uf1")):
        if column in rows and rows[column].notna().all():
            row |= metrics.interval(sample(rows.assign(prediction=rows[column])), metrics.uf1, seed=seed).columns(name)
    return row


def _held(part: pd.DataFrame) -> list[str]:
    broken = part[part.condition == "broken"]
    return [
        said("Units named best, with the tie broken: {}.", highest(broken, "unit_f1", "system", spoken)),
        said(
            "Smallest share of unsupported units: {}.",
            highest(broken, "unsupported_units", "system", spoken, least=True),
        ),
        *(
            said("Of all statements, RGB-only less DEFT in unsupported share: {}.", quote(row, "rgb_minus"))
            for _, row in broken[broken.system == DEFT].iterrows()
        ),
    ]


def _worded(part: pd.DataFrame) -> list[str]:
    broken = part[part.condition == "broken"]
    bleu = {row.system: quote(row, "bleu") for _, row in broken.iterrows()}
    return [
        said("Worded most like the reference, with the tie broken: {}.", highest(broken, "bleu", "system", spoken)),
        said("BLEU of DEFT: {}, of the RGB-only model: {}.", bleu.get(DEFT, ""), bleu.get(RGB, "")),
    ]


SYSTEM = (Column("System", "system", spoken=spoken),)
PAGE = Page(
    (
        Part(
            "how far the statements hold",
            SYSTEM,
            (
                *both("Unit F1", "unit_f1", best=max),
                *both("Unsupported units", "unsupported_units", best=min),
                Column("Precision, tie broken", "precision", BROKEN, best=max),
                Column("Recall, tie broken", "recall", BROKEN, best=max),
            ),
            _held,
        ),
        Part(
            "class and wording",
            SYSTEM,
            (
                *both("UF1 of the text", "text_uf1", best=max),
                Column("UF1 of the head, tie broken", "head_uf1", BROKEN, best=max),
                *(
                    Column(f"{head}, tie broken", name, BROKEN, best=max)
                    for head, name in (("BLEU", "bleu"), ("ROUGE-1", "rouge1"))
                ),
                Column("Statements per text", "statements_per_text", BROKEN, digits=1),
            ),
            _worded,
        ),
    ),
    "Unit F1: macro over units that occur often enough. Unsupported: share of the stated units that neither true nor"
    " measured motion bears out; precision: share of the stated units and motions that the truth bears out; recall:"
    " share of the true unit sides that are named. The template has no language model; its motions are read off the"
    " flow that judges, so compare units with it. Text checked: without units that neither experts nor flow bear out,"
    " without motions that the flow does not show, nothing said twice."
    " Brackets: 95 % intervals over subjects within looks and over draws. METEOR is left out (needs WordNet).",
)
