"""A clip of the reader's own: the moments, the page and its safety, and every bad input's message."""

import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from deft import analyse, cache, config, paths, runtime
from deft import drawing as draw
from deft.__main__ import main as command
from deft.analyse import page, pictures
from deft.clips import keyframes, simulator
from deft.clips.footage import Footage
from deft.faces import align, detect, landmarks, regions
from deft.mllm import pipeline
from deft.motion import courses, locate, moments
from deft.run import book

FPS, HOSTILE = 100.0, '<img src=x onerror=alert(1)> & "q" {{ 7*7 }}.avi'
TIMING = simulator.Timing(130, 40, 170)
TIMES = np.arange(-60, 400, 1000 / FPS)  # ms; the onset is frame 6, the apex frame 21, the offset frame 40
CAMERA = simulator.Camera(noise=2.0, head_drift=1.5, jpeg=85)
PICTURES = dict.fromkeys(("strip", "energy", "flow", "plain", "magnified", "points", "regions", "units"), "data:,")


@pytest.fixture(scope="module")
def film():
    """46 frames of a smile and the landmarks at its onset."""
    person = simulator.sample_identity(1021, size=160)
    show = dict(timing=TIMING, camera=CAMERA, seed=3, fps=FPS)
    truth = simulator.render_clip(person, {"6": 0.3, "12": 0.35}, times_ms=[0.0], truth="all", **show).truth
    return (
        simulator.render_clip(person, {"6": 0.3, "12": 0.35}, times_ms=TIMES, truth="none", **show).frames,
        truth.landmarks[0],
    )


def write_video(path, frames, fps=FPS):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, frames.shape[2:0:-1])
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def write_folder(path, frames):
    path.mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(path / f"frame{i}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture(scope="module")
def report(film, tmp_path_factory):
    """(folder of the report, report.json, text of the page) of a video with a hostile name, in a profile without any
    model.
    """
    folder = tmp_path_factory.mktemp("own")
    plain = write_video(folder / "plain.avi", film[0])
    clip = plain.rename(folder / HOSTILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFT_WORK", str(folder / "work"))
        html = analyse.analyse(clip, profile="smoke", out=folder / "out")
    return folder / "out", json.loads((folder / "out" / "report.json").read_text()), html.read_text()


def test_moments_are_found_near_the_truth(film):
    frames, landmarks = film
    matrix = align.subject_similarity(landmarks)
    gray = np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in align.apply(frames, matrix)])
    points = align.points(landmarks, matrix)
    found = moments.find(gray, points, regions.masks(points), FPS)
    assert abs(found.onset - 6) <= 6 and abs(found.apex - 21) <= 4 and abs(found.offset - 40) <= 7
    assert found.found == ("onset", "apex", "offset")
    kept = moments.find(gray, points, regions.masks(points), FPS, onset=5, apex=20)
    assert (kept.onset, kept.apex, kept.found) == (5, 20, ("offset",))


def test_what_only_goes_on_has_no_energy_and_what_comes_back_is_highest_at_its_apex(film, monkeypatch):
    points = align.points(film[1], align.subject_similarity(film[1]))
    finder = moments.Finder(np.zeros((60, 128, 128), np.uint8), points, np.ones((36, 128, 128)) / 128**2, FPS)
    drift, course = np.random.default_rng(0).normal(size=(36, 2)), np.clip(1 - np.abs(np.arange(60) - 25) / 10, 0, None)
    lip = (np.arange(36) == np.flatnonzero(~finder.stable)[0])[:, None] * np.array([0.0, 1.0])
    place = lambda t: drift * t + lip * course[t]  # noqa: E731
    monkeypatch.setattr(finder, "motion", lambda a, b: place(b) - place(a))
    energy = finder.out_and_back()
    assert energy.argmax() == 25 and finder.edge(25, range(24, 0, -1)) in (15, 16, 17)
    course[:] = 0
    assert np.abs(finder.out_and_back()).max() < 1e-9


def test_key_frames_have_the_benchmarks_places():
    keys = keyframes.key_frames(10, 25, 45)
    assert len(keys) == 9 and keys[0] == 10 and keys[3] == 25 and keys[4] == 29 and keys[8] == 45
    assert keyframes.key_frames(0, 5, 5, cut_off=True)[3:] == (5,) * 6


def test_the_page_needs_no_network_and_runs_no_script(report):
    _, _, text = report
    assert not re.search(
        r"https?:|//[a-z]|<script|javascript:|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text), re.I
    )
    sources = re.findall(r"\bsrc=\"([^\"]{0,40})", text)
    assert len(sources) == 8 and all(s.startswith("data:image/png;base64,") for s in sources)
    assert "default-src 'none'" in text
    assert not re.search(r"\son\w+=", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text).replace("onerror=alert", ""))


def test_landmarks_of_the_readers_own_are_used(film, tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "work"))
    frames, landmarks = film
    names = ["frame", *(f" x_{i}" for i in range(68)), *(f" y_{i}" for i in range(68))]
    rows = [",".join(map(str, [number + 1, *landmarks[:, 0], *landmarks[:, 1]])) for number in range(20)]
    (tmp_path / "points.csv").write_text("\n".join([",".join(names), *rows]))
    clip = write_folder(tmp_path / "clip", frames[6:26])
    html = analyse.analyse(clip, onset=0, apex=15, landmarks=tmp_path / "points.csv", profile="smoke", fps=FPS)
    record = json.loads((html.parent / "report.json").read_text())
    assert "frames per second are assumed" not in html.read_text()
    assert (
        html.parent == tmp_path / "work" / "smoke" / "own" / analyse.folder_name(clip)
        and "from your file" in record["landmarks"]
    )
    assert record["moments"]["found"] == ["offset"] and not record["fps_assumed"]


def test_a_hostile_file_name_is_only_text(report):
    _, record, text = report
    assert record["clip"] == HOSTILE
    assert "<img src=x" not in text and "&lt;img src=x onerror=alert(1)&gt; &amp; &#34;q&#34; {{ 7*7 }}.avi" in text


def test_the_report_says_what_it_measured_and_what_it_is_not_for(report):
    folder, record, text = report
    assert (
        "Not a lie detector" in text
        and "has not been trained yet" in record["answer"]["why_not"]
        and "make reproduce" in text
    )
    assert len(record["regions"]) == 20 and record["noise_px"] > 0 and len(record["evidence"]["all"]) == 34
    assert {12, 6} & {row["unit"] for row in record["evidence"]["moved"]}, "a clear smile speaks for neither 6 nor 12"
    assert all(row["rows"] for row in record["evidence"]["moved"])
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "report.json"]


def test_the_pictures_are_pictures(film, report):
    for encoded in re.findall(r"base64,([A-Za-z0-9+/=]+)", report[2]):
        import base64

        picture = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
        assert min(picture.shape[:2]) > 80 and picture.std() > 5


def test_a_trained_answer_is_marked_and_escaped(report):
    record = dict(report[1])
    record["answer"] = {
        "moving": True,
        "sure": True,
        "dropped": [{"text": "au9 <u>both</u>", "why": "not seen", "instead": ""}],
        "written": "",
        "text": "class : <b>anger</b> .",
        "scores": {"anger": 0.7},
        "source": "made up",
        "statements": [{"text": "au4 <i>left</i>", "supported": False}],
    }
    text = page.html(
        record,
        PICTURES,
        draw.MAGNIFY,
    )
    assert (
        "TRAINED ON SIMULATED FACES" in text
        and "&lt;b&gt;anger" in text
        and "<i>left" not in text
        and "✗ not measured" in text
        and "&lt;u&gt;both" in text
        and "No class is more probable" not in text
    )
    record["answer"] |= {"moving": False, "text": "no movement found .", "written": "class : <b>anger</b> ."}
    text = page.html(record, PICTURES, draw.MAGNIFY)
    shown, folded = text.split("<details>")  # what rests on nothing is there for who asks, and nowhere else
    assert "no movement found" in shown and "anger" not in shown and "&lt;b&gt;anger" in folded


def test_the_moving_picture_moves(film):
    still = np.zeros((128, 128, 2), np.float32)
    assert pictures.moving(film[0][0], still, 8)[:8] == b"\x89PNG\r\n\x1a\n"


# -------------------------------------------------------------------------------------------------------- bad input


def complain(capsys, tmp_path, clip, *more):
    code = command(["analyse", str(clip), "--profile", "smoke", "--out", str(tmp_path / "out"), *map(str, more)])
    said = capsys.readouterr().err
    assert code == 2 and said.startswith("error: ") and "Traceback" not in said
    return said


def test_what_cannot_be_decoded(tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("this is no video")
    assert "cannot be decoded" in complain(capsys, tmp_path, tmp_path / "text.mp4")
    assert "no such file" in complain(capsys, tmp_path, tmp_path / "absent.mp4")
    (tmp_path / "empty").mkdir()
    assert "no pictures" in complain(capsys, tmp_path, tmp_path / "empty")


def test_one_frame(film, tmp_path, capsys):
    assert "1 frame" in complain(capsys, tmp_path, write_folder(tmp_path / "one", film[0][:1]))


def test_no_face(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 255, (3, 120, 120, 3), dtype=np.uint8)
    assert "no face" in complain(capsys, tmp_path, write_folder(tmp_path / "noise", noise))


def test_several_faces(film, tmp_path, capsys):
    twins = np.concatenate([film[0][:3], film[0][:3]], axis=2)
    assert "2 faces" in complain(capsys, tmp_path, write_folder(tmp_path / "twins", twins))


def test_onset_after_apex_is_said_before_anything_is_read(tmp_path, capsys):
    said = complain(capsys, tmp_path, tmp_path / "absent.mp4", "--onset", 20, "--apex", 10)
    assert "ONSET 20 is not before APEX 10" in said and "rise" in said
    assert "APEX 9 is not before OFFSET 8" in complain(
        capsys, tmp_path, tmp_path / "absent.mp4", "--apex", 9, "--offset", 8
    )


def test_frames_outside_the_clip(film, tmp_path, capsys):
    clip = write_folder(tmp_path / "few", film[0][:4])
    said = complain(capsys, tmp_path, clip, "--apex", 4)
    assert "APEX 4 is outside" in said and "0 to 3" in said
    assert "ONSET -1 is outside" in complain(capsys, tmp_path, clip, "--onset", -1)


def test_output_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "out").write_text("a file, not a folder")
    assert "another folder" in complain(capsys, tmp_path, tmp_path / "absent.mp4")


def test_a_failure_leaves_the_earlier_report_alone(report, tmp_path, capsys):
    folder, _, before = report
    (tmp_path / "text.mp4").write_text("this is no video")
    assert command(["analyse", str(tmp_path / "text.mp4"), "--profile", "smoke", "--out", str(folder)]) == 2
    assert (folder / "report.html").read_text() == before


def test_a_full_disk_leaves_nothing_half_written(film, tmp_path, capsys, monkeypatch):
    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runtime, "write_json", full)
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "work"))
    said = complain(capsys, tmp_path, write_folder(tmp_path / "clip", film[0][4:24]), "--onset", 2, "--apex", 17)
    assert "No space left" in said and not (tmp_path / "out").exists()


def test_the_flow_is_the_one_the_experts_and_the_calibration_know():
    for profile in config.profiles(paths.NOTEBOOKS):
        stages = {s.name: s.defaults for s in book.load(paths.NOTEBOOKS)}
        assert {**stages["03_motion"], **config.overrides(profile, stages, paths.NOTEBOOKS)["03_motion"]}[
            "method"
        ] == courses.METHOD


def shifted(film, by, until):
    """The film on a wider canvas, its face `by` px further left in frame 0 and moving to its place until frame
    `until`.
    """
    wide = np.pad(film, ((0, 0), (0, 0), (60, 60), (0, 0)), mode="edge")
    return np.stack([np.roll(frame, -round(by * max(0, until - t) / until), 1) for t, frame in enumerate(wide)])


def test_the_face_is_found_again_at_the_onset(film, tmp_path, monkeypatch):
    """The face lies elsewhere in frame 0: landmarks of frame 0 would lie beside it."""
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    frames = shifted(
        np.concatenate([np.repeat(film[0][:1], 24, 0), film[0][2:28]]), 24, 6
    )  # at its place from frame 6, onset 28, apex 43
    face, when, notes = locate.locate(Footage(write_folder(tmp_path / "clip", frames)), FPS, apex=43)
    eyes = align.eye_centres(film[1] + (60, 0))
    distance = np.linalg.norm(eyes[1] - eyes[0])
    assert face.at > 6 and np.linalg.norm(align.eye_centres(face.source) - eyes, axis=1).max() < 0.2 * distance
    assert (
        "apex" not in when.found
        and abs(when.onset - 28) <= 10
        and any("found again in frame" in note for note in notes)
    )


def test_a_face_that_does_not_keep_its_place_is_refused(film, tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    frames = shifted(film[0][:12], 28, 8)
    with pytest.raises(
        locate.ClipError, match="does not keep its place: its boxes in frame 0 and at the apex, frame 9, share"
    ):
        locate.locate(Footage(write_folder(tmp_path / "clip", frames)), FPS, onset=0, apex=9)


def test_a_face_that_is_gone_at_the_onset_is_said(film, tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    monkeypatch.setattr(moments, "find", lambda *given, **more: moments.Moments(4, 9, 10, np.zeros(12), ("onset",)))
    frames = film[0][:12].copy()
    frames[3:6] = frames[3:6].mean((1, 2), keepdims=True)
    monkeypatch.setattr(detect, "check_uncut", lambda frames: None)
    with pytest.raises(detect.FaceError, match="frame 4: no face found"):
        locate.locate(Footage(write_folder(tmp_path / "clip", frames)), FPS)


def test_moments_at_the_edge_have_a_sentence(film, tmp_path, capsys):
    clip = write_folder(tmp_path / "few", film[0][:4])
    assert "OFFSET 0 is the first frame" in complain(capsys, tmp_path, clip, "--offset", 0)
    assert "APEX 0 is the first frame" in complain(capsys, tmp_path, clip, "--apex", 0)
    assert "ONSET 3 is the last frame" in complain(capsys, tmp_path, clip, "--onset", 3)
    assert "FPS 0 is no frame rate" in complain(capsys, tmp_path, clip, "--fps", 0)
    assert not (tmp_path / "out").exists(), "a call that failed left a folder"


def test_an_apex_fits_between_neighbouring_frames(film):
    gray = np.stack(
        [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in align.apply(film[0][:5], align.subject_similarity(film[1]))]
    )
    points = align.points(film[1], align.subject_similarity(film[1]))
    found = moments.find(gray, points, regions.masks(points), FPS, onset=2, offset=3)
    assert (found.onset, found.apex, found.offset) == (2, 3, 3)
    assert moments.find(gray, points, regions.masks(points), FPS, offset=1).apex == 1


def test_what_is_wrong_with_a_name_that_is_not_utf8_is_said(film, tmp_path):
    clip = write_folder(tmp_path / os.fsdecode(b"clip"), film[0][:4]).rename(tmp_path / os.fsdecode(b"clip\xff"))
    done = subprocess.run(
        [sys.executable, "-m", "deft", "analyse", clip, "--profile", "smoke", "--onset", "3"],
        cwd=paths.ROOT,
        capture_output=True,
        env={**os.environ, "DEFT_WORK": str(tmp_path / "work")},
    )
    assert done.returncode == 2 and b"ONSET 3 is the last frame" in done.stderr and b"Traceback" not in done.stderr
    (clip / "1.png").write_bytes(b"cut")
    done = subprocess.run(
        [sys.executable, "-m", "deft", "analyse", clip, "--profile", "smoke"], cwd=paths.ROOT, capture_output=True
    )
    assert done.returncode == 2 and b"clip\\xff/1.png" in done.stderr and b"Traceback" not in done.stderr


def test_the_report_of_a_name_that_is_not_utf8_can_be_written(report, tmp_path):
    """Its name is in the record and on the page as text."""
    name = os.fsdecode(b"a\xffb.avi")
    runtime.write_json(tmp_path / "r.json", {**report[1], "clip": analyse.readable(name)})
    assert json.loads((tmp_path / "r.json").read_text())["clip"] == "a\\xffb.avi" and analyse.folder_name(
        tmp_path / name
    ).encode("utf-8")


def test_reports_of_different_clips_have_different_folders(tmp_path):
    names = [
        "sub01/EP02_01f",
        "sub02/EP02_01f",
        "a/clip.avi",
        "b/clip.mp4",
        "EP02.v1",
        "EP02.v2",
        "../" + "x" * 300,
        os.fsdecode(b"\xff.avi"),
    ]
    folders = {analyse.folder_name(tmp_path / name) for name in names}
    assert len(folders) == len(names) and all(
        re.fullmatch(r"[\w.-]+-[0-9a-f]{6}", name) and len(name) < 80 for name in folders
    )
    assert analyse.folder_name(tmp_path / "a" / ".." / "b.avi") == analyse.folder_name(tmp_path / "b.avi")


def test_damaged_weights_are_refused(tmp_path):
    zeros = landmarks.Cascade(np.zeros((1, 2)), np.zeros((1, 2, 136)), np.zeros((1, 136)), {"cascade": 0.1})
    zeros.save(tmp_path)
    landmarks.load(tmp_path)
    path, whole = tmp_path / "weights.npz", (tmp_path / "weights.npz").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"weights.npz is damaged.*run 02_faces again"):
            landmarks.load(tmp_path)


@pytest.mark.parametrize("record", [True, False])
def test_a_damaged_model_is_refused(tmp_path, record):
    from safetensors.numpy import save_file

    save_file({"x": np.arange(64, dtype=np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "deft_llm"}')
    if record:
        cache.fresh(tmp_path).seal()
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-40] if not record else whole[:-1] + b"x")
    with pytest.raises(
        ValueError, match="model.safetensors was altered since it was written" if record else "cannot be loaded"
    ) as error:
        pipeline.load_model(tmp_path)
    assert str(tmp_path) in str(error.value) and "07_joint_tuning again" in str(error.value)


@pytest.mark.parametrize("profile", ["../../escaped", "/tmp/escaped", "nope", "demo/../x", ""])
def test_only_a_known_profile_is_used(tmp_path, capsys, monkeypatch, profile):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path / "a" / "work"))
    assert command(["analyse", str(tmp_path / "absent.mp4"), "--profile", profile]) == 2
    assert f"unknown profile {profile!r}" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_names_become_folder_names():
    assert analyse._plain_name("../../etc/passwd") == "etc_passwd" and analyse._plain_name("...") == ""
    assert issubclass(locate.ClipError, ValueError) and issubclass(detect.FaceError, ValueError)


def test_a_model_that_writes_nothing_leaves_the_report_whole(report):
    _, record, _ = report
    said = {"moving": True, "text": "", "written": "", "dropped": [], "statements": [], "sure": True, "scores": {}}
    names = re.findall(r"pictures\.(\w+)", page.TEMPLATE.read_text(encoding="utf-8"))
    text = page.html({**record, "answer": {**said, "source": "deft"}}, dict.fromkeys(names, "data:,"), 8.0)
    assert "The model wrote nothing." in text
