"""The simulator against its own truth: what it says moved must be what moved."""

import cv2
import numpy as np
import pytest

from deft.clips.facs import FURROWS, SIDES, UNITS
from deft.clips.simulator import Camera, Timing, render, render_clip, sample_identity
from deft.clips.simulator.appearance import FRONT, SKIN_LOWER, SKIN_UPPER, UNDER, Layers, face_of
from deft.clips.simulator.motion import ANCHORS, LOWER, UPPER, furrow_amounts, parse_actions
from deft.runtime import rng

BARE = dict(hair="bald", glasses="none", beard="none")


def pulled_back(clip, t):
    """Frame t sampled where the true flow says that the onset's pixels went."""
    h, w = clip.frames.shape[1:3]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    flow = clip.truth.flow[t]
    return cv2.remap(clip.frames[t], x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC).astype(np.float64)


def error(clip, t, where):
    first = clip.frames[0].astype(np.float64)
    return np.abs(pulled_back(clip, t) - first)[where].mean(), np.abs(clip.frames[t] - first)[where].mean()


@pytest.mark.parametrize("identity", [0, 4, 11, 18])
def test_true_flow_explains_the_frames(identity):
    actions = {"1": 0.4, "2": 0.35, "12": 0.4, "17": 0.3}
    clip = render_clip(sample_identity(identity), actions, times_ms=[0, 130], seed=3, furrows=False)
    moving = clip.truth.valid[1] & (np.linalg.norm(clip.truth.skin_flow[1], axis=-1) > 0.4)
    assert moving.sum() > 500
    with_flow, without = error(clip, 1, moving)
    assert with_flow < 1.0 and without > 2.5 * with_flow


def test_true_flow_explains_head_motion_too():
    clip = render(2, {"4": 0.3}, frames=25, head_drift=3.0, furrows=False, seed=1)
    with_flow, without = error(clip, 24, clip.truth.valid[24])
    assert with_flow < 1.0 < 0.5 * without
    np.testing.assert_allclose(
        (clip.truth.rigid + clip.truth.skin_flow)[24][clip.truth.masks["skin"]],
        clip.truth.flow[24][clip.truth.masks["skin"]],
        atol=0.08,
    )


@pytest.mark.parametrize("first_pair", range(0, 17, 6))
def test_jacobian_is_positive_up_to_macro_strength(first_pair):
    fields = face_of(sample_identity(first_pair)).fields
    for unit in UNITS:
        for sheet in fields.unit(unit, "L") + fields.unit(unit, "R"):
            dy, dx = np.gradient(sheet, axis=(0, 1))
            assert ((1 + dx[..., 0]) * (1 + dy[..., 1]) - dx[..., 1] * dy[..., 0]).min() > 0.05, unit
    for combination in ("6 12", "1 2 5", "4 7 9", "15 17", "25 26", "4 7 23", "10 17", "12 14"):
        field = fields.total(parse_actions({unit: 0.42 for unit in combination.split()}))
        for sheet in field:
            dy, dx = np.gradient(sheet, axis=(0, 1))
            assert ((1 + dx[..., 0]) * (1 + dy[..., 1]) - dx[..., 1] * dy[..., 0]).min() > 0.2, combination


def test_same_seed_same_clip_other_seed_other_take():
    camera = dict(noise=4.0, head_drift=2.0, flicker=0.01, jpeg=70)
    first, again, other = (render(5, {"9": 0.3}, frames=3, seed=seed, **camera) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.truth.flow, again.truth.flow)
    assert (first.frames != other.frames).any()


def test_attributes_have_their_own_streams_and_overrides_change_nothing_else():
    person, look = sample_identity(3), sample_identity(3, hair="fringe", background=0.2)
    assert look.hair == "fringe" and look.skin_tone == person.skin_tone and look.iris == person.iris
    with pytest.raises(ValueError, match="unknown identity attribute 'hat'"):
        sample_identity(3, hat=True)
    with pytest.raises(ValueError, match="bald"):
        sample_identity(3, hair="mohawk")


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_moves_its_places_as_the_table_says(unit):
    identity = sample_identity(7, **BARE)
    clip = render_clip(identity, {f"{unit}L": 0.4}, times_ms=[0, 130], camera=Camera(pose=0))
    face, flow = face_of(identity), clip.truth.skin_flow[1]
    place = {UPPER: -0.015, LOWER: 0.015}
    for anchor in ANCHORS[unit][:1]:  # the place that defines the unit
        x, y = face.fields.places[anchor.place]
        x += 0.06 if x == 0 else 0  # a midline place is shared by both sides
        sheet = {"U": UPPER, "L": LOWER, "B": UPPER}[anchor.sheet]
        y += place[sheet] if "lip" in anchor.place else 0
        column, row = np.rint(face.geometry.pixels(np.array([x, y]))).astype(int)
        found = flow[row - 1 : row + 2, column - 1 : column + 2].mean((0, 1))
        if anchor.place.endswith("lid"):  # half of the patch is eye
            found = flow[row - 3 : row + 4, column]
            found = found[np.abs(found).sum(-1).argmax()]
        expected = np.array([anchor.outward, anchor.down], float)
        assert found @ expected / (np.linalg.norm(found) * np.linalg.norm(expected)) > 0.85
        assert np.linalg.norm(found) > 0.1
    other_side = np.arange(128) < 54
    assert np.abs(flow[:, other_side]).max() < 0.02  # the person's right is at smaller x and stays still


def test_sides_are_mirrored_and_the_midline_does_not_move_twice():
    fields = face_of(sample_identity(1)).fields
    for unit in UNITS:
        left, right = fields.unit(unit, "L"), fields.unit(unit, "R")
        mirrored = right[:, :, ::-1] * np.array([-1, 1], np.float32)
        np.testing.assert_allclose(left, mirrored, atol=2e-3)
    for unit, sheet, largest in ((1, UPPER, 0.105), (17, UPPER, 0.075), (25, LOWER, 0.060), (26, LOWER, 0.130)):
        both = fields.unit(unit, "L")[sheet] + fields.unit(unit, "R")[sheet]
        assert np.abs(both[..., 1]).max() <= 1.001 * largest * fields.geometry.scale


def test_lips_part_and_nothing_tears_beyond_the_mouth():
    face = face_of(sample_identity(6, **BARE))
    upper, lower = face.fields.total(parse_actions({"25": 0.4}))
    column, row = np.rint(face.geometry.pixels(np.array([0.0, face.geometry.mouth_y]))).astype(int)
    assert lower[row, column, 1] - upper[row, column, 1] > 1.0
    beyond = int(face.geometry.pixels(np.array([face.geometry.mouth_half + 0.01, 0]))[0]) + 1
    np.testing.assert_allclose(upper[:, beyond:], lower[:, beyond:], atol=1e-5)
    clip = render_clip(face.identity, {"25": 0.4}, times_ms=[0, 130], camera=Camera(pose=0))
    assert clip.truth.flow[1, row + 2, column, 1] > 0.6 > clip.truth.flow[1, row - 3, column, 1]
    pressed = render_clip(face.identity, {"24": 0.4}, times_ms=[0, 130], camera=Camera(pose=0))
    assert not pressed.truth.valid[1, row - 1 : row + 3, column].all()  # the lower lip disappears under the upper one


def test_neutral_frame_is_as_sharp_as_the_others():
    identity = sample_identity(2, **BARE)
    clip = render_clip(
        identity,
        {"12": 0.3, "1": 0.3},
        times_ms=np.arange(0, 300, 15),
        furrows=False,
        seed=4,
        camera=Camera(head_drift=1.5),
    )
    sharp = np.array(
        [
            cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_32F)[20:110, 30:98].std()
            for frame in clip.frames
        ]
    )
    assert abs(sharp[0] / np.median(sharp) - 1) < 0.03


def test_micro_motion_has_the_size_of_micro_motion():
    sizes = []
    for index in range(6):
        draw = rng(0, "test/micro", index)
        actions = {str(unit): float(draw.uniform(0.08, 0.42)) for unit in draw.choice(UNITS, 2, replace=False)}
        clip = render_clip(sample_identity(index), actions, times_ms=[0, 130], truth="apex", truth_index=1)
        sizes.append(np.percentile(np.linalg.norm(clip.truth.skin_flow[1], axis=-1), 99.5))
    assert 0.5 < np.median(sizes) < 2.1 and max(sizes) < 3.0


def test_truth_rows_follow_what_was_asked():
    who, times = sample_identity(0), [0, 130, 200]
    apex = render_clip(who, {"12": 0.3}, times_ms=times, truth="apex", truth_index=1)
    assert (
        apex.truth.flow.shape == (3, 128, 128, 2)
        and np.isnan(apex.truth.flow[2]).all()
        and np.isfinite(apex.truth.flow[1]).all()
    )
    none = render_clip(who, {"12": 0.3}, times_ms=times, truth="none")
    assert none.truth.flow.shape[0] == 0 and none.truth.landmarks.shape == (3, 68, 2)
    np.testing.assert_array_equal(none.frames, apex.frames)
    full = render_clip(who, {"12": 0.3}, times_ms=times)
    assert (
        not full.truth.flow[0].any()
        and full.truth.intensities.shape == (3, 17, 2)
        and full.truth.furrows.shape == (3, len(FURROWS))
    )
    np.testing.assert_array_equal(full.truth.flow[1], apex.truth.flow[1])
    skin = render_clip(who, {"12": 0.3}, times_ms=times, truth="skin", truth_index=1)
    np.testing.assert_array_equal(skin.truth.skin_flow, apex.truth.skin_flow)
    assert skin.truth.flow.shape[0] == skin.truth.valid.shape[0] == 0 and not skin.truth.masks


@pytest.mark.parametrize("show", [{}, dict(head_drift=20.0, pose=6.0), dict(distractors=("blink", "gaze"))])
def test_a_layer_is_empty_where_it_is_not_drawn(show, monkeypatch):
    """Drawing every layer everywhere gives the same bytes as drawing it where it can show."""
    film = dict(actions={"12": 0.5, "26": 0.6, "1": 0.5}, frames=3, fps=20.0, seed=3, **show)
    quick = [render(identity, **film) for identity in (3, 12)]
    everywhere = {label: np.array([(0, 0), (256, 256)]) for label in (UNDER, SKIN_LOWER, SKIN_UPPER, FRONT)}
    monkeypatch.setattr(Layers, "boxes", property(lambda layers: everywhere))
    for clip, identity in zip(quick, (3, 12)):
        whole = render(identity, **film)
        np.testing.assert_array_equal(clip.frames, whole.frames)
        np.testing.assert_array_equal(clip.truth.valid, whole.truth.valid)


def test_landmarks_move_with_the_skin():
    clip = render(8, {"12L": 0.4}, frames=27, seed=2)
    moved = clip.truth.landmarks[26] - clip.truth.landmarks[0]
    assert (
        moved[54, 0] > 1.0 and moved[54, 1] < -0.8 and np.abs(moved[48]).max() < 0.05
    )  # 54 is the person's left corner
    assert clip.truth.landmarks[0, 45, 0] > clip.truth.landmarks[0, 36, 0]
    corner = np.rint(clip.truth.landmarks[0, 54]).astype(int)
    np.testing.assert_allclose(clip.truth.flow[26, corner[1], corner[0] + 1], moved[54], atol=0.25)


@pytest.mark.parametrize("name", ["blink", "gaze"])
def test_eye_distractors_stay_in_the_eyes_and_are_not_called_valid(name):
    times = np.arange(0, 300, 20)
    still, clip = (
        render_clip(sample_identity(9, **BARE), {}, times_ms=times, distractors=d, seed=1) for d in ((), (name,))
    )
    change = np.abs(clip.frames.astype(int) - still.frames).max(-1)
    t = int(change.sum((1, 2)).argmax())
    eyes = cv2.dilate(clip.truth.masks["eyes"].astype(np.uint8), np.ones((19, 19))).astype(bool)
    assert change[t][eyes].max() > 25 and change[t][~eyes].max() <= 12
    changed = clip.truth.masks["eyes"] & (change[t] > 40)
    if name == "blink":
        assert clip.truth.valid[t][changed].mean() < 0.1
    else:  # the iris moves as the flow says
        assert np.linalg.norm(clip.truth.flow[t][changed], axis=-1).max() > 0.5 and clip.truth.valid[t][changed].any()
    assert not clip.truth.intensities.any()


def test_macro_and_neutral():
    who = sample_identity(9)
    macro = render_clip(who, {"12": 0.2, "6": 0.1}, times_ms=[0, 130], distractors=("macro",), truth="none")
    assert macro.truth.intensities[1].max() >= 0.8
    assert not render_clip(
        who, {"12": 0.2}, times_ms=[0, 130], distractors=("neutral",), truth="none"
    ).truth.intensities.any()


def test_furrows_break_brightness_constancy_and_can_be_switched_off():
    who = sample_identity(13, **BARE, age=0.6)
    errors = []
    for furrows in (True, False):
        clip = render_clip(who, {"1": 0.9, "2": 0.9}, times_ms=[0, 130], furrows=furrows)
        forehead = np.zeros((128, 128), bool)
        forehead[30:46, 45:83] = True
        errors.append(error(clip, 1, forehead & clip.truth.valid[1])[0])
    assert errors[0] > 1.5 * errors[1]
    amounts = furrow_amounts(parse_actions({"12L": 1.0})[None])[0]
    assert amounts[FURROWS.index("nasolabial_L")] > 0.5 and amounts[FURROWS.index("nasolabial_R")] == 0


def test_timing_follows_the_recipe():
    draw = np.random.default_rng(0)
    for _ in range(200):
        timing = Timing.sample(draw)
        assert (
            60 <= timing.onset_ms <= 250
            and 10 <= timing.hold_ms <= 120
            and timing.offset_ms >= 60
            and timing.total_ms <= 500
        )
        peak = parse_actions({"4": 0.3})
        courses = timing.intensities(
            peak, np.array([0.0, timing.onset_ms, timing.onset_ms + timing.hold_ms, timing.total_ms])
        )
        np.testing.assert_allclose(courses[:, UNITS.index(4), 0], [0, 0.3, 0.3, 0], atol=1e-6)


def test_unknown_things_are_named():
    with pytest.raises(ValueError, match="1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26"):
        render(0, {"13": 0.3})
    with pytest.raises(ValueError, match="outside 0..1"):
        render(0, {"12": 1.3})
    with pytest.raises(ValueError, match="give it once"):
        render(0, {"12": 0.3, "12L": 0.2})
    with pytest.raises(TypeError, match="no field of the camera"):
        render(0, {}, nois=2.0)
    with pytest.raises(ValueError, match="first instant must be 0"):
        render_clip(sample_identity(0), {}, times_ms=[5.0, 10.0])
    assert SIDES == ("L", "R")


def test_gray_camera_and_other_sizes():
    clip = render(1, {"12": 0.3}, frames=2, size=64, gray=True, noise=3.0)
    assert clip.frames.shape == (2, 64, 64, 3) and clip.frames.dtype == np.uint8
    assert (clip.frames[..., 0] == clip.frames[..., 2]).all()
    small, large = (render(1, {}, frames=1, size=size, pose=0.0).frames[0] for size in (64, 128))
    assert (
        np.abs(cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 4.0
    )  # the same person


def test_most_faces_are_found_by_a_standard_cascade():
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = 0
    for index in range(12):  # 24 of 24 when measured by hand; half of them keep the test quick
        frame = render_clip(sample_identity(index), {}, times_ms=[0.0], truth="none").frames[0]
        gray = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (256, 256), interpolation=cv2.INTER_LINEAR)
        found += len(cascade.detectMultiScale(gray, 1.1, 3, minSize=(90, 90))) > 0
    assert found >= 11
