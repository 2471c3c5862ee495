"""Made-up sets in the layouts of the data sets that `deft.clips.readers.fixtures` does not write: sheets and frames
with their quirks.

Importing this module makes `fixtures.write` and `fixtures.keep` take their names, too.
"""

import csv
from collections.abc import Callable

from deft.clips.readers import fixtures
from deft.clips.readers.fixtures import Writer

# Published clips per label: CASME II and SAMM by their sheets, part A of CAS(ME)^3.
CASME2 = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7, "fear": 2}
SAMM = {
    "anger": 57,
    "other": 26,
    "happiness": 26,
    "surprise": 15,
    "contempt": 12,
    "disgust": 9,
    "fear": 8,
    "sadness": 6,
}
CUBE = {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57, "happy": 55}


def casme(w: Writer) -> None:
    """CASME: one sheet with two apex columns, frames in folders of raw pictures."""
    w.book(
        "casme.xlsx",
        Sheet1=[
            ["Emotion", "Subject", None, "Filename", "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU"],
            ["disgust", 1, None, "EP91_5", 40, 44, 0, 47, None, "4+9"],
            ["tense", 1, None, "EP91_8", 33, 36, 0, 39, None, 14],
            ["repression", 12, None, "EP93_1", 501, 504, 0, 508, None, "L12+15"],
        ],
    )
    w.pictures("CASME_raw_selected/sub01/EP91_5", 40, 47, "EP91_5-{}.jpg")
    w.pictures("CASME_raw_selected/sub01/EP91_8", 33, 39, "EP91_8-{:03d}.jpg")
    w.pictures("CASME_raw_selected/sub12/EP93_1", 501, 508, "img{}.jpg", person=2)


def samm_lv(w: Writer) -> None:
    """No heading; micro and macro movements of one video."""
    preamble = [[f"line {i}"] for i in range(1, 11)]
    w.book(
        "SAMM_LongVideos_V3_Release.xlsx",
        Sheet1=[
            *preamble,
            ["006", "006_8_1", 1, 3, 6, 10, 8, "Macro", "R14+12", None],
            ["006", "006_8_2", 1, 14, 17, 20, 7, "Micro - 1/2", "7B+ ref(43)", None],
            ["011", "011_9_1", 2, 5, 5, 11, 7, "Micro - 1", "A/L12", "apex = onset"],
        ],
    )
    w.pictures("SAMM_longvideos/006_8", 1, 22, "006_8_{:04d}.jpg")
    w.pictures("SAMM_longvideos/011_9", 1, 12, "011_9_{:04d}.jpg", person=2)


SMIC_HEAD = [
    "Subject",
    "Filename",
    None,
    "OnsetF",
    "OffsetF",
    "Onset2F",
    "Offset2F",
    "Onset3F",
    "Offset3F",
    None,
    "FirstF",
    "LastF",
    "TotalMF1",
    "TotalMF2",
    "TotalMF3",
    "TotalVL",
    "Emotion",
]


def smic(camera: str) -> Callable[[Writer], None]:
    """Two intervals in one row; folders padded where the sheet is not; raw and cropped releases."""

    def fill(w: Writer) -> None:
        rows = [
            [
                "s3",
                "s3_ne_91",
                None,
                23400105,
                23400112,
                23400116,
                23400122,
                0,
                0,
                None,
                23400100,
                23400160,
                8,
                7,
                None,
                61,
                "negative",
            ],
            ["s3", "s3_po_92", None, 120, 127, None, None, None, None, None, 100, 140, 8, None, None, 41, "positive"],
            [
                "s20",
                "s20_sur_91",
                None,
                211,
                217,
                None,
                None,
                None,
                None,
                None,
                200,
                230,
                7,
                None,
                None,
                31,
                "surprise",
            ],
        ]
        if camera == "nir":
            w.book("SMIC-NIR-E_annotation.xlsx", NIR=[SMIC_HEAD, *rows])
        else:
            w.book(
                "SMIC-HS-E_annotation.xlsx",
                HS=[SMIC_HEAD, *(rows if camera == "hs" else rows[:1])],
                VIS=[SMIC_HEAD, *rows],
            )
        top = camera.upper()
        w.pictures(f"{top}/s03/s03_ne_91", 23400105, 23400124, "image{}.jpg")
        w.pictures(f"{top}/s03/s03_po_92", 118, 130, "image{}.jpg")
        w.pictures(f"{top}_cropped/{top}/s20/micro/surprise/s20_sur_91", 211, 217, "reg_image{:06d}.bmp", person=2)
        other = "VIS" if camera == "hs" else "HS"  # the same names, filmed by another camera: never to be mixed in
        w.pictures(f"{other}/s20/s20_sur_91", 211, 212, "image{}.jpg", person=3)

    return fill


def casme_sq(w: Writer) -> None:
    """No heading; participants in one sheet, folders by a second, video codes by a third; selected frames, long
    frames, a video.
    """
    w.book(
        "CAS(ME)^2code_final(Updated).xlsx",
        CASFEcode_final=[
            [1, "disgust1_1", 1201, 1205, 1209, "4+7", "negative", "macro-expression", "disgust"],
            [1, "anger1_2", 12, 15, 19, "4", "negative", "micro-expression", "anger"],
            [2, "happy1_1", 4, 0, 10, "6+12", "positive", "macro-expression", "happy"],
        ],
        naming__rule1=[["s15", 15, 1], ["s16", 16, 2]],
        naming__rule2=[["0101", "disgust1"], ["0401", "anger1"], ["0502", "happy1"]],
    )
    w.pictures("selectedpic/s15/disgust1_1", 1201, 1209, "img{}.jpg")
    w.pictures("rawpic/s15/15_0401girlcrashing", 1, 25, "img{}.jpg")
    w.video("rawvideo/s16/16_0502funnyerrors.avi", 14, person=2)


def casme_cube_a(w: Writer) -> None:
    """All text; roman classes; two clips of one file name; `Others` among `others`; `J`; the three kinds of broken
    row.
    """
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
        ["spNO.12", "m", 5938, 5941, 0, "4", "III", "anger"],
    ]
    head = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]
    w.book("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", label=[head, *([str(cell) for cell in row] for row in rows)])
    for subject, name, first, last in (
        ("spNO.1", "a", 900, 930),
        ("spNO.1", "b", 20, 27),
        ("spNO.2", "c", 50, 57),
        ("spNO.2", "d", 10, 16),
        ("spNO.2", "e", 10, 16),
        ("spNO.11", "j", 7, 13),
        ("spNO.11", "k", 512, 520),
        ("spNO.11", "l", 7662, 7688),
        ("spNO.12", "m", 5938, 5945),
    ):
        w.pictures(f"part_A/data/part_A/{subject}/{name}/color", first, last, "{}.jpg")
    w.pictures("part_A/data/part_A/spNO.1/a/depth", 900, 902, "{}.png", person=2)


def casme_cube_c(w: Writer) -> None:
    """Coarse labels; units between commas of every kind; `?`; no apex."""
    w.book(
        "CAS(ME)3_part_C_ME.xlsx",
        mockCrimeME=[
            ["sub", "count", "onset", "offset", "au", "emotion"],
            [1, 1, 100, 107, "4,7", "negative"],
            [1, 2, 203, 209, "4，11", "others"],
            [7, 1, 15, 22, "14,", "surprise"],
            [7, 2, 30, 36, "13?", "positive"],
        ],
    )
    for subject, count, first, last in ((1, 1, 100, 107), (1, 2, 203, 209), (7, 1, 15, 22), (7, 2, 30, 36)):
        w.pictures(f"part_C/spNO.{subject}/{count}/color", first, last, "{}.jpg")


def mmew(w: Writer) -> None:
    """`others` means repression; frames of a folder count from 1, those of the sheet do in one clip and do not in
    the other.
    """
    w.book(
        "MMEW_Micro_Exp.xlsx",
        Sheet1=[
            [
                "Subject",
                "Filename",
                "OnsetFrame",
                "ApexFrame",
                "OffsetFrame",
                "Action Units",
                "Estimated Emotion",
                "remarks",
            ],
            ["S01", "S01-07-901", 1, 4, 8, "14", "others", None],
            ["S01", "S01-02-901", 1, 3, 7, "4+9", "disgust", None],
            ["S02", "S02-01-903", 33, 36, 40, "6+12", "happiness", "cut"],
        ],
    )
    w.pictures("Micro_Expression/others/S01-07-901", 1, 8, "{}.jpg")
    w.pictures("Micro_Expression/disgust/S01-02-901", 1, 9, "{}.jpg")
    w.pictures("Micro_Expression/happiness/S02-01-903", 1, 8, "{}.jpg", person=2)


def four_dme(w: Writer) -> None:
    """4DME: coarse classes only, a column per action unit beside the list."""
    w.book(
        "4DME_Labelling_Micro_release v1.xlsx",
        Sheet1=[
            ["sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU4", "AU7", "AU12"],
            ["sub01", "sub01_91", "Negative", 10, 13, 17, "AU4(k)+AU7", 0, 1, 0],
            ["sub02", "sub02_93", "Positive", 21, 24, 28, "AU12", 0, 0, 1],
        ],
    )
    w.pictures("gray_micro/sub01/sub01_91", 10, 17, "{:04d}.jpg")
    w.pictures("gray_micro/sub02/sub02_93", 21, 28, "{:04d}.jpg", person=2)


def dfme(w: Writer) -> None:
    """Three sheets, three frame rates, frames from 0, descriptors and movements among the units."""
    head = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps", "AU"]
    w.book(
        "training_full_with_AU.xlsx",
        Sheet1=[
            head,
            ["sub9003", "sub9003_01", 0, 3, 7, "disgust", 2, 200, "AU4+AD38"],
            ["sub9003", "sub9003_02", 2, 5, 8, "happiness", 4, 200, "L12"],
        ],
    )
    w.book("testA_full_with_AU.xlsx", Sheet1=[head, ["sub9101", "sub9101_01", 0, 4, 8, "contempt", 1, 300, "L14+M57"]])
    w.book(
        "testB_full_with_AU.xlsx",
        Sheet1=[head, ["sub9202", "sub9202_05", 1, 4, 6, "surprise", 6, 500, "AU1+AU2+AD31+M58"]],
    )
    w.pictures("DFME_train/sub9003_01", 0, 8, "{:05d}.png")
    w.pictures("DFME_train/sub9003_02", 0, 9, "{:05d}.png")
    w.pictures("DFME_testA/sub9101_01", 0, 8, "{:05d}.png", person=2)
    w.pictures("DFME_testB/sub9202_05", 0, 8, "{:05d}.png", person=2)


def generic(w: Writer) -> None:
    """One's own clips: a folder with a blank and Chinese letters in its name, and a video."""
    rows = [
        ["clip", "subject", "frames", "fps", "onset", "apex", "offset", "action_units", "emotion", "coarse"],
        ["smile1", "anna", "my clips/微笑 一", 200, 12, 16, 19, "6+12", "happiness", ""],
        ["frown1", "bo", "frown.avi", 25, 0, 3, 8, "4", "", "negative"],
    ]
    with open(w.root / "clips.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    w.pictures("my clips/微笑 一", 12, 19, "frame_{:03d}.png")
    w.video("frown.avi", 10, person=2)


fixtures.WRITERS |= {
    "casme": casme,
    "samm-lv": samm_lv,
    "smic-hs": smic("hs"),
    "smic-vis": smic("vis"),
    "smic-nir": smic("nir"),
    "casme-sq": casme_sq,
    "casme-cube-a": casme_cube_a,
    "casme-cube-c": casme_cube_c,
    "mmew": mmew,
    "4dme": four_dme,
    "dfme": dfme,
    "csv": generic,
}
