"""T5b: which stream carries an answer, by counterfactuals that only a simulator allows (claims C1 and C4)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.evaluation import metrics
from deft.evaluation.tables.common import constant, told
from deft.evaluation.tables.present import Column, Page, Part, quote, said
from deft.evaluation.versions import AS_FILMED, CLIP, FACE, MOTION
from deft.systems import DEFT, RGB, SYSTEMS, spoken

SYSTEMS_SHOWN = (DEFT, RGB, "bayes-experts", "lr-flow")
COUNTERFACTUALS = (FACE, MOTION, CLIP)
WHOLE = "everything"


def answered(profile: str) -> pd.DataFrame:
    """The answers to versions of clips, work/<profile>/robustness.jsonl, with a column `own`: what the same system and
    draw says of the clip as filmed.
    """
    path = paths.work(profile) / "robustness.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run notebook 08_answers first (`make reproduce`)")
    rows = pd.DataFrame(runtime.read_jsonl(path))
    key = ["system", "seed", "clip"]
    own = rows[rows["nuisance"] == AS_FILMED].set_index(key)["prediction"].rename("own")
    return rows.join(own, on=key)


def t5b(profile: str, seed: int = 7) -> pd.DataFrame:
    """Exchange of streams: how often an answer changes when part of what is told belongs to a counterfactual.

    *Another face*: the same motion, filmed on another person in another look. *Another motion*: other units and times
    on the same face. *Another clip*: another person's clip as stored. `changed`: share of answers that differ from the
    answer to the clip. `follows`: where the whole counterfactual is answered otherwise, the share that is answered like
    it. Intervals: over subjects within looks and over draws. The readers hear no streams: they meet the whole."""
    rows, out = answered(profile), []
    for system in SYSTEMS_SHOWN:
        every = SYSTEMS[system].parts
        for counterfactual in COUNTERFACTUALS:
            asked = rows[(rows["system"] == system) & (rows["nuisance"] == counterfactual)]
            asked = asked[asked["streams"] != ""] if every else asked
            if not len(asked):
                continue
            key = ["seed", "clip"]
            whole = asked[asked["streams"] == every].set_index(key)["prediction"].rename("whole")
            for streams, mine in asked.join(whole, on=key).groupby("streams", sort=False):
                differs, one = mine["prediction"] != mine["own"], np.ones(len(mine))
                other = (mine["whole"] != mine["own"]).to_numpy()
                changed = metrics.sample(mine, np.stack([differs, one], axis=1), constant(system))
                like = (mine["prediction"] == mine["whole"]).to_numpy() & other
                follows = metrics.sample(mine, np.stack([like, other], axis=1), constant(system))
                out.append(
                    {
                        "kind": "simulated",
                        "system": system,
                        "counterfactual": counterfactual,
                        "exchanged": WHOLE if streams == every else streams,
                        "clips": mine["clip"].nunique(),
                        **told(changed, system),
                        **metrics.interval(changed, metrics.share, seed=seed).columns("changed"),
                        **metrics.interval(follows, metrics.share, seed=seed).columns("follows"),
                    }
                )
    return pd.DataFrame(out).round(4)


def _carried(part: pd.DataFrame) -> list[str]:
    known = part.set_index(["system", "counterfactual", "exchanged"])

    def cell(system: str, counterfactual: str, exchanged: str, name: str = "changed") -> str:
        where = (system, counterfactual, exchanged)
        return quote(known.loc[where], name) if where in known.index else ""

    return [
        said("Another face changes {} of DEFT's answers and {} of the RGB-only model's;", *_both(cell, FACE)),
        said("another motion on the same face changes {} and {}.", *_both(cell, MOTION)),
        said(
            "Of what another motion changes in DEFT, the motion stream alone carries {}, texture {}, structure {}.",
            *(cell(DEFT, MOTION, stream, "follows") for stream in ("motion", "texture", "structure")),
        ),
    ]


def _both(cell, counterfactual: str) -> list[str]:
    return [cell(system, counterfactual, WHOLE) for system in (DEFT, RGB)]


PAGE = Page(
    (
        Part(
            "answers that change when streams come from a counterfactual",
            (Column("System", "system", spoken=spoken), Column("Exchanged", "exchanged")),
            (
                *(Column(f"Changed, {word}", "changed", {"counterfactual": word}) for word in COUNTERFACTUALS),
                *(Column(f"Follows {word}", "follows", {"counterfactual": word}) for word in COUNTERFACTUALS[1:]),
            ),
            _carried,
        ),
    ),
    "Brackets: 95 % intervals over subjects within looks and over draws. Another face: the same motion on another"
    " person in another look; another motion: other units and times on the same face; another clip: both. Follows: of"
    " the answers that the whole counterfactual changes, the share that the exchanged streams change in the same way.",
)
