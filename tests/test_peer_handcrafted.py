"""The hand-crafted peers: worked numbers of each feature, and that each learns motion in one region."""

import cv2
import numpy as np
import pytest

from deft.clips.keyframes import APEX, COUNT
from deft.clips.simulator.identity import Geometry, sample_identity
from deft.evaluation.peers import biwoof, dynamic_image, handcrafted, lbptop, linear, mdmo, svm
from deft.evaluation.peers.inputs import Inputs
from deft.motion import flow

CLASSES = ("down", "right", "up")
TOWARDS = {"down": (0.0, 1.0), "right": (1.0, 0.0), "up": (0.0, -1.0)}
COURSE = (0.0, 0.3, 0.75, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0)  # rise, hold, fall
PEERS = {"lbptop": lbptop, "mdmo": mdmo, "biwoof": biwoof, "dynamic-image": dynamic_image}


def made_up(labels, seed=0, amount=2.5, choosing=0):
    """Takes of one textured face on which the person's left lip corner moves by class; the first `choosing` may
    choose.
    """
    generator = np.random.default_rng(seed)
    geometry = Geometry(sample_identity(3))
    landmarks = geometry.pixels(geometry.landmarks()).astype(np.float32)
    y, x = np.indices((128, 128), dtype=np.float32)
    around = np.exp(-((x - landmarks[54, 0]) ** 2 + (y - landmarks[54, 1]) ** 2) / (2 * 9.0**2))
    parts = {"gray": [], "rise": [], "fall": []}
    texture = cv2.GaussianBlur(generator.normal(0, 1, (128, 128)).astype(np.float32), (0, 0), 2.5)
    onset = np.clip(128 + 40 * texture / texture.std(), 0, 255)
    for label in labels:
        field = (amount * around[..., None] * np.array(TOWARDS[label], np.float32)).astype(np.float32)
        frames = np.stack([flow.warp(onset, field * share) for share in COURSE])
        parts["gray"].append(np.clip(frames + generator.normal(0, 1.5, frames.shape), 0, 255).astype(np.uint8))
        parts["rise"].append(field + generator.normal(0, 0.05, field.shape).astype(np.float32))
        parts["fall"].append(-field)
    n = len(labels)
    return Inputs(
        landmarks=np.repeat(landmarks[None], n, 0),
        courses=np.zeros((n, COUNT - 1, 36, 5), np.float32),
        may_choose=np.arange(n) < choosing,
        **{name: np.stack(clips) for name, clips in parts.items()},
    )


@pytest.fixture(scope="module")
def clips():
    """-> (labels, Inputs): 30 clips, the first 9 may choose, the last 9 are for the test."""
    labels = np.array(CLASSES * 10)
    return labels, made_up(labels, choosing=9)


# ---------------------------------------------------------------- LBP-TOP


def test_lbp_codes_of_worked_images():
    flat, peak, ramp = np.full((3, 9, 9), 7), np.zeros((3, 9, 9)), np.tile(np.arange(9), (3, 9, 1))
    peak[:, 4, 4] = 1
    assert (lbptop.codes(flat) == 255).all()
    assert lbptop.codes(peak)[0, 0, 1, 1] == 0
    assert (lbptop.codes(ramp)[0] == 199).all()  # right, up-right, up, down, down-right are at least as bright


def test_bit_p_lies_at_angle_45_p_anticlockwise_from_right():
    for bit, (right, up) in enumerate([(3, 0), (2, 2), (0, 3), (-2, 2), (-3, 0), (-2, -2), (0, -3), (2, -2)]):
        image = np.zeros((3, 7, 7))
        image[:, 3, 3], image[:, 3 - up, 3 + right] = 1, 2
        assert lbptop.codes(image)[0, 0, 0, 0] == 1 << bit


def test_temporal_planes_see_change_and_the_spatial_plane_does_not():
    brighter = np.arange(5)[:, None, None] * np.ones((5, 12, 12))  # each frame brighter than the last, flat in space
    xy, xt, yt = lbptop.codes(brighter)
    assert (xy == 255).all() and (xt == xt[0, 0, 0]).all() and (xt == yt).all()
    later = sum(1 << bit for bit in (0, 4, 5, 6, 7))  # down in a temporal plane is later: brighter
    assert xt[0, 0, 0] == later


def test_four_neighbours_at_radius_one_by_hand():
    image = np.array([[9, 5, 9], [1, 4, 4], [9, 3, 9]])  # right 4 >= 4, up 5 >= 4, left 1, down 3
    assert lbptop.codes(np.stack([image] * 3), (1, 1, 1), 4)[0].ravel().tolist() == [0b0011]


def test_uniform_patterns():
    bins = lbptop.uniform()
    assert bins.max() + 1 == 59 and len(set(bins)) == 59
    assert bins[0b01010101] == bins[0b00100100] == 58  # more than two changes
    assert bins[0] == 0 and bins[255] == 57 and bins[199] != 58


def test_planes_sum_to_the_interior_voxels_and_blocks_to_their_share():
    volume = np.random.default_rng(0).integers(0, 256, (5, 46, 31))
    counts = lbptop.histograms(volume)
    assert counts.shape == (3, 25, 59)
    assert counts.sum(axis=(1, 2)).tolist() == [3 * 40 * 25] * 3
    assert (counts.sum(axis=2) == 3 * 8 * 5).all()


def test_a_volume_without_interior_is_refused():
    with pytest.raises(ValueError, match=r"at least \(3, 7, 7\)"):
        lbptop.codes(np.zeros((5, 6, 9)))


# ---------------------------------------------------------------- MDMO


def uniform_flow(*vectors):
    """(T, 8, 8, 2): one vector per frame, everywhere."""
    return np.stack([np.full((8, 8, 2), vector, float) for vector in vectors])


def test_mdmo_of_worked_fields():
    region = np.ones((1, 8, 8))
    length, angle = mdmo.mdmo(mdmo.main_direction(uniform_flow((1, 0)), region))
    assert (length[0], angle[0]) == pytest.approx((1, 0))
    length, angle = mdmo.mdmo(mdmo.main_direction(uniform_flow((1, 0), (0, 1)), region))
    assert (length[0], np.degrees(angle[0])) == pytest.approx((0.70711, 45), abs=1e-4)
    assert mdmo.vector(uniform_flow((3, 0)), region) == pytest.approx([0.8, 0])  # over the largest, and weighted


def test_minus_40_degrees_keeps_its_bin():
    field = uniform_flow((1, 0))
    slope = np.radians(-40)
    field[0, :5] = 2 * np.array([np.cos(slope), np.sin(slope)])  # five of eight rows
    ((u, v),) = mdmo.main_direction(field, np.ones((1, 8, 8)))[0]
    assert (np.hypot(u, v), np.degrees(np.arctan2(v, u))) == pytest.approx((2, -40))
    field[0, :5] = 0, 0
    field[0, :3] = 2 * np.array([np.cos(slope), np.sin(slope)])  # the smaller crowd has no say, however fast
    field[0, 3:] = 1, 0
    assert mdmo.main_direction(field, np.ones((1, 8, 8)))[0, 0] == pytest.approx([1, 0])


def test_a_direction_on_both_sides_of_180_degrees_is_one_direction():
    field = uniform_flow((1, 0))
    field[0, ::2], field[0, 1::2] = (-1, 0.1), (-1, -0.1)
    u, v = mdmo.main_direction(field, np.ones((1, 8, 8)))[0, 0]
    assert u < -0.99 and abs(v) < 1e-9


def test_regions_are_read_apart_and_a_still_clip_gives_zeros():
    field, regions = np.zeros((1, 8, 8, 2)), np.zeros((2, 8, 8))
    regions[0, :4], regions[1, 4:] = 1, 1
    field[0, :4], field[0, 4:] = (0, 2), (1, 0)
    assert mdmo.vector(field, regions) == pytest.approx([0.8, 0.4, 0.1, 0.0])  # down is a quarter turn: .2 times .5
    assert (mdmo.vector(np.zeros((1, 8, 8, 2)), regions) == 0).all()


# ---------------------------------------------------------------- Bi-WOOF


def test_uniform_translation_gives_the_zero_vector():
    assert (biwoof.vector(np.full((50, 50, 2), (2.0, -1.0))) == 0).all()


def test_a_moving_block_fills_its_own_numbers():
    field = np.zeros((50, 50, 2))
    y, x = np.indices((50, 50))
    field[..., 0] = 2 * np.exp(-((x - 25) ** 2 + (y - 15) ** 2) / 4)
    out = biwoof.vector(field).reshape(5, 5, 8)
    assert out.shape == (5, 5, 8) and np.linalg.norm(out) == pytest.approx(1)
    assert out[1, 2, 0] == pytest.approx(1, abs=1e-3)
    turned = biwoof.vector(field[..., ::-1]).reshape(5, 5, 8)  # the same, downwards: a quarter turn is two bins on
    assert turned[1, 2, 2] == pytest.approx(1, abs=1e-3)


def test_two_directions_of_one_block_share_by_length():
    field = np.zeros((10, 10, 2))
    field[0, 0], field[0, 1] = (3, 0), (0, -1)  # a pixel to the right, one up, both in the first of the blocks of 2 px
    first = biwoof.vector(field).reshape(25, 8)[0]
    assert first[0] / first[6] == pytest.approx(3) and first.sum() == pytest.approx(first[0] + first[6])


# ---------------------------------------------------------------- dynamic images


def test_rank_pooling_weights():
    assert dynamic_image.weights(3) == pytest.approx([-4 / 3, 2 / 3, 2 / 3])
    assert dynamic_image.weights(5) == pytest.approx([-3.7, 0.3, 1.3, 1.3, 0.8])
    assert all(abs(dynamic_image.weights(count).sum()) < 1e-9 for count in range(2, 30))


def test_a_static_clip_has_no_dynamic_image_and_a_brightening_one_is_positive():
    still = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 20, 20)), 9, 0)
    assert np.abs(dynamic_image.dynamic_image(still)).max() < 1e-3
    brightening = np.arange(9.0)[:, None, None] * np.ones((9, 20, 20))
    assert (dynamic_image.dynamic_image(brightening) > 0).all()
    assert dynamic_image.dynamic_image(brightening[::-1]) == pytest.approx(-dynamic_image.dynamic_image(brightening))
    with pytest.raises(ValueError, match="at least 2"):
        dynamic_image.dynamic_image(still[:1])


def test_the_fall_undoes_the_rise_and_both_fill_the_same_numbers(clips):
    _, inputs = clips
    whole, rise, fall = dynamic_image.phases(inputs, 0)
    half = len(rise) // 2
    assert (rise >= 0).all() and whole == pytest.approx(dynamic_image.whole(inputs, 0))
    assert np.corrcoef(rise[:half], fall[half:])[0, 1] > 0.9 > np.corrcoef(rise[:half], fall[:half])[0, 1]
    assert APEX + 1 < COUNT  # the apex belongs to both phases


# ---------------------------------------------------------------- the machine, and each peer on an easy problem


@pytest.mark.parametrize("name", PEERS)
def test_each_peer_learns_which_way_a_lip_corner_moves(clips, name):
    labels, inputs = clips
    train, test = np.arange(30) < 21, np.arange(30) >= 21
    peer = PEERS[name].peer(CLASSES)
    found = peer.fit(inputs.take(train), labels[train]).scores(inputs.take(test))
    assert found.shape == (9, 3) and found.sum(1) == pytest.approx(np.ones(9))
    assert (np.array(CLASSES)[found.argmax(1)] == labels[test]).mean() >= 8 / 9
    assert (
        peer.parameters == 3 * (12 if name == "mdmo" else peer.features(inputs.take(test)).shape[-1]) + 3
    )  # mdmo: 12 training rows
    fitted = peer.scores(inputs.take(np.arange(30) < 9))
    assert -np.log(fitted[np.arange(9), np.arange(9) % 3]).mean() == pytest.approx(peer.chosen["log_loss"], abs=1e-6)


def simple(x, choosing):
    """Inputs whose landmarks carry x (N, 68, 2); the rest is empty."""
    n = len(x)
    empty = np.zeros((n, 1))
    return Inputs(gray=empty, landmarks=x, courses=empty, rise=empty, fall=empty, may_choose=choosing)


def machine(classes, **options):
    return svm.Svm("made-up", lambda inputs: inputs.landmarks[:, :5].reshape(len(inputs), -1), classes, **options)


def problem(count=120, classes=("a", "b", "c"), noise=0.7, seed=0):
    """-> (Inputs, labels): one of the first three columns says the class; every third row may choose."""
    generator = np.random.default_rng(seed)
    code = generator.integers(0, len(classes), count)
    x = generator.normal(0, noise, (count, 68, 2))
    x[np.arange(count), code, 0] += 2
    return simple(x, np.arange(count) % 3 == 0), np.array(classes)[code]


def test_loss_falls_with_strength_and_shuffled_labels_teach_nothing():
    inputs, labels = problem()
    fit, losses = ~inputs.may_choose, []
    for strength in (0.01, 1.0, 100.0):
        peer = machine(("a", "b", "c"), grid=((strength, None),)).fit(inputs, labels)
        sign = np.where(np.array(list("abc"))[None] == labels[fit, None], 1, -1)
        losses.append((np.maximum(0, 1 - sign * peer._margins(peer._read(inputs.take(fit)))) ** 2).sum(1).mean())
    assert 3 > losses[0] > losses[1] > losses[2]  # 3: squared hinge of three machines that say 0
    other, truth = problem(seed=1, count=300)
    answered = np.array(list("abc"))[machine(("a", "b", "c")).fit(inputs, labels).scores(other).argmax(1)]
    assert (answered == truth).mean() > 0.8
    right = []
    for seed in range(6):
        mixed = np.random.default_rng(seed).permutation(labels)
        answered = np.array(list("abc"))[machine(("a", "b", "c")).fit(inputs, mixed).scores(other).argmax(1)]
        right.append((answered == truth).mean())
    assert np.mean(right) < 0.5


def test_rows_that_may_choose_are_never_trained_on():
    inputs, labels = problem()
    one = machine(("a", "b", "c"), grid=((1.0, None),)).fit(inputs, labels)
    x = np.where(inputs.may_choose[:, None, None], -inputs.landmarks, inputs.landmarks)
    other = machine(("a", "b", "c"), grid=((1.0, None),)).fit(simple(x, inputs.may_choose), labels)
    assert np.array_equal(one._coef, other._coef) and one.chosen["temperature"] != other.chosen["temperature"]


def test_temperature_cools_a_machine_whose_validation_people_disagree():
    inputs, labels = problem()
    wrong = labels.copy()
    wrong[inputs.may_choose] = np.random.default_rng(0).permutation(labels[inputs.may_choose])
    sure, unsure = (machine(("a", "b", "c"), grid=((1.0, None),)).fit(inputs, said) for said in (labels, wrong))
    assert unsure.chosen["temperature"] > 3 * sure.chosen["temperature"]
    assert (sure.scores(inputs).argmax(1) == unsure.scores(inputs).argmax(1)).all()


def test_two_classes_have_two_columns_in_the_order_given():
    inputs, labels = problem(classes=("b", "a"))
    found = machine(("b", "a")).fit(inputs, labels).scores(inputs)
    assert (np.array(("b", "a"))[found.argmax(1)] == labels).mean() > 0.8
    assert machine(("a", "b")).fit(inputs, labels).scores(inputs) == pytest.approx(found[:, ::-1])


def test_class_weights_find_a_rare_class():
    inputs, labels = problem(count=240, classes=("a", "b"), noise=1.5)
    keep = (labels == "a") | (np.cumsum(labels == "b") % 8 == 0)
    few, names = inputs.take(keep), labels[keep]
    recall = [
        (
            machine(("a", "b"), grid=((0.01, weight),)).fit(few, names).scores(inputs).argmax(1)[labels == "b"] == 1
        ).mean()
        for weight in (None, "balanced")
    ]
    assert recall[1] > recall[0] + 0.2


def test_bad_inputs_are_named():
    inputs, labels = problem()
    three = machine(("a", "b", "c"))
    only = np.where((labels == "b") & ~inputs.may_choose, "a", labels)
    with pytest.raises(ValueError, match="class b has no training clip"):
        three.fit(inputs, only)
    with pytest.raises(ValueError, match="label 'c' of clip .* is not in the class list"):
        machine(("a", "b")).fit(inputs, labels)
    with pytest.raises(ValueError, match="no clip may choose"):
        three.fit(simple(inputs.landmarks, np.zeros(120, bool)), labels)
    with pytest.raises(ValueError, match="119 labels for 120 clips"):
        three.fit(inputs, labels[1:])
    x = inputs.landmarks.copy()
    x[7, 2, 1] = np.nan
    with pytest.raises(ValueError, match=r"made-up: feature 5 of clip 7 \(view 0\) is nan"):
        three.fit(simple(x, inputs.may_choose), labels)
    with pytest.raises(RuntimeError, match="call fit"):
        machine(("a", "b")).scores(inputs)


def test_a_fit_that_does_not_converge_is_an_error_that_names_it(monkeypatch):
    inputs, labels = problem()
    monkeypatch.setattr(linear, "MAX_ITER", 1)
    with pytest.raises(linear.NotConverged, match=r"made-up, C = 0.01, .* after 1 iterations on 80 rows"):
        machine(("a", "b", "c")).fit(inputs, labels)


def test_a_clip_is_described_once():
    inputs, _ = problem(count=6)
    seen = []

    def describe(clips, row):
        seen.append(row)
        return clips.landmarks[row].ravel()

    first = handcrafted.read(describe, inputs)
    again = handcrafted.read(describe, inputs.take(np.array([4, 2])))
    assert len(seen) == 6 and np.array_equal(again, first[[4, 2]])
