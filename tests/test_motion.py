"""Motion: flow sign and unit, warping, strain, head removal, region courses."""

import cv2
import numpy as np
import pytest

from deft import runtime
from deft.clips import keyframes, simulator
from deft.clips.facs import REGION_INDEX, REGIONS
from deft.faces import align, landmarks, regions
from deft.motion import courses, envelope, flow, rigid


@pytest.fixture(scope="module")
def texture():
    noise = np.random.default_rng(0).normal(0, 1, (128, 128)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.6)
    return 128 + 45 * smooth / smooth.std()


def moved(image, field):
    """`image` resampled so that what was at x is at x + field (a constant or smooth field)."""
    y, x = np.indices(image.shape, dtype=np.float32)
    return (
        np.clip(
            cv2.remap(image, x - field[..., 0], y - field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT),
            0,
            255,
        )
        .round()
        .astype(np.uint8)
    )


def constant(u, v):
    return np.broadcast_to(np.float32([u, v]), (128, 128, 2))


# ---------------------------------------------------------------- flow


@pytest.mark.parametrize("method", flow.METHODS)
@pytest.mark.parametrize("shift", [(0.6, 0.0), (0.0, -0.6)])
def test_a_known_shift_has_the_right_sign_and_length(texture, method, shift):
    first = moved(texture, constant(0, 0))
    found = flow.estimate(first, moved(texture, constant(*shift)), method)
    assert found.shape == (128, 128, 2) and found.dtype == np.float32
    assert np.allclose(np.median(found[16:-16, 16:-16], axis=(0, 1)), shift, atol=0.12)


def test_no_motion_is_no_flow_and_colour_images_are_taken(texture):
    first = moved(texture, constant(0, 0))
    assert np.abs(flow.estimate(np.dstack([first] * 3), np.dstack([first] * 3), "dis-finest")).max() < 1e-3


def test_wrong_input_is_named(texture):
    image = moved(texture, constant(0, 0))
    with pytest.raises(ValueError, match="unknown flow method 'raft'.*dis-finest"):
        flow.estimate(image, image, "raft")
    with pytest.raises(ValueError, match="same size"):
        flow.estimate(image, image[:64])
    with pytest.raises(ValueError, match="second must be uint8"):
        flow.estimate(image, image.astype(np.float32))
    with pytest.raises(ValueError, match="at least 16 px"):
        flow.estimate(image[:8, :8], image[:8, :8])


def test_warping_by_no_flow_changes_nothing_and_by_flow_follows_it(texture):
    image = moved(texture, constant(0, 0))
    assert np.array_equal(flow.warp(image, np.zeros((128, 128, 2))), image)
    y, x = np.indices((128, 128), dtype=np.float32)
    forward = np.dstack([1.5 * np.exp(-((x - 64) ** 2 + (y - 64) ** 2) / 600), np.zeros_like(x)]).astype(np.float32)
    point = np.zeros((128, 128), np.float32)
    cv2.circle(point, (64, 64), 5, 255, -1, cv2.LINE_AA)
    carried = flow.warp(point, forward)
    assert (carried * x).sum() / carried.sum() == pytest.approx(64 + 1.45, abs=0.1)
    with pytest.raises(ValueError, match="flow must be"):
        flow.warp(image, forward[:64])


def test_warping_undoes_a_stretch_at_the_place_where_the_point_arrives():
    """The flow lives where a point starts: what was at 80 arrives at 84.8; the flow read there would be a third too
    long.
    """
    y, x = np.indices((128, 128), dtype=np.float32)
    point = np.zeros((128, 128), np.float32)
    cv2.circle(point, (80, 64), 4, 255, -1, cv2.LINE_AA)
    carried = flow.warp(point, np.dstack([0.3 * (x - 64), 0 * y]))
    assert (carried * x).sum() / carried.sum() == pytest.approx(84.8, abs=0.2)


def test_warping_by_the_true_flow_explains_the_frame():
    clip = simulator.render(5, {"12": 0.35, "4": 0.3}, frames=28, truth="all", furrows=False)
    first, last, ok = (
        flow.gray(clip.frames[0]).astype(float),
        flow.gray(clip.frames[27]).astype(float),
        clip.truth.valid[27],
    )
    warped = flow.warp(first.astype(np.float32), clip.truth.flow[27])
    still = np.abs(last - first)[ok].mean()
    assert np.abs(last - warped)[ok].mean() < 0.7 * still


def test_strain_ignores_translation_and_measures_stretch():
    y, x = np.indices((32, 32), dtype=np.float32)
    assert np.abs(flow.strain(np.dstack([np.full_like(x, 2.0), np.full_like(x, -1.0)]))).max() == 0
    assert np.allclose(flow.strain(np.dstack([0.1 * x, 0 * y])), 0.1, atol=1e-6)
    assert flow.strain(np.zeros((3, 16, 16, 2))).shape == (3, 16, 16)
    turn, shear = np.dstack([-0.02 * y, 0.02 * x]), np.dstack([0.02 * y, 0.02 * x])
    assert np.abs(flow.strain(turn)).max() < 1e-6 and np.allclose(flow.strain(shear), 0.02 * np.sqrt(2), atol=1e-6)


def test_colours_share_one_limit_and_name_directions():
    picture = flow.colour(np.float32([[[1, 0], [0, 1], [0, 0], [0.5, 0]]]), 1.0)[0]
    assert tuple(picture[0]) == (255, 0, 0) and tuple(picture[2]) == (255, 255, 255) and picture[1][1] == 255
    assert tuple(picture[3]) == (255, 128, 128)
    assert flow.wheel(32).shape == (32, 32, 3)
    with pytest.raises(ValueError, match="limit"):
        flow.colour(np.zeros((2, 2, 2)), 0)


# ---------------------------------------------------------------- head motion


def test_a_similarity_is_removed_wherever_it_comes_from():
    face = landmarks.mean_shape()
    y, x = np.indices((128, 128), dtype=np.float32) - 64
    head = np.dstack([1.3 + 0.01 * x - 0.02 * y, -0.7 + 0.02 * x + 0.01 * y])
    rest, found = rigid.remove(head, face)
    assert np.abs(rest).max() < 0.03 and np.allclose(found, head, atol=0.03)


def test_the_face_stays_when_the_head_goes():
    face = landmarks.mean_shape()
    weights = regions.masks(face)
    smile = sum(
        weights[REGION_INDEX["lip_corner", side]] / weights[REGION_INDEX["lip_corner", side]].max() for side in "LR"
    )
    noise = np.random.default_rng(1).normal(0, 0.05, (128, 128, 2))
    field = constant(1.0, 0.5) + np.dstack([0 * smile, -0.5 * smile]) + noise
    rest, _ = rigid.remove(field, face)
    corner = (weights[REGION_INDEX["lip_corner", "L"]][..., None] * rest).sum((0, 1))
    brow = (weights[REGION_INDEX["brow_inner", "L"]][..., None] * rest).sum((0, 1))
    assert corner[1] < -0.25 and abs(corner[0]) < 0.03 and np.abs(brow).max() < 0.03


def test_sliding_hair_over_one_temple_does_not_decide_the_fit():
    face = landmarks.mean_shape()
    field = np.array(constant(0.4, 0.0))
    field[:, 95:] += (0.0, 2.0)  # what lies over the person's left temple slides down
    rest, _ = rigid.remove(field, face)
    nose = (regions.masks(face)[REGION_INDEX["nose_bridge", ""]][..., None] * rest).sum((0, 1))
    assert np.abs(nose).max() < 0.25


def test_a_sliding_fringe_of_hair_does_not_move_the_fit():
    """Hair over the forehead slides by 1 px. A fit by plain least squares would carry the face along by .2 px."""
    head = np.array([0.4, -0.2])
    field = head + np.random.default_rng(1).normal(0, 0.05, (128, 128, 2))
    field[:36] += (0.0, 1.0)
    _, found = rigid.remove(field, landmarks.mean_shape())
    assert np.abs(found - head)[40:100, 35:95].max() < 0.05


def test_only_square_aligned_flow_is_taken():
    with pytest.raises(ValueError, match="aligned square"):
        rigid.remove(np.zeros((100, 128, 2)), landmarks.mean_shape())


# ---------------------------------------------------------------- courses


@pytest.fixture(scope="module")
def smile():
    """Nine aligned frames of a smile with head drift and noise, their landmarks, the matrix and the true flow at the
    apex.
    """
    times = np.array([0, 45, 90, 140, 180, 220, 260, 300, 340.0])
    clip = simulator.render_clip(
        simulator.sample_identity(31),
        {"12": 0.35},
        times_ms=times,
        truth="apex",
        truth_index=3,
        seed=3,
        camera=simulator.Camera(noise=2.0, head_drift=2.0, jpeg=80),
    )
    marks = clip.truth.landmarks[0].astype(float)
    matrix = align.subject_similarity(marks)
    gray = np.stack([flow.gray(frame) for frame in align.apply(clip.frames, matrix)])
    return gray, align.points(marks, matrix), matrix, clip.truth.skin_flow[3]


def test_courses_rise_hold_and_fall_where_the_smile_is(smile):
    found = courses.measure_clip(smile[0], smile[1])
    shapes = {"courses": (8, 36, 5), "peak": (64, 64, 4), "residual": (2, 64, 64)}
    assert {name: found[name].shape for name in shapes} == shapes and all(
        np.isfinite(found[name]).all() for name in shapes
    )
    left, right = (found["courses"][:, REGION_INDEX["lip_corner", side]] for side in "LR")
    assert left[2, 0] > 0.2 and right[2, 0] < -0.2 and left[2, 1] < -0.2 and right[2, 1] < -0.2  # outward and up
    assert np.hypot(*left[7, :2]) < 0.5 * np.hypot(*left[2, :2])  # and back
    assert (found["courses"][..., 3] <= 1.0001).all() and 0.02 < found["noise"] < 0.2


def test_the_peak_map_weighs_every_frame_by_the_course_of_a_movement(smile):
    gray, face = smile[:2]
    field, _ = courses.flows(gray, face)
    covariance = np.eye(8) + 1.0  # all flows share the onset's noise
    weight = np.linalg.solve(covariance, envelope.ENVELOPE)
    weight *= envelope.ENVELOPE[2:4].mean() / (weight @ envelope.ENVELOPE)  # in px of apex and hold, flows 2 and 3
    wanted = courses.peak_map(np.tensordot(weight, field.astype(np.float64), (0, 0)).astype(field.dtype))
    found = courses.measure_clip(gray, face)["peak"]
    assert np.allclose(found, wanted, atol=2e-3)
    assert not np.allclose(found, courses.peak_map(field[1:3].mean(0)), atol=0.02)  # a frame early
    assert keyframes.peak_positions(9) == (3, 4) and keyframes.peak_positions(3) == (1, 2)


def test_the_noise_floor_follows_the_stable_regions_and_leans_on_the_usual_value():
    still = np.random.default_rng(0).normal(0, 1, (8, 36, 5))
    floors = [courses.noise_floor(level * still) for level in (0.0, 0.08, 0.3)]
    assert floors[0] < 0.07 and floors[1] == pytest.approx(0.08, rel=0.2) and 0.2 < floors[2] < 0.3
    elsewhere = 5.0 * still
    elsewhere[:, rigid.STABLE_ROWS] = 0.08 * still[:, rigid.STABLE_ROWS]  # what moves elsewhere is no noise
    assert courses.noise_floor(elsewhere) == floors[1]


def test_region_motion_agrees_with_the_truth(smile):
    gray, face, matrix, true = smile
    peak = courses.measure_clip(gray, face)["courses"][2:4, :, :2].mean(0)
    truth = courses.region_truth(true, matrix, regions.masks(face))
    assert np.corrcoef(peak.ravel(), truth.ravel())[0, 1] > 0.8 and 0.4 < (peak * truth).sum() / (truth**2).sum() < 1.2


def test_a_still_face_under_a_moving_head_has_no_courses():
    image = simulator.render(8, {}, frames=1, truth="all")
    marks = image.truth.landmarks[0].astype(float)
    first = flow.gray(image.frames[0])
    frames = np.stack(
        [first]
        + [
            cv2.warpAffine(
                first,
                np.float64([[1, 0, 0.3 * t], [0, 1, -0.2 * t]]),
                (128, 128),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for t in (1, 2)
        ]
    )
    found = courses.measure_clip(frames, marks)["courses"]
    face = [i for i, (name, _) in enumerate(REGIONS) if not name.startswith(("forehead", "jaw", "temple"))]
    assert np.hypot(found[..., 0], found[..., 1])[:, face].max() < 0.12


def residual_of(onset, later, field, face=None):
    """Residual of onset, apex and hold, the last two alike."""
    return courses.residual(np.stack([onset, later, later]).astype(np.float32), np.stack([field, field]), face)


def test_the_residual_ignores_shifts_and_light_and_sees_a_furrow(texture):
    onset = texture.astype(np.float32)
    shifted = moved(texture, constant(0.7, 0.3)).astype(np.float32)
    silent = residual_of(onset, np.clip(shifted + 6, 0, 255), np.array(constant(0.7, 0.3)))[0, 8:-8, 8:-8]
    furrow = shifted.copy()
    furrow[60:64, 40:90] -= 25
    seen = residual_of(onset, furrow, np.array(constant(0.7, 0.3)))[0]
    assert np.abs(silent.astype(float)).mean() * 255 < 2.5 and seen[31, 30].astype(float) * 255 < -8


@pytest.mark.parametrize("shift", [(0.7, 0.0), (0.0, 0.7), (0.5, -0.5)])
def test_the_residual_registers_a_second_time_what_the_flow_missed(texture, shift):
    """The flow says that nothing moved, the frame moved by .7 px: of the edges that leaves, less than a third stays."""
    later = moved(texture, constant(*shift)).astype(np.float32)
    missed = cv2.resize(later - texture, (64, 64), interpolation=cv2.INTER_AREA) / 255
    nothing = np.zeros((128, 128, 2), np.float32)
    left = residual_of(texture, later, nothing)[0].astype(np.float64)
    inner = slice(8, -8)
    assert np.sqrt((left[inner, inner] ** 2).mean()) < 0.33 * np.sqrt((missed[inner, inner] ** 2).mean())


def test_the_residual_of_nine_frames_keeps_the_furrow_and_has_less_noise_than_that_of_three(texture):
    """A furrow that rises, holds and falls, through a camera's noise: the same depth, and all frames count."""

    generator, nothing = np.random.default_rng(4), np.zeros((8, 128, 128, 2), np.float32)
    line = np.zeros((128, 128), np.float32)
    line[60:64, 40:90] = -20
    depth = {}
    for kind in ("noise", "furrow"):
        course = np.r_[0, envelope.ENVELOPE] * (kind == "furrow")
        noise = generator.normal(0, 4, (9, 128, 128)) * (kind == "noise")
        frames = np.float32(texture + course[:, None, None] * line + noise)
        for rows in (list(range(9)), list(keyframes.SHORT)):
            found = courses.residual(frames[rows], nothing[: len(rows) - 1])[0, 8:-8, 8:-8]
            depth[kind, len(rows)] = found.astype(float)
    spread = {key: found.std() for key, found in depth.items()}
    assert spread["noise", 9] < 0.8 * spread["noise", 3]
    assert spread["furrow", 9] == pytest.approx(spread["furrow", 3], rel=0.1)
    assert depth["furrow", 9].min() < -0.02


def test_nothing_is_left_over_outside_the_face(texture):
    """Hair, background and the rows repeated below the picture are no texture; the face itself is untouched."""
    face, (y, x) = landmarks.mean_shape(), np.indices((128, 128))
    changed = texture + 20 * np.sin(x / 2 + y / 3)
    inside = regions.face_mask(face)
    whole, seen = (residual_of(texture, changed, 0 * constant(0, 0), mask) for mask in (None, inside))
    share = inside.reshape(64, 2, 64, 2).mean((1, 3))
    assert np.abs(whole[:, share == 0]).max() > 0.01 and not seen[:, share == 0].any()
    assert np.array_equal(whole[:, share == 1], seen[:, share == 1]) and 0.2 < (share == 1).mean() < 0.8
    measured = courses.measure_clip(
        np.stack([moved(changed * k + texture * (1 - k), constant(0, 0)) for k in (0, 1, 1)]), face
    )
    assert not measured["residual"][:, share == 0].any() and measured["residual"][:, share == 1].any()


@pytest.mark.parametrize(
    "gray", [np.zeros((3, 128, 100), np.uint8), np.zeros((3, 128, 128)), np.zeros((2, 128, 128), np.uint8)]
)
def test_wrong_clips_are_refused(gray):
    with pytest.raises(ValueError):
        courses.measure_clip(gray, landmarks.mean_shape())


def test_threads_do_not_change_the_bytes(tmp_path):
    from deft.clips import benchmark
    from deft.faces import stage

    plans = benchmark.plan_corpus(benchmark.BenchmarkSpec(), 1, 3)
    benchmark.render_subject(plans, tmp_path / "clips" / "c000.npz")
    stage.align_set(tmp_path / "clips", tmp_path / "faces")
    for jobs in (1, 3):
        shapes = courses.measure_set(tmp_path / "clips", tmp_path / "faces", tmp_path / str(jobs), jobs=jobs)
    assert shapes["courses"] == (3, 2, 36, 5)
    for name in shapes:
        assert np.array_equal(*(runtime.load_array(tmp_path / jobs, name) for jobs in ("1", "3"))), name
    rgb = runtime.load_array(tmp_path / "faces", "rgb")
    assert rgb.shape == (3, 3, 128, 128, 3) and np.array_equal(
        flow.gray(rgb[1, 2]), runtime.load_array(tmp_path / "faces", "gray")[1, 2]
    )
