"""Experts: what each must not see, mirrors that agree, checkpoints that give the same bytes, calibration and
dependence measures.
"""

import inspect

import numpy as np
import pandas as pd
import pytest
import torch

from deft import runtime
from deft.clips import facs
from deft.experts import calibrate, disentangle, encoder, motion, pretrain, texture
from deft.experts import data as pairs
from deft.experts.pretrain import CLASSES, SPEAKING, Settings
from deft.faces import regions
from deft.motion import envelope


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made_up(name: str, subjects: int = 6, each: int = 12) -> pairs.Pairs:
    """Arrays of the right shapes; the images carry a trace of unit 0, so that there is something to learn."""
    n, r = subjects * each, runtime.rng(3, f"made-up/{name}")
    units = ((r.random((n, 17, 2)) < 0.3) * 0.2).astype(np.float32)
    index = pd.DataFrame(
        {
            "clip": [f"c{i}" for i in range(n)],
            "subject": [f"s{i // each}" for i in range(n)],
            "look": r.integers(0, 5, n),
            "split": ["train" if i // each < subjects - 2 else "validation" for i in range(n)],
        }
    )
    image = lambda c: (r.normal(0, 0.3, (n, c, 64, 64)) + 5 * units[:, 0].sum(1)[:, None, None, None]).astype(
        np.float16
    )  # noqa: E731
    make = {
        "onset": lambda: r.integers(0, 255, (n, 3, 64, 64)).astype(np.uint8),
        "pair": lambda: r.integers(0, 255, (n, 6, 64, 64)).astype(np.uint8),
        "peak": lambda: image(4),
        "residual": lambda: image(2),
        "regions": lambda: r.normal(size=(n, 181)).astype(np.float32),
        "units": lambda: units,
        "furrows": lambda: r.random((n, 10)).astype(np.float32),
        "look": lambda: index["look"].to_numpy(np.float32),
        "region_true": lambda: r.normal(size=(n, 36, 2)).astype(np.float32),
        "landmarks": lambda: (64 + 30 * r.normal(size=(1, 68, 2)) + r.normal(size=(n, 68, 2))).astype(np.float32),
    }
    return pairs.Pairs(index, {key: make[key]() for key in pairs.INPUTS[name] + pairs.TARGETS[name]})


def sizes(name: str) -> dict:
    return {"texture": {"subjects": 3}, "motion": {"subjects": 3, "words": 9}}.get(name, {})


def inputs_of(name: str, count: int = 4) -> dict:
    data = made_up(name, 4, 2)
    return {key: pairs.tensor(key, data.arrays[key][:count]) for key in pairs.INPUTS[name]}


# ---------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", pairs.NAMES)
def test_every_expert_hands_over_tokens_of_the_same_shape_and_stays_small(name):
    model = pretrain.build(name, sizes(name), 7).eval()
    tokens = model(inputs_of(name))
    assert tokens.shape == (4, encoder.TOKENS, encoder.WIDTH) and tokens.dtype == torch.float32
    assert 150_000 <= encoder.parameter_count(model) <= 270_000
    if name in SPEAKING:
        assert model.units(tokens).shape == (4, len(facs.UNITS), 2)


def test_first_weights_depend_on_the_seed_and_not_on_what_ran_before():
    torch.manual_seed(1)
    a = pretrain.build("rgb", {}, 7).state_dict()
    torch.manual_seed(2)
    b, c = pretrain.build("rgb", {}, 7).state_dict(), pretrain.build("rgb", {}, 8).state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a) and any(not torch.equal(a[k], c[k]) for k in a)


# ---------------------------------------------------------------- blindness


def test_no_expert_is_handed_more_than_it_names():
    assert pairs.INPUTS["structure"] == ("onset",)  # one frame: there is no later frame to see
    assert not {"onset", "pair"} & set(pairs.INPUTS["texture"] + pairs.INPUTS["motion"])


def test_the_training_loop_knows_no_expert_by_name():
    source = "".join(map(inspect.getsource, (pretrain.pretrain, pretrain.validate, pretrain.predict)))
    assert not [name for name in pairs.NAMES if f'"{name}"' in source]


def test_shape_tokens_of_structure_know_only_the_predicted_landmarks():
    model = pretrain.build("structure", {}, 7).eval()
    with torch.no_grad():
        model.regress[-1].weight.zero_()  # landmarks no longer depend on the frame
        tokens = model(inputs_of("structure"))
    assert torch.allclose(tokens[0, :2], tokens[1, :2]) and not torch.allclose(tokens[0, 2:], tokens[1, 2:])


def test_components_hold_a_faint_pattern_at_a_fixed_place_and_its_mirror_image():
    """Half a standard deviation under noise: the subspace holds what the clips share, and nothing that they do not."""
    r = torch.Generator().manual_seed(2)
    place, other = torch.zeros(2, 2, 64, 64)
    place[0, 20:24, 10:30], other[0, 40:44, 10:30] = 1.0, 1.0
    images = torch.randn(200, 2, 64, 64, generator=r) + torch.randn(200, 1, 1, 1, generator=r) * place
    part = encoder.Components(2, count=6).eval()
    before = torch.random.get_rng_state()
    part.fit(images)
    basis = torch.linalg.qr(part.basis).Q
    first = part.basis.clone()
    part.fit(images)
    assert torch.equal(part.basis, first) and torch.equal(torch.random.get_rng_state(), before)

    def held(picture):
        flat = torch.nn.functional.avg_pool2d(picture[None], 2).flatten()
        return float((basis.T @ flat).norm() / flat.norm())

    assert min(held(place), held(place.flip(-1))) > 0.9 and max(held(other), held(other.flip(-1))) < 0.3
    read = part(images)
    assert read.shape == (200, encoder.TOKENS * encoder.WIDTH) and read.std(0).min() > 0


def test_all_units_teach_the_tokens_of_texture_and_its_components_reach_them():
    model = pretrain.build("texture", sizes("texture"), 7).train()
    inputs = inputs_of("texture", 8)
    model.prepare(inputs)
    for unit in range(len(facs.UNITS)):
        model.zero_grad()
        model.units(model(inputs))[:, unit].sum().backward()
        assert model.tokens.weight.grad.abs().sum() > 0 and model.components.read[1].weight.grad.abs().sum() > 0


@pytest.fixture(scope="module")
def person():
    """One simulated person: aligned gray frames of a clip, its landmarks and matrix, by (actions, identity
    overrides).
    """
    from deft.clips import simulator
    from deft.faces import align

    def film(actions, **looks):
        identity = simulator.sample_identity(3, size=128, **looks)
        clip = simulator.render_clip(
            identity, actions, times_ms=np.array([0.0, 150.0, 170.0]), truth="apex", truth_index=1
        )
        face = align.align_clip(clip.frames, clip.truth.landmarks[0])
        return face.gray, face.landmarks, face.matrix, clip.truth.skin_flow[1]

    return film


def rms(x) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


MOVES = {"4": 0.3, "6": 0.3, "12": 0.3}


def test_texture_stays_silent_under_a_pure_translation(person):
    import cv2

    from deft.motion import courses

    gray, landmarks, _, _ = person({})
    shift = np.array([0.7, -0.4])
    moved = cv2.warpAffine(
        gray[0],
        np.hstack([np.eye(2), shift[:, None]]),
        (128, 128),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    seen = courses.measure_clip(np.stack([gray[0], moved, moved]), landmarks, "dis-finest")["residual"]
    frames, known = np.stack([gray[0], moved, moved]), np.broadcast_to(shift.astype(np.float32), (2, 128, 128, 2))
    face = regions.face_mask(landmarks)
    interpolation = courses.residual(frames, np.ascontiguousarray(known), face)  # the flow is exact
    unexplained = courses.residual(frames, np.zeros((2, 128, 128, 2), np.float32), face)
    assert rms(seen) < 1.5 * rms(interpolation) and rms(seen) < 0.15 * rms(unexplained)

    folded = courses.measure_clip(person(MOVES)[0], landmarks, "dis-finest")["residual"]
    model = pretrain.build("texture", sizes("texture"), 7).eval()
    model.prepare({"residual": torch.from_numpy(np.stack([folded, seen]).astype(np.float32))})
    with torch.no_grad():
        still, translated, folds = (
            model({"residual": torch.from_numpy(x.astype(np.float32)[None])}) for x in (seen * 0, seen, folded)
        )
    assert rms(translated - still) < 0.35 * rms(folds - still)


def test_motion_changes_less_with_the_skin_than_with_the_flow_s_own_error(person):
    from deft.faces import regions
    from deft.motion import courses

    found = {}
    for tone in (0.1, 0.7):
        gray, landmarks, matrix, true = person(MOVES, skin_tone=tone, freckles=tone)
        described = courses.measure_clip(gray, landmarks, "dis-finest")
        found[tone] = described, courses.region_truth(true, matrix, regions.masks(landmarks, 128))
    (light, truth), (dark, _) = found[0.1], found[0.7]
    change = rms((light["courses"] - dark["courses"]).mean(0)[:, :2])
    error = rms(light["courses"].mean(0)[:, :2] - truth)
    assert change < 0.5 * error < rms(truth)

    def inputs(described, vectors=None):
        table = described["courses"].mean(0).copy()
        if vectors is not None:
            table[:, :2] = vectors
        return {
            "peak": torch.from_numpy(np.moveaxis(described["peak"], -1, 0).astype(np.float32)[None]),
            "regions": torch.from_numpy(np.append(table.ravel(), described["noise"]).astype(np.float32)[None]),
        }

    model = pretrain.build("motion", sizes("motion"), 7).eval()
    model.prepare({key: torch.cat([inputs(light)[key], inputs(dark)[key] * 0]) for key in model.keys})
    with torch.no_grad():
        a, b, exact = model(inputs(light)), model(inputs(dark)), model(inputs(light, truth))
    assert rms(a - b) < rms(a - exact)


def test_structure_tokens_do_not_change_when_later_frames_do(tmp_path):
    from deft.clips import store

    n, r = 4, runtime.rng(5, "frames")
    rows = [
        {
            "clip": f"c{i}",
            "dataset": "sim-a",
            "subject": "s1",
            "condition": "kept",
            "look": 0,
            "emotion": "anger",
            "coarse": "negative",
            "fps": 200.0,
            "onset": 0,
            "apex": 1,
            "offset": 2,
            "units": "4",
            "distractor": "",
            "split": "",
        }
        for i in range(n)
    ]
    store.write_shard(tmp_path / "clips" / "bench" / "s1.npz", rows, "plan", envelope=np.zeros((n, 3)))
    rgb = r.integers(0, 255, (n, 3, 128, 128, 3)).astype(np.uint8)
    runtime.save_array(tmp_path / "faces" / "bench", "rgb", rgb)
    model = pretrain.build("structure", {}, 7)
    before = pretrain.predict(model, pairs.read(tmp_path, "bench", "structure", targets=False))[0]
    opponent = pairs.read(tmp_path, "bench", "rgb", targets=False).arrays["pair"]
    rgb[:, 1:] = 255 - rgb[:, 1:]
    runtime.save_array(tmp_path / "faces" / "bench", "rgb", rgb)
    assert np.array_equal(pretrain.predict(model, pairs.read(tmp_path, "bench", "structure", targets=False))[0], before)
    assert not np.array_equal(pairs.read(tmp_path, "bench", "rgb", targets=False).arrays["pair"], opponent)


def test_rgb_opponent_starts_as_a_detector_of_motion_and_is_shown_real_pushes():
    from deft.experts import rgb

    g = torch.Generator().manual_seed(0)
    picture = torch.nn.functional.interpolate(torch.rand(2, 6, 16, 16, generator=g), size=(64, 64), mode="bicubic")
    field = torch.zeros(2, 2, 64, 64)
    assert torch.allclose(rgb.push(picture, field), picture, atol=1e-4)
    field[:, 0] = 2.0  # px of 128, to the right: one px of 64
    assert torch.allclose(rgb.push(picture, field)[..., 10:50, 11:51], picture[..., 10:50, 10:50], atol=1e-4)
    filters = rgb.motion_energy(rgb.GATES)
    still = torch.cat([picture[:, :3], picture[:, :3]], dim=1)
    change = torch.nn.functional.conv2d(still, filters, stride=2, padding=2)[:, : rgb.GATES]
    assert change.abs().max() < 1e-5  # nothing moves, nothing changes


# ---------------------------------------------------------------- mirrors and jitter


@pytest.mark.parametrize(
    "key", ["onset", "pair", "residual", "peak", "regions", "region_true", "units", "furrows", "landmarks"]
)
def test_mirroring_twice_changes_nothing(key):
    name = next(n for n in pairs.NAMES if key in pairs.INPUTS[n] + pairs.TARGETS[n])
    x = pairs.tensor(key, made_up(name).arrays[key][:3])
    once = pairs.mirror(key, x)
    assert torch.allclose(pairs.mirror(key, once), x, atol=1e-5) and not torch.allclose(once, x)


def test_mirror_of_motion_turns_left_outward_into_right_outward():
    regions = torch.zeros(1, 36, 2)
    left, right = facs.REGION_INDEX[("lip_corner", "L")], facs.REGION_INDEX[("lip_corner", "R")]
    regions[0, left] = torch.tensor(
        [1.0, -0.5]
    )  # the person's left corner moves towards larger x, which is outward, and up
    assert torch.equal(pairs.mirror("region_true", regions)[0, right], torch.tensor([-1.0, -0.5]))


def test_mirrored_landmarks_stay_on_their_half_of_the_face():
    x = torch.zeros(1, 68, 2)
    x[0, 36], x[0, 45] = torch.tensor([40.0, 50.0]), torch.tensor([90.0, 52.0])  # outer corners of both eyes
    assert torch.equal(pairs.mirror("landmarks", x)[0, 36], torch.tensor([37.0, 52.0]))
    assert sorted(regions.MIRROR) == list(range(68))


def test_jitter_is_drawn_from_seed_epoch_and_index_alone():
    jitter = pairs.Jitter(noise=0.0)
    data = made_up("motion")
    spread = {"peak": torch.ones(4), "regions": torch.ones(181)}
    drawn = pairs.draws(jitter, len(data), 7, 3)

    def augmented(rows):
        batch = {key: pairs.tensor(key, data.arrays[key][rows]) for key in ("peak", "regions", "units")}
        return pairs.augment(batch, {k: v[rows] for k, v in drawn.items()}, jitter, spread)

    whole, alone = augmented(np.arange(6)), augmented(np.array([4]))
    assert all(torch.equal(whole[key][4:5], alone[key]) for key in whole)
    again = pairs.draws(jitter, len(data), 7, 3)
    assert all(np.array_equal(drawn[k], again[k]) for k in drawn)
    assert not np.array_equal(drawn["gain"], pairs.draws(jitter, len(data), 7, 4)["gain"])


def test_jitter_mirrors_pictures_and_labels_together():
    jitter = pairs.Jitter(mirror=1.0, gain=0.0, light=0.0, shift=0, noise=0.0)
    data = made_up("motion")
    batch = {key: pairs.tensor(key, data.arrays[key][:3]) for key in ("peak", "regions", "units", "region_true")}
    out = pairs.augment(
        batch,
        {k: v[:3] for k, v in pairs.draws(jitter, len(data), 7, 0).items()},
        jitter,
        {"peak": torch.ones(4), "regions": torch.ones(181)},
    )
    for key, x in batch.items():
        assert torch.allclose(out[key], pairs.mirror(key, x), atol=1e-6)


def test_mirrored_phrase_swaps_left_and_right():
    words = ["the", "left", "right", "brow"]
    ids = torch.from_numpy(motion.phrase_ids([["the", "left", "brow"], ["the", "brow"]], words))
    assert (
        motion.mirror_words(ids, words).tolist()
        == torch.from_numpy(motion.phrase_ids([["the", "right", "brow"], ["the", "brow"]], words))
        .sort(dim=1)
        .values.tolist()
    )
    with pytest.raises(ValueError, match="nose"):
        motion.phrase_ids([["nose"]], words)


def test_region_inputs_estimate_the_motion_at_the_peak():
    """Of movements that rise and fall as units do, the filter gives the mean of apex and hold, with less noise."""
    size = np.random.default_rng(0).normal(size=(2, 1, 36, 5)).astype(np.float32)
    courses = size * envelope.ENVELOPE.astype(np.float32)[None, :, None, None]
    out = pairs.region_inputs(courses, np.array([0.1, 0.2]))
    assert (
        out.shape == (2, 181)
        and np.allclose(out[0, :5], (courses[0, 2, 0] + courses[0, 3, 0]) / 2, atol=1e-5)
        and np.isclose(out[1, -1], 2 * out[0, -1])
        and 0.6 * 0.2 < out[1, -1] < 0.75 * 0.2
    )
    short = pairs.region_inputs(courses[:, :2], np.array([0.1, 0.2]))  # onset, apex, hold
    assert np.allclose(short[0, :5], (courses[0, 0, 0] + courses[0, 1, 0]) / 2)
    with pytest.raises(ValueError, match="onset, apex and hold"):
        pairs.region_inputs(courses[:, :1], np.array([0.1, 0.2]))


def test_direction_left_over_by_furrows_keeps_the_rest_and_mirrors_like_motion():
    r = np.random.default_rng(0)
    furrows, rest = r.random((400, 10)).astype(np.float32), r.normal(size=(400, 36, 2)).astype(np.float32)
    explained = np.zeros_like(rest)
    chin, tip = facs.REGION_INDEX[("chin", "")], facs.FURROWS.index("chin")
    explained[:, chin, 1] = -5 * furrows[:, tip]
    left = texture.unexplained_direction(rest + explained, furrows, np.arange(300)).reshape(400, 36, 2)
    assert abs(np.corrcoef(left[:, chin, 1], furrows[:, tip])[0, 1]) < 0.15
    assert np.corrcoef(left[:, chin, 1], rest[:, chin, 1])[0, 1] > 0.95
    turned = texture.unexplained_direction(
        pairs.mirror("region_true", torch.from_numpy(rest + explained)).numpy(),
        furrows[:, pairs.FURROW_MIRROR],
        np.arange(300),
    )
    assert np.allclose(
        turned.reshape(400, 36, 2), pairs.mirror("region_true", torch.from_numpy(left)).numpy(), atol=1e-3
    )


# ---------------------------------------------------------------- training, saving, resuming


@pytest.fixture
def grammar(monkeypatch):
    """A four-word grammar: these tests are about the loop, not about the text."""
    from deft.unimer import kinds

    monkeypatch.setattr(kinds, "vocabulary", lambda: ["the", "left", "right", "brow"])
    said = lambda self, facts: "the left brow" if any(fact.side == "L" for fact in facts.units) else "the right brow"
    monkeypatch.setattr(kinds.Motion, "answer", said)


@pytest.mark.parametrize("name", pairs.NAMES)
def test_saved_expert_gives_the_same_tokens_and_a_finished_one_is_left_alone(name, tmp_path, grammar):
    data, settings = made_up(name), Settings(epochs=2, batch=16)
    history = pretrain.pretrain(name, data, settings, tmp_path)
    assert len(history) == 2 and {p.name for p in tmp_path.iterdir()} >= {
        "config.json",
        "model.safetensors",
        "history.json",
    }
    tokens, logits = pretrain.predict(pretrain.load(tmp_path), data)
    assert (
        np.isfinite(tokens).all() and tokens.shape == (len(data), 4, 64) and (logits is None) == (name == "structure")
    )
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert pretrain.pretrain(name, data, settings, tmp_path) == runtime.read_json(tmp_path / "history.json")
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    assert np.array_equal(pretrain.predict(pretrain.load(tmp_path), data)[0], tokens)


def test_the_epoch_that_does_best_on_validation_subjects_is_kept(tmp_path, grammar):
    data = made_up("texture")
    history = pretrain.pretrain("texture", data, Settings(epochs=3, batch=24, rate=2e-2), tmp_path)
    scores = [row["score"] for row in history]
    kept = pretrain.validate(pretrain.load(tmp_path), data, data.rows("validation"))["score"]
    assert min(scores) < max(scores) and kept == pytest.approx(max(scores), abs=1e-6)


@pytest.mark.parametrize("name", SPEAKING)
def test_units_of_a_mirrored_face_are_those_of_the_face_with_sides_exchanged(name):
    data, model = made_up(name, 4, 2), pretrain.build(name, sizes(name), 7).eval()
    mirrored = {
        k: pairs.mirror(k, pairs.tensor(k, data.arrays[k])).numpy() * (255 if k in pairs.BYTES else 1)
        for k in model.keys
    }
    turned = pairs.Pairs(data.index, {**data.arrays, **mirrored})
    logits, other = (pretrain.predict(model, one)[1] for one in (data, turned))
    assert np.allclose(other, logits[..., ::-1], atol=1e-3) and not np.allclose(logits, logits[..., ::-1], atol=1e-3)


def test_killed_run_ends_in_the_same_bytes(tmp_path, grammar):
    data, settings = made_up("motion"), Settings(epochs=3, batch=16)
    pretrain.pretrain("motion", data, settings, tmp_path / "whole")

    def kill(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain("motion", data, settings, tmp_path / "cut", progress=kill)
    assert not (tmp_path / "cut" / "config.json").exists() and (tmp_path / "cut" / ".resume.safetensors").exists()
    seen = []
    pretrain.pretrain("motion", data, settings, tmp_path / "cut", progress=seen.append)
    assert [row["epoch"] for row in seen] == [3]
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_unfinished_expert_and_corpus_without_validation_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="06_experts"):
        pretrain.load(tmp_path)
    data = made_up("rgb")
    data.index["split"] = "train"
    with pytest.raises(ValueError, match="validation"):
        pretrain.pretrain("rgb", data, Settings(epochs=1), tmp_path)


# ---------------------------------------------------------------- calibration


def test_calibration_recovers_a_known_distribution():
    r = np.random.default_rng(0)
    z = r.normal(-1, 2, 20_000)
    y = r.random(z.size) < calibrate.sigmoid(0.5 * z - 0.3)
    a, b = calibrate.platt(z, y)
    assert abs(a - 0.5) < 0.03 and abs(b + 0.3) < 0.05
    assert (
        calibrate.expected_calibration_error(calibrate.sigmoid(a * z + b), y)
        < 0.015
        < calibrate.expected_calibration_error(calibrate.sigmoid(z), y)
    )


def test_calibration_survives_units_that_never_move_and_comes_back_from_disk(tmp_path):
    r = np.random.default_rng(1)
    logits = r.normal(size=(80, 17, 2)) * 3
    active = r.random((80, 17, 2)) < calibrate.sigmoid(logits)
    active[:, 5] = False
    fitted = calibrate.Calibration.fit(logits, active, np.arange(80) // 8)
    probability = fitted.apply(logits)
    assert np.isfinite(probability).all() and probability.dtype == np.float32 and probability[:, 5].mean() < 0.1
    fitted.save(tmp_path / "c.json")
    assert np.array_equal(calibrate.Calibration.load(tmp_path / "c.json").apply(logits), probability)


def test_the_honest_calibration_error_is_that_of_subjects_who_fitted_nothing():
    """Two kinds of subject with opposite logits: whoever is judged by the other kind's curve is judged badly."""
    r = np.random.default_rng(2)
    subject = np.repeat(np.arange(20), 30)
    active = r.random((600, 17, 2)) < 0.5
    turned = np.where(subject % 2 == 0, 1.0, -1.0)[:, None, None]
    logits = np.where(active, 2.0, -2.0) * turned + r.normal(0, 0.5, active.shape)
    report = calibrate.Calibration.fit(logits, active, subject).report
    assert report["ece_held_out"] > 0.3 > 0.1 > report["ece_fitted"]


def test_calibration_error_by_hand():
    assert calibrate.expected_calibration_error([0.9, 0.9, 0.1, 0.1], [1, 0, 0, 0]) == pytest.approx(
        0.5 * 0.4 + 0.5 * 0.1
    )


# ---------------------------------------------------------------- disentangling


def test_gradient_reversal_keeps_the_value_and_turns_the_gradient():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = disentangle.reverse(x, 0.5)
    assert torch.equal(y, x)
    (y * torch.tensor([3.0, 4.0])).sum().backward()
    assert torch.equal(x.grad, torch.tensor([-1.5, -2.0]))


def training_batch(name: str, count: int = 12) -> tuple:
    """(expert, inputs, targets) as the training loop hands them to `loss`; in eval mode, so that dropout draws
    nothing.
    """
    data, words = made_up(name), ["the", "left", "right", "brow"]
    targets, constants = CLASSES[name].targets(data, data.rows("train"), 7, words)
    chosen = np.arange(count) * 4
    wide = {"texture": {"subjects": 4}, "motion": {"subjects": 4, "words": 4}}.get(name, {})
    model = pretrain.build(name, wide, 7).eval()
    inputs = {key: pairs.tensor(key, data.arrays[key]) for key in pairs.INPUTS[name]}
    if "landmarks" in targets:
        model.mean_shape.copy_(targets["landmarks"].mean(0))
    model.prepare(inputs)
    return model, {k: v[chosen] for k, v in inputs.items()}, {k: v[chosen] for k, v in targets.items()} | constants


@pytest.mark.parametrize("name", pairs.NAMES)
def test_every_weight_of_an_expert_and_of_its_adversaries_is_taught_by_the_loss(name, grammar):
    """A part that is left out of the total leaves the weights that only it teaches without a gradient."""
    model, inputs, targets = training_batch(name)
    model.loss(inputs, targets, torch.Generator().manual_seed(0))[0].backward()
    untaught = [what for what, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not untaught


@pytest.mark.parametrize(
    "name, factor",
    [
        ("texture", "identity"),
        ("texture", "look"),
        ("texture", "direction"),
        ("motion", "identity"),
        ("motion", "look"),
    ],
)
def test_an_adversary_in_the_total_loss_turns_its_gradient_against_the_encoder(name, factor, grammar):
    model, inputs, targets = training_batch(name)
    for other, adversary in model.adversary.items():
        if other != factor:
            torch.nn.init.zeros_(adversary.read[-1].weight)  # sends no gradient back
    seen, encoder_end = [], model.tokens.weight if name == "texture" else model.tokens[1].weight
    model.adversary[factor].register_forward_hook(lambda module, given, out: seen.append(given[0]))
    pull = {}
    for strength in (0.0, 1.0):
        model.strength = strength
        total, _ = model.loss(inputs, targets, torch.Generator().manual_seed(0))
        pull[strength] = torch.autograd.grad(total, encoder_end, retain_graph=True)[0]
    read = model.adversary[factor].read(seen[-1].flatten(1))  # the same reader without reversal
    target = targets["subject" if factor == "identity" else factor]
    own = (torch.nn.functional.mse_loss if factor == "direction" else torch.nn.functional.cross_entropy)(read, target)
    towards = torch.autograd.grad(own, encoder_end)[0]
    added = pull[1.0] - pull[0.0]
    assert torch.nn.functional.cosine_similarity(added.flatten(), towards.flatten(), dim=0) < -0.98


def test_phrases_come_to_lie_beside_the_motion_they_describe():
    model = pretrain.build("motion", {"words": 9}, 7)
    tokens = torch.randn(6, 4, 64, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, 2], [3, 4], [5, 6], [7, 8], [9, 1], [2, 4]])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        model.alignment(tokens, ids).backward()
        optimiser.step()
    with torch.no_grad():
        cosine = model.speech(tokens) @ model.phrases(ids).T
        assert cosine.diagonal().mean() > 0.3 + cosine[~torch.eye(6, dtype=bool)].mean()
        assert model.alignment(tokens, ids) < model.alignment(tokens, ids.roll(1, 0)) - 0.5
