"""T2 of a protocol on licensed data, in the layout of the field: one row per system and part, each with "n of N
published clips", the published numbers in a part of their own, and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deft import runtime
from deft.evaluation import metrics, reported, tables
from deft.evaluation.protocols.scoring import FULL
from deft.evaluation.tables import present
from deft.evaluation.tables.present import Column, Page, Part, highest, listed, said
from deft.systems import DEFT, SYSTEMS, spoken

PARTS = {"casme2": "CASME II", "samm": "SAMM", "smic-hs": "SMIC"}  # as reported.csv calls them


def t2(plan: Any, rows: Sequence[Mapping], seed: int = 7) -> pd.DataFrame:
    """Scores of every system, then the published numbers. plan: `deft.evaluation.protocols.plan.Plan`; rows: of
    predictions.jsonl.

    `deft_minus*`: UF1 of DEFT less that of the row, paired over subjects and draws, in every part. Rows of kind
    "reported" have `system`, scores, `part` and `source`; their `note` says how the epoch was selected."""
    table = plan.score(rows, seed)
    if "uf1" in table:
        table = pd.concat([table, _differences(plan, rows, table, seed)], axis=1)
    table["note"] = [SYSTEMS[name].note if name in SYSTEMS else "" for name in table["system"]]
    known = [
        {
            "kind": "reported",
            "protocol": line.protocol,
            "part": next((name for name, word in PARTS.items() if word in line.protocol), FULL),
            "system": line.method,
            "uf1": line.uf1,
            "uar": line.uar,
            "note": reported.note(line),
            "source": line.source,
        }
        for line in plan.protocol.reported().itertuples()
    ]
    return pd.concat([table, pd.DataFrame(known)], ignore_index=True).round(4)


def _differences(plan: Any, rows: Sequence[Mapping], table: pd.DataFrame, seed: int) -> pd.DataFrame:
    asked = plan.members.set_index("clip")
    frame = pd.DataFrame(list(rows))
    for name in ("truth", "part", "dataset", "subject"):
        frame[name] = frame["clip"].map(asked[name])
    frame["look"] = frame["dataset"]
    out = []
    for row in table.itertuples():
        here = frame if row.part == FULL else frame[frame["part"] == row.part]
        one, other = (
            tables.sample(here[here["system"] == name], plan.protocol.classes)
            if (here["system"] == name).any()
            else None
            for name in (DEFT, row.system)
        )
        compared = row.system != DEFT and one is not None and len(one.subjects) > 1
        out.append(tables.compared("deft_minus", one, other, metrics.uf1, seed)[0] if compared else {})
    return pd.DataFrame(out, index=table.index)


def shown(table: pd.DataFrame) -> list[present.Shown]:
    """The table for a reader: a part per part of the protocol, then the published numbers."""
    scores = (
        *(Column(head, name, best=max) for head, name in (("UF1", "uf1"), ("UAR", "uar"), ("Accuracy", "accuracy"))),
        Column("F1 over units", "f1_over_units", best=max),
        Column("F1 over sets", "f1_over_sets", best=max),
        Column(f"{spoken(DEFT)} less it", "deft_minus"),
        Column("Clips", "of"),
    )
    made = table[table["kind"] != "reported"]
    parts = [
        Part(
            "all parts together" if part == FULL else part,
            (Column("System", "system", spoken=spoken),),
            scores,
            _finding,
            {"kind": kind, "part": part},
        )
        for part, kind in dict.fromkeys(zip(made["part"], made["kind"]))
    ]
    printed = Part(
        "published numbers",
        (Column("Protocol", "protocol"), Column("Method", "system")),
        (Column("UF1", "uf1"), Column("UAR", "uar"), Column("How it was counted", "note"), Column("Source", "source")),
        lambda rows: ["Theirs, as printed: other inputs, and other rules for the epoch."],
        {"kind": "reported"},
    )
    return present.parts(Page((*parts, printed), ""), table)


def _finding(part: pd.DataFrame) -> list[str]:
    row, score = part.iloc[0], "uf1" if "uf1" in part and part["uf1"].notna().any() else "f1_over_units"
    words = {"partial": "Fewer than 95 % of the published clips: no reproduction.",
             "measured": "Not the published folds, or no published counts: no reproduction."}  # fmt: skip
    return [
        f"{row.of}, {row.subjects:.0f} subjects; {row.protocol}; classes: {row.classes}.",
        words.get(row.kind, ""),
        said("Highest: {}.", highest(part, score, "system", spoken)),
    ]


def confusions(plan: Any, rows: Sequence[Mapping]) -> pd.DataFrame:
    """Every confusion matrix, a row per system, part and true class; columns are answers. All draws together."""
    out = []
    for (system, _, part), counts in plan.confusions(rows).items():
        out.append(counts.rename_axis("truth").reset_index().assign(system=system, part=part))
    table = pd.concat(out, ignore_index=True)
    return table[["system", "part", "truth", *(name for name in table if name not in ("system", "part", "truth"))]]


def save(
    folder: Path,
    name: str,
    words: str,
    table: pd.DataFrame,
    counts: pd.DataFrame,
    uses: pd.DataFrame,
    matrices: pd.DataFrame | None,
) -> None:
    """Write T2.csv, .md, .tex and .html, counts.csv, labels.csv and confusions.csv to `folder`, each with its
    provenance (`words`). No clip and no subject is named in them.
    """
    notes = f"Counts pooled over folds; intervals: 95 % over subjects within data sets, and over draws. {words}."
    differ = counts[counts["agrees"].eq(False).fillna(False)]
    told = [f"{part} {name} {found} of {of}" for part, name, found, of, _ in differ.itertuples(index=False)]
    below = [f"Counts that differ from the published ones: {listed(told) if told else 'none'}."]
    if matrices is not None:
        system = matrices["system"].iloc[0]
        mine = matrices[(matrices["system"] == system) & (matrices["part"] == FULL)].drop(columns=["system", "part"])
        below += [f"**Confusions of {spoken(system)}** (rows: truth)", mine.to_markdown(index=False)]
    texts = {f"T2.{kind}": page for kind, page in present.bound(f"T2. {name}", shown(table), notes, "tab:t2").items()}
    texts["T2.md"] += "\n" + "\n\n".join([*below, "**Labels**", uses.to_markdown(index=False)]) + "\n"
    for file, content in (("T2", table), ("counts", counts), ("labels", uses)):
        texts[f"{file}.csv"] = content.assign(provenance=words).to_csv(index=False, lineterminator="\n")
    if matrices is not None:
        texts["confusions.csv"] = matrices.assign(provenance=words).to_csv(index=False, lineterminator="\n")
    for file, text in texts.items():
        if not (folder / file).exists() or (folder / file).read_text(encoding="utf-8") != text:
            with runtime.atomic(folder / file) as fresh:
                fresh.write_text(text, encoding="utf-8")
