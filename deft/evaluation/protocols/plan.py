"""A protocol on the clips that there are: members, folds, counts, and the scores of the systems that answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deft.evaluation.protocols import scoring, splitting
from deft.evaluation.protocols.members import ProtocolError


@dataclass(frozen=True)
class Plan:
    """What `Protocol.plan` makes. protocol: as it is run (on the simulator its counterpart). members: a row per clip
    of it.

    splits: its folds, (training, validation, test) clip ids. kind: of the rows of its table, "" when the counts
    decide. folds: their number where they are not the protocol's own.
    """

    protocol: Any
    members: pd.DataFrame
    splits: list[splitting.Fold]
    kind: str = ""
    folds: int | None = None

    @property
    def tested(self) -> np.ndarray:
        """(N,) mask over `members`: the clips that are tested, each exactly once."""
        return self.members["part"].isin(self.protocol.tested).to_numpy()

    def check(self, folds: Sequence[splitting.Fold] | None = None) -> None:
        """ProtocolError, naming fold and clip, for folds (its own by default) that break a rule: see
        `splitting.check`.
        """
        splitting.check(self.splits if folds is None else folds, self.members, self.tested)

    def roles(self, clips: Sequence[str], fold: int) -> np.ndarray:
        """Role of every clip id in one fold: (N,) of 'train', 'validation', 'test', or '' for one that has no part."""
        parts = zip(("train", "validation", "test"), self.splits[fold])
        role = {clip: name for name, part in parts for clip in part}
        return np.array([role.get(clip, "") for clip in clips])

    def counts(self) -> pd.DataFrame:
        """Clips found and published per part and class: columns part, class, found, published, agrees."""
        return self.protocol.counts(self.members)

    def standing(self) -> tuple[str, str]:
        """(kind, "n of N published clips") that a table would say if every clip is answered; told before a run."""
        found = scoring.counted(self.members)
        ground = self.protocol.ground(self.members[self.tested], found, self.kind, "")
        row = ground.row(self.members[self.tested], scoring.FULL)
        return row["kind"], row["of"]

    def score(self, rows: Iterable[Mapping] | pd.DataFrame, seed: int = 7) -> pd.DataFrame:
        """As `Protocol.score`; data set, subject, part and truth come from the plan, so rows need clip and the
        answer.

        ProtocolError for an answer to a clip that is not tested, and for a system that lacks an answer that another
        gave.
        """
        column = self.protocol.SAID
        frame = scoring.checked(rows, (), self.protocol.name, ("clip", column))
        how = f"{self.folds} subject-disjoint folds" if self.folds else ""
        frame = self._joined(frame.assign(prediction=frame[column]))
        return self.protocol.table(frame, scoring.counted(self.members), self.kind, seed, how)

    def confusions(self, rows: Iterable[Mapping] | pd.DataFrame) -> dict[tuple[str, str, str], pd.DataFrame]:
        """{(system, condition, part): counts} of the answers, truth in rows; see `scoring.confusions`."""
        frame = self._joined(scoring.checked(rows, (), self.protocol.name, ("clip", "prediction")))
        return scoring.confusions(frame, self.protocol.classes)

    def _joined(self, frame: pd.DataFrame) -> pd.DataFrame:
        asked = self.members[self.tested].set_index("clip")
        if strange := sorted(set(frame["clip"]) - set(asked.index)):
            raise ProtocolError(
                f"clip {strange[0]} is answered, but it is not tested in {self.protocol.name}; "
                "score the answers of this protocol's own runs"
            )
        every = set(frame["clip"])
        for key, mine in frame.groupby([name for name in ("system", "seed") if name in frame]):
            if lacking := sorted(every - set(mine["clip"])):
                raise ProtocolError(
                    f"{', '.join(map(str, key))} has no answer to clip {lacking[0]}, which another system or draw "
                    "answered; run it again"
                )
        known = asked.loc[frame["clip"]].reset_index(drop=True)
        look = known["dataset"] if (known["look"] == -1).all() else known["look"]
        known = known[["dataset", "subject", "part", "truth"]].assign(look=look)
        return frame.drop(columns=known.columns, errors="ignore").join(known)
