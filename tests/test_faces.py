"""Faces: alignment, regions, detection, landmarks. Truth comes from the simulator."""

import csv

import cv2
import numpy as np
import pytest

from deft.clips import simulator
from deft.clips.facs import REGION_INDEX, REGIONS, STABLE
from deft.clips.footage import Footage, FootageError
from deft.faces import align, detect, landmarks, regions


@pytest.fixture(scope="module")
def clip():
    return simulator.render(11, {}, frames=2, truth="all")


@pytest.fixture(scope="module")
def points(clip):
    return clip.truth.landmarks[0].astype(float)


# ---------------------------------------------------------------- alignment


def test_a_known_similarity_is_recovered(points):
    true = cv2.getRotationMatrix2D((60, 60), 9, 1.2)
    assert np.allclose(align.similarity(points, align.points(points, true)), true, atol=1e-6)


def test_alignment_puts_the_eyes_in_place_whatever_the_camera(points):
    for angle, scale in ((0, 1.0), (15, 0.7), (-20, 2.5)):
        moved = align.points(points, cv2.getRotationMatrix2D((64, 64), angle, scale))
        matrix = align.subject_similarity(moved)
        assert np.allclose(align.eye_centres(align.points(moved, matrix)), align.EYES, atol=1e-6)


def test_one_matrix_serves_all_frames_of_a_clip(clip, points):
    aligned = align.apply(np.repeat(clip.frames[:1], 3, 0), align.subject_similarity(points))
    assert aligned.shape == (3, 128, 128, 3) and (aligned[0] == aligned[2]).all()


def test_several_clips_of_a_subject_share_the_median(points):
    off = points + 40
    matrix = align.subject_similarity(np.stack([points, points, off]))
    assert np.allclose(matrix, align.subject_similarity(points))


def test_flow_turns_and_grows_with_the_face(points):
    field = np.zeros((128, 128, 2), np.float32)
    field[..., 0] = 1.0
    matrix = cv2.getRotationMatrix2D((64, 64), 90, 2.0)  # counter-clockwise: right becomes up
    assert np.allclose(align.flow(field, matrix)[64, 64], (0, -2), atol=1e-4)


@pytest.mark.parametrize("bad", [np.zeros((67, 2)), np.full((68, 2), np.nan), np.zeros((68, 2))])
def test_impossible_landmarks_are_refused(bad):
    with pytest.raises(ValueError):
        align.subject_similarity(bad)
    with pytest.raises(ValueError):
        regions.masks(bad)


# ---------------------------------------------------------------- regions


def test_regions_are_36_soft_maps_inside_the_face(clip, points):
    weights = regions.masks(points)
    assert weights.shape == (36, 128, 128) and weights.dtype == np.float32 and (weights >= 0).all()
    assert np.allclose(weights.sum((1, 2)), 1, atol=1e-5)
    brow = points[17:27, 1].min()
    outline = cv2.convexHull(
        np.vstack([points[:17], [[points[0, 0], brow - 24], [points[16, 0], brow - 24]]]).astype(np.float32)
    )
    for centre, region in zip(regions.centres(points)[0], REGIONS):
        assert cv2.pointPolygonTest(outline, tuple(map(float, centre)), False) >= 0, region


def test_left_is_the_persons_left_and_the_mirror_image_swaps_sides(points):
    middle = regions.centres(points)[0]
    for name, side in REGIONS:
        if side == "L":
            assert middle[REGION_INDEX[name, "L"], 0] > middle[REGION_INDEX[name, "R"], 0] + 4, name
    mirrored = np.stack([127 - points[:, 0], points[:, 1]], 1)[regions.MIRROR]
    flipped = regions.masks(mirrored)[:, :, ::-1]
    swap = [REGION_INDEX[name, {"L": "R", "R": "L", "": ""}[side]] for name, side in REGIONS]
    assert np.abs(flipped - regions.masks(points)[swap]).max() < 1e-3


def test_regions_follow_a_turned_and_larger_face(points):
    matrix = cv2.getRotationMatrix2D((64, 64), 12, 2.0) + [[0, 0, 64], [0, 0, 64]]
    moved = align.points(points, matrix)
    assert np.allclose(regions.centres(moved)[0], align.points(regions.centres(points)[0], matrix), atol=1e-6)
    assert np.allclose(regions.masks(moved, 256).sum((1, 2)), 1, atol=1e-5)


def test_stable_regions_exist_and_a_face_outside_the_frame_is_named():
    assert set(STABLE) <= set(REGIONS)
    with pytest.raises(ValueError, match="outside the 128 px frame"):
        regions.masks(landmarks.mean_shape() + 300)


def test_the_chart_draws(points):
    import matplotlib.pyplot as plt

    assert regions.chart(np.arange(36), points, vectors=np.ones((36, 2))).patches
    plt.close("all")


# ---------------------------------------------------------------- detection


def test_the_face_and_its_eyes_are_found(clip, points):
    face = detect.find_face(clip.frames[0])
    true = align.eye_centres(points)
    assert face.eyes_found and np.linalg.norm(face.eyes - true, axis=1).max() < 0.15 * np.linalg.norm(true[1] - true[0])


@pytest.mark.parametrize("wide", [1, 3])  # the face fills the picture; it fills a third of it
def test_what_is_not_looked_for_changes_no_face(clip, wide):
    """The nine voters, asked for every size, find the same box."""
    gray = cv2.cvtColor(clip.frames[0], cv2.COLOR_RGB2GRAY)
    gray = np.pad(gray, [(0, 0), (0, (wide - 1) * gray.shape[1])], mode="edge")
    views = (gray, cv2.GaussianBlur(gray, (0, 0), 2), cv2.equalizeHist(gray))
    every = detect._agreed([box for view in views for box in detect._candidates(view, detect.SMALLEST)])
    assert detect._votes(gray) == every and len(every) == 1


def test_no_face_and_several_faces_are_said(clip):
    with pytest.raises(detect.FaceError, match="no face found"):
        detect.find_face(np.full((120, 160, 3), 128, np.uint8))
    with pytest.raises(detect.FaceError, match="2 faces found"):
        detect.find_face(np.hstack([clip.frames[0], clip.frames[0]]))
    half = cv2.resize(clip.frames[0], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    beside = np.full_like(clip.frames[0], 120)
    beside[: len(half), : len(half)] = half
    with pytest.raises(detect.FaceError, match="2 faces found"):  # the smaller one is looked for as well
        detect.find_face(np.hstack([clip.frames[0], beside]))


def test_a_cut_is_said_and_a_movement_or_a_lamp_is_not(clip):
    still = np.repeat(clip.frames[:1], 6, 0)
    other = simulator.render(12, {}, frames=1, truth="none").frames
    with pytest.raises(detect.FaceError, match="between frames 5 and 6"):
        detect.check_uncut(np.concatenate([still, np.repeat(255 - other, 6, 0)]))
    brighter = np.clip(still.astype(int) + 30, 0, 255).astype(np.uint8)
    detect.check_uncut(np.concatenate([still, brighter]))
    detect.check_uncut(np.stack([np.roll(clip.frames[0], t, 1) for t in range(6)]))


def test_frames_of_a_folder_are_sorted_by_number(tmp_path):
    for number in (1, 2, 10, 9):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), np.full((20, 20, 3), number, np.uint8))
    clip = Footage(tmp_path)
    assert [int(f[0, 0, 0]) for f in clip] == [1, 2, 9, 10] and clip.fps is None


def test_a_video_is_decoded_to_its_last_frame(tmp_path):
    path = tmp_path / "clip.avi"
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50, (64, 48))
    for value in range(0, 120, 10):
        out.write(np.full((48, 64, 3), value, np.uint8))
    out.release()
    clip = Footage(path)
    assert np.stack(list(clip)).shape == (12, 48, 64, 3) and clip.size == (64, 48) and clip.fps == pytest.approx(50)


def test_bad_clips_are_refused_with_a_remedy(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(b"not a video" * 50)
    (tmp_path / "one").mkdir(), (tmp_path / "none").mkdir(), (tmp_path / "broken").mkdir()
    cv2.imwrite(str(tmp_path / "one" / "1.png"), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "broken" / "1.png").write_bytes(b"x")
    for name, words in {
        "absent.mp4": "no such file",
        "noise.mp4": "cannot be decoded",
        "one": "1 frame",
        "none": "no pictures",
        "broken": "1.png cannot be decoded",
    }.items():
        with pytest.raises(FootageError, match=words):
            Footage(tmp_path / name)


# ---------------------------------------------------------------- landmarks


def test_the_placed_mean_shape_has_its_eyes_where_they_were_found():
    eyes = np.array([[40.0, 60.0], [90.0, 50.0]])
    assert np.allclose(align.eye_centres(landmarks.place(eyes)), eyes, atol=0.5)


def test_the_cascade_learns_and_survives_saving(tmp_path):
    people = [simulator.render(200 + i, {}, frames=1, truth="all", seed=i) for i in range(10)]
    images = [cv2.cvtColor(p.frames[0], cv2.COLOR_RGB2GRAY) for p in people]
    shapes = np.stack([p.truth.landmarks[0] for p in people]).astype(float)
    cascade = landmarks.train(images[:8], shapes[:8], images[8:], shapes[8:], seed=1, views=5, stages=2)
    assert cascade.errors["cascade"] < 0.8 * cascade.errors["mean_shape"]
    cascade.save(tmp_path)
    first = landmarks.place(align.eye_centres(shapes[9]))
    assert np.allclose(landmarks.load(tmp_path).refine(images[9], first), cascade.refine(images[9], first), atol=1e-2)
    with pytest.raises(FileNotFoundError, match="02_faces"):
        landmarks.load(tmp_path / "elsewhere")


def openface(path, rows, columns=68):
    names = (
        ["frame", "face_id", "timestamp", "confidence", "success"]
        + [f"x_{i}" for i in range(columns)]
        + [f"y_{i}" for i in range(columns)]
    )
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow([names[0]] + [f" {name}" for name in names[1:]])  # OpenFace pads its header with blanks
        out.writerows(rows)
    return path


def test_openface_files_are_read(tmp_path, points):
    rows = [[number, 0, 0.0, 0.98, 1, *(points[:, 0] + number), *points[:, 1]] for number in (1, 2, 3)]
    path = openface(tmp_path / "a.csv", rows)
    assert np.allclose(landmarks.read_openface(path, 0), points + (1, 0)) and np.allclose(
        landmarks.read_openface(path, 2), points + (3, 0)
    )


def test_openface_files_that_cannot_be_used_are_refused(tmp_path, points):
    good = [1, 0, 0.0, 0.98, 1, *points.T.ravel()]
    cases = {
        "no frame 9": (openface(tmp_path / "1.csv", [good]), 8),
        "not sure": (openface(tmp_path / "2.csv", [[1, 0, 0.0, 0.1, 1, *good[5:]]]), 0),
        "no column x_60": (openface(tmp_path / "3.csv", [good], columns=60), 0),
        "2 faces": (openface(tmp_path / "4.csv", [good, [1, 1, *good[2:]]]), 0),
        "not a number": (openface(tmp_path / "5.csv", [[*good[:9], "?", *good[10:]]]), 0),
        "no such file": (tmp_path / "6.csv", 0),
    }
    for words, (path, frame) in cases.items():
        with pytest.raises(detect.FaceError, match=words):
            landmarks.read_openface(path, frame)
