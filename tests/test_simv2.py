"""`sim-v2`: sim-v1 stays as it was, each device does what it says and nothing else, and what moves is known."""

import dataclasses
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from deft import paths
from deft.clips import benchmark, freeze, specs
from deft.clips.facs import FURROWS, SIDES, UNIT_INDEX, UNITS
from deft.clips.simulator import Camera, cues, gains, pose, pull, render, render_clip, sample_identity
from deft.clips.simulator.appearance import face_of
from deft.clips.simulator.devices import CONTROLS, DEVICES
from deft.clips.simulator.motion import parse_actions

BEFORE = "ed58809"  # the last commit without any device
CHILD = """
import hashlib, json
from deft.clips import benchmark
spec = benchmark.BenchmarkSpec()
plans = benchmark.plan_bench(spec)[5::401] + benchmark.plan_corpus(spec, 1, 4)[3:]
stored = {}
for plan in plans:
    arrays = benchmark.render_plan(plan)[1]
    stored[plan.clip] = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()
print(json.dumps(stored))
"""
BARE = dict(glasses="none", beard="none", hair="bald")
REST = dict(times_ms=[0.0, 150.0], camera=Camera(pose=0.0), truth="apex", truth_index=1)


def person(number, *devices, **looks):
    return sample_identity(number, devices=devices, **BARE, **looks)


@pytest.fixture(scope="module")
def spec():
    return benchmark.spec("sim-v2")


# ---------------------------------------------------------------- sim-v1 stays


def test_clips_of_a_run_say_of_which_benchmark_they_are(tmp_path, spec):
    with pytest.raises(FileNotFoundError, match="run 01_clips first"):
        benchmark.named_in(tmp_path)
    benchmark.name_in(tmp_path, spec)
    assert benchmark.named_in(tmp_path) == "sim-v2"


def test_the_first_benchmark_is_what_it_was():
    first = benchmark.spec("sim-v1")
    assert first == benchmark.BenchmarkSpec() and first.hash == "8688610cb48de279" and first.devices == ()
    assert "devices" not in dict(benchmark.plan_bench(first)[0].appearance)
    with pytest.raises(ValueError, match="'sim-v3' is not one of sim-v1, sim-v2"):
        benchmark.spec("sim-v3")


def test_clips_of_the_first_benchmark_are_byte_equal_to_those_of_the_code_before(tmp_path):
    archive = subprocess.run(["git", "archive", BEFORE, "deft"], cwd=paths.ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip("a download without the project's history has no code to compare with")
    subprocess.run(["tar", "-x", "-C", tmp_path], input=archive.stdout, check=True)
    stored = []
    for root in (tmp_path, paths.ROOT):
        command = [sys.executable, "-c", CHILD]
        done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        stored.append(json.loads(done.stdout))
    assert stored[0] == stored[1] and len(stored[0]) >= 3


# ---------------------------------------------------------------- the specification


def test_ninety_six_people_and_every_device_a_switch(spec):
    plans = benchmark.plan_bench(spec)
    assert len({p.subject for p in plans}) == 96 and spec.devices == tuple(DEVICES)
    assert 0.03 < np.mean([p.distractor == "chew" for p in plans]) < 0.09
    less = specs.without(spec, "pose", "cues")
    assert set(spec.devices) - set(less.devices) == {"pose", "cues"} and less.version != spec.version
    assert [p.actions for p in benchmark.plan_bench(less)] == [p.actions for p in plans]
    for name, off in CONTROLS.items():
        assert not set(off) & set(specs.control(name).devices)
    with pytest.raises(ValueError, match="has no device 'pose'"):
        specs.without(less, "pose")
    with pytest.raises(ValueError, match="'tail' is not one of furrows"):
        sample_identity(0, devices=("tail",))


def test_shards_of_the_second_hold_what_only_it_has(spec):
    plan = next(p for p in benchmark.plan_bench(spec) if "24" in dict(p.actions))
    arrays = benchmark.render_plan(plan)[1]
    assert arrays["cues_true"].shape == (len(cues.CUES),) and arrays["cues_true"][cues.CUES.index("lip_red")] > 0
    assert (
        arrays["gains_true"].shape == (2, 17)
        and "gains_true"
        not in benchmark.render_plan(dataclasses.replace(plan, appearance=benchmark.fields_of(spec.looks[0])))[1]
    )


# ---------------------------------------------------------------- each device


@pytest.mark.parametrize(
    "unit, where", [("5", "eyes"), ("7", "eyes"), ("14", "mouth"), ("17", "chin"), ("23", "mouth"), ("24", "mouth")]
)
def test_a_cue_changes_the_apex_where_its_unit_is_and_moves_nothing(unit, where):
    with_cues, without = (
        render_clip(person(3, *d), {unit: 0.4}, furrows=True, **REST) for d in (("furrows", "cues"), ("furrows",))
    )
    np.testing.assert_array_equal(with_cues.truth.skin_flow, without.truth.skin_flow)
    np.testing.assert_array_equal(with_cues.frames[0], without.frames[0])
    change = np.abs(with_cues.frames[1].astype(float) - without.frames[1]).max(-1)
    points = with_cues.truth.landmarks[0]
    rows = {"eyes": points[36:48], "mouth": points[48:68], "chin": points[[8, 57, 7, 9]]}[where]
    y, x = np.nonzero(change > 4)
    low, high = rows.min(0) - 9, rows.max(0) + 9
    assert len(x) > 8 and ((x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])).mean() > 0.9


def test_pressed_lips_lose_their_red():
    clip = render_clip(person(3, "cues", skin_tone=0.1), {"24": 0.6}, **REST)
    lips = np.zeros((128, 128), np.uint8)
    cv2.fillPoly(lips, [np.rint(clip.truth.landmarks[1, 48:60]).astype(np.int32)], 1)
    red = [(frame[..., 0].astype(float) - frame[..., 1])[lips > 0].mean() for frame in clip.frames]
    assert red[1] < 0.9 * red[0]


def test_gains_scale_displacement_and_furrows_and_not_the_truth_of_the_muscle():
    for number in range(4):
        who = person(number, "furrows", "gains", fat=0.5, face_width=1.0, jaw=1.0)
        clip = render_clip(who, {"12": 0.2}, **REST)
        plain = render_clip(dataclasses.replace(who, devices=("furrows",)), {"12": 0.2}, **REST)
        moved, folded = gains.of(who)[:, UNIT_INDEX[12]]
        corner = [np.linalg.norm(c.truth.landmarks[1, 54] - c.truth.landmarks[0, 54]) for c in (clip, plain)]
        assert corner[0] / corner[1] == pytest.approx(moved, rel=0.02)
        place = FURROWS.index("nasolabial_L")
        assert clip.truth.furrows[1, place] / plain.truth.furrows[1, place] == pytest.approx(folded, rel=1e-4)
        np.testing.assert_array_equal(clip.truth.intensities, plain.truth.intensities)


def test_gains_are_lognormal_with_the_spread_that_is_stated_and_show_at_rest():
    people = [sample_identity(number, devices=("gains",)) for number in range(300)]
    log = np.log([gains.of(who) for who in people])  # (people, 2, 17)
    assert (np.abs(log.std(0) - 0.6) < 0.15).all()
    assert np.abs(log.mean(0) - np.log([[gains.MOVES["usual"]], [gains.FOLDS["usual"]]])).max() < 0.12
    seen = np.array([[gains.visible(who, effect) for effect in (gains.MOVES, gains.FOLDS)] for who in people])
    for kind in range(2):
        share = [np.corrcoef(seen[:, kind, u], log[:, kind, u])[0, 1] ** 2 for u in range(len(UNITS))]
        assert min(share) > 0.4  # what age, thickness and fat tell of a gain
    age = np.array([who.age for who in people])
    assert np.corrcoef(age, log[:, 0].mean(1))[0, 1] < -0.2 < 0.3 < np.corrcoef(age, log[:, 1].mean(1))[0, 1]


def test_no_person_folds_over_themselves():
    fields = face_of(person(2, *DEVICES)).fields
    for unit in UNITS:
        for sheet in gains.STRETCH * (fields.unit(unit, "L") + fields.unit(unit, "R")):
            dy, dx = np.gradient(sheet, axis=(0, 1))
            assert ((1 + dx[..., 0]) * (1 + dy[..., 1]) - dx[..., 1] * dy[..., 0]).min() > 0.05, unit


def test_the_corner_of_a_hanging_mouth_is_pulled_more_steeply():
    def path(tilt):
        who = person(1, "pull", mouth_tilt=tilt)
        landmarks = render_clip(who, {"12": 0.4}, **REST).truth.landmarks
        dx, dy = landmarks[1, 54] - landmarks[0, 54]
        return np.degrees(np.arctan2(dy, dx)), pull.bend(who, 12)[0]

    (up, bent_up), (down, bent_down) = path(0.02), path(-0.02)
    assert down < up and down - up == pytest.approx(bent_down - bent_up, abs=3.0)
    assert all(
        abs(pull.bend(sample_identity(k, devices=("pull", "gains")), u)[0]) <= pull.LARGEST
        for k in range(50)
        for u in UNITS
    )


def test_a_turn_is_no_similarity_and_the_truth_knows_it():
    who = person(5, "pose")
    times = np.array([0.0, 300.0])
    turns = np.degrees([pose.angles(who.index, who.devices, times, seed) for seed in range(200)])
    assert not turns[:, 0].any() and turns[:, 1].std() == pytest.approx(pose.DEGREES, rel=0.2)
    seed = int(np.flatnonzero(np.abs(turns[:, 1]).max(1) > 1)[0])
    film = {**REST, "times_ms": times, "seed": seed, "furrows": False}
    clip = render_clip(who, {"4": 0.3}, **film)
    skin = clip.truth.masks["skin"]
    y, x = np.nonzero(skin)
    flow = clip.truth.rigid[1][skin]
    columns = np.block([[np.stack([x, -y, np.ones_like(x), 0 * x], 1)], [np.stack([y, x, 0 * x, np.ones_like(x)], 1)]])
    target = np.concatenate([flow[:, 0], flow[:, 1]])
    left = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    assert np.abs(left).max() > 0.25  # px: parallax
    flat = render_clip(dataclasses.replace(who, devices=()), {"4": 0.3}, **film)
    np.testing.assert_allclose(clip.truth.skin_flow, flat.truth.skin_flow, atol=1e-5)


def test_true_flow_explains_the_frames_of_a_turning_chewing_head():
    who = sample_identity(7, devices=tuple(d for d in DEVICES if d not in ("furrows", "cues")))
    times = [0.0, 280.0]
    clip = render_clip(
        who, {"1": 0.3, "12": 0.3}, times_ms=times, seed=3, truth_index=1, distractors=("chew",), truth="apex"
    )
    moving = clip.truth.valid[1] & (np.linalg.norm(clip.truth.flow[1], axis=-1) > 0.4)
    x, y = np.meshgrid(*2 * [np.arange(128, dtype=np.float32)])
    back = cv2.remap(clip.frames[1], x + clip.truth.flow[1, ..., 0], y + clip.truth.flow[1, ..., 1], cv2.INTER_CUBIC)
    first = clip.frames[0].astype(float)
    explained, without = (np.abs(one - first)[moving].mean() for one in (back, clip.frames[1].astype(float)))
    assert moving.sum() > 500 and explained < 1.2 and without > 2 * explained


def test_chewing_breath_and_a_blink_move_skin_without_a_unit():
    calm, idle = person(4), person(4, "idle")
    for distractors in ((), ("chew",)):
        still, moved = (render_clip(who, {}, **REST, seed=2, distractors=distractors).truth for who in (calm, idle))
        assert np.abs(moved.skin_flow[1] - still.skin_flow[1]).max() > 0.02 and not moved.intensities.any()
    chewed = render_clip(calm, {}, **REST, seed=2, distractors=("chew",)).truth.skin_flow[1]
    assert np.linalg.norm(chewed, axis=-1).max() > 0.15
    blink = [face_of(who).fields.total(np.zeros((17, 2)), 1.0)[0, 72:80, 80:90] for who in (calm, idle)]
    assert np.linalg.norm(blink[1], axis=-1).mean() > 1.3 * np.linalg.norm(blink[0], axis=-1).mean()  # the cheek


def test_resting_lines_are_deep_for_some_and_belong_to_the_person(spec):
    people = [sample_identity(number, devices=("lines",)) for number in range(200)]
    share = (np.array([who.standing for who in people]) > 0).mean(0)
    assert (share > 0.05).all() and (share < 0.45).all()
    plans = [p for p in benchmark.plan_bench(spec) if p.subject == "sa01"]
    assert len({benchmark.identity_of(p) for p in plans}) == 1  # whatever the emotion of the clip


def test_colours_go_together():
    people = [sample_identity(number, devices=("colours",)) for number in range(300)]
    dark, light = ([p for p in people if test(p.skin_tone)] for test in (lambda t: t > 0.7, lambda t: t < 0.25))
    assert {p.hair_colour for p in dark} <= {"black", "dark", "brown", "grey"} and all(p.iris < 2 for p in dark)
    assert {"blond", "red"} & {p.hair_colour for p in light} and any(p.iris > 2 for p in light)
    assert all(p.age > 0.5 for p in people if p.hair_colour == "grey")


def test_a_margin_stands_around_the_face():
    wide, small = (render(2, {}, frames=1, pose=0.0, devices=d).truth.landmarks[0] for d in ((), ("margin",)))
    assert np.ptp(small[:, 0]) == pytest.approx(0.9 * np.ptp(wide[:, 0]), rel=0.01)


def test_without_texture_nothing_but_displacement_is_left():
    devices = specs.control("no texture").devices
    clip = render_clip(person(3, *devices), {"12": 0.4, "5": 0.4, "24": 0.3}, **REST)
    assert not clip.truth.furrows.any() and not cues.amounts(person(3, *devices), clip.truth.intensities).any()


def test_amounts_of_cues_follow_their_side():
    found = cues.amounts(person(0, "cues"), parse_actions({"14L": 0.5})[None])[0]
    assert found[cues.CUES.index("dimple_L")] > 0.2 and np.count_nonzero(found) == 1
    assert SIDES == ("L", "R")


# ---------------------------------------------------------------- the freeze


def test_frozen_record_of_the_second_matches(spec):
    assert set(freeze.check_frozen(spec)) == {"version", "spec", "plan", "held_back", "corpus"}


def test_a_moved_device_is_named_and_a_control_is_no_frozen_benchmark(spec):
    with pytest.raises(ValueError, match="sim-v2 is frozen, yet it differs from .*sim-v2.json: devices"):
        freeze.check_frozen(dataclasses.replace(spec, devices=spec.devices[:-1]))
    with pytest.raises(ValueError, match="was never frozen; frozen are sim-v1, sim-v2"):
        freeze.check_frozen(specs.control("equal gains"))
