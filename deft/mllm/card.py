"""The model card beside a saved model: what it is, what it learned from, how well it does, what it is not for."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deft.artifacts import COMMITTED

SIMULATED_ONLY = "trained on simulated faces only"  # how the source of such a model ends
LIMITS = (
    (
        "Not a lie detector. A movement of the face is not an intention, a truth or a feeling, and this program has"
        " never been shown a real one."
    ),
    (
        "What the experts know was learned on simulated faces. Nothing learned there is claimed to hold for people; the"
        " error on this clip is unknown."
    ),
    "Not for decisions about a person: hiring, policing, borders, school, insurance, medicine, credit.",
)
MEASURES = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy", "nll": "negative log likelihood"}


def metrics(table: Path, system: str) -> list[list[str]]:
    """Rows (set, condition, clips, each of MEASURES with its interval) of a system in table T2; none without the
    table, and of recorded clips, whose table has rows of another kind.
    """
    if not table.is_file():
        return []
    with open(table, encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["system"] == system and "set" in row and row.get("kind") != COMMITTED
        ]
    return [
        [row["set"], row["condition"], f"{float(row['clips']):.0f}"]
        + [f"{float(row[m]):.3f} [{float(row[f'{m}_low']):.3f}, {float(row[f'{m}_high']):.3f}]" for m in MEASURES]
        for row in rows
    ]


def _named(row: Mapping[str, str]) -> str:
    at = f", revision `{row['revision']}`" if row.get("revision") else ""
    return f"`{row['id']}`{at}, not contained here; sha256 of its files `{row['sha256']}`"


def text(
    config: Mapping[str, Any],
    source: str,
    data: str,
    scores: list[list[str]],
    commit: str,
    encoders: Mapping[str, Any] | None = None,
) -> str:
    """The card in Markdown. config: of the model (`DeftLLMConfig.to_dict`); source: which model, in words; data: what
    it was tuned on, in words; scores: `metrics` of it; encoders: {stream: reference} of frozen ones that experts read.
    """
    base = config.get("named_base") or {}
    head = ["---", "library_name: transformers", "tags: [micro-expression, action-units, peft, lora]"]
    head += [f"base_model: {base['id']}"] if "/" in base.get("id", "") else []
    limits = "\n".join(f"- {line}" for line in LIMITS)
    columns = ["set", "condition", "clips", *MEASURES.values()]
    lines = ["| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns), *scores]]
    measured = (
        "Subject-disjoint folds; intervals over subjects (95 %). This folder holds the model of one fold; the numbers"
        " are those of all folds together.\n\n" + "\n".join(lines)
        if scores
        else "Not measured yet: run the chain to 09_tables and save the model again."
    )
    return "\n".join(
        [
            *head,
            "---",
            "",
            "# A language model that reads the experts of a micro-expression clip",
            "",
            f"{source}. Code of commit {commit}.",
            "",
            "## What it is",
            f"A causal language model ({config['text_config']['model_type']}) with LoRA of rank {config['rank']}, one"
            f" projector for each of the streams `{config['streams']}`, and heads for emotion and action units.",
            f"Base: {_named(base)}." if base else "Base: pretrained on text of a grammar, contained here.",
            *(f"Frozen encoder of the {name} stream: {_named(row)}." for name, row in (encoders or {}).items()),
            "",
            "    from deft.mllm import DeftLLMProcessor  # registers the classes",
            "    from transformers import pipeline",
            '    pipeline("micro-expression", FOLDER)("clip.mp4")',
            "",
            "## Data",
            data,
            "",
            "## Results",
            measured,
            "",
            "## Limits",
            limits,
            "",
        ]
    )
