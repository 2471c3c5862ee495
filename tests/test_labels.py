"""Label maps: every label has a class where its protocol has one, the composite is exactly that of MEGC 2019, counts
are checked.
"""

from dataclasses import dataclass

import pytest
from made_sets import CASME2, CUBE, SAMM

from deft.clips import labels
from deft.clips.facs import EMOTIONS
from deft.clips.readers import READERS


@dataclass(frozen=True)
class Said:
    """As much of a clip as the label maps look at."""

    dataset: str
    subject: str
    emotion: str
    filename: str = "x"
    edition: str = ""
    kind: str = "micro"
    split: str = ""

    @property
    def coarse(self):
        return labels.classes(self.dataset, self.emotion, 3) or ""


def several(dataset, subjects, **numbers):
    """numbers[emotion] clips, dealt to subjects in turn."""
    emotions = [emotion for emotion, count in numbers.items() for _ in range(count)]
    return [
        Said(dataset, f"{i % subjects + 1:02d}", emotion, f"clip{i}", edition="2014" if dataset == "casme2" else "")
        for i, emotion in enumerate(emotions)
    ]


def test_the_table_is_whole():
    table = labels.table()
    assert not table.duplicated(["dataset", "label"]).any() and (table["source"] != "").all()
    assert set(table["dataset"]) == set(READERS)
    assert set(table["three"]) | set(table["composite"]) == {"", *labels.COARSE_CLASSES}
    assert set(table["four"]) == {*labels.COARSE_CLASSES, "others"}  # every label has one of four
    assert (table["label"] == table["label"].str.lower()).all()
    for name, part in table.groupby("dataset"):
        assert part["five"].replace("", None).nunique() <= (7 if name == "csv" else 5)
        assert part["seven"].replace("", None).nunique() in (0, 7) or name == "csv", name


def test_three_refines_into_four_and_the_composite_into_three():
    for row in labels.table().itertuples():
        assert row.three in ("", row.four), row
        assert row.composite in ("", row.three), row


@pytest.mark.parametrize(
    "dataset, emotion, number, expected",
    [
        ("casme2", "repression", 3, "negative"),
        ("casme2", "others", 3, None),
        ("casme2", "others", 5, "others"),
        ("casme2", "fear", 5, None),
        ("samm", "Contempt", 5, "contempt"),
        ("samm", "Other", 3, None),
        ("smic-vis", "positive", 3, "positive"),
        ("casme-cube-a", "Others ", 4, "others"),
        ("casme-cube-a", "sad", 7, "sadness"),
        ("mmew", "repression", 4, "others"),
        ("dfme", "contempt", 7, "contempt"),
        ("casme", "tense", 4, "others"),
        ("samm-lv", "anger", 3, "negative"),
        ("casme2", "amazement", 7, None),
    ],
)
def test_classes_of_single_labels(dataset, emotion, number, expected):
    assert labels.classes(dataset, emotion, number) == expected


def test_another_number_of_classes_is_an_error():
    with pytest.raises(ValueError, match="6 classes: there are protocols of 3, 4, 5, 7"):
        labels.classes("casme2", "fear", 6)


def test_the_five_of_the_embedded_benchmark_where_none_is_published():
    for dataset in ("casme-cube-a", "dfme", "mmew"):
        found = {labels.classes(dataset, label, 5) for label in labels.table().query("dataset == @dataset")["label"]}
        assert found - {None} == set(EMOTIONS)


def test_cube_counts_follow_from_the_map():
    """CAS(ME)^3, three classes: negative 457, positive 55, surprise 187; four classes: all 860."""
    three, four = {}, {}
    for emotion, count in CUBE.items():
        for number, tally in ((3, three), (4, four)):
            name = labels.classes("casme-cube-a", emotion, number)
            tally[name] = tally.get(name, 0) + count
    assert (
        three == {"negative": 457, "positive": 55, "surprise": 187, None: 161}
        and sum(four.values()) == 860
        and None not in four
    )


def composite_world():
    """CASME II, SAMM and SMIC with the published label counts, and the two clips that the protocol leaves out among
    them.
    """
    casme2 = several("casme2", 26, **(CASME2 | {"disgust": 61}))
    casme2 += [Said("casme2", "04", "disgust", "EP12_01f", "2014"), Said("casme2", "05", "disgust", "EP09_05f", "2014")]
    return casme2 + several("samm", 28, **SAMM) + several("smic-hs", 16, negative=70, positive=51, surprise=43)


def test_composite_counts_are_those_of_megc_2019():
    tally = {}
    for clip in composite_world():
        if name := labels.composite(clip):
            tally[clip.dataset, name] = tally.get((clip.dataset, name), 0) + 1
    published = {
        "casme2": (24, 88, 32, 25),
        "samm": (28, 92, 26, 15),
        "smic-hs": (16, 70, 51, 43),
    }  # subjects, negative, positive, surprise
    for dataset, (subjects, *classes) in published.items():
        assert [tally[dataset, name] for name in labels.COARSE_CLASSES] == classes
        rows = labels.counts().query("dataset == @dataset and part.str.startswith('composite')")
        assert list(rows["expected"]) == [subjects, *classes]
    assert sum(tally.values()) == 442


def test_composite_does_not_depend_on_the_edition():
    """2019 calls three clips surprise that 2014 calls sadness: they are no members either way."""
    for filename in ("EP07_01", "EP07_04f", "EP10_03"):
        assert labels.composite(Said("casme2", "24", "sadness", filename, "2014")) is None
        assert labels.composite(Said("casme2", "24", "surprise", filename, "2019")) is None
    assert labels.composite(Said("casme2", "24", "surprise", "EP02_02f", "2019")) == "surprise"


def test_composite_has_no_other_camera_and_no_other_set():
    assert labels.composite(Said("smic-vis", "s03", "negative")) is None
    assert labels.composite(Said("casme-cube-a", "spNO.1", "disgust")) is None


def test_counts_that_agree_and_counts_that_do_not():
    whole = several("casme2", 26, **CASME2)
    table = labels.check_counts(whole)
    emotions = table[table["part"] == "emotion"]
    assert emotions["agrees"].all() and table.query("part == 'clips'")["found"].item() == 255
    table = labels.check_counts(whole[1:])
    wrong = table[~table["agrees"]]
    assert set(zip(wrong["part"], wrong["value"])) >= {("clips", ""), ("emotion", "others")}
    assert table.query("value == 'others'")[["found", "expected"]].values.tolist() == [[98, 99]]


def test_counts_are_those_of_the_edition_that_was_read():
    newer = [Said("casme2", "24", "surprise", f"c{i}", "2019") for i in range(28)]
    assert labels.check_counts(newer).query("value == 'surprise' and part == 'emotion'")["agrees"].item()


def test_nothing_to_count():
    assert labels.check_counts([]).empty and "agrees" in labels.check_counts([]).columns
