"""T3: each expert alone, all pairs, all three (claim C4)."""

from __future__ import annotations

import pandas as pd

from deft.evaluation import metrics
from deft.evaluation.source import Answers
from deft.evaluation.tables.common import (
    BROKEN,
    CONDITIONS,
    both_answered,
    compared,
    nll_sample,
    recognition,
    sample,
    told,
)
from deft.evaluation.tables.present import Column, Page, Part, both, highest, quote, said
from deft.systems import DEFT, LISTED, SYSTEMS

OFTEN = 10  # clips that must show a unit, and as many that must not


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
            row = {
                "kind": "simulated",
                "experts": experts,
                "system": system,
                "condition": condition,
                "clips": mine["clip"].nunique(),
                **told(sample(mine), system),
                **recognition(mine, seed),
            }
            if system != DEFT and (whole := known.get((DEFT, condition))) is not None:
                pair = both_answered(whole, mine)
                cells, row["note"] = compared("all_minus", *map(sample, pair), metrics.uf1, seed)
                row |= cells | compared("all_minus_nll", *map(nll_sample, pair), metrics.share, seed)[0]
            if "+" not in experts:
                row |= _unit_auroc(answers, experts, condition, seed)
                row |= probes.get(experts, {})
            rows.append(row)
    if not rows:
        raise ValueError(
            "predictions.jsonl holds none of the systems " + ", ".join(LISTED["T3"]) + "; run 07 and 08 first"
        )
    return pd.DataFrame(rows).round(4)


def _unit_auroc(answers: Answers, expert: str, condition: str, seed: int) -> dict:
    """Of the clips of a condition: macro AUROC over the (unit, side) pairs of which 10 clips show and 10 do not; empty
    for an expert without a unit head.
    """
    score = answers.unit_scores(expert)
    if score is None:
        return {}
    here = (answers.clips["condition"] == condition).to_numpy()
    score, clips = score[here].reshape(here.sum(), -1), answers.clips[here].reset_index(drop=True)
    truth = (answers.units_true[here] > 0).reshape(len(score), -1)
    often = (truth.sum(axis=0) >= OFTEN) & ((~truth).sum(axis=0) >= OFTEN)
    if not often.any():
        return {}
    return metrics.auroc_interval(truth[:, often], score[:, often], clips, seed=seed).columns("unit_auroc")


def _together(part: pd.DataFrame) -> list[str]:
    broken = part[part.condition == "broken"]
    words = [said("Highest UF1 with the tie broken: {}.", highest(broken, "uf1", "experts", _experts))]
    for _, less in broken[broken.experts == "motion"].iterrows():
        verdict = (
            "above it"
            if less.get("all_minus_low", 0) > 0
            else "below it"
            if less.get("all_minus_high", 0) < 0
            else "not told apart from it"
        )
        words.append(said(f"All three together less motion alone: {{}}, {verdict}.", quote(less, "all_minus")))
    return words


def _probed(part: pd.DataFrame) -> list[str]:
    return [
        said(f"{name} is read best from {{}}.", highest(part, f"probe_{factor}", "experts"))
        for factor, name in (
            ("identity", "Identity"),
            ("region direction", "Direction of motion"),
            ("unit", "What units move"),
        )
    ]


def _experts(words: str) -> str:
    return words.replace("structure + texture + motion", "all three")


EXPERTS = (Column("Experts", "experts", spoken=_experts),)
PAGE = Page(
    (
        Part(
            "recognition",
            EXPERTS,
            (
                *both("UF1", "uf1", best=max),
                Column("NLL, tie broken", "nll", BROKEN, best=min),
                *both("All three less it", "all_minus"),
                Column("AUROC of its units", "unit_auroc", BROKEN, best=max),
            ),
            _together,
        ),
        Part(
            "what linear probes read from each expert",
            EXPERTS,
            tuple(
                Column(head, f"probe_{name}", BROKEN, best=max)
                for head, name in (
                    ("Identity, accuracy", "identity"),
                    ("Look, accuracy", "look"),
                    ("Landmarks, R²", "landmarks"),
                    ("Direction of motion, R²", "region direction"),
                    ("Units, AUROC", "unit"),
                    ("Emotion, accuracy", "emotion"),
                )
            ),
            _probed,
        ),
    ),
    "Brackets: 95 % intervals over subjects within looks and over draws; all three less it: difference of UF1, paired."
    " Probes and AUROC: the first draw of the experts; accuracies are balanced but for identity.",
)
