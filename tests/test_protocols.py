"""Every protocol against an example worked by hand, published counts and confusion matrices, and what each refuses."""

import functools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_sets import CASME2, CUBE, SAMM  # importing it also makes sets in every layout

from deft.clips import labels, readers, splits
from deft.clips.facs import EMOTIONS, parse_action_units
from deft.clips.readers import fixtures
from deft.evaluation import protocol_study, protocols, reported
from deft.evaluation.protocols import mistake, scoring, units, vqa
from deft.evaluation.protocols.members import ProtocolError
from deft.evaluation.tables import present
from deft.unimer.facts import Facts, UnitFact

THREE = ("negative", "positive", "surprise")
# Rows truth, columns answer: negative, positive, surprise. STSTNet: the authors' log (christy1206/STSTNet). HTNet: the
# answers in confusion_matrix.py of wangzhifengharrison/HTNet, pooled; that they give .8313 and not the printed .8603 is
# a finding about the publication, not about the metric.
STSTNET = {
    "casme2": [[83, 5, 0], [12, 19, 1], [2, 0, 23]],
    "samm": [[82, 7, 3], [11, 13, 2], [5, 2, 8]],
    "smic-hs": [[54, 10, 6], [17, 30, 4], [14, 1, 28]],
}
HTNET = {
    "casme2": [[88, 0, 0], [4, 26, 2], [1, 0, 24]],
    "samm": [[88, 3, 1], [8, 17, 1], [2, 3, 10]],
    "smic-hs": [[61, 0, 9], [13, 33, 5], [9, 1, 33]],
}
PEOPLE = {"casme2": 24, "samm": 28, "smic-hs": 16, "casme-cube-a": 94, "casme-cube-c": 30, "dfme": 259}


def clip(dataset, number, emotion, subjects=None, **more):
    """As much of a recorded clip as a protocol looks at; row `number` of a sheet."""
    subject = f"{number % (subjects or PEOPLE.get(dataset, 4)) + 1:03d}"
    facts = {"filename": f"c{number}", "edition": "2014" if dataset == "casme2" else "", "kind": "micro", "split": ""}
    more = {"action_units": (), "objective": None, "file": f"{dataset}.xlsx", "row": number + 2} | more
    return SimpleNamespace(id=f"{dataset}_{number}", dataset=dataset, subject=subject, emotion=emotion, **facts | more)


def sheet(dataset, **numbers):
    """numbers[emotion] clips of a data set, dealt to its subjects in turn."""
    said = [emotion for emotion, count in numbers.items() for _ in range(count)]
    return [clip(dataset, number, emotion) for number, emotion in enumerate(said)]


@functools.cache
def composite():
    """The 442 clips of MEGC 2019 among all labels of three sheets, and the two that it leaves out."""
    casme2 = sheet("casme2", **CASME2)
    for one, name in zip([c for c in casme2 if c.emotion == "disgust"][:2], (("04", "EP12_01f"), ("05", "EP09_05f"))):
        one.subject, one.filename = name
    return casme2 + sheet("samm", **SAMM) + sheet("smic-hs", negative=70, positive=51, surprise=43)


def index(datasets=("sim-a", "sim-b", "sim-c"), people=4, clips=5):
    """An index of simulated clips, kept and broken, every emotion shown by everybody, looks in turn."""
    rows = []
    for dataset in datasets:
        for person in range(people):
            for condition in ("kept", "broken"):
                for number in range(clips):
                    emotion = EMOTIONS[number % 5]
                    name = f"{dataset}{person}{condition}{number}"
                    rows.append(
                        (name, dataset, f"s{person}", condition, person % 2, emotion, "6+12" if number == 0 else "4")
                    )
    return pd.DataFrame(rows, columns=["clip", "dataset", "subject", "condition", "look", "emotion", "units"])


def answers(matrices):
    """Rows of one system from confusion matrices per part, a subject in eight clips."""
    rows = []
    for dataset, matrix in matrices.items():
        pairs = [(t, p) for t in range(3) for p in range(3) for _ in range(matrix[t][p])]
        for number, (t, p) in enumerate(pairs):
            rows.append(
                {
                    "dataset": dataset,
                    "subject": f"{number % 8}",
                    "clip": f"{dataset}{number}",
                    "truth": THREE[t],
                    "prediction": THREE[p],
                }
            )
    return rows


# ---------------------------------------------------------------- published confusion matrices
def test_ststnet_as_its_authors_logged_it():
    """UF1 .7353; recall .7186 and, of the parts, .6703, .8190, .6415, where the paper prints precision as UAR."""
    assert sum(np.array(m) for m in STSTNET.values()).tolist() == [[219, 22, 9], [40, 62, 7], [21, 3, 59]]
    table = protocols.get("composite").score(answers(STSTNET)).set_index("part")
    assert table["uf1"].round(4)["full"] == 0.7353
    assert table["uar"].round(4).to_dict() == {"full": 0.7186, "casme2": 0.8190, "samm": 0.6415, "smic-hs": 0.6703}
    assert set(table["kind"]) == {"reproduced"} and table["of"]["full"] == "442 of 442 published clips"
    line = protocols.get("composite").reported().set_index("method").loc["STSTNet"]
    assert (line["uf1"], line["uar"]) == (0.7353, 0.7186)


def test_htnet_as_its_repository_lists_it():
    """Its own list of answers gives .8313 / .8175, not the .8603 / .8475 that are reported."""
    table = protocols.get("composite").score(answers(HTNET)).set_index("part")
    assert (table["uf1"].round(4)["full"], table["uar"].round(4)["full"]) == (0.8313, 0.8175)
    assert table["uf1"].round(4).to_dict() == {"full": 0.8313, "casme2": 0.9367, "samm": 0.7870, "smic-hs": 0.7691}
    line = protocols.get("composite").reported().set_index("method").loc["HTNet"]
    assert (line["uf1"], line["uar"]) == (0.8603, 0.8475)


# ---------------------------------------------------------------- members and counts
def test_composite_is_that_of_megc_2019():
    plan = protocols.get("megc2019").plan(composite())
    assert plan.protocol.classes == THREE and len(plan.members) == 442 and plan.counts()["agrees"].all()
    assert plan.standing() == ("reproduced", "442 of 442 published clips")
    assert len(plan.splits) == plan.members.groupby(["dataset", "subject"]).ngroups == 24 + 28 + 16
    tested = [name for _, _, test in plan.splits for name in test]
    assert sorted(tested) == sorted(plan.members["clip"])
    train, validation, test = plan.splits[5]
    assert list(plan.roles([train[0], validation[0], test[0], "nobody"], 5)) == ["train", "validation", "test", ""]


@pytest.mark.parametrize("less, kind", [(22, "reproduced"), (23, "partial")])  # 420 of 442 is .9502, 419 is .9480
def test_reproduced_is_only_said_from_95_percent(less, kind):
    plan = protocols.get("composite").plan(
        [c for c in composite() if c.id not in {f"smic-hs_{n}" for n in range(less)}]
    )
    assert plan.standing() == (kind, f"{442 - less} of 442 published clips")
    rows = [{"clip": name, "prediction": "negative"} for name in plan.members["clip"]]
    table = plan.score(rows).set_index("part")
    assert table["kind"].to_dict() == {"full": kind, "casme2": kind, "samm": kind, "smic-hs": "partial"}
    assert table["of"]["smic-hs"] == f"{164 - less} of 164 published clips"


def test_a_class_that_is_swollen_is_no_reproduction():
    """As many clips as published, but of other classes."""
    same = protocols.get("smic-3").plan(sheet("smic-hs", negative=100, positive=21, surprise=43))
    assert same.standing() == ("partial", "164 of 164 published clips")
    assert same.counts().set_index("class")["agrees"].to_dict() == {
        "negative": False,
        "positive": False,
        "surprise": True,
    }


@pytest.mark.parametrize(
    "name, dataset, said, sizes",
    [
        (
            "casme2-5",
            "casme2",
            CASME2,
            {"happiness": 32, "disgust": 63, "repression": 27, "surprise": 25, "others": 99},
        ),
        ("samm-5", "samm", SAMM, {"happiness": 26, "anger": 57, "contempt": 12, "surprise": 15, "others": 26}),
        (
            "smic-3",
            "smic-hs",
            {"negative": 70, "positive": 51, "surprise": 43},
            {"negative": 70, "positive": 51, "surprise": 43},
        ),
        ("cube-3", "casme-cube-a", CUBE, {"negative": 457, "positive": 55, "surprise": 187}),
        ("cube-4", "casme-cube-a", CUBE, {"negative": 457, "positive": 55, "surprise": 187, "others": 161}),
        (
            "cube-7",
            "casme-cube-a",
            CUBE,
            {"happiness": 55, "disgust": 250, "fear": 86, "anger": 64, "sadness": 57, "surprise": 187, "others": 161},
        ),
        (
            "cube-c-4",
            "casme-cube-c",
            {"negative": 99, "surprise": 30, "others": 20, "positive": 16},
            {"negative": 99, "positive": 16, "surprise": 30, "others": 20},
        ),
    ],
)
def test_one_set_with_its_published_classes(name, dataset, said, sizes):
    protocol = protocols.get(name)
    plan = protocol.plan(sheet(dataset, **said))
    assert protocol.classes == tuple(sizes) and protocol.expected == {dataset: sizes} and protocol.source
    assert plan.members["truth"].value_counts().to_dict() == sizes and plan.counts()["agrees"].all()
    assert plan.standing() == ("reproduced", f"{sum(sizes.values())} of {sum(sizes.values())} published clips")


def test_the_edition_that_was_read_decides_what_is_expected():
    newer = [SimpleNamespace(**{**vars(c), "edition": "2019"}) for c in sheet("casme2", **CASME2)]
    for one in [c for c in newer if c.emotion == "sadness"][:3]:
        one.emotion = "surprise"
    plan = protocols.get("casme2-5").plan(newer)
    assert (
        plan.counts().set_index("class").loc["surprise", ["found", "published"]].tolist() == [28, 28]
        and plan.counts()["agrees"].all()
    )


def test_objective_classes_are_told_by_units_where_the_sheet_has_none():
    cells = {"6+12": "I", "R1+L2": "II", "4+7": "III", "9": "IV", "15+17": "V", "1+2+4": None, "14": None}
    clips = [
        clip("casme2", n, "others", subjects=3, action_units=parse_action_units(cell).units)
        for n, cell in enumerate([*cells, *cells])
    ]
    clips += [clip("samm", n, "anger", subjects=3, objective=n + 1) for n in range(7)]  # the sheet's word stands
    plan = protocols.get("objective-5").plan(clips)
    assert plan.members.query("dataset == 'casme2'")["truth"].tolist() == 2 * ["I", "II", "III", "IV", "V"]
    assert plan.members.query("dataset == 'samm'")["truth"].tolist() == ["I", "II", "III", "IV", "V"]
    assert plan.standing()[0] == "measured"  # no published count in our tables


def test_made_up_sheets_of_all_layouts(tmp_path):
    """From a workbook to folds: part C's own labels, DFME's division, SMIC and CASME II in one composite."""
    read = {}
    for dataset in ("casme2", "samm", "smic-hs", "casme-cube-c", "dfme"):
        fixtures.write(
            dataset, tmp_path / dataset, frames=False, **({"people": 3} if dataset in fixtures.PEOPLED else {})
        )
        read[dataset] = readers.read(dataset, tmp_path / dataset, frames=False)[0]
    assert set(protocols.get("cube-c-4").plan(read["casme-cube-c"]).members["truth"]) == {*THREE, "others"}
    plan = protocols.get("dfme-7").plan(read["dfme"])
    assert [sorted(part) for part in plan.splits[0]] == [
        sorted(c.id for c in read["dfme"] if c.split == "train"),
        [],
        sorted(c.id for c in read["dfme"] if c.split != "train"),
    ]
    assert plan.standing() == ("partial", "2 of 773 published clips")
    assert protocols.get("dfme-7").plan(read["dfme"], made_up=True).standing() == ("simulated", "2 simulated clips")
    whole = protocols.get("composite").plan(read["casme2"] + read["samm"] + read["smic-hs"])
    assert whole.standing()[0] == "partial" and not {
        "casme2_04_EP12_01f",
        "casme2_05_EP09_05f",
        "casme2_24_EP07_01",
    } & set(whole.members["clip"])
    assert set(whole.members["dataset"]) == {"casme2", "samm", "smic-hs"}


# ---------------------------------------------------------------- folds
def test_leave_one_subject_out_by_hand():
    """Two sets, whose subjects have the same names: four people, four folds."""
    said = {
        ("casme2", "001"): ["happiness", "disgust"],
        ("casme2", "002"): ["surprise"],
        ("samm", "001"): ["anger", "surprise"],
        ("samm", "002"): ["happiness"],
    }
    clips = [
        SimpleNamespace(**{**vars(clip(d, n, e)), "id": f"{d}{s}{n}", "subject": s})
        for (d, s), of in said.items()
        for n, e in enumerate(of)
    ]
    found = protocols.get("composite").splits(clips)
    assert [test for _, _, test in found] == [
        ["casme20010", "casme20011"],
        ["casme20020"],
        ["samm0010", "samm0011"],
        ["samm0020"],
    ]
    for train, validation, test in found:
        assert sorted([*train, *validation, *test]) == sorted(c.id for c in clips)


def test_validation_subjects_are_training_subjects_and_leave_every_class_to_learn():
    plan = protocols.get("composite").plan(composite())
    row = plan.members.set_index("clip")
    served = {}
    for train, validation, test in plan.splits:
        people = [set(row.loc[part, "person"]) for part in (train, validation, test)]
        assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
        assert len(people[2]) == 1 and 6 <= len(people[1]) <= 10 and set(row.loc[train, "truth"]) == set(THREE)
        for name in people[1]:
            served[name] = served.get(name, 0) + 1
    assert len(served) == 68 and max(served.values()) <= 3 * min(served.values())


def test_the_only_one_who_shows_a_class_never_validates():
    clips = [clip("casme2", n, e, subjects=6) for n, e in enumerate(["happiness", "disgust"] * 18)]
    clips.append(SimpleNamespace(**{**vars(clip("casme2", 99, "surprise")), "subject": "003"}))
    for _, validation, test in protocols.get("composite").splits(clips):
        assert "casme2_99" not in validation and (validation or "casme2_99" in test)


def test_a_number_of_folds_is_dealt_as_the_benchmark_deals_them():
    found = protocols.get("composite").splits(index(people=6), folds=3)
    people = index(people=6)[["dataset", "subject", "look"]].drop_duplicates()
    people["subject"] = people["dataset"] + "/" + people["subject"]
    role = splits.make_folds(people, 3, 7).set_index("subject")["fold"]
    for number, (_, _, test) in enumerate(found):
        assert {name[:5] + "/s" + name[5] for name in test} == set(role.index[role == number])
    assert (
        protocols.get("smic-3").plan(sheet("smic-hs", negative=70, positive=51, surprise=43), folds=3).standing()[0]
        == "measured"
    )


def test_cross_dataset_by_hand():
    clips = [clip("casme2", n, e) for n, e in enumerate(["happiness", "disgust", "repression", "others"])]
    clips += [clip("samm", n, e) for n, e in enumerate(["contempt", "happiness"])] + [
        clip("smic-hs", n, e) for n, e in enumerate(THREE)
    ]
    plan = protocols.get("cross:casme2+samm>smic-hs").plan(clips)
    ((train, validation, test),) = plan.splits
    assert sorted([*train, *validation]) == ["casme2_0", "casme2_1", "casme2_2", "samm_0", "samm_1"] and test == [
        f"smic-hs_{n}" for n in range(3)
    ]
    rows = [{"clip": name, "prediction": said} for name, said in zip(test, ("negative", "negative", "surprise"))]
    row = plan.score(rows).iloc[0]  # negative 2/3, positive 0, surprise 1
    assert (
        row["uf1"] == pytest.approx(5 / 9)
        and row["uar"] == pytest.approx(2 / 3)
        and row["of"] == "3 of 164 published clips"
    )
    assert row["protocol"].endswith("trained on casme2 + samm, tested on smic-hs")


def test_half_of_the_training_set_is_no_reproduction():
    tested = sheet("smic-hs", negative=70, positive=51, surprise=43)
    for less, kind in ((0, "reproduced"), (70, "partial")):
        part = sheet("samm", **SAMM)[less:]
        plan = protocols.get("cross:samm>smic-hs").plan(part + tested)
        rows = [{"clip": c.id, "prediction": "negative"} for c in tested]
        assert plan.score(rows)["kind"].tolist() == [kind] and plan.standing() == (kind, "164 of 164 published clips")


def test_a_table_of_pairs_has_the_diagonal_inside_one_set():
    names = protocols.grid(("casme2", "samm", "smic-hs"))
    assert len(names) == 9 and names[0] == "cross:casme2>casme2" and names[5] == "cross:samm>smic-hs"
    assert [
        len(
            protocols.get(name)
            .plan([c for c in composite() if c.dataset in name.replace("cross:", "").split(">")])
            .splits
        )
        for name in names
    ] == [24, 1, 1, 1, 28, 1, 1, 1, 16]


def test_dfme_trains_once_and_is_scored_on_a_and_b():
    said = {"train": ["anger", "fear", "anger"], "testA": ["fear", "anger"], "testB": ["sadness"]}
    clips = [
        SimpleNamespace(**{**vars(clip("dfme", n, e, split=part)), "id": f"{part}{n}", "subject": f"{part}{n}"})
        for part, of in said.items()
        for n, e in enumerate(of)
    ]
    plan = protocols.get("dfme-7").plan(clips)
    ((train, validation, test),) = plan.splits
    assert sorted(train + validation) == ["train0", "train1", "train2"] and sorted(test) == [
        "testA0",
        "testA1",
        "testB0",
    ]
    table = plan.score([{"clip": name, "prediction": "fear"} for name in test]).set_index("part")
    assert table["accuracy"].round(4).to_dict() == {"full": 0.3333, "testA": 0.5, "testB": 0.0}
    assert table["of"].to_dict() == {
        "full": "3 of 773 published clips",
        "testA": "2 of 474 published clips",
        "testB": "1 of 299 published clips",
    }
    assert table["uf1"]["testA"] == pytest.approx((2 / 3) / 7)  # seven classes, six of them never right


# ---------------------------------------------------------------- action units
def cd6me():
    """Answers of a reader that always says yes, on clips that show each unit as often as published."""
    names = tuple(map(units.au, units.TWELVE))
    return [
        {
            "dataset": dataset,
            "subject": f"{n % 9}",
            "clip": f"{dataset}:{n}",
            "units_said": names,
            "units_annotated": [name for name, often in zip(names, shown) if n < often],
        }
        for dataset, (clips, shown) in units.CD6ME.items()
        for n in range(clips)
    ]


def test_always_yes_scores_on_cd6me_what_its_authors_print():
    """Their notebook: 17.77 over units; per set 16.08, 19.4, 15.33, 20.16, 20.72, 15.12, whose mean is 17.80."""
    table = protocols.get("units").score(cd6me()).set_index("part")
    assert table["f1_over_units"]["full"] == pytest.approx(0.1777, abs=5e-5)
    assert table["f1_over_sets"]["full"] == pytest.approx(0.1780, abs=5e-5)
    printed = {
        "casme": 0.1608,
        "casme2": 0.1940,
        "samm": 0.1533,
        "4dme": 0.2016,
        "mmew": 0.2072,
        "casme-cube-a": 0.1512,
    }
    assert {part: round(value, 4) for part, value in table["f1_over_units"].items() if part != "full"} == printed
    assert table["of"]["full"] == "2031 of 2031 published clips" and set(table["kind"]) == {"reproduced"}
    each = units.per_unit(cd6me(), protocols.get("units").classes).set_index("unit")["f1"]
    assert (each * 100).round(2)[["AU1", "AU4", "AU17"]].tolist() == [26.04, 51.70, 8.12]
    assert "always yes" in set(protocols.get("units").reported()["method"])


def test_over_units_and_over_sets_by_hand():
    """AU1 right in a, wrong in b; AU4 found in b alone: pooled 2/3 and 1, in sets (1 + 0) / 2 and (0 + 1) / 2."""
    counts = np.array([[[1, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 0]]])
    assert units.over_units(counts) == pytest.approx((2 / 3 + 1) / 2) and units.over_sets(counts) == pytest.approx(0.5)


def test_units_leave_one_set_out_or_one_subject():
    clips = [
        clip(d, n, "", subjects=4, action_units=parse_action_units(cell).units)
        for d in ("casme2", "samm", "mmew")
        for n, cell in enumerate(["1+2", "R4", "4? + 12", "14 or 17", ""] * 4)
    ]
    plan = protocols.get("units").plan(clips)
    assert [len(test) for _, _, test in plan.splits] == [20, 20, 20] and plan.standing()[0] == "partial"
    assert set(plan.members["truth"]) == {
        ("AU1", "AU2"),
        ("AU4",),
        ("AU12",),
        (),
    }  # neither "?" nor an alternative is certain
    alone = protocols.get("units:casme2").plan(
        [c for c in clips if c.dataset == "casme2"]
        + [clip("casme2", n, "", action_units=parse_action_units("4").units) for n in range(20, 27)]
    )
    assert alone.protocol.classes == ("AU4",)  # 4 + 7 clips show it, 4 show each of the others
    assert len(alone.splits) == alone.members["person"].nunique() == 8
    row = alone.score([{"clip": name, "units_said": [4]} for name in alone.members["clip"]]).iloc[0]
    assert row["f1_over_units"] == pytest.approx(2 * 11 / (11 + 27)) and row["of"] == "27 of 255 published clips"


# ---------------------------------------------------------------- visual questions
def question(number, asked, answer, dataset="samm", clip="006_1_2", **more):
    """A row of the task's files, in the layout of the training file."""
    return {
        "id": f"{dataset}_{clip}_{number}",
        "dataset": dataset,
        "image_id": clip,
        "subject": clip[:3],
        "filename": clip,
        "question": asked,
        "answer": answer,
        **more,
    }


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


JOINT = "what is the fine-grained expression and the coarse expression class?"
SO = "Therefore, the fine-grained expression class is anger, and the coarse expression class is negative."
ASKED = [
    ("What is the coarse expression class?", "negative", "coarse"),
    ("What is the fine-grained expression class?", "anger", "fine"),
    ("What is the action unit?", "brow lowerer", "units"),
    ("What are the action units?", "brow lowerer, lid tightener", "units"),
    ("Is the action unit dimpler shown on the face?", "no", "present"),
    ("Is the action unit lip stretcher located on the left or right face?", "left", "side"),
    (
        f"What is the action unit present, and based on it, {JOINT}",
        f"The action unit present is: brow lowerer. {SO}",
        "joint",
    ),
    (
        f"What are the action units present, and based on them, {JOINT}",
        f"The action units present are: brow lowerer, lid tightener. {SO}",
        "joint",
    ),
]


def test_both_layouts_and_both_numbers_of_questions_are_read(tmp_path):
    first = written(
        tmp_path / "me_vqa_samm_casme2_smic.jsonl",
        [question(n, q, a) for n, (q, a, _) in enumerate(ASKED)]
        + [question(9, ASKED[0][0], "positive", "smic", "s03")],
    )
    long = written(
        tmp_path / "me_vqa_casme3_test_to_answer.jsonl",
        [question(1, ASKED[0][0], "", "samm_test", "CAS-1", onset_frame=1, offset_frame=9)],
    )
    short = written(
        tmp_path / "me_vqa_samm_v2_test_to_answer.jsonl",
        [{"video_id": "x_1", "video": "SAMM-1", "question": ASKED[0][0], "answer": ""}],
    )
    rows = vqa.read(first, long, short)
    assert rows["kind"].tolist()[:8] == [kind for _, _, kind in ASKED]
    assert rows["dataset"].tolist()[8:] == ["smic", "casme3", "samm"] and rows["part"].tolist()[8:] == [
        "training",
        "test",
        "test",
    ]
    ((train, validation, test),) = protocols.get("vqa").splits(rows)
    assert sorted([*train, *validation]) == sorted(rows["clip"][:9]) and test == list(rows["clip"][9:])
    assert protocols.get("vqa").counts(rows)["found"].tolist() == [8, 1, 1, 1]
    with pytest.raises(ProtocolError, match="me_vqa_x_test.jsonl, row 1: data set 'samm_test' is none of"):
        vqa.read(written(tmp_path / "me_vqa_x_test.jsonl", [question(1, ASKED[0][0], "", "samm_test", "CAS-1")]))


def test_likeness_by_hand_in_both_definitions():
    """Said brow lowerer for brow lowerer, lid tightener: split at blanks one word of two is right, as tokens both."""
    asked, answer = ASKED[3][0], ASKED[3][1]
    rows = [
        {
            **question(1, asked, answer),
            "clip": "a",
            "video": "v",
            "kind": "units",
            "place": "p",
            "prediction": " Brow lowerer ",
        }
    ]
    row = protocols.get("vqa").score(rows).iloc[0]
    # 1-grams 1 of 2 ("lowerer" is not "lowerer,"), 2-grams 0.1 of 1, then 0.1 of 1 twice; brevity exp(1 - 4/2)
    assert row["bleu_sentence"] == pytest.approx((0.5 * 0.1 * 0.1 * 0.1) ** 0.25 * np.exp(-1))
    assert row["rouge1_recall"] == pytest.approx(2 / 4) and row["rouge1_f1"] == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert row["bleu_corpus"] == 0.0  # two tokens have no 4-gram
    same = protocols.get("vqa").score([{**rows[0], "prediction": answer}]).iloc[0]
    assert (same["bleu_sentence"], same["bleu_corpus"], same["rouge1_f1"]) == (pytest.approx(1), pytest.approx(1), 1)
    assert vqa.sentence_bleu("yes", "yes") == pytest.approx(0.1**0.75) and vqa.sentence_bleu("no", "yes") == 0
    assert vqa.rouge1_recall("lid tighteners", "lid tightener") == 1  # stemmed


def test_classes_of_the_task_by_hand(tmp_path):
    rows = []
    for n, (truth, said) in enumerate(
        (("negative", "Negative "), ("negative", "positive"), ("surprise", "surprise"), ("positive", "anger"))
    ):
        rows.append(
            {
                **question(n, ASKED[0][0], truth, clip=f"00{n % 2}_1"),
                "prediction": said,
                "video": "v",
                "kind": "coarse",
                "clip": f"c{n}",
                "place": f"f, row {n}",
            }
        )
    rows.append(
        {
            **question(8, ASKED[1][0], "fear"),
            "prediction": "fear",
            "video": "v",
            "kind": "fine",
            "clip": "c8",
            "place": "f, row 9",
        }
    )
    row = (
        protocols.get("vqa").score(rows).iloc[0]
    )  # negative 2/3, positive 0, surprise 1; of seven fine classes one is right
    assert (
        row["uf1_coarse"] == pytest.approx(5 / 9)
        and row["uar_coarse"] == pytest.approx(0.5)
        and row["uf1_fine"] == pytest.approx(1 / 7)
    )
    assert (
        vqa.fine_classes("samm") == ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
        and vqa.fine_classes("smic") == ()
    )
    with pytest.raises(ProtocolError, match="f, row 9: class 'joy' is none of anger"):
        protocols.get("vqa").score([*rows[:4], {**rows[4], "answer": "joy"}])
    with pytest.raises(ProtocolError, match="f, row 9 has no reference answer"):
        protocols.get("vqa").score([*rows[:4], {**rows[4], "answer": ""}])


def test_visual_questions_on_the_simulator():
    stated = {"emotion": "anger", "coarse": "negative", "units": [[4, "B"]], "motions": [], "denied": [], "times": []}
    records = [
        {
            "id": f"{d}{p}{k}{c}",
            "clip": f"{d}{p}",
            "dataset": d,
            "subject": f"s{p}",
            "kind": k,
            "condition": c,
            "stated": stated,
        }
        | {"question": "which class ?", "answer": "coarse answer : negative ."}
        for d in ("sim-a", "sim-b", "sim-c")
        for p in range(4)
        for k in ("coarse", "fine", "motion")
        for c in ("kept", "broken")
    ]
    rows = vqa.simulated_rows(records)
    kinds = rows.groupby("dataset")["kind"].unique().map(sorted).to_dict()
    assert kinds == {"sim-a": ["coarse", "fine"], "sim-b": ["coarse"], "sim-c": ["coarse", "fine"]}
    ((train, validation, test),) = protocols.get("vqa").splits(rows)
    assert all(name.startswith("sim-c") for name in test) and len(test) == 4 * 2 * 2
    assert len(train) + len(validation) == 12 and not any("broken" in name for name in train + validation)
    table = protocols.get("vqa").score(rows[rows["part"] == "test"].assign(prediction=lambda part: part["answer"]))
    assert table["condition"].tolist() == ["kept", "broken"] and set(table["kind"]) == {"simulated"}
    assert table["uf1_fine"].tolist() == [1 / 5] * 2 and table["uf1_coarse"].tolist() == [1 / 3] * 2  # one class occurs


# ---------------------------------------------------------------- spot then recognise


# ---------------------------------------------------------------- the simulator
@pytest.mark.parametrize("name", [name for name in protocols.names() if name != "vqa"])
def test_every_protocol_has_its_counterpart_on_the_simulator(name):
    plays = protocols.stand_ins(name)
    sets = sorted({one for of in plays.values() for one in of})
    assert sets and set(sets) <= {"sim-a", "sim-b", "sim-c"} and set(plays) <= set(protocols.get(name).parts)
    clips = index()
    found = protocols.get(name).plan(clips)
    condition = dict(zip(clips["clip"], clips["condition"]))
    assert found.standing()[0] == "simulated" and set(found.members["dataset"]) == set(sets)
    for train, validation, test in found.splits:
        assert {condition[c] for c in [*train, *validation]} == {"kept"} and {condition[c] for c in test} == {
            "kept",
            "broken",
        }


def test_the_counterpart_says_which_classes_it_shows():
    shown = {
        name: protocols.get(name).counterpart().classes
        for name in ("composite", "casme2-5", "cube-4", "dfme-7", "objective-5")
    }
    assert shown == {
        "composite": THREE,
        "casme2-5": EMOTIONS,
        "cube-4": THREE,
        "dfme-7": EMOTIONS,
        "objective-5": ("I", "II", "III", "IV", "V"),
    }
    plan = protocols.get("composite").plan(index())
    rows = [
        {"clip": name, "prediction": truth, "condition": name[6:10]}
        for name, truth in zip(plan.members["clip"], plan.members["truth"])
    ]
    table = plan.score(rows)
    assert (
        (table["uf1"] == 1).all()
        and set(table["kind"]) == {"simulated"}
        and table["of"][0] == "60 simulated clips"
        and len(table) == 2 * 4
    )


# ---------------------------------------------------------------- refused before anything is trained
@pytest.mark.parametrize(
    "name, clips, words",
    [
        (
            "units",
            lambda: [clip("smic-hs", 1, "negative")],
            r"cannot use smic-hs, smic-hs.xlsx, row 3 .*no action units",
        ),
        ("objective-5", lambda: [clip("smic-vis", 1, "negative")], "classes are told by action units, and it has none"),
        (
            "cube-4",
            lambda: sheet("casme-cube-c", negative=9, others=9),
            r"casme-cube-c.xlsx, row 2 .*part A of CAS\(ME\)\^3 .*cube-c-4",
        ),
        ("cube-7", list, "finds no clip of casme-cube-a .*part A"),
        ("cube-c-4", lambda: sheet("casme-cube-a", others=3), "for part A there are cube-3"),
        (
            "composite",
            lambda: sheet("mmew", anger=3),
            "mmew.xlsx, row 2 .*defined on casme2, samm, smic-hs; leave mmew out",
        ),
        (
            "composite",
            lambda: sheet("casme2", disgust=3, amazement=1),
            r"casme2.xlsx, row 5 .*'amazement' is no label of casme2; mend",
        ),
        ("composite", lambda: 2 * sheet("casme2", disgust=3), "casme2.xlsx, row 2 .* is there twice"),
        (
            "dfme-7",
            lambda: [clip("dfme", n, e, split="train") for n, e in enumerate(("anger", "fear"))],
            "no clip of testA or testB .*testA_",
        ),
        ("cross:casme2>samm", lambda: sheet("casme2", disgust=3), "no clip of samm .*add samm"),
        (
            "cross:smic-hs>smic-vis",
            lambda: sheet("smic-hs", negative=9, positive=9) + sheet("smic-vis", negative=2),
            "subject smic/.* in its .* and in its test part",
        ),
        ("units", lambda: [clip("casme2", 1, "")], "only casme2 was given: add another, or take units:casme2"),
        ("smic-3", lambda: sheet("smic-hs", negative=9), "fold 0 would train on .* fewer than two classes"),
        ("composite", lambda: [*sheet("casme2", disgust=2), clip("sim-a", 1, "anger")], "never share a table"),
    ],
)
def test_what_cannot_be_served_is_refused(name, clips, words):
    with pytest.raises(ProtocolError, match=words):
        protocols.get(name).splits(clips())


def test_a_class_outside_the_list_is_named(monkeypatch):
    table = labels.table().copy()
    table.loc[(table["dataset"] == "casme2") & (table["label"] == "fear"), "five"] = "fear"
    monkeypatch.setattr(
        labels, "_rows", lambda: {(row["dataset"], row["label"]): row for row in table.to_dict("records")}
    )
    with pytest.raises(ProtocolError, match=r"casme2.xlsx, row 4 .*class 'fear' is not in the list of casme2-5"):
        protocols.get("casme2-5").splits(sheet("casme2", disgust=2, fear=1))


@pytest.mark.parametrize(
    "name, words",
    [
        ("compsite", "did you mean 'composite'"),
        ("cross:casme2", "write cross:a\\+b>c"),
        ("cross:casme2>nope", "no data set 'nope'"),
        ("units:smic-hs", "no action units"),
        ("cross:casme2+samm>samm", "none of those that are trained on"),
        ("units:samm+samm", "names a data set twice"),
    ],
)
def test_a_name_that_is_no_protocol(name, words):
    with pytest.raises(ProtocolError, match=words):
        protocols.get(name)


def test_folds_that_break_a_rule_are_named():
    clips = [clip("casme2", n, e, subjects=4) for n, e in enumerate(["happiness", "disgust"] * 6)]
    plan = protocols.get("composite").plan(clips)
    good = plan.splits
    plan.check(good)
    leaked = [(good[0][0] + good[0][2][:1], good[0][1], good[0][2][1:]), *good[1:]]
    with pytest.raises(
        ProtocolError,
        match=r"fold 0 has subject casme2/001 in its training and in its test part, casme2.xlsx, row 6 \(casme2_4\)",
    ):
        plan.check(leaked)
    moved = [(good[0][0], good[0][1] + good[0][0][:1], good[0][2]), *good[1:]]
    with pytest.raises(ProtocolError, match="in its training and in its validation part"):
        plan.check(moved)
    with pytest.raises(ProtocolError, match=r"\(casme2_1\) is tested never; every test clip is tested exactly once"):
        plan.check([good[0], *good[2:]])
    with pytest.raises(ProtocolError, match=r"\(casme2_0\) is tested 2 times, in folds 0, 4"):
        plan.check([*good, good[0]])
    with pytest.raises(ProtocolError, match="names clip nobody, no member"):
        plan.check([(["nobody"], [], []), *good])


def test_a_published_number_without_source_stops_a_plan(monkeypatch, tmp_path):
    path = tmp_path / "reported.csv"
    path.write_text(f"{','.join(reported.COLUMNS)}\nx,y,.5,not available,unknown,,\n")
    monkeypatch.setattr(reported, "load", functools.partial(reported.load, path))
    with pytest.raises(ValueError, match="reported.csv, row 2: 'y' has no source"):
        protocols.get("smic-3").plan(sheet("smic-hs", negative=70, positive=51))


def test_answers_that_cannot_be_scored_are_named():
    plan = protocols.get("smic-3").plan(sheet("smic-hs", negative=32, positive=32))
    rows = [
        {"system": system, "clip": name, "prediction": "negative"}
        for system in ("x", "y")
        for name in plan.members["clip"]
    ]
    with pytest.raises(ProtocolError, match="row 129: clip smic-hs_0 is answered twice by x"):
        plan.score([*rows, rows[0]])
    with pytest.raises(ProtocolError, match="y has no answer to clip smic-hs_63"):
        plan.score(rows[:-1])
    with pytest.raises(ProtocolError, match="clip other is answered, but it is not tested"):
        plan.score([*rows, {"system": "x", "clip": "other", "prediction": "negative"}])
    told = protocols.get("smic-3")
    with pytest.raises(ProtocolError, match="row 1 .*truth 'joy' is none of negative"):
        told.score([{"dataset": "smic-hs", "subject": "s", "truth": "joy", "prediction": "negative"}])
    with pytest.raises(ProtocolError, match="lack prediction"):
        told.score([{"dataset": "smic-hs", "subject": "s", "truth": "negative"}])
    counts = plan.confusions(rows[:64])["x", "", scoring.FULL]
    assert (
        counts.loc["negative", "negative"] == 32 and counts.loc["positive", "negative"] == 32 and counts.shape == (3, 4)
    )


# ---------------------------------------------------------------- choosing on the test clips
def test_best_on_test_by_hand():
    """Two subjects of two clips, two epochs: each takes the epoch that suits it, and knowledge seems to grow."""
    frame = pd.DataFrame({"dataset": "d", "subject": ["a", "a", "b", "b"], "condition": "", "truth": list("xyxy")})
    first, last = frame.assign(prediction=list("xyyx")), frame.assign(prediction=list("yxxx"))
    assert mistake.best_on_test([first, last])["prediction"].tolist() == list("xyxx")
    assert mistake.best_on_test([first, last], ())["prediction"].tolist() == list("xyyx")
    table = mistake.demonstration([first, last], ("x", "y")).set_index("selection")
    assert table["accuracy"].tolist() == [0.25, 0.5, 0.75] and set(table["kind"]) == {mistake.KIND}


def test_epochs_that_know_nothing_look_like_knowledge():
    """Coin flips, three classes, 68 subjects of six clips, 50 epochs: the best for each is far above chance, 1/3."""
    draw = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"dataset": "d", "subject": np.repeat(np.arange(68).astype(str), 6), "truth": draw.choice(THREE, 408)}
    )
    table = mistake.demonstration([frame.assign(prediction=draw.choice(THREE, 408)) for _ in range(50)], THREE)
    assert abs(table["uf1"][0] - 1 / 3) < 0.06 and table["uf1"][1] > table["uf1"][0] and table["uf1"][2] > 0.65


def test_epochs_of_a_reader_answer_every_clip_and_gain_from_peeking():
    clips = index(people=6, clips=10)
    folds = clips[["dataset", "subject", "look"]].drop_duplicates().reset_index(drop=True)
    folds["subject"], clips["subject"] = folds["dataset"] + folds["subject"], clips["dataset"] + clips["subject"]
    folds["fold"], folds["validation_of"] = np.arange(len(folds)) % 3, -1
    x = np.eye(5)[clips["emotion"].map(EMOTIONS.index)] + np.random.default_rng(2).normal(0, 0.7, (len(clips), 5))
    real, none = (
        mistake.demonstration(mistake.epochs_of(x, clips, folds, 12, shuffled=shuffled))["uf1"]
        for shuffled in (False, True)
    )
    assert real[0] > 0.55 and real[2] > real[0] + 0.02  # the best epoch of each subject
    assert none[0] < 0.35 and none[2] >= none[0]


# ---------------------------------------------------------------- the study of all protocols
def made_up(monkeypatch, noise=0.3):
    """(index, answers of the benchmark) of six people per set; what readers see tells the emotions apart, DEFT is
    right."""
    clips = index(people=6, clips=10)
    draw = np.random.default_rng(3)
    codes = clips["emotion"].map(EMOTIONS.index).to_numpy()
    seen = {name: np.eye(5)[codes] + draw.normal(0, noise, (len(clips), 5)) for name in protocol_study.READERS}
    views = {setting.view for setting in protocol_study.peers.SETTINGS.values()}
    monkeypatch.setattr(protocol_study.peers, "views", lambda name, *_: dict.fromkeys(views, seen[name]))
    said = clips[["clip", "condition"]].assign(system="deft", seed=0, prediction=clips["emotion"])
    told = [f"class : {emotion} . evidence : au4 both . reasoning : none ." for emotion in clips["emotion"]]
    return clips, said.assign(text=told)


def test_every_protocol_is_run_once_and_counts_its_own_classes(monkeypatch):
    clips, said = made_up(monkeypatch)
    told = protocol_study.recognised("none", clips, said)
    names = [one for row in told["names"].unique() for one in row.split(", ")]
    assert sorted(names) == sorted(name for name in protocols.names() if not name.startswith(("units", "vqa")))
    composite = next(row for row in told["names"].unique() if "composite" in row)
    assert {"composite", "cube-3"} <= set(composite.split(", "))  # the same three sets, classes and people
    uf1 = told[told["condition"] == "broken"].set_index(["names", "system"])["uf1"]
    for row in told["names"].unique():
        there = set(uf1[row].index)
        assert {"majority", *protocol_study.READERS} <= there and uf1[row, "lr-flow"] > uf1[row, "majority"]
        fixed = any(word in row for word in (">", "dfme", "objective"))
        assert ("deft" in there) != fixed  # DEFT's own folds are no protocol's that says who trains
    assert (uf1.xs("deft", level="system") == 1).all()  # merged into coarse classes, too
    shown = present.parts(protocol_study.PAGE, told)
    assert len(shown) == 2 and all("lr-flow: from" in one.finding for one in shown)


def test_units_of_a_protocol_are_read_from_flow_and_from_texts(monkeypatch):
    clips, said = made_up(monkeypatch, noise=0.05)
    clips["units"] = ["6+12" if e == "happiness" else "4" for e in clips["emotion"]]
    told = protocol_study.units_said("none", clips, protocol_study.texts(said))
    told = told[told["condition"] == "kept"].set_index("system")["f1_over_units"]
    # of twelve units three occur; the flow tells them, the texts always say AU4, which 32 of 40 clips of a set show
    assert told["lr-flow"] > 3 / 12 - 0.01 and told["lr-flow"] > told["deft"] > 0
    assert told["deft"] == pytest.approx(2 * 0.8 / 1.8 / 12, abs=1e-4)
    assert told["says every unit"] == pytest.approx((2 * 0.8 / 1.8 + 2 * 2 * 0.2 / 1.2) / 12, abs=1e-4)


def test_questions_are_answered_from_what_a_text_says():
    said = Facts("happiness", "", (UnitFact(12, "L"), UnitFact(6, "B")))
    nothing = Facts()

    def asked(kind, *units, denied=()):
        return vqa.answered(kind, Facts(units=units, denied=denied).to_json(), said)

    assert asked("fine") == "happiness" and asked("coarse") == "positive"
    assert asked("units", UnitFact(4, "B")) == "lip corner puller, cheek raiser"
    assert asked("side", UnitFact(12, "B")) == "left" and asked("side", UnitFact(4, "B")) == ""
    by_name = Facts("disgust", "", (UnitFact(14, "A"),))  # named, without a side
    assert vqa.answered("side", Facts(units=(UnitFact(14, "L"),)).to_json(), by_name) == ""
    assert asked("present", UnitFact(12, "A")) == asked("present", denied=(UnitFact(6, "A"),)) == "yes"
    assert asked("present", UnitFact(4, "A")) == asked("present", denied=(UnitFact(4, "A"),)) == "no"
    assert asked("joint").endswith("class is happiness, and the coarse expression class is positive.")
    assert [vqa.answered(kind, nothing.to_json(), nothing) for kind in ("fine", "coarse", "joint")] == [""] * 3


def test_the_study_asks_only_what_plays_the_test_set():
    stated = Facts("anger", "negative", (UnitFact(4, "B"),))
    row = {"subject": "s", "kind": "fine", "condition": "kept", "stated": stated.to_json()}
    records = [{**row, "id": f"{d}-{i}", "clip": f"{d}{i}", "dataset": d} for d in ("sim-a", "sim-c") for i in range(4)]
    says = pd.DataFrame(
        {"clip": [f"sim-c{i}" for i in range(4)], "condition": "kept", "system": "deft", "seed": 0}
    ).assign(facts=[stated] * 3 + [Facts("happiness")])
    (row,) = protocol_study.questions(records, says).to_dict("records")
    assert row["questions"] == 4 and row["bleu_corpus"] < 1 and row["rouge1_recall"] == 0.75


def test_answers_about_a_set_that_is_not_tested_are_refused():
    rows = answers(STSTNET).to_dict("records") if hasattr(answers(STSTNET), "to_dict") else list(answers(STSTNET))
    with pytest.raises(ProtocolError, match="row 443: mmew is not tested there"):
        protocols.get("composite").score([*rows, {**rows[0], "dataset": "mmew", "clip": "m1"}])
    own = [{**row, "dataset": "casme2"} for row in rows[:3]]
    with pytest.raises(ProtocolError, match="row 1: casme2 is not tested there, samm is"):
        protocols.get("cross:casme2>samm").score(own)


def test_units_of_simulated_clips_are_scored_too():
    row = {"dataset": "sim-a", "subject": "s", "units_annotated": (4, 12), "units_said": ("AU4",), "clip": "c"}
    assert protocols.get("units").score([row])["f1_over_units"].iloc[0] == pytest.approx(1 / 12)


def test_a_protocol_of_more_sets_than_the_simulator_has_says_so():
    with pytest.raises(ProtocolError, match="has no counterpart|finds no clip|cannot use"):
        protocols.get("cross:casme2+samm+mmew>smic-hs").plan(index())
    assert protocols.stand_ins("cross:casme2+samm+mmew>smic-hs") == {}


def test_every_look_keeps_a_training_subject():
    """Looks of two people: one may validate, never both."""
    look = [0] * 22 + [1, 1]
    people = pd.DataFrame({"subject": [f"s{n}" for n in range(24)], "dataset": "sim-a", "look": look})
    for seed in range(20):
        folds = splits.make_folds(people, 3, seed)
        for fold in range(3):
            free = folds[folds["fold"] != fold]
            assert set(free["look"]) == set(free[free["validation_of"] != fold]["look"])
