"""Action units: F1 of the positive class, averaged over units and over data sets (CD6ME, Varanka et al. 2023),
leaving one data set out.

    get("units")              the six sets and twelve units of CD6ME; every set that is there is left out once
    get("units:casme2")       one set, leave one subject out; the units that occur at least `OFTEN` times in it
    get("units:casme2+samm")  these sets, each left out once, twelve units

Over units: the F1 of each unit from counts pooled over all sets, then the mean over units. Over sets: in each set the
mean over units, then the mean over sets; a unit that a set never shows counts 0 there. Averaging both classes gives
other numbers (8.9 instead of 17.8 % for a reader that always says yes), so the negative class has no part here. Truth
is what raters wrote: a unit that is annotated for certain, on any side, also on the simulator (whose true movement T3
and T7 judge by). A clip with no unit written down is a clip without units, as CD6ME counts it. The papers do not say
which units to score on one set alone; we use those that occur at least ten times, as a rarer one decides a mean of F1
by luck.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from deft.clips import labels
from deft.clips.facs import UNITS, ParsedUnits, unit_sides
from deft.clips.readers import READERS
from deft.evaluation import metrics
from deft.evaluation.protocols import scoring
from deft.evaluation.protocols.base import Protocol
from deft.evaluation.protocols.members import SETS, ProtocolError, is_simulated

NAME = "units"
OFTEN = 10
TWELVE = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)
# Clips, then how many show each of TWELVE: tvaranka/meb, notebooks of table 4 and of the constant reader. Its parser is
# not ours: alternatives ("12 or 14") and 4DME's "AU4(k)" are read differently, so that unit counts may differ.
CD6ME = MappingProxyType({
    "casme": (189, (23, 17, 70, 0, 1, 4, 40, 3, 9, 23, 14, 13)),
    "casme2": (256, (26, 22, 130, 2, 13, 39, 13, 16, 34, 27, 16, 25)),
    "samm": (159, (6, 18, 23, 10, 3, 46, 5, 6, 28, 13, 4, 6)),
    "4dme": (267, (46, 54, 102, 8, 25, 89, 1, 2, 53, 4, 6, 11)),
    "mmew": (300, (50, 41, 109, 70, 10, 47, 8, 38, 37, 17, 6, 11)),
    "casme-cube-a": (860, (153, 128, 274, 44, 8, 27, 50, 10, 15, 193, 6, 20)),
})  # fmt: skip
STANDS = ("casme2", "samm", "casme-cube-a")  # of CD6ME, played by the benchmark's three sets
SILENT = (
    "its sheet has no action units, and what nobody wrote down cannot be scored; take casme, casme2, samm, mmew, ..."
)


def au(unit: int | str) -> str:
    """The name of a unit as a class: 4, "4" and "AU4" are "AU4"."""
    return "AU" + str(unit).removeprefix("AU")


def annotated(clip: object) -> tuple[str, ...]:
    """Units that the sheet gives a clip for certain, on any side."""
    return tuple(au(unit) for unit in UNITS if unit in unit_sides(ParsedUnits(tuple(clip.action_units))))


def over_units(counts: np.ndarray) -> np.ndarray:
    """Statistic for the bootstraps: (..., D, U, 3) TP, FP, FN of D sets and U units -> (...) mean over units of the
    F1 of pooled counts.
    """
    return metrics.f1_of_counts(counts.sum(axis=-3)).mean(axis=-1)


def over_sets(counts: np.ndarray) -> np.ndarray:
    """Statistic for the bootstraps: (..., D, U, 3) -> (...) mean over sets of the mean F1 of the units in a set."""
    return metrics.f1_of_counts(counts).mean(axis=(-2, -1))


class UnitProtocol(Protocol):
    """The protocol of action units: `classes` are units, a clip's truth is the tuple of those it shows, answers are
    tuples too.
    """

    SAID = "units_said"

    def settled(self, found: pd.DataFrame) -> Protocol:
        """With the units that occur often enough, where one set is scored; ProtocolError when no set is left to train
        on.
        """
        if self.split == "sets":
            if found["dataset"].nunique() < 2:
                one = found["dataset"].iloc[0]
                raise ProtocolError(
                    f"{self.name} leaves one data set out, and only {one} was given: add another, or take units:{one}"
                )
            return self
        often = found["truth"].explode().value_counts()
        kept = tuple(name for name in self.classes if often.get(name, 0) >= OFTEN)
        if not kept:
            raise ProtocolError(f"{self.name}: no unit occurs {OFTEN} times in {len(found)} clips; add clips")
        return dataclasses.replace(self, classes=kept)

    def counts(self, found: pd.DataFrame) -> pd.DataFrame:
        """Clips per set (class "") and clips that show a unit, found and published."""
        rows = []
        for part in self.parts:
            of = found[found["part"] == part]["truth"]
            often = of.explode().value_counts()
            printed = dict(zip(map(au, TWELVE), CD6ME[part][1])) if part in CD6ME else {}
            rows.append((part, "", len(of), self.expected.get(part, {}).get("")))
            rows += [(part, name, int(often.get(name, 0)), printed.get(name)) for name in self.classes]
        return scoring.compared(rows)

    def score(self, rows: Iterable[Mapping] | pd.DataFrame, seed: int = 7) -> pd.DataFrame:
        """One row per system, condition and set, "full" first: F1 over units, and over sets in the full row, with
        intervals.

        rows: dataset, subject, units_annotated and units_said (each 4, "4" or "AU4"), and clip, system, condition,
        seed where they are known. Intervals are over subjects within data sets.
        """
        frame = scoring.checked(rows, self.classes, self.name, ("dataset", "subject", "units_annotated", "units_said"))
        self.refuse_foreign(frame)
        frame = frame.assign(part=frame["dataset"], truth=frame["units_annotated"], prediction=frame["units_said"])
        return self.table(frame, None, "simulated" if frame["dataset"].map(is_simulated).all() else "", seed)

    def table(
        self, frame: pd.DataFrame, found: scoring.Counts | None, kind: str, seed: int, how: str = ""
    ) -> pd.DataFrame:
        """Checked answers with columns part, truth, prediction -> the rows of `score`."""
        there = frame["part"].drop_duplicates()
        sets = [part for part in self.parts if (there == part).any()] or sorted(there)  # of simulated ones, all
        shown, said = (_mask(frame[name], self.classes) for name in ("truth", "prediction"))
        counts = np.zeros((len(frame), len(sets), len(self.classes), 3))
        each = np.stack([shown & said, ~shown & said, shown & ~said], axis=-1)  # TP, FP, FN of every answer
        counts[np.arange(len(frame)), frame["part"].map(sets.index)] = each
        ground, out = self.ground(frame, found, kind, how), []
        for (system, condition), mine in frame.assign(truth="").groupby(["system", "condition"], sort=False):
            for part in [scoring.FULL, *sets] if len(sets) > 1 else [scoring.FULL]:
                whole = part == scoring.FULL
                here = mine if whole else mine[mine["part"] == part]
                one = metrics.sample(here, counts[here.index] if whole else counts[here.index][:, [sets.index(part)]])
                row = {"system": system, "condition": condition, **ground.row(mine, part)}
                row |= {"subjects": len(one.subjects), "draws": len(one.draws or (0,))}
                row |= metrics.interval(one, over_units, seed=seed).columns("f1_over_units")
                if whole:
                    row |= metrics.interval(one, over_sets, seed=seed).columns("f1_over_sets")
                out.append({**row, "classes": ", ".join(self.classes), "source": self.source})
        return pd.DataFrame(out)


def per_unit(rows: Iterable[Mapping] | pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Answers of one system (`units_annotated`, `units_said`) -> columns unit, true, said, f1: counts pooled over
    clips.
    """
    frame = pd.DataFrame(rows)
    shown, said = (_mask(frame[name], classes) for name in ("units_annotated", "units_said"))
    f1 = metrics.f1_of_counts(metrics.unit_counts(shown, said))
    return pd.DataFrame({"unit": list(classes), "true": shown.sum(0), "said": said.sum(0), "f1": f1})


def _mask(cells: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """(N,) units of each row -> (N, U) bool; units that the protocol does not score are left aside."""
    told = [{au(unit) for unit in cell} for cell in cells]
    return np.array([[name in units for name in classes] for units in told], bool).reshape(len(told), len(classes))


def protocol(datasets: tuple[str, ...] | None = None) -> UnitProtocol:
    """Of these data sets; None: CD6ME. ProtocolError for a set without action units."""
    parts, several = datasets or tuple(CD6ME), len(datasets or CD6ME) > 1
    name = NAME if datasets is None else f"{NAME}:{'+'.join(parts)}"
    if silent := next((part for part in parts if part.startswith("smic")), None):
        raise ProtocolError(f"protocol {name} cannot use {silent}: {SILENT}")
    counts = labels.counts().query("part == 'clips' or (part == 'kind' and value == 'micro')")
    clips = dict(zip(counts["dataset"], counts["expected"]))
    clips |= {part: CD6ME[part][0] for part in CD6ME} if several else {}
    source = f"F1 of the positive class, {'units of CD6ME' if several else f'units that occur {OFTEN} times'}"
    return UnitProtocol(
        name,
        classes=tuple(map(au, TWELVE if several else UNITS)),
        parts=parts,
        source="CD6ME (Varanka et al. 2023)" if datasets is None else source,
        member=annotated,
        expected={part: {"": clips[part]} for part in parts if part in clips},
        stands={part: (one,) for part, one in zip(datasets or STANDS, SETS) if not is_simulated(part)},
        split="sets" if several else "subjects",
        hints={part: SILENT for part in READERS if part.startswith("smic")},
        reports=("CD6ME, 12 units, leave one data set out",) if datasets is None else (),
        by_units=True,
    )
