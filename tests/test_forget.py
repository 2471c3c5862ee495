"""`make forget`: every file with a face of a data set is found under all profiles and folds, nothing else is
touched, and it is looked again.
"""

import os
from pathlib import Path

import pytest

from deft import __main__ as command_line
from deft import forget, paths, runtime
from deft.run import lock

FACES = [
    "casme2-demo/prepared/a.npz",
    "casme2-demo-folds3/faces/bench/rgb.npy",
    "casme2-demo-loso/faces/bench/gray.npy",
    "casme2-smoke-folds2/clips/bench/clips.npz",
    "demo/licensed/casme2/prepared/b.npz",
    "strange-name/faces/bench/gray.npy",
]
OTHERS = [
    "casme-demo/prepared/a.npz",
    "casme-sq-demo/prepared/a.npz",
    "casme2b/x.npy",
    "demo/faces/bench/gray.npy",
    "demo/licensed/samm/prepared/b.npz",
    "demo/licensed/made-up/casme2-2/SIMULATED.txt",
    "demo/executed/11_your_own_clip.ipynb",
]


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Work and figures folders with sets of several data sets, and the data set itself, each file with a word in it."""
    for variable, name in (("DEFT_WORK", "work"), ("DEFT_FIGURES", "figures"), ("DEFT_DATA", "data")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    for name in (
        *(f"work/{name}" for name in (*FACES, *OTHERS)),
        "data/casme2/CASME2-RAW/sub01/img1.jpg",
        "work/demo/own/clip/report.html",
        "figures/casme2-demo-folds3/tables/T2.csv",
        "figures/casme2-demo-folds3/sheet.png",
        "figures/demo/licensed/casme2/face.pdf",
        "figures/demo/F2.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("face")
    runtime.write_json(
        tmp_path / "work/strange-name/set.json", {"dataset": "casme2", "root": str(tmp_path / "data/casme2")}
    )
    runtime.write_json(
        tmp_path / "work/demo/executed/12_licensed_data.ipynb", {"cells": [{"source": ['dataset = "casme2"']}]}
    )
    return tmp_path


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_lists_every_face_and_removes_nothing_unasked(made, capsys):
    before = left(made)
    assert command_line.main(["forget", "casme2"]) == 0 and left(made) == before
    told = capsys.readouterr().out
    for name in (
        *(f"work/{name}" for name in FACES),
        "work/demo/executed/12_licensed_data.ipynb",
        "figures/casme2-demo-folds3/sheet.png",
        "figures/demo/licensed/casme2/face.pdf",
    ):
        assert str(made / name) in told, name
    assert not any(str(made / "work" / name) in told for name in OTHERS) and str(made / "data/casme2") not in told
    assert "YES=1 removes them" in told and "1 pages of `make analyse`" in told


def test_it_removes_them_all_and_looks_again(made, capsys):
    faces = {
        *(f"work/{name}" for name in FACES),
        "work/strange-name/set.json",
        "work/demo/executed/12_licensed_data.ipynb",
        "figures/casme2-demo-folds3/sheet.png",
        "figures/demo/licensed/casme2/face.pdf",
    }
    before = set(left(made))
    assert faces < before and command_line.main(["forget", "casme2", "--yes"]) == 0
    assert before - set(left(made)) == faces and "nothing of casme2 is left there" in capsys.readouterr().out
    assert forget.places("casme2") == [] and (made / "data/casme2/CASME2-RAW/sub01/img1.jpg").exists()
    assert command_line.main(["forget", "casme2", "--yes", "--own"]) == 0 and not (made / "work/demo/own/clip").exists()


def test_what_is_left_is_an_error(made, monkeypatch, capsys):
    monkeypatch.setattr(forget, "remove", lambda place: False)
    assert command_line.main(["forget", "casme2", "--yes"]) == 1 and "STILL THERE" in capsys.readouterr().out


def test_it_follows_a_link_to_another_disk(made):
    (made / "disk").mkdir()
    (made / "disk/rgb.npy").write_text("face")
    os.symlink(made / "disk", made / "work/casme2-demo-folds5")
    assert command_line.main(["forget", "casme2", "--yes"]) == 0
    assert not (made / "disk").exists() and not (made / "work/casme2-demo-folds5").is_symlink()


@pytest.mark.parametrize("inside", [True, False])
def test_the_data_set_itself_is_never_removed(made, monkeypatch, capsys, inside):
    """Its folder lies inside a work folder of that name, or a link under work/ leads into it."""
    if inside:
        monkeypatch.setenv("DEFT_DATA", str(made / "work/casme2-demo"))
        (made / "work/casme2-demo/casme2").mkdir()
    else:
        os.symlink(made / "data/casme2/CASME2-RAW", made / "work/casme2-raw")
    before = left(made)
    assert command_line.main(["forget", "casme2", "--yes"]) == 2 and left(made) == before
    assert "yours to move or remove" in capsys.readouterr().err


def test_it_waits_for_a_run_and_knows_its_names(made, capsys):
    with lock.held(paths.work("casme2-demo"), "a run"):
        assert command_line.main(["forget", "casme2", "--yes"]) == 2
    assert "is going on" in capsys.readouterr().err and Path(paths.work("casme2-demo"), "prepared/a.npz").exists()
    assert command_line.main(["forget", "casme3"]) == 2 and "no reader for 'casme3'" in capsys.readouterr().err
