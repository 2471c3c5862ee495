"""Readers: made-up sets in every layout are read whole, every quirk is reported where it stands, and bad input
breaks nothing else.
"""

import copy
import csv
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter

import cv2
import made_sets
import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deft.clips
from deft import __main__ as command_line
from deft import paths
from deft.clips.facs import parse_action_units
from deft.clips.readers import COLUMNS, READERS, ReaderError, check, fixtures, layout, library, sheets, workbook
from deft.clips.readers.reel import FramesError
from deft.clips.record import Clip
from deft.closure import Closure

EXPECTED = {  # clips, subjects, oddities of each made-up set
    "casme": (3, 2, 0),
    "casme2": (7, 5, 4),
    "samm": (6, 3, 4),
    "samm-lv": (3, 2, 1),
    "smic-hs": (4, 2, 1),
    "smic-vis": (4, 2, 1),
    "smic-nir": (4, 2, 1),
    "casme-sq": (3, 2, 1),
    "casme-cube-a": (10, 4, 6),
    "casme-cube-c": (4, 2, 1),
    "mmew": (3, 2, 2),
    "4dme": (2, 2, 1),
    "dfme": (4, 3, 0),
    "csv": (2, 2, 0),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """{dataset: (folder, clips, report)} of every made-up set, written and read once."""
    base, found = tmp_path_factory.mktemp("data sets"), {}
    for name in READERS:
        root = fixtures.write(name, base / name)
        found[name] = (root, *deft.clips.read(name, root))
    return found


def by_name(clips):
    return {clip.filename: clip for clip in clips}


def at(report, row, column):
    """What the report says about one cell."""
    return " | ".join(report[(report["row"] == row) & (report["column"] == column)]["what"])


# ---------------------------------------------------------------- every layout


def test_there_is_a_made_up_set_for_every_reader():
    assert set(fixtures.WRITERS) == set(READERS) == set(EXPECTED)


@pytest.mark.parametrize("name", READERS)
def test_each_set_is_read_whole(sets, name):
    _, clips, report = sets[name]
    assert (len(clips), len({clip.subject for clip in clips}), len(report)) == EXPECTED[name], report.to_string()
    assert list(report.columns) == list(COLUMNS) and list(COLUMNS[:5]) == ["sheet", "row", "column", "value", "what"]
    assert len({clip.id for clip in clips}) == len(clips)
    for clip in clips:
        assert isinstance(clip, Clip) and clip.dataset == name
        frames = clip.frames
        assert (
            frames.dtype == np.uint8
            and frames.shape == (len(clip.numbers), fixtures.SIZE, fixtures.SIZE, 3)
            and len(frames)
        )
        assert len(clip.times_ms) == len(frames) and np.all(np.diff(clip.times_ms) > 0)
        moments = [m for m in (clip.onset, clip.apex, clip.offset) if m is not None]
        assert moments == sorted(moments) and all(0 <= m < len(frames) for m in moments) and len(moments) >= 2
        assert clip.onset is None or clip.times_ms[clip.onset] == 0
        assert clip.fps and np.allclose(np.diff(clip.times_ms), 1000 / clip.fps * np.diff(clip.numbers))


@pytest.mark.parametrize("name", READERS)
def test_the_sheet_alone_is_enough(sets, tmp_path, name):
    root, filmed, _ = sets[name]
    fixtures.write(name, tmp_path, frames=False)
    clips, report = deft.clips.read(name, tmp_path, frames=False)
    assert [clip.id for clip in clips] == [clip.id for clip in filmed]
    assert not report["column"].eq("frames").any()
    for clip, other in zip(clips, filmed):
        assert clip.frames.shape[0] == 0 and clip.frames.ndim == 4 and len(clip.times_ms) == 0
        assert (
            clip.action_units == other.action_units and clip.emotion == other.emotion and clip.subject == other.subject
        )
        if None not in (clip.onset, other.onset, clip.offset):
            assert clip.offset - clip.onset == other.offset - other.onset  # the sheet's numbers here, positions there


@pytest.mark.parametrize("name", READERS)
def test_a_repair_is_reported_and_marked(sets, name):
    """Every oddity that belongs to a row is a note of a clip of that row, and nothing is noted that the report
    lacks.
    """
    _, clips, report = sets[name]
    for row in report[report["row"].notna()].itertuples():
        of_row = [clip for clip in clips if (clip.file, clip.sheet, clip.row) == (row.file, row.sheet, row.row)]
        assert any(row.what in note for clip in of_row for note in clip.notes), row
        assert row.clip in {clip.id for clip in of_row}


def test_the_sets_are_the_same_each_time(tmp_path):
    for folder in ("a", "b"):
        fixtures.write("samm", tmp_path / folder)
    first, second = (deft.clips.read("samm", tmp_path / folder)[0] for folder in ("a", "b"))
    assert all(np.array_equal(a.frames, b.frames) and a.id == b.id for a, b in zip(first, second))


# ---------------------------------------------------------------- quirks of single sets


def test_casme2_editions(sets, tmp_path):
    _, clips, report = sets["casme2"]
    assert (
        report.attrs["editions"] == ["2014"]
        and {clip.edition for clip in clips} == {"2014"}
        and all("edition 2014" in clip.notes for clip in clips)
    )
    newer, table = deft.clips.read(
        "casme2", fixtures.write("casme2", tmp_path, frames=False, edition="2019"), frames=False
    )
    assert table.attrs["editions"] == ["2019"] and newer[0].objective == 1 and clips[0].objective is None
    assert (by_name(clips)["EP07_01"].emotion, by_name(newer)["EP07_01"].emotion) == ("sadness", "surprise")


def test_the_root_may_be_the_sheet_itself(sets):
    root, clips, _ = sets["casme2"]
    again, report = deft.clips.read("casme2", str(root / "CASME2-coding-20140508.xlsx"))
    assert [clip.id for clip in again] == [clip.id for clip in clips] and [len(clip.numbers) for clip in again] == [
        len(clip.numbers) for clip in clips
    ]


def test_casme2_both_editions_and_a_wrong_name(tmp_path):
    fixtures.write("casme2", tmp_path, frames=False, edition="2019")
    fixtures.write("casme2", tmp_path, frames=False)
    clips, report = deft.clips.read("casme2", tmp_path, frames=False)
    assert (
        clips[0].edition == "2014"
        and "another edition lies beside" in report["what"].iloc[0]
        and "2019" in report["file"].iloc[0]
    )
    shutil.move(tmp_path / "CASME2-coding-20190701.xlsx", tmp_path / "CASME2-coding-20140508.xlsx")
    clips, report = deft.clips.read("casme2", tmp_path, frames=False)
    assert clips[0].edition == "2019" and report["what"].str.contains("named 2014, its columns are those of 2019").any()


def test_casme2_cells(sets):
    _, clips, report = sets["casme2"]
    clip = by_name(clips)
    assert (
        clip["EP12_01f"].apex == 3
        and clip["EP12_01f"].apex_estimated
        and any("estimated" in note for note in clip["EP12_01f"].notes)
    )
    assert "'/' is no frame number; estimated" in at(report, 5, "ApexFrame")
    assert (
        clip["EP93_06f"].unparsed == ("?",)
        and clip["EP93_06f"].action_units == ()
        and "kept verbatim" in at(report, 6, "Action Units")
    )
    assert clip["EP93_06f"].apex == clip["EP93_06f"].onset and "apex = onset" in at(report, 6, "ApexFrame")
    assert "apex = offset" in at(report, 7, "ApexFrame")
    assert [u.code for u in clip["EP92_01f"].action_units] == [12] and [
        u.side for u in clip["EP93_02"].action_units
    ] == ["", "", "L"]
    assert clip["EP92_01f"].numbers == tuple(range(71, 80)) and clip["EP07_01"].numbers == tuple(range(11, 19))
    assert Counter(c.coarse for c in clips) == {"negative": 4, "positive": 1, "surprise": 1, "": 1}


def test_samm_cells(sets):
    _, clips, report = sets["samm"]
    clip = by_name(clips)
    assert clip["006_9_1"].subject == "006" and "read as 006" in at(report, 17, "Subject")
    for name, row in (("007_8_2", 19), ("011_8_1", 20)):
        assert clip[name].apex == 3 and clip[name].apex_estimated and "lies outside" in at(report, row, "Apex Frame")
    assert not clip["006_8_2"].apex_estimated and clip["006_8_2"].numbers[0] == 70102
    assert [u.code for u in clip["006_8_3"].action_units] == [14, 17, 24] and len(
        {u.group for u in clip["006_8_3"].action_units}
    ) == 1
    assert clip["006_8_2"].emotion == "happiness" and clip["006_8_2"].objective == 1


def test_smic_intervals_and_cameras(sets):
    _, clips, report = sets["smic-hs"]
    assert [(clip.filename, clip.row) for clip in clips][:2] == [("s3_ne_91", 2), ("s3_ne_91", 2)] and clips[1].numbers[
        0
    ] == 23400116
    assert all(clip.apex_estimated and any("estimated" in note for note in clip.notes) for clip in clips)
    assert report["what"].str.contains("sheet has no apex").sum() == 1
    assert {clip.subject for clip in clips} == {"s03", "s20"} and {clip.fps for clip in clips} == {100.0}
    assert (
        len(clips[3].numbers) == 7
    )  # cropped HS pictures: those of VIS, two frames of the same name, are another camera's


def test_smic_with_apexes_and_with_remarks_below_the_table(tmp_path):
    head = [*made_sets.SMIC_HEAD[:5], "ApexF", *made_sets.SMIC_HEAD[5:]]
    rows = [
        ["s3", "s3_ne_91", None, 105, 112, 108, 116, 122, 0, 0, None, 100, 160, 8, 7, None, 61, "negative"],
        ["s3", "s3_po_92", None, 120, 127, 124, *[None] * 5, 100, 140, 8, None, None, 41, "positive"],
    ]
    remarks = [["all clips", "were cut by hand"], ["TotalVL: length of the video"]]
    fixtures.Writer(tmp_path, False).book("SMIC-HS-E_annotation_2019.xlsx", HS=[head, *rows, [], *remarks])
    clips, report = deft.clips.read("smic-hs", tmp_path, frames=False)
    assert [(clip.filename, clip.apex, clip.apex_estimated) for clip in clips] == [
        ("s3_ne_91", 108, False),
        ("s3_ne_91", 119, True),
        ("s3_po_92", 124, False),
    ]
    assert {clip.subject for clip in clips} == {"s03"} and not report["what"].str.contains("sheet has no apex").any()
    below = report[report["what"].str.contains("text below the table")]
    assert (
        list(below["row"]) == [5, 6]
        and "were cut by hand" in below["value"].iloc[0]
        and "no apex; estimated" in at(report, 2, "apex2")
    )


def test_kinds_splits_and_rates(sets):
    assert Counter(clip.kind for clip in sets["samm-lv"][1]) == {"micro": 2, "macro": 1}
    assert Counter(clip.kind for clip in sets["casme-sq"][1]) == {"micro": 1, "macro": 2}
    dfme = sets["dfme"][1]
    assert [(clip.split, clip.fps, clip.numbers[0]) for clip in dfme] == [
        ("train", 200.0, 0),
        ("train", 200.0, 2),
        ("testA", 300.0, 0),
        ("testB", 500.0, 1),
    ]
    assert [(u.kind, u.code) for u in dfme[3].action_units] == [("AU", 1), ("AU", 2), ("AD", 31), ("M", 58)]


def test_cube_cells(sets):
    _, clips, report = sets["casme-cube-a"]
    assert [clip.id for clip in clips if clip.filename == "a"] == [
        "casme-cube-a_spNO.1_a_906",
        "casme-cube-a_spNO.1_a_920",
    ]
    clip = by_name(clips)
    assert [clip[n].objective for n in "bcdejk"] == [1, 3, 7, 4, 5, 6]
    assert clip["e"].emotion == "others" and "read as 'others'" in at(report, 7, "emotion")
    assert "J" not in clip and "upper case" in at(report, 8, "Filename")
    assert clip["k"].apex_estimated and clip["k"].apex == 4
    assert clip["l"].onset is None and clip["l"].offset is not None and "left empty" in at(report, 10, "Onset")
    assert clip["m"].offset is None and clip["m"].onset == 0 and "left empty" in at(report, 11, "Offset")
    units = {c.filename + c.subject: [u.code for u in c.action_units] for c in sets["casme-cube-c"][1]}
    assert units == {"1spNO.1": [4, 7], "2spNO.1": [4, 11], "1spNO.7": [14], "2spNO.7": [13]}


def test_mmew_4dme_and_squared(sets):
    assert by_name(sets["mmew"][1])["S01-07-901"].emotion == "repression" and "repression" in at(
        sets["mmew"][2], 2, "Estimated Emotion"
    )
    assert "taken in order" in at(sets["mmew"][2], 4, "frames")
    assert sets["4dme"][1][0].unparsed == ("(k)",) and [u.code for u in sets["4dme"][1][0].action_units] == [4, 7]
    assert [clip.numbers[0] for clip in sets["casme-sq"][1]] == [1201, 12, 4]  # selected frames, long frames, a video


# ---------------------------------------------------------------- bad input

HEAD = [
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
GOOD = ["01", "EP01_01", None, 10, 13, 17, None, "4", "disgust"]


def casme2_sheet(folder, *rows, head=HEAD, name="CASME2-coding-20140508.xlsx"):
    folder.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    for row in [head, *rows]:
        book.active.append(row)
    book.save(folder / name)
    return folder / name


def changed(**cells):
    names = {"subject": 0, "filename": 1, "onset": 3, "apex": 4, "offset": 5, "units": 7, "emotion": 8}
    row = list(GOOD)
    for name, value in cells.items():
        row[names[name]] = value
    return row


def read(folder, frames=False):
    return deft.clips.read("casme2", folder, frames=frames)


def test_unknown_names_and_missing_sheets(tmp_path):
    with pytest.raises(ReaderError, match="no reader for 'casme3'.*casme"):
        deft.clips.read("casme3", tmp_path)
    with pytest.raises(
        ReaderError, match="(?s)CASME2-coding-20140508.xlsx, CASME2-coding-20190701.xlsx.*no spreadsheet at all"
    ):
        read(tmp_path)
    casme2_sheet(tmp_path, GOOD, name="notes.xlsx")
    with pytest.raises(ReaderError, match="found notes.xlsx"):
        read(tmp_path)
    with pytest.raises(ReaderError, match="no such folder"):
        read(tmp_path / "nowhere")


def test_a_file_that_is_no_sheet_is_named(tmp_path):
    for name, content in (
        ("CASME2-coding-20140508.xlsx", b"not a workbook"),
        ("CASME2-coding-20140508.xls", b"\xd0\xcf\x11\xe0"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ReaderError, match=f"(?s){name}.*save it as .xlsx"):
            read(tmp_path)
        (tmp_path / name).unlink()


def test_a_workbook_that_unpacks_to_too_much_is_not_opened(tmp_path, monkeypatch):
    casme2_sheet(tmp_path, GOOD)
    monkeypatch.setattr(workbook, "MAX_UNPACKED", 100)
    with pytest.raises(ReaderError, match="unpacks to"):
        read(tmp_path)


def test_the_stated_extent_of_a_sheet_is_not_believed(tmp_path):
    """Too small from some programs, the whole grid where a column was coloured; neither may cost a row or a minute."""
    path = casme2_sheet(tmp_path, GOOD, changed(filename="EP01_02"))
    book = openpyxl.load_workbook(path)
    book.active.cell(5000, 300).fill = openpyxl.styles.PatternFill("solid", fgColor="FFFF00")
    book.save(path)
    assert [clip.filename for clip in read(tmp_path)[0]] == ["EP01_01", "EP01_02"] and read(tmp_path)[1].empty
    repacked(path, lambda xml: xml.replace(b'<dimension ref="A1:KN5000"', b'<dimension ref="A1"'))
    assert [clip.filename for clip in read(tmp_path)[0]] == ["EP01_01", "EP01_02"] and read(tmp_path)[1].empty
    book.active.cell(3, 300).value = "far away"
    book.save(path)
    with pytest.raises(ReaderError, match="row 3: something beyond"):
        read(tmp_path)


def repacked(path, change):
    """A workbook with the XML of its first sheet changed; the change must change something."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    before = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = change(before)
    assert parts["xl/worksheets/sheet1.xml"] != before
    with zipfile.ZipFile(path, "w") as new:
        for name, content in parts.items():
            new.writestr(name, content)


def test_headings_in_other_words_and_other_cases(tmp_path):
    casme2_sheet(
        tmp_path,
        GOOD,
        head=["subject ", "FILE NAME", None, "onset_frame", "Apex Frame", "offset", None, "AU", "emotion"],
    )
    clips, report = read(tmp_path)
    assert report.empty and (clips[0].onset, clips[0].apex, clips[0].offset, clips[0].emotion) == (
        10,
        13,
        17,
        "disgust",
    )


def test_a_renamed_column_is_named_and_the_rest_is_read(tmp_path):
    casme2_sheet(tmp_path, GOOD, head=HEAD[:7] + ["Muscles", "Estimated Emotion"])
    clips, report = read(tmp_path)
    assert clips[0].action_units == () and clips[0].emotion == "disgust" and len(report) == 1
    assert (
        report["row"].item() == 1 and "'Action Units'" in report["what"].item() and "Muscles" in report["what"].item()
    )
    casme2_sheet(tmp_path, GOOD, head=["Person", *HEAD[1:]])
    with pytest.raises(ReaderError, match="row 1: no column 'Subject'.*found 'Person'"):
        read(tmp_path)


def test_formulas_merged_cells_and_error_values(tmp_path):
    path = casme2_sheet(
        tmp_path,
        changed(onset="=8+2"),
        changed(filename="EP01_02"),
        changed(subject=None, filename="EP01_03"),
        changed(filename="EP01_04", emotion="#N/A"),
    )
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("A3:A4")
    book.save(path)
    clips, report = read(tmp_path)
    assert len(clips) == 4 and clips[0].onset is None and "formula =8+2" in at(report, 2, "OnsetFrame")
    assert (
        clips[2].subject == "01"
        and "merged cells A3:A4" in at(report, 4, "Subject")
        and any("merged" in note for note in clips[2].notes)
    )
    assert clips[3].emotion == "" and "error value #N/A" in at(report, 5, "Estimated Emotion")


def test_a_formula_with_a_stored_value(tmp_path):
    """What a spreadsheet program saves: the formula and the value it had. The value is used, and that is said."""
    path = casme2_sheet(tmp_path, changed(onset="=8+2"))
    repacked(
        path,
        lambda xml: xml.replace(b"<f>8+2</f><v />", b"<f>8+2</f><v>10</v>").replace(
            b"<f>8+2</f><v></v>", b"<f>8+2</f><v>10</v>"
        ),
    )
    clips, report = read(tmp_path)
    assert clips[0].onset == 10 and "its stored value 10 was used" in at(report, 2, "OnsetFrame")


def test_subjects_written_in_three_ways_are_one(tmp_path):
    casme2_sheet(
        tmp_path,
        changed(),
        changed(filename="EP01_02"),
        changed(subject=1, filename="EP01_03"),
        changed(subject="s1", filename="EP01_04"),
    )
    clips, report = read(tmp_path)
    assert {clip.subject for clip in clips} == {"01"} and sorted(report["row"]) == [4, 5]
    assert list(report["value"]) == ["1", "s1"] and all(
        any("read as 01" in note for note in clip.notes) for clip in clips[2:]
    )


def test_subjects_of_ones_own_keep_their_first_spelling(tmp_path):
    (tmp_path / "clips.csv").write_text(
        "clip,subject,fps,onset,apex,offset,action_units,emotion\n"
        + "".join(
            f"c{i},{subject},200,0,2,4,12,happiness\n" for i, subject in enumerate(["1", "01", "s1", "anna1", "bo1"])
        )
    )
    clips, report = deft.clips.read("csv", tmp_path, frames=False)
    assert [clip.subject for clip in clips] == ["1", "1", "1", "anna1", "bo1"] and list(report["row"]) == [3, 4]


def test_units_that_do_not_exist_and_movements_too_long_for_micro_are_reported(tmp_path):
    casme2_sheet(
        tmp_path,
        GOOD,
        changed(filename="EP01_02", units="-4"),
        changed(filename="EP01_03", units="4+99"),
        changed(filename="EP01_04", offset=10 + 201),
        changed(filename="EP01_05", offset=10 + 200),
    )
    clips, report = read(tmp_path)
    assert "'-4' is no action unit" in at(report, 3, "Action Units") and clips[1].action_units == ()
    assert "99 is no number of FACS" in at(report, 4, "Action Units") and [
        unit.code for unit in clips[2].action_units
    ] == [4, 99]
    assert "1.0 s from onset 10 to offset 211 is long" in at(report, 5, "OffsetFrame") and clips[3].offset == 211
    assert set(report["row"]) == {3, 4, 5}


def test_many_oddities_of_one_kind_take_few_lines(tmp_path, capsys):
    casme2_sheet(
        tmp_path,
        *(changed(filename=f"EP01_{i:02d}", apex=10) for i in range(40)),
        changed(filename="EP02_01", emotion="amazement"),
    )
    assert command_line.main(["data-check", "casme2", "--root", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert (
        "41 oddities" in told
        and told.count("apex = onset") == check.SHOWN + 1  # once in the summary
        and f"and {40 - check.SHOWN} more of this kind" in told
        and "amazement" in told
    )


def test_an_archive_where_frames_should_be_is_mentioned(tmp_path, capsys):
    with pytest.raises(ReaderError) as none:
        read(tmp_path)
    assert "unpacked" not in str(none.value)
    with zipfile.ZipFile(tmp_path / "CASME2_RAW_selected.zip", "w") as archive:
        archive.writestr("sub01/img1.jpg", "x")
    with pytest.raises(ReaderError, match="CASME2_RAW_selected.zip: not unpacked yet"):
        read(tmp_path)
    casme2_sheet(tmp_path, GOOD)
    assert command_line.main(["data-check", "casme2", "--root", str(tmp_path)]) == 0
    assert "only the sheet was read; CASME2_RAW_selected.zip: not unpacked yet" in capsys.readouterr().out


def test_clips_can_be_compared_and_looked_for(sets):
    clips = sets["samm"][1]
    again = deft.clips.read("samm", sets["samm"][0])[0]
    assert (
        clips[0] == clips[0]
        and clips == again
        and clips[3] in again
        and clips[0] != clips[1]
        and len({*clips, *again}) == len(clips)
    )


def test_duplicated_keys_are_both_kept(tmp_path):
    casme2_sheet(tmp_path, GOOD, changed(onset=11))
    clips, report = read(tmp_path)
    assert len({clip.id for clip in clips}) == 2 and "same subject, filename as row 2" in at(report, 3, "Filename")


@pytest.mark.parametrize(
    "cells, empty, words",
    [
        ({"apex": 99}, (), "lies outside"),
        ({"apex": "13.5"}, (), "is no frame number"),
        ({"apex": None}, (), "no apex; estimated"),
        ({"offset": 0}, ("offset",), "lies before the onset"),
        ({"onset": 999}, ("onset",), "lies after the apex"),
        ({"onset": "x"}, ("onset",), "is no frame number"),
        ({"onset": 50, "apex": 30, "offset": 20}, ("onset", "offset"), "both left empty"),
        ({"offset": -4}, ("offset",), "is no frame number"),
        ({"offset": None}, ("offset",), "no offset"),
        ({"emotion": "amazement"}, (), "not in the label table"),
        ({"emotion": None}, (), "no emotion"),
        ({"subject": None}, (), "no subject"),
        ({"filename": None}, (), "no file name"),
        ({"onset": True}, ("onset",), "is no frame number"),
    ],
)
def test_bad_cells_are_named_and_the_other_rows_are_read(tmp_path, cells, empty, words):
    casme2_sheet(tmp_path, changed(filename="EP01_02"), changed(**cells), changed(filename="EP01_03"))
    clips, report = read(tmp_path)
    assert len(clips) == 3 and set(report["row"]) == {3} and report["what"].str.contains(words).any(), (
        report.to_string()
    )
    for name in ("onset", "apex", "offset"):
        assert (getattr(clips[1], name) is None) == (name in empty)
    assert all(clip.notes == ("edition 2014",) for clip in (clips[0], clips[2])) and len(clips[1].notes) > 1


@pytest.fixture
def filmed(tmp_path):
    """A CASME II sheet of one clip in a folder with a blank and Chinese letters, with its eight frames."""
    root = tmp_path / "data 数据"
    casme2_sheet(root, GOOD, changed(subject="02", filename="EP02_01"))
    writer = fixtures.Writer(root, True)
    writer.pictures("raw/sub01/EP01_01", 10, 17, "img{}.jpg")
    writer.pictures("raw/sub02/EP02_01", 10, 17, "img{}.jpg", person=2)
    return root


def frames_of(root):
    clips, report = read(root, frames=True)
    assert len(clips[1].frames) == 8 and not any(
        "frames" in note for note in clips[1].notes
    )  # the other clip is always whole
    return clips[0], report


def test_folders_with_blanks_and_other_letters(filmed):
    clip, report = frames_of(filmed)
    assert report.empty and clip.frames.shape == (8, 64, 64, 3)


def test_missing_frames(filmed):
    folder = filmed / "raw/sub01/EP01_01"
    for number in (13, 15):
        (folder / f"img{number}.jpg").unlink()
    clip, report = frames_of(filmed)
    assert clip.numbers == (10, 11, 12, 14, 16, 17) and clip.apex == 2 and clip.offset == 5
    assert "2 of 8 frames missing (13, 15)" in at(report, 2, "frames") and "frame 12 stands for it" in at(
        report, 2, "ApexFrame"
    )
    assert np.allclose(np.diff(clip.times_ms), [5, 5, 10, 10, 5])  # a gap stays a gap


def test_no_frames_at_all(filmed):
    shutil.rmtree(filmed / "raw/sub01")
    clip, report = frames_of(filmed)
    assert clip.frames.shape[0] == 0 and "looked for a folder or video sub01/EP01_01" in at(report, 2, "frames")
    assert (clip.onset, clip.offset) == (10, 17)


def test_extra_frames(filmed):
    folder = filmed / "raw/sub01/EP01_01"
    shutil.copy(folder / "img12.jpg", folder / "reg_img12.jpg")
    shutil.copy(folder / "img12.jpg", folder / "cover.jpg")
    shutil.copy(folder / "img12.jpg", folder / "img99.jpg")
    clip, report = frames_of(filmed)
    assert clip.numbers == tuple(range(10, 18))
    told = dict(zip(report["value"], report["what"]))
    assert (
        set(told) == {"cover.jpg", "reg_img12.jpg"}
        and "without a number" in told["cover.jpg"]
        and "img12.jpg was used" in told["reg_img12.jpg"]
    )


def test_broken_pictures(filmed):
    folder = filmed / "raw/sub01/EP01_01"
    whole = (folder / "img12.jpg").read_bytes()
    (folder / "img12.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "img14.jpg").write_bytes(b"")
    (folder / "img15.jpg").write_bytes(b"<html>404</html>")
    clip, report = frames_of(filmed)
    assert clip.numbers == (10, 11, 13, 16, 17) and len(clip.frames) == 5
    told = at(report, 2, "frames")
    assert all(
        words in told for words in ("img12.jpg: is cut short", "img14.jpg: is empty", "img15.jpg: cannot be decoded")
    )


def test_a_picture_that_breaks_after_reading_is_named(filmed):
    clip, _ = frames_of(filmed)
    (filmed / "raw/sub01/EP01_01/img11.jpg").write_bytes(b"gone")
    with pytest.raises(FramesError, match="img11.jpg: cannot be decoded"):
        _ = clip.frames
    cv2.imwrite(str(filmed / "raw/sub01/EP01_01/img11.jpg"), np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(FramesError, match="frames differ in size .9x8, 64x64."):
        _ = clip.frames


def test_videos_whole_short_and_broken(filmed):
    shutil.rmtree(filmed / "raw/sub01")
    writer = fixtures.Writer(filmed, True)
    video = filmed / "video/sub01/EP01_01.avi"
    writer.video("video/sub01/EP01_01.avi", 20)
    clip, report = frames_of(filmed)
    assert report.empty and clip.frames.shape == (8, 64, 64, 3) and clip.numbers == tuple(range(10, 18))
    expected = fixtures.take(1)[[n % fixtures.TAKE for n in range(9, 17)]].astype(
        int
    )  # frame n of a sheet is the n-th of the video
    assert np.abs(clip.frames.astype(int) - expected).mean() < 4
    video.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.62)])
    clip, report = frames_of(filmed)
    assert (
        0 < len(clip.numbers) < 8
        and "frames missing" in at(report, 2, "frames")
        and clip.frames.shape[0] == len(clip.numbers)
    )
    video.write_bytes(b"RIFF no video")
    clip, report = frames_of(filmed)
    assert len(clip.frames) == 0 and report["what"].str.contains("cannot be decoded: damaged").any()


def test_raw_before_cropped(filmed):
    fixtures.Writer(filmed, True).pictures("Cropped/sub01/EP01_01", 10, 17, "reg_img{}.jpg", person=2)
    clip, report = frames_of(filmed)
    assert (
        report.empty
        and np.array_equal(clip.frames, read(filmed, True)[0][0].frames)
        and "raw" in str(clip.__dict__["_source"].files[0])
    )
    shutil.rmtree(filmed / "raw/sub01")
    assert len(frames_of(filmed)[0].numbers) == 8


def test_the_place_that_has_the_frames(filmed):
    """Two raw folders of one clip: the one with the wanted frames is read, and the other is named."""
    fixtures.Writer(filmed, True).pictures("other/sub01/EP01_01", 100, 103, "img{}.jpg", person=2)
    clip, report = frames_of(filmed)
    assert clip.numbers == tuple(range(10, 18)) and "raw/sub01/EP01_01 was used, other/sub01/EP01_01 was not" in at(
        report, 2, "frames"
    )


def test_clips_travel_to_other_processes_without_their_pixels(sets):
    clip = sets["samm"][1][0]
    twin = copy.deepcopy(clip)  # by the same protocol as joblib's processes
    assert twin.numbers == clip.numbers and np.array_equal(twin.frames, clip.frames)
    assert not any(isinstance(value, np.ndarray) and value.ndim == 4 for value in vars(twin).values())


def test_cropped_pictures_that_count_anew(filmed):
    shutil.rmtree(filmed / "raw/sub01")
    fixtures.Writer(filmed, True).pictures("Cropped/sub01/EP01_01", 4, 11, "reg_img{}.jpg")
    clip, report = frames_of(filmed)
    assert (
        clip.numbers == tuple(range(10, 18))
        and len(clip.frames) == 8
        and "numbered 4..11 instead of 10..17; taken in order" in at(report, 2, "frames")
    )


def test_archives_are_never_unpacked(filmed):
    with zipfile.ZipFile(filmed / "evil.zip", "w") as archive:
        archive.writestr("../../outside.txt", "x")
    with tarfile.open(filmed / "evil.tar", "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with zipfile.ZipFile(filmed / "frames.zip", "w") as archive:
        archive.writestr("sub01/img1.jpg", "x")
    (filmed / "half.zip").write_bytes(b"PK\x03\x04")
    _, report = frames_of(filmed)
    told = dict(zip(report["file"], report["value"] + ": " + report["what"]))
    assert (
        "../../outside.txt: archive with a member that would be written outside" in told["evil.zip"]
        and "link" in told["evil.tar"]
    )
    assert "unpack it yourself" in told["frames.zip"] and "cannot be read" in told["half.zip"]
    assert not (filmed.parent.parent / "outside.txt").exists()


@pytest.mark.parametrize(
    "name, leaves",
    [
        ("a/b.jpg", False),
        ("../a", True),
        ("a/../../b", True),
        ("/etc/x", True),
        ("C:\\x", True),
        ("a\\..\\b", True),
        ("a..b", False),
    ],
)
def test_paths_that_climb(name, leaves):
    assert library.climbs(name) == leaves


def test_a_csv_may_not_lead_out_of_its_folder(tmp_path):
    fixtures.Writer(tmp_path, True).pictures("secret", 0, 4, "{}.jpg")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/clips.csv").write_text(
        "clip,subject,frames,fps,onset,apex,offset,action_units,emotion\nc,anna,../secret,200,0,2,4,12,happiness\n"
    )
    clips, report = deft.clips.read("csv", tmp_path / "mine")
    assert len(clips[0].frames) == 0 and "leads out of the folder" in at(report, 2, "frames")


def test_a_name_that_two_people_share_needs_the_person(tmp_path):
    """Frames of one person never stand in for another's, who might be tested on them."""
    fixtures.Writer(tmp_path, True).pictures("anna/smile", 0, 4, "{}.jpg")
    rows = [f"smile,{who},200,0,2,4,12,happiness" for who in ("anna", "bob")]
    (tmp_path / "clips.csv").write_text(
        "\n".join(["clip,subject,fps,onset,apex,offset,action_units,emotion", *rows, ""])
    )
    clips, report = deft.clips.read("csv", tmp_path)
    assert {clip.subject: len(clip.frames) for clip in clips} == {"anna": 5, "bob": 0} and len(report)
    (tmp_path / "anna" / "smile").rename(tmp_path / "smile")
    text = (tmp_path / "clips.csv").read_text()
    assert [len(clip.frames) for clip in deft.clips.read("csv", tmp_path)[0]] == [0, 0]  # whose they are is not said
    (tmp_path / "clips.csv").write_text(text.replace("bob", "anna").replace("0,2,4", "0,1,3", 1))
    assert [len(clip.frames) for clip in deft.clips.read("csv", tmp_path)[0]] == [4, 5]  # one person's, two movements


def test_a_broken_part_of_dfme_leaves_the_others(tmp_path):
    fixtures.write("dfme", tmp_path)
    (tmp_path / "testA_full_with_AU.xlsx").write_bytes(b"no workbook")
    (tmp_path / "testB_full_with_AU.xlsx").unlink()
    clips, report = deft.clips.read("dfme", tmp_path)
    assert {clip.split for clip in clips} == {"train"}
    assert (
        report["what"].str.contains("testA_full_with_AU.xlsx: cannot be read").any()
        and report["what"].str.contains("no sheet of the part testB").any()
    )


def test_links_in_a_circle_end(filmed):
    (filmed / "raw/again").symlink_to(filmed)
    clip, report = frames_of(filmed)
    assert len(clip.frames) == 8 and report.empty


def test_a_clip_is_cheap_until_its_frames_are_asked_for(sets):
    clip = sets["casme2"][1][0]
    assert not any(isinstance(value, np.ndarray) and value.ndim == 4 for value in vars(clip).values())
    assert "frames" in repr(clip) and len(repr(clip)) < 200
    assert clip.frames is not clip.frames


# ---------------------------------------------------------------- fuzz

CELL = (
    st.none()
    | st.booleans()
    | st.integers(-10, 10**13)
    | st.floats()
    | st.datetimes()
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
    | st.sampled_from(["/", "?", "=A1", "12", "4+7", "#REF!", "１２", "001", "s1", "I", "*", "..", "../x"])
)


def cell_of(value):
    """What a sheet can hold: no time zone, no NaN."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(CELL, min_size=9, max_size=9), max_size=4))
def test_any_cell_in_any_column_reads_and_no_row_is_lost(tmp_path, rows):
    rows = [[cell_of(value) for value in row] for row in rows]
    casme2_sheet(tmp_path, *rows, GOOD)
    clips, report = read(tmp_path)
    used = [
        number
        for number, row in enumerate([*rows, GOOD], start=2)
        if any(
            not (value is None or isinstance(value, str) and not value.strip())
            for at, value in enumerate(row)
            if at not in (2, 6)
        )
    ]
    assert (
        [clip.row for clip in clips] == used
        and clips[-1].row == len(rows) + 2
        and len({clip.id for clip in clips}) == len(clips)
    )
    assert (clips[-1].onset, clips[-1].apex, clips[-1].offset, clips[-1].emotion) == (10, 13, 17, "disgust")
    for clip in clips:
        if None not in (clip.onset, clip.apex, clip.offset):
            assert 0 <= clip.onset <= clip.apex <= clip.offset
        cell = clip_cell(tmp_path, clip)
        assert clip.unparsed == parse_action_units(None if cell in sheets.ERRORS else cell).unparsed


def clip_cell(folder, clip):
    return openpyxl.load_workbook(folder / clip.file, data_only=True).active.cell(clip.row, 8).value


WORKBOOKS = [name for name in READERS if name != "csv"]


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """{dataset: (folder, path of a sheet, its workbook, its clips)}, sheets only."""
    found = {}
    for name in WORKBOOKS:
        root = fixtures.write(name, tmp_path_factory.mktemp(name), frames=False)
        clips = deft.clips.read(name, root, frames=False)[0]
        found[name] = (root, root / clips[0].file, clips)
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(WORKBOOKS), st.integers(0, 99), st.integers(1, 17), CELL)
def test_one_bad_cell_harms_no_other_row(books, name, pick, column, value):
    """Whatever stands in one cell of a row, every clip of every other row is read as before, and no row is lost."""
    root, path, before = books[name]
    at = sorted({clip.row for clip in before if clip.file == path.name})
    row, saved = at[pick % len(at)], path.read_bytes()
    book = openpyxl.load_workbook(path)
    book[before[0].sheet].cell(row, column).value = cell_of(value)
    try:
        book.save(path)
        after, _ = deft.clips.read(name, root, frames=False)
    finally:
        path.write_bytes(saved)

    def seen(clips):
        return [
            (
                c.file,
                c.row,
                c.subject,
                c.filename,
                c.onset,
                c.apex,
                c.offset,
                c.action_units,
                c.emotion,
                c.coarse,
                c.kind,
                c.fps,
            )
            for c in clips
            if (c.file, c.row) != (path.name, row)
        ]

    assert seen(after) == seen(before) and any((c.file, c.row) == (path.name, row) for c in after)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text(max_size=8), max_size=6), max_size=6))
def test_any_csv_is_read_or_refused_by_name(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("csv")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["clip", "subject", "fps", "onset", "apex", "offset"])
    for row in rows:
        writer.writerow([cell.encode("utf-8", "ignore").decode() for cell in row])
    (folder / "clips.csv").write_bytes(text.getvalue().encode("utf-8", "ignore"))
    try:
        clips, report = deft.clips.read("csv", folder)
    except ReaderError as error:
        assert "clips.csv" in str(error)
    else:
        assert isinstance(report, pd.DataFrame) and all(clip.frames.shape[0] == 0 for clip in clips)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789sSubNO. p", max_size=9))
def test_a_canonical_subject_is_its_own_canonical_form(text):
    for form in (
        layout.Subjects("", 2),
        layout.Subjects("s", 2),
        layout.Subjects("sub", 4),
        layout.Subjects("spNO.", 1),
    ):
        once = form.canonical(text)
        assert form.canonical(once) == once


# ---------------------------------------------------------------- the command


def test_data_check_prints_and_writes_nothing(sets, capsys, monkeypatch):
    root = sets["samm"][0]
    before = sorted(root.rglob("*"))
    monkeypatch.setenv("DEFT_DATA", str(root.parent))
    assert command_line.main(["data-check", "samm"]) == 0
    told = capsys.readouterr().out
    for words in (
        "SAMM_Micro_FACS_Codes_v2.xlsx, sheet MICRO_ONLY",
        "clips      6",
        "subjects   3",
        "anger 1",
        "frame rate 200",
        "published   159",
        "data report: 4 oddities",
        "row 19, Apex Frame '320': apex 320 lies outside",
    ):
        assert words in told, words
    assert sorted(root.rglob("*")) == before
    assert command_line.main(["data-check", "samm", "--strict"]) == 1


def test_data_check_of_a_sheet_alone(tmp_path, capsys):
    fixtures.write("casme2", tmp_path, frames=False)
    assert (
        command_line.main(["data-check", "casme2", "--root", str(tmp_path), "--report", str(tmp_path / "odd.csv")]) == 0
    )
    told = capsys.readouterr().out
    assert "only the sheet was read" in told and "edition 2014" in told and "no frames" not in told
    assert len(pd.read_csv(tmp_path / "odd.csv")) == 4


def test_data_check_errors_have_a_remedy(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("DEFT_DATA", raising=False)
    assert command_line.main(["data-check", "casme2"]) == 2 and "DEFT_DATA is not set" in capsys.readouterr().err
    assert (
        command_line.main(["data-check", "casme3"]) == 2 and "no reader for 'casme3'" in capsys.readouterr().err
    )  # the name comes first
    assert (
        command_line.main(["data-check", "casmee", "--root", str(tmp_path)]) == 2
        and "did you mean 'casme'" in capsys.readouterr().err
    )
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    assert paths.data("samm") == tmp_path / "samm"


def test_strict_lets_a_set_without_oddities_pass(tmp_path):
    """Counts that differ are told, but a part of a data set is no oddity."""
    for name in ("csv", "dfme"):
        fixtures.write(name, tmp_path / name)
        assert command_line.main(["data-check", name, "--root", str(tmp_path / name), "--strict"]) == 0


def test_no_stage_depends_on_a_reader():
    """A change to a reader must not make the embedded benchmark stale; a stage that names the readers does depend on
    them.
    """
    closure = Closure(paths.ROOT)
    assert not any(
        "readers" in name or "labels" in name
        for name in closure.files(["import deft.clips", "from deft.clips import facs, store, benchmark"])
    )
    assert "deft/clips/labels/labels.csv" in closure.files(["from deft.clips.readers import read"])


def test_importing_clips_stays_cheap():
    code = "import sys, deft.clips; sys.exit(bool({'pandas', 'numpy', 'cv2', 'openpyxl', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, timeout=60).returncode == 0


def test_readers_need_no_torch():
    code = "import sys, deft.clips.readers.check, deft.clips.readers.fixtures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, timeout=60).returncode == 0
