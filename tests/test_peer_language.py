"""AU-LLM, MELLM and MPT: the check of each page, and that each learns where the skin moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_peer_networks import CLASSES, clips

from deft.clips.facs import REGIONS
from deft.clips.simulator.identity import Geometry, sample_identity
from deft.evaluation.peers import aullm, catalogue, masked, mellm, mpt, speaking
from deft.evaluation.peers.training import NetworkPeer
from deft.faces import regions

# ---------------------------------------------------------------- AU-LLM


def test_led_has_three_numbers_and_columns_that_sum_to_zero():
    led = aullm.Led()
    assert sum(p.numel() for p in led.parameters()) == 3
    found = led.matrix(3).detach().numpy()
    assert found[:2, 1] == pytest.approx([-3.5, 3.5], abs=1e-4)
    assert found[:, 2] == pytest.approx([-5.425, 1.925, 3.5], abs=1e-4)
    assert led.matrix(9)[:, 1:].sum(0).abs().max() < 1e-4 and led.matrix(9).tril(-1).abs().max() == 0


def test_a_static_clip_gives_zero_and_a_brightening_one_is_positive():
    led, still = aullm.Led(), torch.rand(2, 1, 8, 8).expand(2, 6, 8, 8) * 255
    assert led(still).abs().max() < 1e-5 and led(still).shape == (2, 5, 8, 8)
    assert (led(still + 10 * torch.arange(6).view(1, 6, 1, 1)) > 0).all()


def test_leds_own_network_has_the_published_number_of_parameters():
    model = aullm.LedNet(12)
    assert sum(p.numel() for p in model.parameters()) == 2_695_503
    assert model.eval()(torch.rand(2, 6, 64, 64)).shape == (2, 12)


def test_a_pretrained_base_keeps_its_own_layers(tmp_path):
    tokenizer, model, _ = speaking.base_of(None, (), 1)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    peer = catalogue.build("au-llm", CLASSES, 2, base=tmp_path)
    network = peer.form.make(3)
    learning = {name for name, p in network.language.named_parameters() if p.requires_grad}
    assert all("lora_" in name or "embed_tokens" in name for name in learning) and any("lora_" in n for n in learning)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == peer.parameters
    free = catalogue.build("au-llm", CLASSES, 2).parameters
    assert free > peer.parameters


# ---------------------------------------------------------------- MELLM


def test_directions_of_worked_vectors():
    assert mellm.direction([(1, 0), (0, 1)]) == pytest.approx((315, 0.70711), abs=1e-4)
    assert mellm.direction([(1, 0), (-1, 0)])[1] == 0 and mellm.direction(np.zeros((3, 2)))[1] == 0
    assert mellm.direction([(0, -2)]) == pytest.approx((90, 1))


def test_a_still_face_says_nothing_and_a_lip_corner_says_where_it_goes(clips_of_motion):
    inputs, _ = clips_of_motion
    weights, flow = regions.masks(inputs.landmarks[0], 128), np.zeros((128, 128, 2), np.float32)
    assert mellm.sentence(mellm.facts(flow, weights)) == ""
    row = REGIONS.index(("lip_corner", "L"))
    flow[weights[row] > weights[row].max() / 2] = (1.0, -1.0)
    told = mellm.facts(flow, weights)
    assert mellm.TOWARDS[int(told[row, 2]) - 1] == "up right" and "left lip corner" in mellm.sentence(told)
    louder = mellm.facts(2 * flow, weights)
    assert (louder[row, :2] >= told[row, :2]).all() and louder[row, 1] > told[row, 1] and louder[row, 2] == told[row, 2]


def test_no_pixel_is_read(clips_of_motion):
    inputs, _ = clips_of_motion
    dark = replace(inputs, gray=np.zeros_like(inputs.gray))
    assert np.array_equal(mellm.describe(inputs, 0), mellm.describe(dark, 0))


def test_every_word_is_known_and_padding_changes_nothing():
    peer = catalogue.build("mellm", CLASSES, 1)
    torch.manual_seed(0)
    network = peer.form.make(3).eval()
    told = torch.zeros(2, 36, 3)
    told[0, :20] = torch.tensor([3.0, 5.0, 2.0])
    words = f"user : motion {mellm.sentence(told[0].numpy())} {mellm.QUESTION} {' '.join(CLASSES)}"
    tokenizer = peer.form.make.keywords["tokenizer"]
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids and len(ids) == len(words.split())
    with torch.no_grad():
        assert torch.allclose(network(told)[1:], network(told[1:]), atol=1e-5)


# ---------------------------------------------------------------- MPT


def test_without_prompts_and_adapters_it_is_the_frozen_transformer():
    torch.manual_seed(0)
    model, images = mpt.Mpt(3).eval(), torch.rand(2, 128, 128)
    with torch.no_grad():
        same = model.tokens(images, torch.zeros(2, 0, masked.WIDE))
        assert torch.allclose(same, model.backbone(images), atol=1e-6)
        torch.nn.init.normal_(model.adapters[0][1].up.bias)  # of the image tokens
        assert not torch.allclose(model.tokens(images, torch.zeros(2, 0, masked.WIDE)), same, atol=1e-3)


def test_a_wide_window_is_the_mean_and_a_narrow_one_its_centre():
    image, places = torch.rand(32, 32), torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    wide, narrow = (mpt.windows(places, torch.full((2,), width), 32) for width in (100.0, 0.005))
    assert (wide * image).sum((1, 2)).tolist() == pytest.approx([float(image.mean())] * 2, abs=1e-4)
    assert narrow[1].argmax() // 32 in (23, 24) and narrow[1].argmax() % 32 in (7, 8)  # x .25, y .75
    assert torch.allclose(narrow.sum((1, 2)), torch.ones(2))


def test_less_than_a_tenth_of_mpt_is_trained():
    model = mpt.Mpt(5)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained < 0.1 * sum(p.numel() for p in model.parameters())
    assert catalogue.build("mpt", tuple("abcde"), 1).parameters == trained


def test_masked_pretraining_learns_and_starts_the_frozen_part(clips_of_motion):
    inputs, _ = clips_of_motion
    weights, losses = masked.pretrain(np.concatenate([inputs.onset, inputs.apex]), 1, epochs=6)
    assert losses[-1] < 0.97 * losses[0]
    named = {f"backbone.{name}": value for name, value in weights.items()}
    assert mpt.Mpt(3).load_state_dict(named, strict=False).unexpected_keys == []


# ---------------------------------------------------------------- learning


@pytest.fixture(scope="module")
def clips_of_motion():
    """As the other networks have them, with the landmarks of a face."""
    inputs, labels = clips(60, 0, held=12)
    face = Geometry(sample_identity(3))
    points = face.pixels(face.landmarks()).astype(np.float32)
    return replace(inputs, landmarks=np.repeat(points[None], len(inputs), 0)), labels


def test_mellm_learns_where_the_skin_moves(clips_of_motion):
    """As every network does (test_peer_networks), from words about regions."""
    inputs, labels = clips_of_motion
    peer = catalogue.build("mellm", CLASSES, 3)
    peer.form = replace(peer.form, recipe=replace(peer.form.recipe, batch=8))
    told = peer.fit(inputs, labels).history
    assert told[-1]["loss"] < 0.6 * told[0]["loss"] and told[-1]["accuracy"] > 0.8
    found = peer.scores(inputs.take(inputs.may_choose))
    assert found.sum(1) == pytest.approx(np.ones(12)) and isinstance(getattr(peer, "best", peer), NetworkPeer)
    assert (np.array(CLASSES)[found.argmax(1)] == labels[inputs.may_choose]).mean() >= 0.66


def test_au_llm_fits_what_it_is_shown():
    """Two dozen clips on skins that nobody shares are learned, though too few to say how others move."""
    inputs, labels = clips(24, 0, held=3)
    labels = np.where(labels == "aside", "eye", "mouth")
    peer = catalogue.build("au-llm", ("mouth", "eye"), 3)
    peer.form = replace(peer.form, recipe=replace(peer.form.recipe, epochs=6, batch=6, rate=1e-3))
    told = peer.fit(inputs, labels).history
    assert told[-1]["loss"] < 0.5 * told[0]["loss"] and told[-1]["accuracy"] > 0.9
