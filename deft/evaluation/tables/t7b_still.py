"""T7b: what is said of a face that shows nothing: still, drifting, blinking or talking (claim C6)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.still import KINDS
from deft.evaluation import metrics
from deft.evaluation.tables.common import constant, told
from deft.evaluation.tables.present import Column, Page, Part, highest, said
from deft.systems import LISTED, spoken
from deft.unimer.check import CLASS_THRESHOLD, parse

FILE = "predictions_still.jsonl"


def t7b(profile: str, seed: int = 7) -> pd.DataFrame:
    """Clips on which no unit moves (`deft.clips.still`), 0 is right in every column but `clips` and `draws`.

    `statement`: share of texts that state a unit or a motion; `emotion`: that name an emotion; `sure`: that name one
    and give it a probability of CLASS_THRESHOLD or more. `statement_<kind>`: of the clips of one kind."""
    path = paths.work(profile) / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run 08_answers first (`make reproduce` runs every stage)")
    frame = pd.DataFrame(runtime.read_jsonl(path))
    facts = {text: parse(text) for text in frame["text"].unique()}
    frame["statement"] = [bool(facts[text].stated) for text in frame["text"]]
    frame["emotion"] = [bool(facts[text].emotion) for text in frame["text"]]
    frame["sure"] = frame["emotion"] & np.array([max(row.values()) >= CLASS_THRESHOLD for row in frame["scores"]])
    rows = []
    for system in LISTED["T7b"]:
        if not (mine := frame[frame["system"] == system]).size:
            continue
        samples = {name: _share(mine, mine[name]) for name in ("statement", "emotion", "sure")}
        row = {"kind": "simulated", "system": system, "clips": mine["clip"].nunique()}
        row |= told(samples["statement"], system)
        for name, one in samples.items():
            row |= metrics.interval(one, metrics.share, seed=seed).columns(name)
        row |= {
            f"statement_{kind}": float(mine["statement"][mine["clip"].str.endswith(f"_{kind}")].mean())
            for kind in KINDS
        }
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def _share(rows: pd.DataFrame, hit: pd.Series) -> metrics.Sample:
    """(S, K, 2) [clips that are hit, clips] per subject and draw."""
    return metrics.sample(rows, np.stack([hit, np.ones(len(rows))], axis=1), constant(rows["system"].iloc[0]))


def _held(part: pd.DataFrame) -> list[str]:
    return [
        said("Says least about faces that show nothing: {}.", highest(part, "statement", "system", spoken, least=True))
    ]


PAGE = Page(
    (
        Part(
            "what is said of faces that show nothing",
            (Column("System", "system", spoken=spoken),),
            (
                Column("A statement", "statement", best=min),
                Column("An emotion", "emotion", best=min),
                *(Column(f"A statement: {kind}", f"statement_{kind}", best=min) for kind in KINDS),
            ),
            _held,
        ),
    ),
    "Shares of clips on which no action unit moves; 0 is right. Still: camera noise alone; drift: the head moves;"
    " blink: the lids close; talk: jaw and lips open and close, which FACS does not score. Brackets: 95 %"
    " intervals over subjects and draws.",
)
