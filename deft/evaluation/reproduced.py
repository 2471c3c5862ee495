"""T2 of a licensed data set: recognition by emotion and by coarse class, pooled over folds, with intervals over
subjects.

It has a place of its own, figures/<set>/tables: reproduced and simulated numbers never share a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deft import runtime
from deft.clips.facs import COARSE, COARSE_CLASSES, EMOTIONS
from deft.evaluation import metrics, tables
from deft.evaluation.tables import present
from deft.evaluation.tables.present import Column, Page, Part, highest, said
from deft.systems import SYSTEMS, spoken


def coarse_of(scores: dict[str, float]) -> str:
    """The coarse class with the largest *sum* of the likelihoods of its emotions.

    Emotions exclude each other, so the probability of "disgust, sadness or anger" is their sum; the maximum would let
    one of three negative emotions compete alone with all of positive, and doubt among the three would count against
    each of them."""
    total = {name: sum(p for emotion, p in scores.items() if COARSE[emotion] == name) for name in COARSE_CLASSES}
    return max(total, key=total.get)


def t2(rows: Sequence[dict], protocol: str, simulated: bool, seed: int = 7) -> pd.DataFrame:
    """One row per system and view. rows: of predictions.jsonl, with `coarse`; those of condition "kept" are scored.

    View "emotions" where clips have one, "coarse" always. The class list is what occurs among the scored clips: a class
    that a data set does not have would count as 0 for everybody. `minus`: UF1 of the first system less that of the
    row's, paired over subjects."""
    frame = pd.DataFrame([row for row in rows if row["condition"] == "kept"])
    views = {"coarse": (frame.assign(truth=frame["coarse"], prediction=frame["scores"].map(coarse_of)), COARSE_CLASSES)}
    if (frame["truth"] != "").all():
        views = {"emotions": (frame, EMOTIONS)} | views
    out = []
    for view, (answers, names) in views.items():
        classes = [name for name in names if name in set(answers["truth"])]
        systems = list(dict.fromkeys(answers["system"]))
        found = {system: tables.sample(answers[answers["system"] == system], classes) for system in systems}
        for system, mine in found.items():
            row = {
                "kind": "simulated" if simulated else "reproduced",
                "protocol": protocol,
                "scored by": view,
                "classes": ", ".join(classes),
                "system": system,
                "clips": int(mine.counts.sum() / mine.counts.shape[1]),
                "subjects": len(mine.subjects),
                **tables.told(mine, system),
            }
            for name in metrics.SCORES:
                row |= metrics.interval(mine, getattr(metrics, name), seed=seed).columns(name)
            if system != systems[0] and len(mine.subjects) > 1:
                row |= tables.compared(f"{systems[0]}_minus", found[systems[0]], mine, metrics.uf1, seed)[0]
            out.append({**row, "note": SYSTEMS[system].note if system in SYSTEMS else ""})
    return pd.DataFrame(out).round(4)


def shown(table: pd.DataFrame) -> list[present.Shown]:
    """The table for a reader, one part a view."""
    first = table["system"].iloc[0]
    columns = (
        Column("UF1", "uf1", best=max),
        Column("UAR", "uar", best=max),
        Column("Accuracy", "accuracy", best=max),
        Column(f"{spoken(first)} less it", f"{first}_minus"),
    )
    parts = (
        Part(f"by {words}", (Column("System", "system", spoken=spoken),), columns, _finding, {"scored by": view})
        for view, words in (("emotions", "emotion"), ("coarse", "coarse class"))
    )
    return present.parts(Page(tuple(parts), ""), table)


def _finding(part: pd.DataFrame) -> list[str]:
    row = part.iloc[0]
    return [
        f"{row.clips} clips of {row.subjects} subjects; classes: {row.classes}.",
        said("Highest UF1: {}.", highest(part, "uf1", "system", spoken)),
    ]


def save(folder: Path, dataset: str, words: str, table: pd.DataFrame, uses: pd.DataFrame) -> None:
    """Write T2.csv, T2.md and labels.csv to `folder`, each with its provenance (`words`). No clip and no subject is
    named in them.
    """
    notes = (
        "Intervals: 95 % over subjects, and over draws where there are several. "
        f"Coarse: by the sum of the likelihoods of a class' emotions. {words}."
    )
    parts = (
        f"**T2. Recognition on {dataset}**",
        present.markdown(shown(table)),
        "**Labels**",
        uses.to_markdown(index=False),
        notes,
    )
    page = "\n\n".join(parts) + "\n"
    texts = {
        "T2.csv": table.assign(provenance=words).to_csv(index=False, lineterminator="\n"),
        "T2.md": page,
        "labels.csv": uses.assign(provenance=words).to_csv(index=False, lineterminator="\n"),
    }
    for name, text in texts.items():
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
            with runtime.atomic(folder / name) as fresh:
                fresh.write_text(text, encoding="utf-8")
