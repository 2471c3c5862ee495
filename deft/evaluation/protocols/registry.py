"""Every protocol by name. Who is a member and how many are published says `deft.clips.labels`; here is what belongs
together.

Sources: composite MEGC 2019 (See et al. 2019); five classes Yan 2014 and Davison 2018 as most papers use them;
CAS(ME)^3 Li 2022; DFME's challenge division (Zhao 2023); objective classes MEGC 2018 (Yap et al. 2018).
Cross-dataset: the papers do not say which clips are meant; we use the composite's where a set has a part in it, since
their counts are published, and the three classes of labels.csv elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from deft.clips import labels
from deft.clips.readers import READERS
from deft.clips.readers.dfme import EMOTION_IDS, PARTS
from deft.config import nearest
from deft.evaluation.protocols import units, vqa
from deft.evaluation.protocols.base import Protocol
from deft.evaluation.protocols.members import SETS, ProtocolError, is_simulated, simulated_class
from deft.evaluation.protocols.objective import NAMES as OBJECTIVE_NAMES
from deft.evaluation.protocols.objective import objective_class
from deft.evaluation.protocols.scoring import Counts

THREE = labels.COARSE_CLASSES
FOUR = (*THREE, "others")
FIVE = OBJECTIVE_NAMES[:5]
CUBE_SEVEN = ("happiness", "disgust", "fear", "anger", "sadness", "surprise", "others")
NO_PART_A = (
    "it is defined on part A of CAS(ME)^3 (cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx); part C has labels of its own, "
    "for which there is cube-c-4"
)
NO_PART_C = "it is defined on part C of CAS(ME)^3, whose labels are coarse; for part A there are cube-3, cube-4, cube-7"
ALIASES = {"megc2019": "composite"}


def _of(number: int) -> Callable[[object], str | None]:
    return lambda clip: labels.classes(clip.dataset, clip.emotion, number)


def _coarse(clip: object) -> str | None:
    if is_simulated(clip.dataset):
        return simulated_class(clip.emotion, THREE)
    return labels.composite(clip) if clip.dataset in labels.COMPOSITE_DATASETS else _of(3)(clip)


def _objective(clip: object) -> str | None:
    name = objective_class(clip)
    return name if name in FIVE else None  # VI and VII are no classes of MEGC 2018


def _published(datasets: tuple[str, ...], number: int | None, edition: str = "") -> Counts:
    """Clips per data set and class from `labels.counts()`, of the edition or of the first there is; number None:
    coarse.
    """
    out: dict[str, dict[str, int]] = {}
    for dataset in datasets:
        composite, table = number is None and dataset in labels.COMPOSITE_DATASETS, labels.counts()
        rows = table[(table["dataset"] == dataset) & (table["part"] == ("composite" if composite else "emotion"))]
        known = [one for one in rows["edition"].unique() if one]
        for row in rows[rows["edition"].isin(["", edition or (known[0] if known else "")])].itertuples():
            if name := row.value if composite else labels.classes(dataset, row.value, number or 3):
                out.setdefault(dataset, {}).setdefault(name, 0)
                out[dataset][name] += row.expected
    return out


def _division() -> Counts:
    """Clips of each part of DFME's challenge; how many of each class is not published."""
    rows = labels.counts().query("dataset == 'dfme' and part == 'split'")
    return {row.value: {"": row.expected} for row in rows.itertuples()}


def _one(
    dataset: str, number: int, name: str, classes: tuple[str, ...], plays: tuple, source: str, **more: object
) -> Protocol:
    """Leave one subject out on one data set."""
    return Protocol(
        name, classes, (dataset,), source, _of(number), _published((dataset,), number), {dataset: plays}, **more
    )


@lru_cache(maxsize=1)
def _known() -> dict[str, Protocol]:
    trio = labels.COMPOSITE_DATASETS
    found = [
        Protocol(
            "composite", THREE, trio, "MEGC 2019 (See et al. 2019)", labels.composite, _published(trio, None),
            {part: (one,) for part, one in zip(trio, SETS)},
            reports=("composite, full", "CASME II, 3 classes", "SAMM, 3 classes", "SMIC, 3 classes"),
        ),
        _one(
            "casme2", 5, "casme2-5", ("happiness", "disgust", "repression", "surprise", "others"), SETS[:1],
            "Yan 2014; the five classes of most CASME II papers", newer={"2019": _published(("casme2",), 5, "2019")},
            reports=("CASME II, 5 classes",),
        ),
        _one(
            "samm", 5, "samm-5", ("happiness", "anger", "contempt", "surprise", "others"), SETS[1:2],
            "Davison 2018; classes with more than ten clips", reports=("SAMM, 5 classes",),
        ),
        _one("smic-hs", 3, "smic-3", THREE, SETS[2:], "Li 2013"),
        *(
            _one(
                "casme-cube-a", number, f"cube-{number}", classes, SETS, f"Li 2022, {number} classes",
                hints={"casme-cube-c": NO_PART_A, "": NO_PART_A}, reports=(f"CAS(ME)^3, {number} classes",),
            )
            for number, classes in ((3, THREE), (4, FOUR), (7, CUBE_SEVEN))
        ),
        _one(
            "casme-cube-c", 4, "cube-c-4", FOUR, SETS[2:], "Li 2022, the labels of part C's own sheet",
            hints={"casme-cube-a": NO_PART_C},
        ),
        Protocol(
            "dfme-7", EMOTION_IDS, tuple(PARTS), "Zhao 2023, challenge division", _of(7), _division(),
            {part: (one,) for part, one in zip(PARTS, SETS)}, "fixed", ("train",), ("testA", "testB"), "dfme",
            {"": "DFME has a sheet per part: training_full_with_AU.xlsx, testA_....xlsx, testB_....xlsx"},
        ),
        Protocol(
            "objective-5", FIVE, ("casme2", "samm"), "MEGC 2018, classes by units (Davison 2018)",
            _objective, stands={"casme2": SETS[:1], "samm": SETS[1:2]}, by_units=True,
            hints={name: "classes are told by action units, and it has none" for name in READERS if "smic" in name},
        ),
    ]  # fmt: skip
    return {protocol.name: protocol for protocol in found}


NAMES = (*_known(), units.NAME, vqa.NAME, "cross:casme2>samm", "cross:casme2+samm>smic-hs", "units:casme2")


def get(name: str) -> Protocol:
    """The protocol of this name: of `NAMES`, "cross:a+b>c", "units:a" or "units:a+b" over data sets that have a reader.

    ProtocolError with the nearest name otherwise.
    """
    name = ALIASES.get(name.strip(), name.strip())
    kind, _, sets = name.partition(":")
    if name in _known():
        return _known()[name]
    if name == vqa.NAME:
        return vqa.PROTOCOL
    if name == units.NAME:
        return units.protocol()
    if kind == units.NAME:
        return units.protocol(_datasets(name, sets))
    if kind == "cross":
        return _cross(name, sets)
    raise ProtocolError(f"no protocol {name!r}: {nearest(name, NAMES)} Protocols: {', '.join(NAMES)}")


def _datasets(name: str, text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split("+"))
    for one in found:
        if one not in READERS and not is_simulated(one):
            raise ProtocolError(
                f"protocol {name!r}: no data set {one!r}: {nearest(one, READERS)} There are {', '.join(READERS)}"
            )
    if len(set(found)) < len(found):
        raise ProtocolError(f"protocol {name!r} names a data set twice; each trains or is tested once")
    return found


def _cross(name: str, text: str) -> Protocol:
    """Three classes; "cross:a>a", the diagonal of a table of pairs, leaves one subject of a out."""
    if text.count(">") != 1:
        raise ProtocolError(f"protocol {name!r}: write cross:a+b>c, trained on a and b, tested on c")
    train, test = (_datasets(name, part) for part in text.split(">"))
    within = train == test and len(test) == 1
    if len(test) > 1 or (test[0] in train and not within):
        raise ProtocolError(f"protocol {name!r}: one data set is tested, and it is none of those that are trained on")
    sets = train if within else (*train, *test)
    played = {} if is_simulated(sets[0]) or len(sets) > len(SETS) else {part: (one,) for part, one in zip(sets, SETS)}
    return Protocol(
        name, THREE, sets, "three classes; members of the composite (MEGC 2019) where a set has a part in it", _coarse,
        _published(sets, None), played,
        *(() if within else ("fixed", train, test)),
    )  # fmt: skip
