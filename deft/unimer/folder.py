"""Uni-MER as a folder that `datasets.load_dataset(folder)` reads: data/<split>.jsonl and a README.md whose head names
files and features.

Arrow columns hold one type, so facts travel as strings ("12|L", "lip corner|L|up", "start|cheek|B|2|2"). The layout is
that of the Hugging Face Hub's dataset cards. The package `datasets` is not in the lock and is not needed to write this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from deft import runtime
from deft.unimer import schema
from deft.unimer.facts import LISTS

TEXT = ("id", "clip", "dataset", "subject", "condition", "kind", "question", "answer", "constraint")
EVIDENCE = {
    "unit": "int64",
    "probability": "float64",
    "region": "string",
    "side": "string",
    "direction": "string",
    "px": "float64",
    "z": "float64",
}
VERDICT = {"unit": "int64", "side": "string", "verdict": "string", "probability": "float64", "posterior": "float64"}


def row_of(record: Mapping) -> dict:
    """One record as a row of plain columns; facts_* is what the clip's texts rest on, stated_* what this answer
    says.
    """
    row = {name: record[name] for name in TEXT}
    for part in ("facts", "stated"):
        row |= {f"{part}_{name}": record[part][name] for name in ("emotion", "coarse")}
        row |= {f"{part}_{name}": ["|".join(map(str, fact)) for fact in record[part].get(name, ())] for name in LISTS}
    return row | {"evidence": list(record["evidence"]), "verdicts": list(record["verdicts"])}


def features() -> list[dict]:
    """The columns, in the words of a dataset card's `dataset_info`."""

    def struct(columns: Mapping[str, str], more: list[dict] = ()) -> list[dict]:
        return [{"name": name, "dtype": kind} for name, kind in columns.items()] + list(more)

    found = [{"name": name, "dtype": "string"} for name in TEXT]
    for part in ("facts", "stated"):
        found += [{"name": f"{part}_{name}", "dtype": "string"} for name in ("emotion", "coarse")]
        found += [{"name": f"{part}_{name}", "sequence": "string"} for name in LISTS]
    return found + [
        {"name": "evidence", "list": struct(EVIDENCE, [{"name": "frames", "sequence": "int64"}])},
        {"name": "verdicts", "list": struct(VERDICT)},
    ]


def write(
    target: Path, records: Iterable[Mapping], assignment: Mapping[tuple[str, str], str], card: str = ""
) -> dict[str, int]:
    """Write the folder, whole or not at all; returns rows per split.

    assignment: (dataset, subject) -> split (`deft.unimer.balance.split`). card: Markdown below the head, e.g. the
    datasheet."""
    sizes = Counter(assignment.values())
    splits: dict[str, list[dict]] = {
        name: [] for name, _ in sizes.most_common()
    }  # the largest, for training, comes first
    for number, record in enumerate(records, 1):
        schema.refuse(record, f"record {number}")
        subject = (record["dataset"], record["subject"])
        if subject not in assignment:
            raise ValueError(
                f"record {number}: subject {subject} has no split; split the same records that are written"
            )
        splits[assignment[subject]].append(row_of(record))
    head = {
        "pretty_name": "Uni-MER",
        "language": ["en"],
        "license": "other",
        "task_categories": ["visual-question-answering"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": name, "path": f"data/{name}.jsonl"} for name in splits]}
        ],
        "dataset_info": {"features": features()},
    }  # no sizes: a loader compares them, and they would only repeat the files
    with runtime.atomic(Path(target)) as fresh:
        for name, rows in splits.items():
            runtime.write_jsonl(fresh / "data" / f"{name}.jsonl", rows)
        (fresh / "README.md").write_text(
            f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{card or '# Uni-MER'}\n", encoding="utf-8"
        )
    return {name: len(rows) for name, rows in splits.items()}
