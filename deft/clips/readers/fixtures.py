"""Small made-up data sets in the layouts of the licensed ones, quirks included: `write("casme2", folder)`, then read it.

No row and no frame is real: people come from the simulator, numbers and labels from this file. What is true is only the form, and
the names of the few clips that a protocol treats apart. The tests read all of them end to end; a reader without a licence can, too.
`MARK` lies beside every set, so that whatever is computed from it can be told from what was computed from real recordings.
"""

from __future__ import annotations

import csv
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
    """(9, size, size, 3) uint8 RGB: weak movements, as a rule a smile, of a person who does not exist. Onset 0, apex 4, offset 8."""
    return render(person, {str(unit): 0.4 for unit in units}, size=size, frames=TAKE, fps=30.0, truth="none", noise=2.0).frames


class Writer:
    """Writes sheets and frames of `size` px below `root`; with frames=False only sheets. people: how many further people a set gets."""

    def __init__(self, root: Path, frames: bool, size: int = SIZE, people: int = 0):
        self.root, self.frames, self.size, self.people = Path(root), frames, size, people
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / MARK).write_text("Nobody in this folder exists: deft.clips.readers.fixtures made it up. Results from it are SIMULATED.\n", encoding="utf-8")

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
        """(number of the person, emotion, units) of every clip of the further people, who show each emotion of `SHOWN` once."""
        return ((person, emotion, units) for person in range(60, 60 + self.people) for emotion, units in SHOWN.items())

    def pictures(self, folder: str, first: int, last: int, name: str, person: int = 1, units: tuple[int, ...] = SMILE) -> None:
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
                raise OSError(f"{place}: this OpenCV writes no Motion JPEG; install opencv-contrib-python-headless (make env)")
            for i in range(count):
                film.write(cv2.cvtColor(take(person, SMILE, self.size)[i % TAKE], cv2.COLOR_RGB2BGR))
        finally:
            film.release()


def write(dataset: str, root: str | Path, frames: bool = True, edition: str = "2014", size: int = SIZE, people: int = 0) -> Path:
    """Write a made-up set in the layout of `dataset` below `root` -> root. edition: of CASME II, "2014" or "2019".

    The set as it is holds a clip per quirk of its layout. size: px of its frames. people: further ones, who show each emotion of
    `SHOWN` once and are annotated rightly, so that there is something to train on (layouts of `PEOPLED`).
    """
    if dataset not in WRITERS:
        raise ValueError(f"no fixture for {dataset!r}; there are {', '.join(WRITERS)}")
    if people and dataset not in PEOPLED:
        raise ValueError(f"the fixture of {dataset!r} takes no further people; those of {', '.join(PEOPLED)} do")
    writer = Writer(Path(root), frames, size, people)
    WRITERS[dataset](writer, edition) if dataset == "casme2" else WRITERS[dataset](writer)
    return writer.root


def keep(dataset: str, root: Path, **how: object) -> Path:
    """`write`, unless the same set stands there whole: a file that is missing or altered makes it anew. how: as for `write`."""
    state = cache.fresh(root, settings={"dataset": dataset, **how}, code="deft.clips.readers.fixtures")
    if not state:
        with runtime.atomic(root) as fresh:
            write(dataset, fresh, **how)
        state.seal()
    return Path(root)


def casme(w: Writer) -> None:
    """CASME: one sheet with two apex columns, frames in folders of raw pictures."""
    w.book("casme.xlsx", Sheet1=[
        ["Emotion", "Subject", None, "Filename", "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU"],
        ["disgust", 1, None, "EP91_5", 40, 44, 0, 47, None, "4+9"],
        ["tense", 1, None, "EP91_8", 33, 36, 0, 39, None, 14],
        ["repression", 12, None, "EP93_1", 501, 504, 0, 508, None, "L12+15"]])
    w.pictures("CASME_raw_selected/sub01/EP91_5", 40, 47, "EP91_5-{}.jpg")
    w.pictures("CASME_raw_selected/sub01/EP91_8", 33, 39, "EP91_8-{:03d}.jpg")
    w.pictures("CASME_raw_selected/sub12/EP93_1", 501, 508, "img{}.jpg", person=2)


def casme2(w: Writer, edition: str) -> None:
    """`/` as apex, `?` as units, apex = onset, apex = offset, numbers among text, two empty sheets, a cropped folder, a video."""
    newer = edition == "2019"
    head = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units", "Estimated Emotion"]
    rows = [
        ["01", "EP92_01f", None, 71, 75, 79, None, 12, "happiness", 1],
        ["01", "EP93_02", None, 91, 94, 98, None, "4+7+L10", "others", 4],
        ["02", "EP91_11f", None, 1020, 1023, 1027, None, "R1+R2", "surprise", 2],
        ["04", "EP12_01f", None, 930, "/", 937, None, "L2+26+38", "disgust", 7],
        ["04", "EP93_06f", None, 905, 905, 911, None, "4" if newer else "?", "repression", 3],
        ["05", "EP09_05f", None, 908, 914, 914, None, 14, "repression", 7],
        ["24", "EP07_01", None, 11, 13, 18, None, 15, "surprise" if newer else "sadness", 5]]
    more = [(person, units, [f"{person}", f"EP9{row % 3}_{person}", None, 31, 35, 39, None, "+".join(map(str, units)), emotion, 7])
            for row, (person, emotion, units) in enumerate(w.further())]
    rows += [row for _, _, row in more]
    name = "CASME2-coding-20190701.xlsx" if newer else "CASME2-coding-20140508.xlsx"
    w.book(name, Sheet1=[head + ["Objective Classes"], *rows] if newer else [head, *(row[:-1] for row in rows)], Sheet2=[], Sheet3=[])
    for row in rows[:5]:
        w.pictures(f"CASME2-RAW/sub{row[0]}/{row[1]}", row[3], row[5], "img{}.jpg", person=int(row[0]) % 2)
    for person, units, row in more:
        w.pictures(f"CASME2-RAW/sub{row[0]}/{row[1]}", 31, 39, "img{}.jpg", person, units)
    w.pictures("Cropped/sub05/EP09_05f", 908, 914, "reg_img{}.jpg")
    w.video("CASME2_Compressed video/sub24/EP07_01.avi", 20)


def samm(w: Writer) -> None:
    """13 lines of preamble; apex after the offset and before the onset; a subject without zeros; four-digit frames."""
    preamble = [["SAMM, made up"], *([f"line {i} of the preamble"] for i in range(2, 14))]
    head = ["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro", "Action Units",
            "Estimated Emotion", "Objective Classes", "Notes"]
    rows = [
        ["006", "006_8_2", 1, 70102, 70106, 70109, 8, "1/2", "(R6 or R12)+R15", "Happiness", 1, None],
        ["006", "006_8_3", 1, 80201, 80204, 80207, 7, "1/2", "R14A or 17A or 24A", "Contempt", 3, None],
        ["6", "006_9_1", 2, 120, 123, 126, 7, "1", "10A/B", "Anger", 4, "short form of the subject"],
        ["007", "007_8_1", 3, 200, 204, 207, 8, "1", "7B+ ref(43)", "Other", 7, None],
        ["007", "007_8_2", 3, 300, 320, 307, 8, "1", "12+15 ", "Surprise", 5, "apex after the offset"],
        ["011", "011_8_1", 4, 400, 390, 407, 8, "1", "R14+17+soft focus", "Fear", 7, "apex before the onset"]]
    more = [(person, units, [f"0{person}", f"0{person}_{1 + row % 3}_1", 1, 101, 105, 109, 9, "1", "+".join(map(str, units)), emotion.title(), 7, None])
            for row, (person, emotion, units) in enumerate(w.further())]
    w.book("SAMM_Micro_FACS_Codes_v2.xlsx", MICRO_ONLY=[*preamble, head, *rows, *(row for _, _, row in more)])
    for person, units, row in more:
        w.pictures(f"SAMM/{row[0]}/{row[1]}", 101, 109, f"{row[0]}_{{:04d}}.jpg", person, units)
    for row in rows:
        w.pictures(f"SAMM/{str(row[0]).zfill(3)}/{row[1]}", row[3], row[5], f"{str(row[0]).zfill(3)}_{{:0{5 if row[3] > 9999 else 4}d}}.jpg")


def samm_lv(w: Writer) -> None:
    """No heading; micro and macro movements of one video."""
    preamble = [[f"line {i}"] for i in range(1, 11)]
    w.book("SAMM_LongVideos_V3_Release.xlsx", Sheet1=[
        *preamble,
        ["006", "006_8_1", 1, 3, 6, 10, 8, "Macro", "R14+12", None],
        ["006", "006_8_2", 1, 14, 17, 20, 7, "Micro - 1/2", "7B+ ref(43)", None],
        ["011", "011_9_1", 2, 5, 5, 11, 7, "Micro - 1", "A/L12", "apex = onset"]])
    w.pictures("SAMM_longvideos/006_8", 1, 22, "006_8_{:04d}.jpg")
    w.pictures("SAMM_longvideos/011_9", 1, 12, "011_9_{:04d}.jpg", person=2)


SMIC_HEAD = ["Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F", "Offset3F", None, "FirstF", "LastF",
             "TotalMF1", "TotalMF2", "TotalMF3", "TotalVL", "Emotion"]


def smic(camera: str) -> Callable[[Writer], None]:
    """Two intervals in one row; folders padded where the sheet is not; raw and cropped releases."""
    def fill(w: Writer) -> None:
        rows = [
            ["s3", "s3_ne_91", None, 23400105, 23400112, 23400116, 23400122, 0, 0, None, 23400100, 23400160, 8, 7, None, 61, "negative"],
            ["s3", "s3_po_92", None, 120, 127, None, None, None, None, None, 100, 140, 8, None, None, 41, "positive"],
            ["s20", "s20_sur_91", None, 211, 217, None, None, None, None, None, 200, 230, 7, None, None, 31, "surprise"]]
        if camera == "nir":
            w.book("SMIC-NIR-E_annotation.xlsx", NIR=[SMIC_HEAD, *rows])
        else:
            w.book("SMIC-HS-E_annotation.xlsx", HS=[SMIC_HEAD, *(rows if camera == "hs" else rows[:1])], VIS=[SMIC_HEAD, *rows])
        top = camera.upper()
        w.pictures(f"{top}/s03/s03_ne_91", 23400105, 23400124, "image{}.jpg")
        w.pictures(f"{top}/s03/s03_po_92", 118, 130, "image{}.jpg")
        w.pictures(f"{top}_cropped/{top}/s20/micro/surprise/s20_sur_91", 211, 217, "reg_image{:06d}.bmp", person=2)
        other = "VIS" if camera == "hs" else "HS"  # the same names, filmed by another camera: never to be mixed in
        w.pictures(f"{other}/s20/s20_sur_91", 211, 212, "image{}.jpg", person=3)
    return fill


def casme_sq(w: Writer) -> None:
    """No heading; participants in one sheet, folders by a second, video codes by a third; selected frames, long frames, a video."""
    w.book("CAS(ME)^2code_final(Updated).xlsx",
           CASFEcode_final=[[1, "disgust1_1", 1201, 1205, 1209, "4+7", "negative", "macro-expression", "disgust"],
                            [1, "anger1_2", 12, 15, 19, "4", "negative", "micro-expression", "anger"],
                            [2, "happy1_1", 4, 0, 10, "6+12", "positive", "macro-expression", "happy"]],
           naming__rule1=[["s15", 15, 1], ["s16", 16, 2]],
           naming__rule2=[["0101", "disgust1"], ["0401", "anger1"], ["0502", "happy1"]])
    w.pictures("selectedpic/s15/disgust1_1", 1201, 1209, "img{}.jpg")
    w.pictures("rawpic/s15/15_0401girlcrashing", 1, 25, "img{}.jpg")
    w.video("rawvideo/s16/16_0502funnyerrors.avi", 14, person=2)


def casme_cube_a(w: Writer) -> None:
    """All text; roman classes; two clips of one file name; `Others` among `others`; `J`; the three kinds of broken row."""
    rows = [
        ["spNO.1", "a", 906, 910, 913, "4", "III", "disgust"],
        ["spNO.1", "a", 920, 920, 926, "1+2", "II", "surprise"],
        ["spNO.1", "b", 20, 24, 27, "L12", "I", "happy"],
        ["spNO.2", "c", 50, 53, 57, "4+7", "III", "others"],
        ["spNO.2", "d", 10, 13, 16, "R14", "VII", "others"],
        ["spNO.2", "e", 10, 13, 16, "4+9", "IV", "Others"],
        ["spNO.11", "J", 7, 9, 13, "15", "V", "sad"],
        ["spNO.11", "k", 512, 483, 520, "20", "VI", "fear"],
        ["spNO.11", "l", 8641, 7662, 7688, "4+5", "III", "anger"],
        ["spNO.12", "m", 5938, 5941, 0, "4", "III", "anger"]]
    head = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    w.book("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", label=[head, *([str(cell) for cell in row] for row in rows)])
    for subject, name, first, last in (("spNO.1", "a", 900, 930), ("spNO.1", "b", 20, 27), ("spNO.2", "c", 50, 57), ("spNO.2", "d", 10, 16),
                                       ("spNO.2", "e", 10, 16), ("spNO.11", "j", 7, 13), ("spNO.11", "k", 512, 520), ("spNO.11", "l", 7662, 7688),
                                       ("spNO.12", "m", 5938, 5945)):
        w.pictures(f"part_A/data/part_A/{subject}/{name}/color", first, last, "{}.jpg")
    w.pictures("part_A/data/part_A/spNO.1/a/depth", 900, 902, "{}.png", person=2)


def casme_cube_c(w: Writer) -> None:
    """Units between commas of every kind; `?`; no apex."""
    w.book("CAS(ME)3_part_C_ME.xlsx", mockCrimeME=[
        ["sub", "count", "onset", "offset", "au", "emotion"],
        [1, 1, 100, 107, "4,7", "disgust"],
        [1, 2, 203, 209, "4，11", "others"],
        [7, 1, 15, 22, "14,", "others"],
        [7, 2, 30, 36, "13?", "happy"]])
    for subject, count, first, last in ((1, 1, 100, 107), (1, 2, 203, 209), (7, 1, 15, 22), (7, 2, 30, 36)):
        w.pictures(f"part_C/spNO.{subject}/{count}/color", first, last, "{}.jpg")


def mmew(w: Writer) -> None:
    """`others` means repression; frames of a folder count from 1, those of the sheet do in one clip and do not in the other."""
    w.book("MMEW_Micro_Exp.xlsx", Sheet1=[
        ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion", "remarks"],
        ["S01", "S01-07-901", 1, 4, 8, "14", "others", None],
        ["S01", "S01-02-901", 1, 3, 7, "4+9", "disgust", None],
        ["S02", "S02-01-903", 33, 36, 40, "6+12", "happiness", "cut"]])
    w.pictures("Micro_Expression/others/S01-07-901", 1, 8, "{}.jpg")
    w.pictures("Micro_Expression/disgust/S01-02-901", 1, 9, "{}.jpg")
    w.pictures("Micro_Expression/happiness/S02-01-903", 1, 8, "{}.jpg", person=2)


def four_dme(w: Writer) -> None:
    """4DME: coarse classes only, a column per action unit beside the list."""
    w.book("4DME_Labelling_Micro_release v1.xlsx", Sheet1=[
        ["sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU4", "AU7", "AU12"],
        ["sub01", "sub01_91", "Negative", 10, 13, 17, "AU4(k)+AU7", 0, 1, 0],
        ["sub02", "sub02_93", "Positive", 21, 24, 28, "AU12", 0, 0, 1]])
    w.pictures("gray_micro/sub01/sub01_91", 10, 17, "{:04d}.jpg")
    w.pictures("gray_micro/sub02/sub02_93", 21, 28, "{:04d}.jpg", person=2)


def dfme(w: Writer) -> None:
    """Three sheets, three frame rates, frames from 0, descriptors and movements among the units."""
    head = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]
    w.book("training_full_with_AU.xlsx", Sheet1=[head,
           ["sub9003", "sub9003_01", 0, 3, 7, "disgust", 2, 200, "AU4+AD38"], ["sub9003", "sub9003_02", 2, 5, 8, "happiness", 4, 200, "L12"]])
    w.book("testA_full_with_AU.xlsx", Sheet1=[head, ["sub9101", "sub9101_01", 0, 4, 8, "contempt", 1, 300, "L14+M57"]])
    w.book("testB_full_with_AU.xlsx", Sheet1=[head, ["sub9202", "sub9202_05", 1, 4, 6, "surprise", 6, 500, "AU1+AU2+AD31+M58"]])
    w.pictures("DFME_train/sub9003_01", 0, 8, "{:05d}.png")
    w.pictures("DFME_train/sub9003_02", 0, 9, "{:05d}.png")
    w.pictures("DFME_testA/sub9101_01", 0, 8, "{:05d}.png", person=2)
    w.pictures("DFME_testB/sub9202_05", 0, 8, "{:05d}.png", person=2)


def generic(w: Writer) -> None:
    """One's own clips: a folder with a blank and Chinese letters in its name, and a video."""
    rows = [["clip", "subject", "frames", "fps", "onset", "apex", "offset", "action_units", "emotion", "coarse"],
            ["smile1", "anna", "my clips/微笑 一", 200, 12, 16, 19, "6+12", "happiness", ""],
            ["frown1", "bo", "frown.avi", 25, 0, 3, 8, "4", "", "negative"]]
    with open(w.root / "clips.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    w.pictures("my clips/微笑 一", 12, 19, "frame_{:03d}.png")
    w.video("frown.avi", 10, person=2)


WRITERS: MappingProxyType[str, Callable] = MappingProxyType({
    "casme": casme, "casme2": casme2, "samm": samm, "samm-lv": samm_lv, "smic-hs": smic("hs"), "smic-vis": smic("vis"), "smic-nir": smic("nir"),
    "casme-sq": casme_sq, "casme-cube-a": casme_cube_a, "casme-cube-c": casme_cube_c, "mmew": mmew, "4dme": four_dme, "dfme": dfme, "csv": generic,
})
PEOPLED = ("casme2", "samm")
