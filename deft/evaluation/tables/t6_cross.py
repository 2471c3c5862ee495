"""T6: trained on one data set, tested on another (claim C5)."""

from __future__ import annotations

import pandas as pd

from deft import paths, runtime
from deft.clips import benchmark
from deft.clips.labels import COARSE_CLASSES
from deft.evaluation import metrics
from deft.evaluation.protocols.members import SETS
from deft.evaluation.tables.common import CONDITIONS, compared, recognition, sample, told
from deft.evaluation.tables.present import Column, Page, Part, highest, listed, said
from deft.systems import DEFT, spoken

ALPHA = 0.05
PROTOCOL = "cross-dataset, 3 classes; the diagonal: 3 subject-disjoint folds of the set"


def t6(profile: str, seed: int = 7) -> pd.DataFrame:
    """One row per system, training set, tested set and condition: UF1, UAR, accuracy over three classes, with 95 %
    intervals over subjects; `deft_minus*`: UF1 of DEFT less that of the row on the same clips; `p_holm`: two-sided,
    adjusted by Holm over all systems and cells of a condition. FileNotFoundError without cross.jsonl.
    """
    path, rows = paths.work(profile) / "cross.jsonl", []
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run 08_answers first")
    frame, named = pd.DataFrame(runtime.read_jsonl(path)), benchmark.named_in(path.parent)
    for condition in CONDITIONS:
        here, mine = frame[frame["condition"] == condition], []
        for (system, train, test), part in here.groupby(["system", "train", "dataset"], sort=False):
            one = sample(part, COARSE_CLASSES)
            row = {
                "kind": "simulated", "benchmark": named, "protocol": PROTOCOL, "system": system, "train": train,
                "test": test, "condition": condition, "clips": part["clip"].nunique(), **told(one, system),
                **recognition(part, seed, COARSE_CLASSES), "parameters": int(part["parameters"].max()),
            }  # fmt: skip
            deft = here[(here["system"] == DEFT) & (here["train"] == train) & (here["dataset"] == test)]
            if system != DEFT and len(deft):
                pair = sample(deft, COARSE_CLASSES), one
                row |= compared("deft_minus", *pair, metrics.uf1, seed)[0]
                row["p_holm"] = metrics.p_value(*pair, metrics.uf1, seed=seed)
            mine.append(row)
        tested = [row for row in mine if "p_holm" in row]
        for row, p in zip(tested, metrics.holm([row["p_holm"] for row in tested])):
            row["p_holm"] = p
        rows += mine
    table = pd.DataFrame(rows)
    return table.round({name: 6 if name == "p_holm" else 4 for name in table})


def _moved(part: pd.DataFrame) -> list[str]:
    broken, words = part[part.condition == "broken"], []
    for test, here in broken.groupby("test"):
        words.append(said(f"Best on {test}: {{}}.", highest(here, "uf1", "system", spoken)))
        if "p_holm" in here and (here.p_holm < ALPHA).any():
            clear = here[here.p_holm < ALPHA]
            ahead, behind = (clear.system[side].map(spoken) for side in (clear.deft_minus > 0, clear.deft_minus < 0))
            sides = (("ahead of", ahead), ("behind", behind))
            told = [f"{word} {listed(names)}" for word, names in sides if len(names)]
            words.append(f"There DEFT is {'; '.join(told)} at p < {ALPHA} after Holm.")
    return words


def _on(test: str, head: str, name: str, **options: object) -> Column:
    return Column(f"{head} {test}", name, {"condition": "broken", "test": test}, **options)


SYSTEM = (Column("System", "system", spoken=spoken),)
COLUMNS = (
    *(_on(test, "UF1 on", "uf1", best=max) for test in SETS),
    *(_on(test, "DEFT less it on", "deft_minus") for test in SETS),
)
PAGE = Page(
    tuple(Part(f"trained on {train}, tie broken", SYSTEM, COLUMNS, _moved, {"train": train}) for train in SETS),
    "UF1 of three classes, pooled. Brackets: 95 % intervals over subjects within looks. DEFT less it: paired; p:"
    " two-sided, adjusted by Holm over all systems and cells. Tested on the set that it was trained on, a system was"
    " fitted on folds without the subjects that it answers. The tie between looks and emotions is broken; kept: the"
    " CSV.",
)
