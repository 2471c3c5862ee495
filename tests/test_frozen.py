"""Frozen encoders from elsewhere: what they are shown and give, that they never move, are computed once, come along by
reference, and that what is no such encoder is refused by name.
"""

import json
import shutil

import made_profile
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_experts import made_up
from test_pipeline import FPS, MOMENTS, film

from deft import licensed, paths, runtime, weights
from deft.clips import store
from deft.experts import data, draws, frozen, pretrain
from deft.experts.frozen import CELLS, SEEN
from deft.mllm.pipeline import DeftPipeline
from deft.weights import WeightsError

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 56, "patch_size": 8}
MADE = {
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**SMALL, intermediate_size=16)),
    "clip": lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**SMALL, intermediate_size=16)),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, mlp_ratio=1)),
    "pair": lambda: transformers.SiglipModel(
        transformers.SiglipConfig(
            vision_config=SMALL | {"intermediate_size": 16},
            text_config={k: v for k, v in SMALL.items() if k[0] in "hn"} | {"intermediate_size": 16, "vocab_size": 8},
        )
    ),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write(folder, kind="vit", seed=0):
    """A folder with a tiny encoder of random weights, as text, so that parameters may name it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        MADE[kind]().save_pretrained(folder)
    return str(folder)


def alter(folder, change):
    """Another state of the weights in an encoder's folder."""
    path = f"{folder}/model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def frames(count=4):
    return runtime.rng(1, "frames").integers(0, 255, (count, 3, 128, 128, 3)).astype(np.uint8)


# ---------------------------------------------------------------- what it sees and gives
@pytest.mark.parametrize("kind", MADE)
def test_features_are_the_patches_of_the_encoder_s_own_class(kind, tmp_path):
    """Seven patches a side: a cell is a patch, and the class token, where there is one, is none of them."""
    found, rgb = frozen.find(write(tmp_path / kind, kind)), frames()
    seen = found.see("onset_seen", rgb)
    assert seen.shape == (4, 2, 16, CELLS, CELLS) and seen.dtype == np.float16
    assert np.array_equal(seen, found.see("onset_seen", rgb))
    x = torch.from_numpy(rgb[:, 0]).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = torch.nn.functional.interpolate(x, (56, 56), mode="bilinear", antialias=True)
    model = transformers.AutoModel.from_pretrained(tmp_path / kind)
    own = getattr(model, "vision_model", model)(pixel_values=x).last_hidden_state[:, -(CELLS**2) :]
    assert np.allclose(seen[:, 0].reshape(4, 16, -1), own.detach().numpy().transpose(0, 2, 1), atol=5e-3)
    assert np.array_equal(found.see("onset_seen", rgb[:, :, :, ::-1])[:, ::-1], seen)  # the mirror image beside it
    rgb[:, 1:] = 255 - rgb[:, 1:]
    assert np.array_equal(found.see("onset_seen", rgb), seen)  # no later frame is seen


def test_the_residual_becomes_three_channels_that_keep_sign_and_size():
    residual = np.zeros((1, 2, 64, 64), np.float16)
    residual[0, 0, 0, :3], residual[0, 1, 0, :3] = (0.01, -0.01, 9), (0.005, -0.005, 9)
    shown = frozen.pictures("residual_seen", residual)
    assert shown.shape == (1, 3, 64, 64) and torch.allclose(shown[0, :, 5, 5], torch.full((3,), 0.5))
    for channel in range(3):
        assert torch.allclose(shown[0, channel, 0, :3], torch.tensor([0.6, 0.4, 1.0]), atol=1e-3)


def test_the_folder_s_processor_says_mean_deviation_and_size(tmp_path):
    plain = frozen.find(write(tmp_path / "vit")).load()
    assert (plain.side, plain.mean.unique().tolist(), plain.deviation.unique().tolist()) == (56, [0.5], [0.5])
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 4], "size": {"shortest_edge": 56}}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(said))
    other = frozen.find(str(tmp_path / "vit")).load()
    assert other.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3]) and other.deviation.max() == 4
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(said | {"size": {"height": 64}}))
    with pytest.raises(WeightsError, match=r"vit \(ViTModel\) does not read pictures of 64 px"):
        frozen.find(str(tmp_path / "vit"))
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(said | {"image_std": [0, 1, 1]}))
    with pytest.raises(WeightsError, match="preprocessor_config.json: image_mean, image_std and size"):
        frozen.find(str(tmp_path / "vit"))


# ---------------------------------------------------------------- the stage
@pytest.fixture
def world(tmp_path):
    """Stages 01 to 03 of a corpus of 72 clips, in the arrays that structure and texture read."""
    work, told = tmp_path / "work", made_up("texture")
    count, random = len(told), runtime.rng(2, "world")
    rows = [
        dict.fromkeys(store.INDEX_COLUMNS, "") | row | {"look": int(row["look"]), "fps": 200.0}
        for row in told.index.to_dict("records")
    ]
    truth = {"units_true": told.arrays["units"], "furrows_true": told.arrays["furrows"]}
    truth["landmarks_true"] = (64 + 30 * random.normal(size=(count, 1, 68, 2))).astype(np.float32)
    store.write_shard(work / "clips" / "corpus" / "all.npz", rows, "made up", **truth)
    runtime.save_array(work / "faces" / "corpus", "rgb", frames(count))
    runtime.save_array(work / "faces" / "corpus", "matrix", np.eye(2, 3, dtype=np.float32)[None].repeat(count, 0))
    for name in ("residual", "region_true"):
        runtime.save_array(work / "motion" / "corpus", name, told.arrays[name] * (0.05 if name == "residual" else 1))
    return work


def stage(work, encoders):
    """What notebook 06 does: train, write down, extract; -> tokens by expert."""
    chosen, said = {name: pretrain.Settings(epochs=2, batch=16) for name in encoders}, []
    pretrain.pretrain_all(work, chosen, 1, said.append, encoders=encoders)
    draws.record(work, 1)
    return {name: pretrain.extract(name, "corpus", work)[0] for name in encoders}, said


def test_the_stage_trains_on_frozen_features_computes_them_once_and_knows_the_encoder(world, tmp_path, monkeypatch):
    places = {name: write(tmp_path / f"{name}-vit", "vit", i) for i, name in enumerate(SEEN)}
    encoders = frozen.named(**places)
    before = {name: {k: v.clone() for k, v in one.load().model.state_dict().items()} for name, one in encoders.items()}
    tokens, _ = stage(world, encoders)
    for name, one in encoders.items():
        model, folder = one.load().model, world / "experts" / name
        assert not model.training and not any(p.requires_grad or p.grad is not None for p in model.parameters())
        assert all(torch.equal(v, before[name][k]) for k, v in model.state_dict().items())  # it learned nothing
        assert tokens[name].shape == (72, 4, 64) and np.isfinite(tokens[name]).all() and tokens[name].std(0).min() > 0
        known = {"id": f"{name}-vit", "revision": "", "sha256": weights.content(tmp_path / f"{name}-vit")}
        assert runtime.read_json(folder / "config.json")["encoder"] == known
        assert np.array_equal(tokens[name], runtime.load_array(world / "features" / "corpus", name))
        kept = runtime.load_array(world / "experts" / "encoded" / "corpus", SEEN[name])
        assert kept.shape == (72, 2, 16, CELLS, CELLS)
        assert pretrain.load(folder).keys[-1] == SEEN[name]
    seen, see = [], frozen.Frozen.see
    monkeypatch.setattr(frozen.Frozen, "see", lambda self, key, array: (seen.append(key), see(self, key, array))[1])
    again, said = stage(world, frozen.named(**places))
    assert not seen and said == ["finished before, not made again: structure, texture"]
    assert all(np.array_equal(again[name], tokens[name]) for name in SEEN)

    alter(places["texture"], lambda state: {k: v * 1.5 for k, v in state.items()})  # other bytes in the same folder
    with pytest.raises(WeightsError, match="texture-vit.*is not the one that the expert was trained on.*06_experts"):
        pretrain.load(world / "experts" / "texture").frozen.load()
    other, said = stage(world, frozen.named(**places))
    assert seen == ["residual_seen"] and said[0] == "finished before, not made again: structure"
    assert np.array_equal(other["structure"], tokens["structure"])
    assert not np.array_equal(other["texture"], tokens["texture"])
    runtime.save_array(world / "faces" / "corpus", "rgb", 255 - frames(72))
    data.read(world, "corpus", "structure", frozen=encoders["structure"])
    assert seen == ["residual_seen", "onset_seen"]  # other pictures


def test_units_of_a_mirrored_face_have_their_sides_exchanged_and_every_step_mirrors_features_and_truth(world, tmp_path):
    encoder = frozen.find(write(tmp_path / "vit"))
    pairs = data.read(world, "corpus", "texture", frozen=encoder)
    model = pretrain.build("texture", {"width": 16, "subjects": 4}, 7)
    x = data.tensor("residual_seen", pairs.arrays["residual_seen"][:8])
    model.prepare({"residual_seen": x})
    flipped = np.ascontiguousarray(pairs.arrays["residual"][:8, ..., ::-1])
    turned = data.Pairs(pairs.index[:8], {"residual_seen": encoder.see("residual_seen", flipped)}, encoder)
    logits = pretrain.predict(model, pairs, np.arange(8))[1]
    assert np.allclose(pretrain.predict(model, turned)[1], logits[..., ::-1], atol=1e-3) and np.ptp(logits) > 0.01
    batch = {"residual_seen": x, "units": data.tensor("units", pairs.arrays["units"][:8])}
    drawn = {k: v[:8] for k, v in data.draws(model.jitter, 72, 7, 0).items()}
    moved = data.augment(batch, drawn, model.jitter, {})
    for i, flip in enumerate(drawn["mirror"]):  # nothing but the mirror: features cannot be shifted or lit
        assert torch.equal(moved["residual_seen"][i], x[i].flip(0) if flip else x[i])
        assert torch.equal(moved["units"][i], batch["units"][i].flip(-1) if flip else batch["units"][i])


# ---------------------------------------------------------------- an answer
def test_a_pipeline_answers_with_them_and_saves_them_by_reference(tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_WORK", str(tmp_path))
    work = paths.work("tiny")
    places = {name: write(tmp_path / "there" / f"{name}-vit", "vit", i) for i, name in enumerate(SEEN)}
    made_profile.write_profile(work, frozen.named(**places))
    made_profile.write_run(work)
    clip, pipeline = film({"6": 0.3, "12": 0.35}), DeftPipeline.from_pretrained(work)
    said = pipeline(clip, fps=FPS, **MOMENTS)
    assert said["written"] and sum(said["scores"].values()) == pytest.approx(1, abs=1e-4)
    borrowed = licensed.Recipe("casme2", tmp_path, "tiny", folds="2")
    licensed.borrowing(borrowed).do()
    assert pretrain.load(borrowed.work / "experts" / "texture").frozen == pipeline.experts["texture"].frozen

    folder = pipeline.save_pretrained(tmp_path / "saved")
    assert sum(str(tmp_path) in p.read_text() for p in folder.rglob("*.*") if p.suffix in (".json", ".md")) == 0
    card = (folder / "README.md").read_text()
    assert all(f"Frozen encoder of the {name} stream: `{name}-vit`" in card for name in SEEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsError, match="structure-vit.*hf download structure-vit.*DEFT_BASES"):
        DeftPipeline.from_pretrained(folder)
    monkeypatch.setenv(weights.PLACES, str(tmp_path / "there"))
    assert DeftPipeline.from_pretrained(folder)(clip, fps=FPS, **MOMENTS) == said
    write(places["texture"], "vit", 5)
    with pytest.raises(WeightsError, match="is not the one that the expert was trained on"):
        DeftPipeline.from_pretrained(folder)


# ---------------------------------------------------------------- refused by name
def lacking(folder):
    alter(folder, lambda state: {k: v for k, v in state.items() if "embeddings.patch" not in k})


def infinite(folder):
    alter(folder, lambda state: {k: v * np.nan if k.endswith("layernorm.weight") else v for k, v in state.items()})


def cut(folder):
    path = f"{folder}/model.safetensors"
    with open(path, "rb+") as file:
        file.truncate(1000)


def gray(folder):
    shutil.rmtree(folder)
    transformers.ViTModel(transformers.ViTConfig(**SMALL, intermediate_size=16, num_channels=1)).save_pretrained(folder)


def text(folder):
    shutil.rmtree(folder)
    sizes = {k: v for k, v in SMALL.items() if k[0] in "hn"}
    transformers.BertModel(transformers.BertConfig(**sizes, intermediate_size=8, vocab_size=8)).save_pretrained(folder)


@pytest.mark.parametrize(
    "change, words",
    [
        (lacking, r"the encoder one lack 2 of its weights \(embeddings.patch"),
        (infinite, "one .*gives features that are not finite"),
        (cut, "model.safetensors is damaged or cut short"),
        (gray, "the encoder one reads 1 channels"),
        (text, r"one \(family 'bert'\) is no vision encoder"),
        (lambda folder: (folder / "config.json").unlink(), "no vision encoder in .*one"),
    ],
    ids=["weights", "finite", "cut", "channels", "text", "empty"],
)
def test_what_is_no_usable_encoder_is_refused_by_name(change, words, tmp_path):
    write(tmp_path / "one")
    change(tmp_path / "one")
    with pytest.raises(WeightsError, match=words):
        frozen.find(str(tmp_path / "one")).see("onset_seen", frames(1))


def test_only_structure_and_texture_read_an_encoder_and_a_name_must_be_one(monkeypatch, tmp_path):
    assert frozen.named(structure="", texture="") == {}
    with pytest.raises(ValueError, match="motion: only structure and texture"):
        frozen.named(motion="somewhere")
    with pytest.raises(WeightsError, match="no folder '/nowhere/at/all' with a vision encoder"):
        frozen.named(structure="/nowhere/at/all")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsError, match="`hf download a/b --revision v1 --local-dir FOLDER`"):
        frozen.named(texture="a/b@v1")


def test_a_revision_that_a_saved_model_names_is_found_where_models_are_laid(tmp_path, monkeypatch):
    """The folder does not tell its revision; its content is compared. A revision that is asked for by hand is not
    guessed."""
    (tmp_path / "vit").mkdir()
    monkeypatch.setenv(weights.PLACES, str(tmp_path))
    assert weights.laid("owner/vit") == tmp_path / "vit" and weights.laid("owner/other") is None
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="--revision abc"):
        weights.find("owner/vit", "abc")
    monkeypatch.delenv(weights.PLACES)
    assert weights.laid("owner/vit") is None
