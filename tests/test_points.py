"""Landmarks of other detectors: every form of file gives the same points, each clip gets its own file and its own row,
and what cannot be a face is refused by name."""

import shutil

import numpy as np
import pytest

from deft.clips import readers
from deft.clips.readers import fixtures
from deft.faces import align, imported, landmarks
from deft.faces.detect import FaceError
from deft.licensed.points import Folder
from deft.motion import prepare


@pytest.fixture(scope="module")
def points():
    """(68, 2) px of the mean face in a picture of 96 px."""
    return landmarks.mean_shape() * 96 / align.SIZE


def table(path, frames, heads="x{0},y{0}", first=0):
    """Frames (T, 68, 2) as a row each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ",".join(heads.format(i + first) for i in range(68))
    path.write_text("\n".join([names, *(",".join(f"{v:.4f}" for v in frame.ravel()) for frame in frames)]) + "\n")
    return path


def test_every_form_gives_the_same_points(points, tmp_path):
    frames = np.stack([points, points + 1])
    for name, heads, first in (("a", "x{0},y{0}", 0), ("b", "X {0},Y {0}", 1), ("c", "{0}_x,{0}_y", 0)):
        path = table(tmp_path / f"{name}.csv", frames, heads, first)
        assert np.allclose(imported.read(path, 1), points + 1, atol=1e-3) and imported.count(path) == 2
    openface = table(tmp_path / "d.csv", frames, "x_{0},y_{0}")
    assert np.allclose(imported.read(openface, 1), points + 1, atol=1e-3) and imported.count(openface) == 2
    pairs = tmp_path / "e.csv"
    for head in ("", "x,y\n"):
        pairs.write_text(head + "\n".join(f"{x:.4f},{y:.4f}" for x, y in points))
        assert np.allclose(imported.read(pairs), points, atol=1e-3) and imported.count(pairs) == 1


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda p: p[:, ::-1], "no upright face in the 68-point"),
        (lambda p: p[::-1], "no upright face in the 68-point"),
        (lambda p: p * [1, -1], "no upright face in the 68-point"),
        (lambda p: p * 0.01, "no upright face in the 68-point"),
        (lambda p: np.where(np.arange(136).reshape(68, 2) == 7, np.nan, p), "NaN or infinite"),
        (lambda p: p[:60], "neither columns x0 .. x67"),
    ],
)
def test_what_is_no_face_is_refused_by_name(points, tmp_path, change, words):
    path = tmp_path / "odd.csv"
    path.write_text("x,y\n" + "\n".join(f"{x},{y}" for x, y in change(points)))
    with pytest.raises(FaceError, match=f"odd.csv.*{words}"):
        imported.read(path)


def test_a_frame_that_is_not_there_and_words_for_numbers(points, tmp_path):
    path = table(tmp_path / "two.csv", np.stack([points, points]))
    with pytest.raises(FaceError, match="has 2 rows of points; frame 2"):
        imported.read(path, 2)
    path.write_text(path.read_text().replace(path.read_text().splitlines()[1].split(",")[5], "left", 1))
    with pytest.raises(FaceError, match="a value is missing or not a number"):
        imported.read(path)
    with pytest.raises(FaceError, match="no such file"):
        imported.read(tmp_path / "none.csv")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = fixtures.write("casme2", tmp_path_factory.mktemp("points") / "set", size=96)
    return [clip for clip in readers.read("casme2", root)[0] if clip.numbers]


def test_each_clip_gets_its_own_file_and_its_own_row(clips, points, tmp_path):
    first, second, third = clips[:3]
    table(tmp_path / "sub01" / "EP92_01f.csv", [points])  # the onset alone
    count = len(second.numbers)
    table(tmp_path / "01_EP93_02.csv", [points + t for t in range(count)])  # onset to offset
    table(tmp_path / "deep" / f"{third.id}.csv", [points + t for t in range(20)])  # neither
    folder = Folder.of(tmp_path, clips)
    assert set(folder.files) == {first.id, second.id, third.id}
    assert np.allclose(folder.points(first), points, atol=1e-3)
    assert np.allclose(folder.points(second), points + second.onset, atol=1e-3)
    with pytest.raises(FaceError, match=f"{third.id}.csv has points of 20 frames; the clip has 8, its folder has 8"):
        folder.points(third)
    with pytest.raises(FaceError, match="no landmarks below .*add 04/EP12_01f.csv"):
        folder.points(clips[3])
    picture = clips[1].__dict__["_source"].files[0]
    for number in (5, 6):  # the folder has two frames more than the clip, before it
        shutil.copy(picture, picture.with_name(f"img{number}.jpg"))
    table(tmp_path / "01_EP93_02.csv", [points + t for t in range(count + 2)])
    assert np.allclose(Folder.of(tmp_path, clips).points(second), points + 2 + second.onset, atol=1e-3)


def test_a_name_that_two_subjects_share_needs_its_subject(clips, points, tmp_path):
    from dataclasses import replace

    table(tmp_path / "EP92_01f.csv", [points])
    assert set(Folder.of(tmp_path, clips).files) == {clips[0].id}
    twin = replace(clips[1], filename="EP92_01f", subject="09", id="casme2_09_EP92_01f")
    with pytest.raises(FaceError, match="no CSV for any of 2 clips"):
        Folder.of(tmp_path, [clips[0], twin])
    with pytest.raises(FaceError, match="no such folder; LANDMARKS="):
        Folder.of(tmp_path / "none", clips)
    (tmp_path / "sub09").mkdir()
    (tmp_path / "EP92_01f.csv").rename(tmp_path / "sub09" / "EP92_01f.csv")
    with pytest.raises(FaceError, match="no CSV for any"):  # a protocol may leave subject 09 out
        Folder.of(tmp_path, clips)


def test_prepared_clips_stand_on_the_points_that_were_given(clips, points, tmp_path):
    """Other points are another product; a clip without is left out by name; points beside the picture are refused."""
    clip = clips[0]
    given = points + 3
    file = table(tmp_path / f"{clip.id}.csv", [given])
    folder = Folder.of(tmp_path, [clip, clips[1]])
    arrays = prepare.describe(clip, points=folder)
    assert np.allclose(arrays["landmarks"], align.points(given, align.subject_similarity(given)), atol=1e-2)
    names = prepare.targets([clip], points=folder), prepare.targets([clip])
    table(file, [points + 4])
    assert len({n[clip.id] for n in (*names, prepare.targets([clip], points=folder))}) == 3
    found = prepare.prepare([clip, clips[1]], tmp_path / "out", points=folder)
    assert list(found["error"] == "") == [True, False] and "no landmarks below" in found["error"][1]
    table(file, [points + 400])
    with pytest.raises(FaceError, match="points outside of the 96x96 px frame"):
        prepare.describe(clip, points=folder)
