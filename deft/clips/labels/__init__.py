"""Which class a label is: one table from every data set's emotions to 3, 4, 5 and 7 classes, and the counts that are
published.

`labels.csv` has a row per (dataset, label): `three` negative, positive, surprise; `four` those and others; `five` and
`seven` the fine classes of that data set's published protocols (of the embedded benchmark's five, where none is
published); empty: no member. `composite` is the stricter membership of MEGC 2019. Each row names its sources. SAMM-LV
has the rows of SAMM, whose sheet has the emotions of its micro-movements.

`counts.csv` has what a complete copy must count. Both stand in a folder of their own: no stage of the embedded
benchmark reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from deft.clips.record import Clip

HERE = Path(__file__).parent
CLASSES = MappingProxyType({3: "three", 4: "four", 5: "five", 7: "seven"})
COARSE_CLASSES = ("negative", "positive", "surprise")  # MEGC 2019 numbers them 0, 1, 2
COMPOSITE_DATASETS = ("casme2", "samm", "smic-hs")
# Left out by MEGC 2019 although their label is a member's.
COMPOSITE_WITHOUT = frozenset({("casme2", "04", "EP12_01f"), ("casme2", "05", "EP09_05f")})
# The composite is defined on the 2014 labels. The 2019 sheet calls these three surprise; in 2014 they are sadness, no
# member.
CHANGED_IN_2019 = frozenset({("casme2", "24", "EP07_01"), ("casme2", "24", "EP07_04f"), ("casme2", "24", "EP10_03")})


@lru_cache(maxsize=1)
def table() -> pd.DataFrame:
    """labels.csv; columns dataset, label, composite, three, four, five, seven, source; empty text where there is no
    class.
    """
    return pd.read_csv(HERE / "labels.csv", dtype=str, keep_default_na=False)


@lru_cache(maxsize=1)
def counts() -> pd.DataFrame:
    """counts.csv; columns dataset, edition ("" for every one), part, value, expected, source."""
    return pd.read_csv(HERE / "counts.csv", dtype={"expected": int}, keep_default_na=False)


@lru_cache(maxsize=1)
def _rows() -> Mapping[tuple[str, str], Mapping[str, str]]:
    return {(row["dataset"], row["label"]): row for row in table().to_dict("records")}


def known(dataset: str, emotion: str) -> bool:
    """Does the table have this label of this data set?"""
    return (dataset, emotion.strip().lower()) in _rows()


def classes(dataset: str, emotion: str, number: int) -> str | None:
    """The class of a label in the protocol of 3, 4, 5 or 7 classes, or None when it is no member (or not in the
    table).
    """
    if number not in CLASSES:
        raise ValueError(f"{number} classes: there are protocols of {', '.join(map(str, CLASSES))} classes")
    return _rows().get((dataset, emotion.strip().lower()), {}).get(CLASSES[number]) or None


def composite(clip: Clip) -> str | None:
    """negative, positive or surprise under the composite protocol of MEGC 2019, or None when the clip is no part of it.

    CASME II: happiness, surprise, disgust and repression, without two clips (`COMPOSITE_WITHOUT`), by the labels of
    2014 also when the sheet of 2019 was read. SAMM: all but Other. SMIC: HS only, all."""
    key = (clip.dataset, clip.subject, getattr(clip, "filename", ""))
    if clip.dataset not in COMPOSITE_DATASETS or key in COMPOSITE_WITHOUT or key in CHANGED_IN_2019:
        return None
    return _rows().get((clip.dataset, clip.emotion), {}).get("composite") or None


def check_counts(clips: Iterable[Clip]) -> pd.DataFrame:
    """What was read against what is published; columns dataset, part, value, found, expected, agrees, source.

    A data holder whose copy differs sees where: clips, subjects, each emotion, each coarse class, each part of a
    division."""
    clips = list(clips)
    rows = []
    for dataset in sorted({clip.dataset for clip in clips}):
        part = [clip for clip in clips if clip.dataset == dataset]
        editions = {getattr(clip, "edition", "") for clip in part}
        for row in counts().itertuples():
            if row.dataset == dataset and (not row.edition or row.edition in editions):
                found = _count(part, row.part, row.value)
                rows.append(
                    {
                        "dataset": dataset,
                        "part": row.part,
                        "value": row.value,
                        "found": found,
                        "expected": row.expected,
                        "agrees": found == row.expected,
                        "source": row.source,
                    }
                )
    return pd.DataFrame(rows, columns=["dataset", "part", "value", "found", "expected", "agrees", "source"])


def _count(clips: list[Clip], part: str, value: str) -> int:
    """How many clips, or subjects, of one data set a line of counts.csv is about; published are micro-expressions."""
    if not part.startswith(("subjects", "kind")):
        clips = [clip for clip in clips if getattr(clip, "kind", "micro") == "micro"]
    if part == "clips":
        return len(clips)
    if part == "subjects":
        return len({clip.subject for clip in clips})
    if part == "composite":
        return sum(composite(clip) == value for clip in clips)
    if part == "composite subjects":
        return len({clip.subject for clip in clips if composite(clip)})
    if part == "subjects of split":
        return len({clip.subject for clip in clips if clip.split == value})
    return sum(getattr(clip, part) == value for clip in clips)  # emotion, coarse, kind, split
