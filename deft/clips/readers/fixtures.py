"""Small made-up data sets in the layouts of licensed ones, quirks included: `write("casme2", folder)`, then read it.

No row and no frame is real: people come from the simulator, numbers and labels from this file. What is true is only the
form, and the names of the few clips that a protocol treats apart. A reader without a licence can go through the whole
chain with them. `MARK` lies beside every set, so that whatever is computed from it can be told from what was computed
from real recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from deft import cache, runtime
from deft.clips.simulator import render

SIZE, TAKE = 64, 9  # px, frames of the one take there is of each person
JPEG_QUALITY = 92
MARK = "SIMULATED.txt"
SMILE = (12,)
# What further people show, with the label a rater would give: the commonest sets of the literature (`facs.PROTOTYPES`).
SHOWN = MappingProxyType({"happiness": (6, 12), "surprise": (1, 2), "disgust": (4, 9)})


@lru_cache(maxsize=4)
def take(person: int, units: tuple[int, ...] = SMILE, size: int = SIZE) -> np.ndarray:
    """(9, size, size, 3) uint8 RGB: weak movements, as a rule a smile, of a person who does not exist. Onset 0, apex
    4, offset 8.
    """
    return render(
        person, {str(unit): 0.4 for unit in units}, size=size, frames=TAKE, fps=30.0, truth="none", noise=2.0
    ).frames


class Writer:
    """Writes sheets and frames of `size` px below `root`; with frames=False only sheets. people: how many further
    people a set gets.
    """

    def __init__(self, root: Path, frames: bool, size: int = SIZE, people: int = 0):
        self.root, self.frames, self.size, self.people = Path(root), frames, size, people
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / MARK).write_text(
            "Nobody in this folder exists: deft.clips.readers.fixtures made it up. Results from it are SIMULATED.\n",
            encoding="utf-8",
        )

    def book(self, name: str, **sheets: Iterable[Iterable[object]]) -> Path:
        """A workbook; keyword = name of the sheet, `__` stands for a blank."""
        import openpyxl

        book = openpyxl.Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            sheet = book.create_sheet(title.replace("__", " "))
            for row in rows:
                sheet.append(list(row))
        book.save(self.root / name)
        return self.root / name

    def further(self) -> Iterable[tuple[int, str, tuple[int, ...]]]:
        """(number of the person, emotion, units) of every clip of the further people, who show each emotion of
        `SHOWN` once.
        """
        return ((person, emotion, units) for person in range(60, 60 + self.people) for emotion, units in SHOWN.items())

    def pictures(
        self, folder: str, first: int, last: int, name: str, person: int = 1, units: tuple[int, ...] = SMILE
    ) -> None:
        """Numbered pictures first..last; name: a pattern such as "img{}.jpg"."""
        if not self.frames:
            return
        place = self.root / folder
        place.mkdir(parents=True, exist_ok=True)
        for i, number in enumerate(range(first, last + 1)):
            picture = cv2.cvtColor(take(person, units, self.size)[min(i, TAKE - 1)], cv2.COLOR_RGB2BGR)
            suffix = Path(name).suffix
            options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
            (place / name.format(number)).write_bytes(cv2.imencode(suffix, picture, options)[1].tobytes())

    def video(self, path: str, count: int, person: int = 1) -> None:
        """A video of `count` frames (Motion JPEG: any OpenCV reads it)."""
        if not self.frames:
            return
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        film = cv2.VideoWriter(str(place), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (self.size, self.size))
        try:
            if not film.isOpened():
                raise OSError(
                    f"{place}: this OpenCV writes no Motion JPEG; install opencv-contrib-python-headless (make env)"
                )
            for i in range(count):
                film.write(cv2.cvtColor(take(person, SMILE, self.size)[i % TAKE], cv2.COLOR_RGB2BGR))
        finally:
            film.release()


def write(
    dataset: str, root: str | Path, frames: bool = True, edition: str = "2014", size: int = SIZE, people: int = 0
) -> Path:
    """Write a made-up set in the layout of `dataset` below `root` -> root. edition: of CASME II, "2014" or "2019".

    The set as it is holds a clip per quirk of its layout. size: px of its frames. people: further ones, who show each
    emotion of `SHOWN` once and are annotated rightly, so that there is something to train on (layouts of `PEOPLED`).
    """
    if dataset not in WRITERS:
        raise ValueError(
            f"no made-up set in the layout of {dataset!r}; there are {', '.join(WRITERS)}: take one, or a copy of yours"
        )
    if people and dataset not in PEOPLED:
        raise ValueError(f"the fixture of {dataset!r} takes no further people; those of {', '.join(PEOPLED)} do")
    writer = Writer(Path(root), frames, size, people)
    WRITERS[dataset](writer, edition) if dataset == "casme2" else WRITERS[dataset](writer)
    return writer.root


def keep(dataset: str, root: Path, **how: object) -> Path:
    """`write`, unless the same set stands there whole: a file that is missing or altered makes it anew. how: as for
    `write`.
    """
    state = cache.fresh(root, settings={"dataset": dataset, **how}, code="deft.clips.readers.fixtures")
    if not state:
        with runtime.atomic(root) as fresh:
            write(dataset, fresh, **how)
        state.seal()
    return Path(root)


def casme2(w: Writer, edition: str) -> None:
    """`/` as apex, `?` as units, apex = onset, apex = offset, numbers among text, two empty sheets, a cropped
    folder, a video.
    """
    newer = edition == "2019"
    head = [
        "Subject",
        "Filename",
        None,
        "OnsetFrame",
        "ApexFrame",
        "OffsetFrame",
        None,
        "Action Units",
        "Estimated Emotion",
    ]
    rows = [
        ["01", "EP92_01f", None, 71, 75, 79, None, 12, "happiness", 1],
        ["01", "EP93_02", None, 91, 94, 98, None, "4+7+L10", "others", 4],
        ["02", "EP91_11f", None, 1020, 1023, 1027, None, "R1+R2", "surprise", 2],
        ["04", "EP12_01f", None, 930, "/", 937, None, "L2+26+38", "disgust", 7],
        ["04", "EP93_06f", None, 905, 905, 911, None, "4" if newer else "?", "repression", 3],
        ["05", "EP09_05f", None, 908, 914, 914, None, 14, "repression", 7],
        ["24", "EP07_01", None, 11, 13, 18, None, 15, "surprise" if newer else "sadness", 5],
    ]
    more = [
        (
            person,
            units,
            [f"{person}", f"EP9{row % 3}_{person}", None, 31, 35, 39, None, "+".join(map(str, units)), emotion, 7],
        )
        for row, (person, emotion, units) in enumerate(w.further())
    ]
    rows += [row for _, _, row in more]
    name = "CASME2-coding-20190701.xlsx" if newer else "CASME2-coding-20140508.xlsx"
    w.book(
        name,
        Sheet1=[head + ["Objective Classes"], *rows] if newer else [head, *(row[:-1] for row in rows)],
        Sheet2=[],
        Sheet3=[],
    )
    for row in rows[:5]:
        w.pictures(f"CASME2-RAW/sub{row[0]}/{row[1]}", row[3], row[5], "img{}.jpg", person=int(row[0]) % 2)
    for person, units, row in more:
        w.pictures(f"CASME2-RAW/sub{row[0]}/{row[1]}", 31, 39, "img{}.jpg", person, units)
    w.pictures("Cropped/sub05/EP09_05f", 908, 914, "reg_img{}.jpg")
    w.video("CASME2_Compressed video/sub24/EP07_01.avi", 20)


def samm(w: Writer) -> None:
    """13 lines of preamble; apex after the offset and before the onset; a subject without zeros; four-digit frames."""
    preamble = [["SAMM, made up"], *([f"line {i} of the preamble"] for i in range(2, 14))]
    head = [
        "Subject",
        "Filename",
        "Inducement Code",
        "Onset Frame",
        "Apex Frame",
        "Offset Frame",
        "Duration",
        "Micro",
        "Action Units",
        "Estimated Emotion",
        "Objective Classes",
        "Notes",
    ]
    rows = [
        ["006", "006_8_2", 1, 70102, 70106, 70109, 8, "1/2", "(R6 or R12)+R15", "Happiness", 1, None],
        ["006", "006_8_3", 1, 80201, 80204, 80207, 7, "1/2", "R14A or 17A or 24A", "Contempt", 3, None],
        ["6", "006_9_1", 2, 120, 123, 126, 7, "1", "10A/B", "Anger", 4, "short form of the subject"],
        ["007", "007_8_1", 3, 200, 204, 207, 8, "1", "7B+ ref(43)", "Other", 7, None],
        ["007", "007_8_2", 3, 300, 320, 307, 8, "1", "12+15 ", "Surprise", 5, "apex after the offset"],
        ["011", "011_8_1", 4, 400, 390, 407, 8, "1", "R14+17+soft focus", "Fear", 7, "apex before the onset"],
    ]
    more = [
        (
            person,
            units,
            [
                f"0{person}",
                f"0{person}_{1 + row % 3}_1",
                1,
                101,
                105,
                109,
                9,
                "1",
                "+".join(map(str, units)),
                emotion.title(),
                7,
                None,
            ],
        )
        for row, (person, emotion, units) in enumerate(w.further())
    ]
    w.book("SAMM_Micro_FACS_Codes_v2.xlsx", MICRO_ONLY=[*preamble, head, *rows, *(row for _, _, row in more)])
    for person, units, row in more:
        w.pictures(f"SAMM/{row[0]}/{row[1]}", 101, 109, f"{row[0]}_{{:04d}}.jpg", person, units)
    for row in rows:
        w.pictures(
            f"SAMM/{str(row[0]).zfill(3)}/{row[1]}",
            row[3],
            row[5],
            f"{str(row[0]).zfill(3)}_{{:0{5 if row[3] > 9999 else 4}d}}.jpg",
        )


WRITERS: dict[str, Callable] = {"casme2": casme2, "samm": samm}
PEOPLED = tuple(WRITERS)
