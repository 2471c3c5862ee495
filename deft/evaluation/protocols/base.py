"""A protocol of the field: its classes, its data sets, who is tested when, and when a number is a reproduction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pandas as pd

from deft.clips import labels
from deft.clips.facs import EMOTIONS
from deft.evaluation import reported
from deft.evaluation.protocols import members, scoring, splitting
from deft.evaluation.protocols.members import ProtocolError, is_simulated
from deft.evaluation.protocols.plan import Plan

SPLITS = {
    "subjects": "leave one subject out",
    "sets": "leave one data set out",
    "fixed": "trained on {train}, tested on {test}",
}


@dataclass(frozen=True)
class Protocol:
    """Recognition over a fixed class list. parts: the data sets it is defined on, or the division of the set `divides`.

    classes: in their order; a class that nobody shows still counts. member: clip -> its class, or None. split: a key of
    SPLITS; "fixed" trains on the parts `train` and tests `test`. stands: part -> simulated data sets that play it.
    expected: published clips per part and class, {"casme2": {"negative": 88, ...}, ...}; class "" where only their sum
    is published; a part without published counts is left out. newer: the same for an edition of a sheet that counts
    otherwise. hints: data set -> why it cannot serve; "": why none of those given does. reports: names in reported.csv.
    """

    name: str
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    source: str
    member: Callable[[object], object] = field(repr=False)
    expected: scoring.Counts = field(default_factory=dict, repr=False)
    stands: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    split: str = "subjects"
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    divides: str = ""
    hints: Mapping[str, str] = field(default_factory=dict, repr=False)
    newer: Mapping[str, scoring.Counts] = field(default_factory=dict, repr=False)
    reports: tuple[str, ...] = ()
    by_units: bool = False  # membership follows from action units, which simulated clips have as well
    SAID: ClassVar[str] = "prediction"  # the column of a row that holds the answer

    @property
    def tested(self) -> tuple[str, ...]:
        """The parts whose clips are tested."""
        return self.test or self.parts

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets to read."""
        return (self.divides,) if self.divides else self.parts

    def reported(self) -> pd.DataFrame:
        """The rows of reported.csv that belong to this protocol."""
        table = reported.load()
        return table[table["protocol"].isin(self.reports)].reset_index(drop=True)

    def how(self) -> str:
        """Who is tested when, in words."""
        return SPLITS[self.split].format(train=" + ".join(self.train), test=" and ".join(self.test))

    def counterpart(self) -> Protocol:
        """The same on the simulator: its data sets play the parts (`stands`), with the classes that they show.

        Those are the coarse classes, or the simulator's five emotions: it shows no others, repression, fear, contempt.
        """
        if not self.stands:
            raise ProtocolError(f"{self.name} has no counterpart on the simulator")

        def sets(names: Sequence[str]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(part for name in names for part in self.stands.get(name, ())))

        played = dataclasses.replace(
            self, parts=sets(self.parts), train=sets(self.train), test=sets(self.test),
            stands={}, divides="", expected={}, newer={}, reports=(),
        )  # fmt: skip
        if self.by_units:
            return played
        shown = tuple(name for name in self.classes if name in labels.COARSE_CLASSES)
        shown = shown if "negative" in shown else EMOTIONS
        return dataclasses.replace(
            played, classes=shown, member=lambda clip: members.simulated_class(clip.emotion, shown)
        )

    def members(self, clips: Sequence[object]) -> pd.DataFrame:
        """Clips of the protocol as a table (`members.table`); ProtocolError, naming file and row, if it cannot be."""
        for clip in clips:
            if clip.dataset not in self.datasets:
                of = ", ".join(self.datasets)
                why = self.hints.get(clip.dataset, f"it is defined on {of}; leave {clip.dataset} out")
                raise ProtocolError(f"protocol {self.name} cannot use {clip.dataset}, {members.place(clip)}: {why}")
        found = members.table(clips, self._truth, lambda clip: clip.split if self.divides else clip.dataset)
        for parts in (self.train, self.test) if self.split == "fixed" else (self.parts,):
            if not found["part"].isin(parts).any():
                sets = " or ".join(parts)
                raise ProtocolError(
                    f"protocol {self.name} finds no clip of {sets} with one of its classes among {len(clips)} clips: "
                    + self.hints.get("", f"add {sets}")
                )
        return found

    def _truth(self, clip: object) -> object:
        label = clip.emotion.strip().lower()
        if label and not is_simulated(clip.dataset) and not labels.known(clip.dataset, label):
            raise ProtocolError(
                f"{members.place(clip)}: {clip.emotion!r} is no label of {clip.dataset}; mend the sheet, or add the "
                "label to deft/clips/labels/labels.csv"
            )
        name = self.member(clip)
        if name is not None and not self.by_units and name not in self.classes:
            raise ProtocolError(
                f"{members.place(clip)}: class {name!r} is not in the list of {self.name} ({', '.join(self.classes)}); "
                "mend deft/clips/labels/labels.csv"
            )
        return name

    def plan(
        self, clips: Iterable[object] | pd.DataFrame, folds: int | None = None, seed: int = 7, made_up: bool = False
    ) -> Plan:
        """Members, folds and counts, all checked: nothing is trained to learn that a protocol cannot be run.

        clips: of readers, or the index of simulated ones, of which the sets that play a part are taken. folds: so many
        subject-disjoint folds instead of leaving one out; no published protocol has these, and the table says so.
        seed: decides who is in which of these. made_up: the recordings are those of `deft.clips.readers.fixtures`.
        """
        reported.load()  # a published number without a source is refused now, not when the table is made
        records = members.records(clips)
        simulated = [is_simulated(clip.dataset) for clip in records]
        if any(simulated) and not all(simulated):
            raise ProtocolError(f"{self.name}: simulated and recorded clips never share a table; pass one kind")
        mine = self.counterpart() if any(simulated) and self.stands else self
        records = [clip for clip in records if not any(simulated) or clip.dataset in mine.datasets]
        if folds is not None and mine.split != "subjects":
            raise ProtocolError(f"{self.name} is {mine.how()}: a number of folds (FOLDS) has no meaning, leave it out")
        edition = next((clip.edition for clip in records if getattr(clip, "edition", "") in self.newer), "")
        mine = dataclasses.replace(mine, expected=self.newer.get(edition, mine.expected))
        found = mine.members(records)
        mine = mine.settled(found)
        kind = "simulated" if any(simulated) or made_up else "measured" if folds else ""
        plan = Plan(mine, found, mine.divided(found, folds, seed), kind, folds)
        plan.check()
        return plan

    def splits(
        self, clips: Iterable[object] | pd.DataFrame, folds: int | None = None, seed: int = 7
    ) -> list[splitting.Fold]:
        """[(training, validation, test) clip ids, ...], subjects disjoint; validation subjects are training ones. See
        `plan`.
        """
        return self.plan(clips, folds, seed).splits

    def settled(self, found: pd.DataFrame) -> Protocol:
        """The protocol with what its members decide beforehand; here nothing."""
        return self

    def divided(self, found: pd.DataFrame, folds: int | None, seed: int) -> list[splitting.Fold]:
        """Members -> folds, not yet checked."""
        if self.split == "fixed":
            return [splitting.fold(found, found["part"].isin(self.test), found["part"].isin(self.train), 0)]
        if folds is not None:
            return splitting.dealt(found, folds, seed)
        return splitting.leave_out(found, "person" if self.split == "subjects" else "dataset")

    def counts(self, found: pd.DataFrame) -> pd.DataFrame:
        """Clips found among members and published: columns part, class, found, published, agrees (None: not
        published).
        """
        there, rows = scoring.counted(found), []
        for part in self.parts:
            of, published = there.get(part, {}), self.expected.get(part, {})
            for name in published or of:
                rows.append((part, name, of.get(name, 0) if name else sum(of.values()), published.get(name)))
        return scoring.compared(rows)

    def score(self, rows: Iterable[Mapping] | pd.DataFrame, seed: int = 7) -> pd.DataFrame:
        """Answers -> one row per system, condition and part, "full" first: UF1, UAR, accuracy with intervals over
        subjects.

        rows: dataset, subject, truth, prediction, and, where they are known, clip, system, condition, seed (draw),
        look; of a divided data set also `part`. Counts are pooled over all folds. ProtocolError names a row that
        cannot be scored. Where training clips count too (one set against another), only `Plan.score` can call it
        reproduced.
        """
        needed = ("dataset", "subject", "truth", "prediction", *(["part"] if self.divides else []))
        frame = scoring.checked(rows, self.classes, self.name, needed)
        self.refuse_foreign(frame)
        simulated = frame["dataset"].map(is_simulated).all()
        frame = frame if "part" in frame else frame.assign(part=frame["dataset"])
        return self.table(frame, None, "simulated" if simulated else "", seed)

    def refuse_foreign(self, frame: pd.DataFrame) -> None:
        """ProtocolError, naming a row, for recorded answers about a data set or part that is not tested."""
        part = frame["part"] if self.divides and "part" in frame else frame["dataset"]
        foreign = ~part.isin(self.tested) & ~frame["dataset"].map(is_simulated)
        if foreign.any():
            row = int(foreign.idxmax())
            raise ProtocolError(
                f"answers to {self.name}, row {row + 1}: {part[row]} is not tested there, {', '.join(self.tested)} is;"
                " leave its rows out"
            )

    def table(
        self, frame: pd.DataFrame, found: scoring.Counts | None, kind: str, seed: int, how: str = ""
    ) -> pd.DataFrame:
        """Checked answers with column part -> the rows of `score`. found: clips given, per part and class; kind: ""
        to judge.
        """
        return scoring.table(frame, self.classes, self.ground(frame, found, kind, how), seed)

    def ground(self, frame: pd.DataFrame, found: scoring.Counts | None, kind: str, how: str) -> scoring.Ground:
        """What every row says of its protocol; simulated answers are scored on the sets that are there."""
        tested = tuple(dict.fromkeys(frame["part"])) if kind == "simulated" else self.tested
        words = f"{self.name}, {how or self.how()}"
        return scoring.Ground(words, self.source, self.expected, self.parts, tested, found, kind)
