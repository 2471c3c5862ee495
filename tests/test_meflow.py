"""MEFlow and its study: the network's contract, what a minute's training must bring, and the truth that T8 judges
by.
"""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from deft import paths, runtime
from deft.evaluation import flow_study
from deft.motion import courses, flow, meflow
from deft.motion.meflow import augment, model, pairs, train

TINY = model.Sizes(products=20, filters=4, width=(16, 16, 16))
QUICK = train.Recipe(people=1, each=2, steps=4, batch=2, keep_every=2)


@pytest.fixture(scope="module")
def data():
    """Three pairs of the noise texture and their truth, as if they were clips: cheap, and fast to learn from."""
    made = [flow_study.foreign(flow_study.TEXTURE, number) for number in range(3)]
    frames = np.stack([[p.first, p.second, p.second] for p in made]).round().clip(0, 255).astype(np.uint8)
    return pairs.Pairs(
        frames,
        np.stack([[p.flow] * 2 for p in made]).astype(np.float16),
        np.ones((3, 2, 128, 128), bool),
        np.ones((3, 2, 128, 128), np.float16),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("meflow")
    train.fit(folder, 6, 1, QUICK, TINY, data)
    return folder


@pytest.fixture(scope="module")
def texture():
    return flow_study.texture(np.random.default_rng(5))


def shifted(texture, u, v):
    still = flow_study.warped(texture, np.zeros((128, 128, 2), np.float32), "still").first
    there = flow_study.warped(texture, np.broadcast_to(np.float32([u, v]), (128, 128, 2)), "moved").second
    return [np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in (still, there)]


# ---------------------------------------------------------------- the network


def test_it_is_small_and_an_untrained_one_believes_least_squares():
    fresh = train.build(model.Sizes(), 7)
    assert sum(p.numel() for p in fresh.parameters()) <= 1_000_000
    seen = model.predict(fresh.eval(), *shifted(flow_study.texture(np.random.default_rng(1)), 1.0, 0.0))
    assert seen["flow"].shape == (128, 128, 2) and seen["flow"].dtype == np.float32
    assert np.allclose(np.median(seen["flow"], (0, 1)), (1, 0), atol=0.25)
    assert all(
        seen[name].shape == (128, 128) and np.isfinite(seen[name]).all() for name in ("error", "confidence", "occluded")
    )
    assert (0 <= seen["confidence"]).all() and (seen["confidence"] <= 1).all()


@pytest.mark.parametrize("shape", [(128, 128), (70, 101), (16, 200)])
def test_frames_of_any_size_are_taken(shape):
    answers = train.build(TINY, 1)(torch.rand(2, 1, *shape) * 255, torch.rand(2, 1, *shape) * 255)
    assert [a.shape for a in answers] == [(2, 4, *shape)] * len(TINY.scales)


def test_warping_reads_the_second_frame_where_the_flow_points():
    image = torch.arange(64.0).view(1, 1, 1, 64).expand(1, 1, 32, 64)
    moved = model.warp(image, torch.tensor([2.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 32, 64))
    assert torch.allclose(moved[..., 4:-8], image[..., 4:-8] + 2.5, atol=1e-3)


def test_convex_upsampling_stays_between_its_neighbours_and_keeps_a_constant():
    mask = torch.randn(1, 9 * 16, 8, 8, generator=torch.Generator().manual_seed(0))
    small = torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    fine = model.convex(small, mask, 4)
    assert fine.shape == (1, 2, 32, 32) and small.min() <= fine.min() and fine.max() <= small.max()
    assert torch.allclose(model.convex(torch.full_like(small, 0.3), mask, 4), torch.tensor(0.3))


def test_the_first_guess_is_a_known_shift_with_its_sign(texture):
    first, second = model.MEFlow.normalised(
        *(torch.from_numpy(frame.astype(np.float32))[None, None] for frame in shifted(texture, 0.5, -0.3))
    )
    guess = model.lucas_kanade(
        torch.cat([(first + second) / 2, model.CHANGE * (second - first)], 1), model.derivatives(), 4
    )
    assert guess.shape == (1, 9, 32, 32) and np.allclose(
        guess[0, 6:8, 8:-8, 8:-8].median(2)[0].median(1)[0], (0.5, -0.3), atol=0.06
    )


def test_light_does_not_matter():
    first = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 100 + 50
    a, b = model.MEFlow.normalised(first, first + 9.0)
    assert torch.allclose(a, b, atol=1e-3)


# ---------------------------------------------------------------- training


def test_the_loss_knows_both_directions_and_its_signs():
    flow_true = torch.full((1, 2, 32, 32), 0.5)
    right = torch.cat([flow_true, torch.zeros(1, 2, 32, 32)], 1)
    back = torch.cat([-flow_true, torch.zeros(1, 2, 32, 32)], 1)
    valid = torch.ones(1, 1, 32, 32)
    loss = lambda a, b: float(train.loss_of([torch.cat([a, b])], flow_true, valid)[0])  # noqa: E731
    assert loss(right, back) < loss(right, right) and loss(right, back) < loss(back, back) < loss(back, right) + 1e-6


def test_half_a_minute_teaches_the_sign_and_swapping_the_frames_turns_it(tmp_path, data, texture):
    recipe = train.Recipe(steps=60, batch=2, rate=3e-3, keep_every=60)
    train.fit(tmp_path, 6, 1, recipe, dataclasses.replace(TINY, scales=(1,)), data)
    still, there = shifted(texture, 0.8, -0.6)
    found, back = (
        flow.estimate(*order, "meflow", weights=tmp_path)[16:-16, 16:-16].mean((0, 1))
        for order in ((still, there), (there, still))
    )
    assert found[0] > 0.15 and found[1] < -0.1 and back[0] < -0.15 and back[1] > 0.1


def test_the_same_seed_gives_the_same_bytes_and_a_killed_run_goes_on(tmp_path, data, trained, monkeypatch):
    train.fit(tmp_path / "again", 6, 1, QUICK, TINY, data)
    assert (tmp_path / "again/model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()

    def killed(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.fit(tmp_path / "killed", 6, 1, QUICK, TINY, data, progress=killed)
    assert (tmp_path / "killed/.resume.safetensors").is_file() and not (tmp_path / "killed/config.json").exists()
    seen = []
    train.fit(tmp_path / "killed", 6, 1, QUICK, TINY, data, progress=seen.append)
    assert [row["step"] for row in seen] == [4]
    assert (tmp_path / "killed/model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_a_finished_run_is_kept(data, trained, monkeypatch):
    monkeypatch.setattr(pairs, "draw", lambda *a, **k: pytest.fail("drawn again"))
    assert train.fit(trained, 6, 1, QUICK, TINY)[-1]["step"] == 4


def test_corpus_pairs_carry_the_visible_truth():
    drawn = pairs.draw(1, 2, "train", each=1, jobs=1)
    assert (
        drawn.frames.shape == (1, 3, 128, 128) and drawn.flow.shape == (1, 2, 128, 128, 2) and drawn.valid.dtype == bool
    )
    first, second = drawn.frames[0, 0].astype(np.float32), drawn.frames[0, 1].astype(np.float32)
    y, x = np.indices((128, 128), dtype=np.float32)
    true, ok = drawn.flow[0, 0].astype(np.float32), drawn.valid[0, 0]
    home = flow_study.read(second, y + true[..., 1], x + true[..., 0])
    assert np.abs(home - first)[ok].mean() < 0.7 * np.abs(second - first)[ok].mean() + 0.3
    with pytest.raises(ValueError, match="ask for more subjects"):
        pairs.draw(1, 1, "validation")


@pytest.mark.parametrize("seed", range(6))
def test_augmentation_keeps_the_truth_true(seed):
    """Turned and mirrored: where the flow points, the second frame shows what the first did."""
    pair = flow_study.foreign(flow_study.TEXTURE, 1)
    whole = np.ones((128, 128), np.float32)
    bare = augment.Nuisance(noise=0.5, flicker=0, ramp=0, blur=0, jpeg=95)
    a, b, true, _ = augment.pair(
        pair.first.round().clip(0, 255).astype(np.uint8),
        pair.second.round().clip(0, 255).astype(np.uint8),
        pair.flow,
        whole,
        np.random.default_rng(seed),
        bare,
    )
    y, x = np.indices((128, 128), dtype=np.float32)
    home = flow_study.read(b.astype(np.float32), y + true[..., 1], x + true[..., 0])
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(home - a)[inner].mean() < 0.5 * np.abs(b.astype(float) - a)[inner].mean()


# ---------------------------------------------------------------- use


def test_missing_weights_say_what_to_do(tmp_path, monkeypatch):
    image = np.zeros((32, 32), np.uint8)
    with pytest.raises(FileNotFoundError, match="no trained MEFlow.*train.fit"):
        flow.estimate(image, image, "meflow", weights=tmp_path)
    monkeypatch.setenv(meflow.VARIABLE, str(tmp_path / "elsewhere"))
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        flow.estimate(image, image, "meflow")
    with pytest.raises(ValueError, match="has no weights"):
        flow.estimate(image, image, "dis", weights=tmp_path)


def test_nothing_trained_means_least_squares_and_a_warning(tmp_path, monkeypatch, texture):
    monkeypatch.delenv(meflow.VARIABLE, raising=False)
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    model.untrained.cache_clear()
    with pytest.warns(RuntimeWarning, match="has not been trained"):
        found = flow.estimate(*shifted(texture, 0.6, -0.4), "meflow")
    assert np.allclose(np.median(found, (0, 1)), (0.6, -0.4), atol=0.2)
    with pytest.raises(FileNotFoundError, match="13_meflow"):
        courses.measure_set(tmp_path, tmp_path, tmp_path, "meflow")


def test_weights_of_any_profile_are_found_the_demo_first(tmp_path, monkeypatch, trained):
    monkeypatch.delenv(meflow.VARIABLE, raising=False)
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    assert meflow.folder() is None
    for profile in ("a-profile", "demo"):
        (tmp_path / profile).mkdir()
        (tmp_path / profile / "meflow").symlink_to(trained)
        assert meflow.folder() == tmp_path / profile / "meflow"


def test_a_chain_takes_its_own_profiles_weights_and_no_other(tmp_path, monkeypatch, trained):
    monkeypatch.delenv(meflow.VARIABLE, raising=False)
    for profile in ("demo", "mine"):
        (tmp_path / profile).mkdir()
    (tmp_path / "demo" / "meflow").symlink_to(trained)
    assert meflow.digest(tmp_path / "mine") is None
    with pytest.raises(FileNotFoundError, match="mine/meflow holds no trained MEFlow.*run 13_meflow of this profile"):
        meflow.of_chain(tmp_path / "mine")
    monkeypatch.setenv(meflow.VARIABLE, "")  # empty: as if it were not set
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    assert meflow.of_chain(tmp_path / "demo") == meflow.folder() == tmp_path / "demo" / "meflow"
    before = meflow.digest(tmp_path / "demo")
    shutil.copytree(trained, tmp_path / "named")
    monkeypatch.setenv(meflow.VARIABLE, str(tmp_path / "named"))
    assert (
        meflow.of_chain(tmp_path / "mine") == tmp_path / "named" and meflow.digest(tmp_path / "mine") == before
    )  # content, not place
    with open(tmp_path / "named" / "model.safetensors", "ab") as file:
        file.write(b"x")
    assert meflow.digest(tmp_path / "mine") not in (before, None)


def test_the_environment_names_the_weights(trained, monkeypatch):
    image = np.zeros((32, 32), np.uint8)
    monkeypatch.setenv(meflow.VARIABLE, str(trained))
    assert flow.estimate(image, np.dstack([image] * 3), "meflow").shape == (32, 32, 2)


@pytest.mark.parametrize(
    "module", ["deft.motion.flow", "deft.motion.meflow", "deft.motion.courses", "deft.evaluation.flow_study"]
)
def test_no_torch_before_it_is_needed(module):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; sys.exit('torch' in sys.modules)"], cwd=paths.ROOT
    )
    assert done.returncode == 0


# ---------------------------------------------------------------- the study


@pytest.mark.parametrize("name", [flow_study.PHOTOGRAPH, flow_study.TEXTURE])
@pytest.mark.parametrize("number", [0, 1])
def test_the_truth_of_warped_pictures_brings_the_second_frame_home(name, number):
    pair = flow_study.foreign(name, number)
    y, x = np.indices(pair.first.shape, dtype=np.float32)
    inside = pair.areas[name]
    home = flow_study.read(pair.second, y + pair.flow[..., 1], x + pair.flow[..., 0])
    assert np.abs(home - pair.first)[inside].mean() < 0.3 * np.abs(pair.second - pair.first)[inside].mean()
    wrong = flow_study.read(pair.second, y - pair.flow[..., 1], x - pair.flow[..., 0])
    assert np.abs(wrong - pair.first)[inside].mean() > np.abs(pair.second - pair.first)[inside].mean()


def test_angles_are_those_of_space_and_time():
    assert flow_study.angle(np.float64([1, 0]), np.float64([0, 0])) == pytest.approx(45)
    assert flow_study.angle(np.float64([0.3, -2]), np.float64([0.3, -2])) == pytest.approx(0, abs=1e-5)


def test_t8_of_nothing_is_the_length_of_the_motion(tmp_path, monkeypatch, trained):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    monkeypatch.setattr(flow_study, "ESTIMATORS", ("zero", "dis", "meflow"))
    monkeypatch.setattr(flow_study, "NUISANCES", {"clean": {}, "camera": flow_study.NUISANCES["camera"]})
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "meflow").symlink_to(trained)
    table = flow_study.t8("tiny", people=1, pictures=1)
    assert list(table.columns) == [
        "estimator",
        "set",
        "nuisance",
        "magnitude_bin",
        "epe",
        "angular_error",
        "pairs_per_second",
    ]
    assert set(table["estimator"]) == {"zero", "dis", "meflow"} and set(table["set"]) >= {
        "simulator",
        "photograph",
        "noise texture",
    }
    pair = flow_study.foreign(flow_study.PHOTOGRAPH, 0)
    length = np.linalg.norm(pair.flow, axis=-1)[pair.areas[flow_study.PHOTOGRAPH]].mean()
    zero = table[(table.estimator == "zero") & (table.set == "photograph") & (table.magnitude_bin == "all")]
    assert np.allclose(zero["epe"], length, atol=1e-3) and zero["pairs_per_second"].isna().all()
    assert (table[table.estimator == "dis"]["pairs_per_second"] > 0).all()
    assert runtime.read_json(trained / ".made.json")["parts"]["settings"]["corpus"] == [6, 1]
