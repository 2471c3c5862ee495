"""Tables made again from answers, by the code that makes them, and held against the files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deft.verify import cells

if TYPE_CHECKING:
    from deft.evaluation.source import Answers


def made_again(answers: Answers, seed: int) -> dict[str, str]:
    """{table: CSV} that follows from answers (`deft.evaluation.source.Answers`): T2, T3, T7, and of T4 the columns
    of the tuned models.
    """
    import pandas as pd

    from deft.evaluation import constructions, tables

    found = {id: getattr(tables, id.lower())(answers, seed) for id in ("T2", "T3", "T7")}
    found["T4"] = pd.DataFrame(
        [
            {"construction": name, "annotation_noise": "own", **row}
            for name, row in constructions.model_scores(answers, seed).items()
        ]
    ).round(4)
    return {id: table.to_csv(index=False, lineterminator="\n") for id, table in found.items()}


def again_from_answers(answers: Answers, folder: Path, seed: int) -> dict[str, tuple[int, list[str]]]:
    """The tables of `made_again`, intervals and all, against the CSV files in `folder` -> {table: (cells compared,
    differences in words)}.
    """
    out = {}
    with tempfile.TemporaryDirectory() as temporary:
        for id, text in made_again(answers, seed).items():
            if not (folder / f"{id}.csv").is_file():
                continue  # what was taken out is named elsewhere
            path = Path(temporary) / f"{id}.csv"
            path.write_text(text, encoding="utf-8")
            old, new = cells.read(id, folder / path.name), cells.read(id, path)
            found = {
                key: cells.exact_difference(old.get(key), new.get(key), "the table")
                for key in {**old, **new}
                if id != "T4" or key[1].startswith(("model", "both_minus_model_"))
            }
            out[id] = (
                len(found),
                [f"{row}, {column} computed again {words}" for (row, column), words in found.items() if words],
            )
    return out
