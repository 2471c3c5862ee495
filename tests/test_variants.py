"""Trees as public loaders re-pack them, macro rows among micro rows, the errata of the field: read, and reported."""

import shutil
from collections import Counter

import made_sets  # noqa: F401 (sets in every layout)
import openpyxl
import pytest

from deft.clips import labels, readers
from deft.clips.readers import ReaderError, check, errata, fixtures


def found(dataset, root):
    clips, report = readers.read(dataset, root)
    return {clip.id: clip.numbers for clip in clips if clip.numbers}, report


def move(root, old, new):
    (root / new).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / old, root / new)


@pytest.mark.parametrize("form", ["{0}/{1}", "frames/sub{0}_{1}", "frames/{0}_{1}", "Cropped-updated/Cropped/{2}/{1}"])
def test_casme2_as_loaders_pack_it(tmp_path, form):
    root = fixtures.write("casme2", tmp_path)
    whole, _ = found("casme2", root)
    for folder in sorted((root / "CASME2-RAW").glob("sub*/*")):
        subject = folder.parent.name.removeprefix("sub")
        move(root, folder.relative_to(root), form.format(subject, folder.name, int(subject)))
    shutil.rmtree(root / "CASME2-RAW")
    packed, _ = found("casme2", root)
    assert packed == whole and len(whole) == 7


def test_smic_frames_counted_from_the_start_of_the_recording(tmp_path):
    root = fixtures.write("smic-hs", tmp_path)
    whole, _ = found("smic-hs", root)
    folder = root / "HS" / "s03" / "s03_ne_91"
    pictures = sorted(folder.iterdir(), key=lambda path: int(path.stem[5:]))
    for path in pictures:  # the sheet says that the recording begins with frame 23400100
        path.rename(folder / f"img{int(path.stem[5:]) - 23400100 + 1:03d}.jpg")
    for number in range(1, 6):
        shutil.copy(folder / "img010.jpg", folder / f"img{number:03d}.jpg")
    packed, report = found("smic-hs", root)
    assert packed == whole
    assert report["what"].str.contains("count from 1, the sheet's from 23400100; taken in order").sum() == 2


def test_cube_as_loaders_cut_it(tmp_path):
    root = fixtures.write("casme-cube-a", tmp_path)
    whole, _ = found("casme-cube-a", root)
    first, second = (name for name in whole if name.startswith("casme-cube-a_spNO.1_a_"))
    data = root / "part_A/data/part_A"
    (data / "spNO.1/a2/color").mkdir(parents=True)
    for number in range(918, 931):
        shutil.move(data / f"spNO.1/a/color/{number}.jpg", data / "spNO.1/a2/color")
    assert found("casme-cube-a", root)[0] == whole
    move(root, data.relative_to(root) / "spNO.1/a2/color", "flat/spNO.1_a_920_926/rgb")
    move(root, data.relative_to(root) / "spNO.1/a/color", "flat/spNO.1_a_906_913/rgb")
    shutil.rmtree(data / "spNO.1" / "a")
    again, _ = found("casme-cube-a", root)
    assert again == whole and again[first][0] == 906 and again[second][0] == 920


def cube_with_macro(root):
    fixtures.write("casme-cube-a", root)
    path = next(root.glob("*.xlsx"))
    book = openpyxl.load_workbook(path)
    sheet = book["label"]
    sheet.cell(1, 9, "Expression type")
    for row in range(2, sheet.max_row + 1):
        sheet.cell(row, 9, "Macro-expression" if row in (3, 5) else "Micro-expression")
    book.save(root / "CAS(ME)3_part_A_v2.xlsx")
    return path


def test_macro_rows_of_part_a_are_told_from_micro_rows(tmp_path, capsys):
    older = cube_with_macro(tmp_path)
    clips, report = readers.read("casme-cube-a", tmp_path)  # the micro sheet is preferred, the other one is named
    assert {clip.kind for clip in clips} == {"micro"} and "CAS(ME)3_part_A_v2.xlsx" in set(report["file"])
    older.unlink()
    clips, report = readers.read("casme-cube-a", tmp_path)
    assert Counter(clip.kind for clip in clips) == {"micro": 8, "macro": 2}
    counts = labels.check_counts(clips).set_index(["part", "value"])["found"]
    assert counts["clips", ""] == 8 and counts["emotion", "others"] == sum(
        clip.emotion == "others" and clip.kind == "micro" for clip in clips
    )


def test_long_videos_take_their_emotions_from_the_sheet_of_samm(tmp_path):
    root = fixtures.write("samm-lv", tmp_path, frames=False)
    plain, _ = readers.read("samm-lv", root, frames=False)
    assert {clip.emotion for clip in plain} == {""}
    fixtures.write("samm", root, frames=False)
    clips, report = readers.read("samm-lv", root, frames=False)
    assert {clip.filename: (clip.kind, clip.emotion) for clip in clips} == {
        "006_8_1": ("macro", ""),
        "006_8_2": ("micro", "happiness"),
        "011_9_1": ("micro", ""),
    }
    assert [clip.coarse for clip in clips] == ["", "positive", ""]
    told = report["what"]
    assert told.str.contains("SAMM's sheet has no such").sum() == 1 and told.str.contains("those of SAMM_Micro").any()


def test_data_check_names_what_licensed_estimates_and_cannot_use(tmp_path, capsys):
    check.check("casme-cube-a", fixtures.write("casme-cube-a", tmp_path, frames=False))
    told = capsys.readouterr().out
    assert "1 with apex = onset or apex = offset: `make licensed` estimates theirs from motion" in told
    assert "2 without an onset and an offset at least two frames apart" in told


# ---------------------------------------------------------------- errata


def listed(path, *lines):
    path.write_text("\n".join([",".join(errata.COLUMNS), *lines]) + "\n")
    return path


def test_errata_are_off_by_default_and_reported_cell_by_cell(tmp_path, monkeypatch):
    root = fixtures.write("casme2", tmp_path / "set", frames=False)
    plain, _ = readers.read("casme2", root, frames=False)
    rows = listed(tmp_path / "errata.csv", "casme2,7,2,offset,78,a loader", "casme2,7,3,units,row 4,a loader")
    monkeypatch.setattr(errata.amend, "__defaults__", (rows,))
    clips, report = readers.read("casme2", root, frames=False, errata=True)
    assert (plain[0].offset, clips[0].offset) == (79, 78) and clips[2:] == plain[2:]
    assert clips[1].action_units == plain[2].action_units != plain[1].action_units
    told = report[report["what"].str.contains("erratum")]
    assert list(told["row"]) == [2, 3] and list(told["value"]) == ["79", "4+7+L10"]
    assert "erratum of the field (a loader); read as 78" in " ".join(clips[0].notes)
    monkeypatch.setattr(errata.amend, "__defaults__", (listed(rows, "casme2,9,2,offset,78,a loader"),))
    clips, report = readers.read("casme2", root, frames=False, errata=True)
    assert clips == plain and report["what"].str.contains("a sheet of 9 rows, this one has 7; nothing was cor").any()


def test_units_marked_k_do_not_count_under_the_errata(tmp_path, monkeypatch):
    root = fixtures.write("4dme", tmp_path, frames=False)
    rows = listed(tmp_path / "errata.csv", "4dme,2,0,units,drop (k),a loader")
    monkeypatch.setattr(errata.amend, "__defaults__", (rows,))
    units = [
        [unit.code for unit in readers.read("4dme", root, frames=False, errata=on)[0][0].action_units]
        for on in (False, True)
    ]
    assert units == [[4, 7], [7]]


def test_the_list_of_errata_is_whole():
    table = errata.load()
    assert set(table["field"]) <= {"onset", "apex", "offset", "units"} and (table["source"] != "").all()
    assert not table.duplicated(["dataset", "row", "field"]).any()
    assert table.groupby("dataset")["rows"].nunique().eq(1).all()
    published = labels.counts().query("part == 'clips'").set_index("dataset")["expected"]
    assert all(published[line.dataset] == line.rows for line in table.itertuples())


def test_an_erratum_without_a_source_is_refused(tmp_path):
    with pytest.raises(ReaderError, match="row 2: .* source is missing"):
        errata.load(listed(tmp_path / "errata.csv", "casme2,255,62,offset,91,"))
