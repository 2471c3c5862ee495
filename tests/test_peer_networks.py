"""The network peers: the check of each page, what each learns of a made-up problem, and what is refused.

The made-up clips show one of three movements of the same face area: up, down, or sideways elsewhere. They differ by
nothing but motion.
"""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from deft.clips.keyframes import APEX, COUNT
from deft.evaluation import peers
from deft.evaluation.peers import catalogue, fmanet, htnet, ma2mi, merclip_mixing, mmnet, training
from deft.evaluation.peers.inputs import Inputs

CLASSES = ("up", "down", "aside")
FACE = {"eyes": ((50, 50), (78, 50)), "mouth": ((52, 86), (76, 86))}
FLOW = ("offapexnet", "ststnet", "rcn", "htnet", "htnet-one-token", "fmanet", "microattention")
EPOCHS = dict.fromkeys(catalogue.NETWORKS, 12)
EPOCHS |= {"offapexnet": 10, "ststnet": 25, "htnet": 10, "htnet-one-token": 14, "fmanet": 14}
EPOCHS |= {"frames": 20, "merclip-mixing": 24}
COUNTS = {"ststnet": 1_683, "offapexnet": 2_664_475, "rcn": 51_139, "htnet": 114_429_446}


def landmarks():
    points = np.full((68, 2), 64.0, np.float32)
    points[36:42], points[42:48], points[48], points[54] = *FACE["eyes"], *FACE["mouth"]
    return points


def clips(count=60, seed=0, pixels=2.0, held=0, people=1000):
    """-> (Inputs of `count` made-up clips, the last `held` of them validation; their classes). pixels: how far the skin
    moves at the apex; people: how many skins there are, the same ones for every seed.
    """
    draw, y, x = np.random.default_rng(seed), *np.mgrid[:128, :128].astype(np.float32)
    labels = np.array(CLASSES)[np.arange(count) % 3]
    gray, rise = np.empty((count, COUNT, 128, 128), np.uint8), np.zeros((count, 128, 128, 2), np.float32)
    bump = [np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 12.0**2)) for a, b in (FACE["mouth"][0], FACE["eyes"][1])]
    course = np.concatenate([np.linspace(0, 1, APEX + 1), np.linspace(1, 0, COUNT - APEX)[1:]])
    for number, label in enumerate(labels):
        size = pixels * draw.uniform(0.7, 1.3)
        move = {"up": (0, -size), "down": (0, size), "aside": (size, 0)}[label]
        rise[number] = bump[label == "aside"][..., None] * np.float32(move)
        person = np.random.default_rng(number // 3 % people + (1000 * seed if people == 1000 else 0))
        skin = cv2.GaussianBlur(person.normal(0, 1, (128, 128)).astype(np.float32), (0, 0), 3.0)
        skin = 128 + 35 * skin / skin.std()
        for t, share in enumerate(course):
            place = (np.stack([x, y], -1) - np.float32(share) * rise[number]).astype(np.float32)
            seen = cv2.remap(skin, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            gray[number, t] = np.clip(seen + draw.normal(0, 2, seen.shape), 0, 255).astype(np.uint8)
    rise += draw.normal(0, 0.05 * pixels, rise.shape).astype(np.float32)
    courses = np.zeros((count, COUNT - 1, 36, 5), np.float32)
    inputs = Inputs(gray, np.tile(landmarks(), (count, 1, 1)), courses, rise, -rise, np.arange(count) >= count - held)
    return inputs, labels


@pytest.fixture(scope="module")
def made_up():
    return clips(60, 0), clips(30, 1)


def peer(name, epochs=None, seed=3, classes=CLASSES, **changes):
    """The small form of a peer with another number of epochs or another recipe."""
    form = catalogue.form_of(name)
    recipe = replace(form.recipe, **{"epochs": epochs or EPOCHS[name], "batch": 12, **changes})
    return training.NetworkPeer(name, replace(form, recipe=recipe), classes, seed)


def counted(model):
    return sum(p.numel() for p in model.parameters())


# ---------------------------------------------------------------- the networks as published


@pytest.mark.parametrize("name", COUNTS)
def test_published_networks_have_the_published_number_of_parameters(name):
    with torch.device("meta"):
        model = catalogue.network(name, form="published")
        assert counted(model) == COUNTS[name]
        shape = catalogue.form_of(name, "published").shape
        assert model.eval()(torch.zeros(2, *shape)).shape == (2, 3)
        assert counted(catalogue.network(name, "published", classes=7)) > COUNTS[name]


def test_micro_attention_has_53_million_parameters_and_mmnet_a_map_of_14():
    with torch.device("meta"):
        assert round(counted(catalogue.network("microattention", "published")) / 1e6, 1) == 53.4
        mmnet_ = catalogue.network("mmnet", "published")
        assert mmnet_.maps(torch.zeros(2, 1, 224, 224))[0].shape == (2, 512, 14, 14)
        assert mmnet_.embed.weight.shape == (512, 3)


def test_ststnet_has_16_maps_of_10():
    model = catalogue.network("ststnet", "published").eval()
    maps = [stream(torch.zeros(1, 3, 28, 28)) for stream in model.streams]
    assert [tuple(m.shape[1:]) for m in maps] == [(3, 10, 10), (5, 10, 10), (8, 10, 10)]


def test_off_apexnet_keeps_the_two_directions_apart():
    model, images = catalogue.network("offapexnet").eval(), torch.rand(1, 2, 28, 28)
    images.requires_grad_()
    model.streams[0](images[:, :1]).sum().backward()
    assert images.grad[:, 0].abs().sum() > 0 and images.grad[:, 1].abs().sum() == 0
    assert not torch.equal(model(images.detach()), model(images.detach().flip(1)))


# ---------------------------------------------------------------- HTNet


def attention_gradients(name, form):
    """Largest gradient of queries and keys, and of values, over all layers after one loss."""
    torch.manual_seed(0)
    model, shape = catalogue.network(name, form), catalogue.form_of(name, form).shape
    torch.nn.functional.cross_entropy(model(torch.randn(3, *shape)), torch.tensor([0, 1, 2])).backward()
    parts = [part for part in model.modules() if isinstance(part, htnet.Attention)]
    sizes = [
        [getattr(part, which).weight.grad.abs().max().item() for part in parts]
        for which in ("queries", "keys", "values")
    ]
    return sizes[0] + sizes[1], sizes[2]


@pytest.mark.parametrize("form, blocks", [("published", 12), ("one-token", 6)])
def test_one_token_gives_queries_and_keys_no_gradient_at_all(form, blocks):
    dead, alive = attention_gradients("htnet", form)
    assert len(dead) == 2 * blocks and set(dead) == {0.0} and min(alive) > 0


def test_sixteen_tokens_give_queries_and_keys_a_gradient():
    learning, _ = attention_gradients("htnet", "small")
    assert len(learning) == 8 and min(learning) > 0


def test_attention_stays_in_its_window_and_windows_keep_their_place():
    torch.manual_seed(0)
    level, image = htnet.Level(12, 3, 1, blocks=2, tokens=4), torch.randn(1, 12, 4, 4, requires_grad=True)
    level(image)[0, :, :2, 2:].square().sum().backward()  # the window above right
    moved = image.grad[0].abs().sum(0) > 0
    assert moved[:2, 2:].all() and moved.sum() == 4
    for part in level.modules():
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.zeros_(part.weight)
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)
    places = level.position.view(2, 2).repeat(2, 2)  # every window has the same four positions
    assert torch.allclose(level(image), image + places)


def test_crops_lie_around_eyes_and_mouth_corners_or_at_the_transposed_place():
    image = np.zeros((1, 1, 128, 128), np.float32)
    for value, (x, y) in enumerate([*FACE["eyes"], *FACE["mouth"]], start=1):
        image[0, 0, y, x] = value
    seen = htnet.tiles(image, landmarks()[None], 32)[0, 0]
    assert seen.shape == (64, 64)
    assert [seen[16, 16], seen[16, 48], seen[48, 16], seen[48, 48]] == [1, 2, 3, 4]  # eyes above
    flipped = htnet.tiles(image.swapaxes(2, 3).copy(), landmarks()[None], 32, transposed=True)[0, 0]
    assert [flipped[16, 16], flipped[16, 48], flipped[48, 16], flipped[48, 48]] == [1, 2, 3, 4]
    corner = np.tile(landmarks(), (1, 1, 1))
    corner[:, 48] = (127, 127)
    assert np.isfinite(htnet.tiles(image, corner, 32)).all()


# ---------------------------------------------------------------- RCN, FMANet, MMNet, Micro-Attention


def test_the_map_of_rcn_is_read_off_the_classifier():
    model, features = catalogue.network("rcn", "published"), torch.ones(2, 64, 5, 5)
    torch.nn.init.zeros_(model.decide.weight)
    flat = model.place(features)
    assert flat.shape == (2, 1, 5, 5) and torch.equal(
        flat, torch.zeros_like(flat)
    )  # a constant map does not divide by 0
    with torch.no_grad():
        model.decide.weight.view(3, 64, 5, 5)[:, :, 1, 3] = 1.0
    found = model.place(features)
    assert found[0, 0, 1, 3] == 1 and found.sum() == 2
    assert 0 <= model.place(torch.rand(2, 64, 5, 5)).min() and model.place(torch.rand(2, 64, 5, 5)).max() <= 1


def test_the_recurrent_unit_of_rcn_uses_its_weights_twice():
    model, calls = catalogue.network("rcn").eval(), []
    model.again.register_forward_hook(lambda *_: calls.append(1))
    model(torch.rand(2, 3, 28, 28))
    assert len(calls) == 2


def test_gates_weights_and_magnitudes_of_fmanet():
    model = catalogue.network("fmanet").eval()
    with torch.no_grad():
        model.slope.zero_()
        assert torch.equal(model.gates(torch.rand(2, 2, 5, 5)), torch.full((2, 2, 5, 5), 0.5))
        model.slope.fill_(10.0)
        gates = model.gates(torch.tensor([0.0, 0.3, 1.0]).view(1, 1, 1, 3).expand(1, 2, 1, 3))
        assert (
            gates[0, 0, 0, 0] < 0.1 and gates[0, 0, 0, 1] == 0.5 and gates[0, 0, 0, 2] > 0.9
        )  # more motion opens the gate
        assert torch.equal(model.weights(), torch.tensor([0.5, 0.5]))
        model.threshold.fill_(-10.0)  # gates open
        model.fusion.copy_(torch.tensor([200.0, -200.0]))  # weights (1, 0)
        phases = torch.randn(3, 6, 28, 28)
        other = torch.cat([phases[:, :3], torch.randn(3, 3, 28, 28)], dim=1)
        assert torch.equal(model(phases), model(other))  # the fall says nothing
        model.fusion.copy_(-model.fusion)
        assert not torch.equal(model(phases), model(other))
    assert torch.equal(fmanet.normalised(torch.full((1, 2, 4, 4), 7.0)), torch.zeros(1, 2, 4, 4))
    some = fmanet.normalised(torch.rand(3, 2, 9, 9))
    assert torch.equal(some.amin((2, 3)), torch.zeros(3, 2)) and torch.allclose(some.amax((2, 3)), torch.ones(3, 2))


def test_maps_of_mmnet_only_ever_narrow_and_a_still_face_says_nothing_of_motion():
    torch.manual_seed(0)
    model = catalogue.network("mmnet").eval()
    with torch.no_grad():
        _, maps = model.maps(torch.randn(2, 1, 64, 64))
        for block, before, after in zip(model.blocks[1:], maps, maps[1:]):
            assert (after <= block.shrink(before) + 1e-6).all() and after.min() >= 0
        features, still = model.maps(torch.zeros(2, 1, 64, 64))
        assert torch.equal(features[0], features[1])
        inner = still[0][0, 0, 4:-4, 4:-4]
        assert torch.allclose(inner, inner[0, 0].expand_as(inner))
        pair = torch.randn(1, 2, 64, 64)
        assert not torch.equal(
            model(pair), model(torch.cat([pair[:, :1], 2 * pair[:, 1:]], dim=1))
        )  # the place branch is heard


def test_mmnet_reads_the_difference_and_the_onset():
    inputs, _ = clips(3)
    seen = mmnet.frames(128)(inputs, False)
    assert np.allclose(seen[:, 1] * 255, inputs.onset) and np.allclose(
        (seen[:, 0] + seen[:, 1]) * 255, inputs.apex, atol=1e-3
    )
    assert mmnet.frames(224)(inputs, False).shape == (3, 2, 224, 224)


def test_micro_attention_is_a_share_of_places():
    torch.manual_seed(0)
    block = catalogue.network("microattention").body[3].eval()
    with torch.no_grad():
        x = torch.randn(2, 12, 14, 14)
        x1, short = block.first(x), block.short(x)
        attention = block.map(x1, block.second(x1), short)
        assert torch.allclose(attention.sum((1, 2, 3)), torch.ones(2)) and attention.min() >= 0
        assert torch.allclose(block(x), (block.second(x1) + short) * (1 + attention))


# ---------------------------------------------------------------- MA2MI, the mixing of looks


def test_the_action_branch_predicts_the_future_and_without_it_nothing_beats_copying():
    frames, others = clips(48, 5, pixels=6.0)[0].gray[:, [0, APEX]], clips(24, 6, pixels=6.0)[0].gray[:, [0, APEX]]
    weights, task = ma2mi.pretrain(frames, seed=1, epochs=12)
    seeing, blind = (
        ma2mi.errors(task, others),
        ma2mi.errors(ma2mi.pretrain(frames, seed=1, epochs=12, blind=True)[1], others),
    )
    assert seeing["predicted"] < 0.9 * seeing["copied"]
    assert (
        blind["predicted"] > 0.99 * blind["copied"]
    )  # people are new: what P sees of them does not say where they will move
    z = task.network.position(ma2mi.pairs(others)[0])
    assert z.std(0).mean() > 0.3  # no collapse: faces differ
    tuned = training.NetworkPeer("ma2mi", catalogue.form_of("ma2mi"), CLASSES, 0, start=weights)
    assert set(weights) < set(catalogue.network("ma2mi").state_dict()) and not any(
        key.startswith("decide") for key in weights
    )
    form = replace(catalogue.form_of("ma2mi"), recipe=replace(catalogue.form_of("ma2mi").recipe, epochs=1, rate=1e-9))
    tuned = training.NetworkPeer("ma2mi", form, CLASSES, 0, start=weights).fit(*clips(6))
    assert torch.allclose(tuned.network[1].action[0].weight, weights["action.0.weight"], atol=1e-6)


def test_macro_clips_are_large_movements_of_people_of_no_other_set():
    filmed, emotions = ma2mi.macro_clips(2, seed=7)
    assert filmed.shape == (2, 3, 128, 128) and filmed.dtype == np.uint8 and list(emotions) == [0, 1]
    still = filmed.astype(float) - filmed[:, :1]
    half, apex = np.abs(still[:, 1]).mean((1, 2)), np.abs(still[:, 2]).mean((1, 2))
    assert (apex > half).all() and (half > 0).all()


def test_mixing_changes_looks_and_keeps_motion():
    draw = torch.Generator().manual_seed(0)
    frames = torch.rand(40, 3, 64, 64)
    mixed = merclip_mixing.mix(frames, draw)
    touched = (mixed != frames).flatten(1).any(1)
    assert 8 < touched.sum() < 32  # half of them
    before, after = frames[:, 1] - frames[:, 0], mixed[:, 1] - mixed[:, 0]
    for number in touched.nonzero()[:, 0]:
        inside = mixed[number, 0] != frames[number, 0]
        assert torch.allclose(after[number][inside], 0.5 * before[number][inside], atol=1e-6)
        assert torch.equal(after[number][~inside], before[number][~inside]) and 0.02 < inside.float().mean() < 0.15
        patches = 2 * mixed[number] - frames[number]
        assert torch.allclose(patches[0][inside], patches[2][inside], atol=1e-6)  # one patch for all frames
    assert torch.equal(merclip_mixing.mix(frames, draw, probability=0.0), frames)
    assert merclip_mixing.mix(torch.rand(4, 2, 3, 64, 64), draw).shape == (4, 2, 3, 64, 64)
    with pytest.raises(ValueError, match="strength 2"):
        merclip_mixing.mix(frames, draw, strength=2.0)


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("name", catalogue.NETWORKS)
def test_every_network_learns_where_the_skin_moves(name, made_up):
    (train, labels), (test, truth) = made_up
    if (
        catalogue.form_of(name).stretched is None
    ):  # from so few pictures nobody learns what motion is: two skins, seen again
        (train, labels), (test, truth) = clips(60, 2, pixels=4.0, people=2), clips(30, 3, pixels=4.0, people=2)
    learner = peer(name).fit(train, labels)
    assert learner.history[-1]["loss"] < 0.5 * learner.history[0]["loss"]
    probability = learner.scores(test)
    assert probability.shape == (30, 3) and np.allclose(probability.sum(1), 1)
    assert (np.array(CLASSES)[probability.argmax(1)] == truth).mean() > 0.8
    trained = sum(p.numel() for p in learner.network.parameters() if p.requires_grad)
    assert learner.parameters == trained and learner.seconds > 0


@pytest.mark.parametrize("name", ["ststnet", "htnet", "fmanet"])
def test_a_movement_turned_around_is_the_other_class(name, made_up):
    """Would a device that gets every direction wrong be noticed?"""
    (train, labels), (test, truth) = made_up
    learner = peer(name).fit(train, labels)
    turned = np.array(CLASSES)[learner.scores(replace(test, rise=-test.rise, fall=-test.fall)).argmax(1)]
    assert (turned[truth == "up"] == "down").mean() > 0.7 and (turned[truth == "down"] == "up").mean() > 0.7


def test_stretching_hides_the_amplitude_and_the_fixed_scale_does_not(made_up):
    (inputs, _), _ = made_up
    double = replace(inputs, rise=2 * inputs.rise, fall=2 * inputs.fall)
    read = training.flow_reader()
    assert np.allclose(read(double, True), read(inputs, True), atol=1e-4)
    assert np.allclose(read(double, False), 2 * read(inputs, False), rtol=1e-4)
    assert (
        training.flow_reader(full=255)(inputs, True).max() == 255
        and training.flow_reader(full=255)(inputs, False).max() < 10
    )
    assert (
        catalogue.build("ststnet", CLASSES, 1).stretched is False
        and catalogue.build("ststnet", CLASSES, 1, form="published").stretched is True
    )


def test_seed_and_name_decide_every_digit():
    inputs, labels = clips(12)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first = peer("rcn", 2, seed=5).fit(inputs, labels).scores(inputs)
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == threads
    torch.rand(3)  # the global generator plays no part
    again = peer("rcn", 2, seed=5)
    again.fit(inputs, labels)
    assert np.array_equal(again.fit(inputs, labels).scores(inputs), first) and len(again.history) == 2
    assert not np.array_equal(peer("rcn", 2, seed=6).fit(inputs, labels).scores(inputs), first)


def test_validation_clips_are_never_learned_from():
    inputs, labels = clips(24, held=6)
    plain = peer("ststnet", 3).fit(inputs, labels)
    rise = inputs.rise.copy()
    rise[-6:] = 50 * rise[-6:]
    spoiled = peer("ststnet", 3).fit(replace(inputs, rise=rise), np.append(labels[:-6], ["up"] * 6))
    assert np.array_equal(plain.scores(inputs), spoiled.scores(inputs))
    assert plain.chosen == 3 and plain.history[-1]["validation_loss"] != spoiled.history[-1]["validation_loss"]
    assert "validation_loss" not in plain.history[0]


def test_validation_clips_may_choose_the_epoch():
    inputs, labels = clips(36, held=12)
    labels[-12:] = np.roll(labels[-12:], 1)  # validation says the opposite of training: the sooner the better
    learner = peer("offapexnet", 8, choose=True).fit(inputs, labels)
    losses = [row["validation_loss"] for row in learner.history]
    assert learner.chosen == 1 + int(np.argmin(losses)) < 8
    held = learner.scores(inputs.take(np.arange(24, 36)))
    answer = -np.log(held[np.arange(12), [CLASSES.index(name) for name in labels[-12:]]])
    assert answer.mean() == pytest.approx(min(losses), rel=1e-3)  # its weights are those that answer


def test_a_rare_class_weighs_as_much_as_a_common_one():
    inputs, _ = clips(40)
    labels = np.array(["rare"] * 4 + ["common"] * 36)
    flat = replace(inputs, rise=np.zeros_like(inputs.rise), fall=np.zeros_like(inputs.fall))
    learner = peer("offapexnet", 6, classes=("rare", "common")).fit(flat, labels)
    assert learner.scores(flat)[:, 0] == pytest.approx(0.5, abs=0.15)  # without balance it would be .1


# ---------------------------------------------------------------- names, and what is refused


def test_the_catalogue_names_what_is_built_and_what_is_not():
    assert set(FLOW) < set(catalogue.NETWORKS) < set(peers.NAMES) and not set(catalogue.NAMES) & set(
        catalogue.NOT_BUILT
    )
    with pytest.raises(ValueError, match=r"'tsan': it is not built \(abstract only.*choose one of majority, lbptop"):
        catalogue.network("tsan")
    with pytest.raises(
        ValueError, match="fmanet has no form 'published'; there is no published form, unknown is weights"
    ):
        catalogue.network("fmanet", form="published")
    with pytest.raises(ValueError, match="lbptop is no network; those are offapexnet, "):
        peers.network("lbptop")
    with pytest.raises(TypeError, match="unexpected keyword argument 'form'"):
        peers.build("mdmo", CLASSES, 1, form="small")
    with pytest.raises(AttributeError, match="no attribute 'nets'"):
        peers.nets  # noqa: B018
    with pytest.raises(ValueError, match="rcn has no form 'huge'; choose one of small, published"):
        catalogue.build("rcn", CLASSES, 1, form="huge")


def test_what_does_not_fit_is_an_error_that_names_it():
    inputs, labels = clips(12, held=3)
    build = catalogue.build
    with pytest.raises(RuntimeError, match="rcn has learned nothing yet"):
        build("rcn", CLASSES, 1).scores(inputs)
    with pytest.raises(ValueError, match="no training clip of contempt"):
        build("rcn", (*CLASSES, "contempt"), 1).fit(inputs, labels)
    only_held = np.where(np.arange(12) < 9, np.where(labels == "aside", "up", labels), labels)
    with pytest.raises(ValueError, match="no training clip of aside"):  # validation clips do not count
        build("rcn", CLASSES, 1).fit(inputs, only_held)
    with pytest.raises(ValueError, match="label 'aside' of clip 2 is none of the classes up, down"):
        build("rcn", ("up", "down"), 1).fit(inputs, labels)
    with pytest.raises(ValueError, match=r"labels \(11,\).*for 12 clips"):
        build("rcn", CLASSES, 1).fit(inputs, labels[:-1])
    rise = inputs.rise.copy()
    rise[7, 3, 3, 1] = np.nan
    for name in ("rcn", "mmnet"):
        with pytest.raises(ValueError, match="inputs.rise of clip 7 holds a number that is not finite"):
            build(name, CLASSES, 1).fit(replace(inputs, rise=rise), labels)
    with pytest.raises(ValueError, match=r"inputs.gray is \(12, 128, 128\)"):
        build("rcn", CLASSES, 1).fit(replace(inputs, gray=inputs.gray[:, 0]), labels)
    with pytest.raises(ValueError, match="must both be"):
        build("rcn", CLASSES, 1).fit(replace(inputs, fall=inputs.fall[:, :64]), labels)
    with pytest.raises(ValueError, match="two or more different names"):
        build("rcn", ("up", "up"), 1)
    with pytest.raises(ValueError, match="mmnet reads no flow image"):
        build("mmnet", CLASSES, 1, stretched=True)
    with pytest.raises(ValueError, match="no weights named decide.weight"):
        build("ststnet", CLASSES, 1, start={"decide.weight": torch.zeros(3)}).fit(inputs, labels)
    with pytest.raises(ValueError, match="inputs.may_choose marks none"):
        peer("rcn", choose=True).fit(*clips(6))
    with pytest.raises(ValueError, match="unknown optimiser 'rmsprop'"):
        peer("rcn", optimiser="rmsprop").fit(*clips(6))
    with pytest.raises(ValueError, match=r"macro clips must be \(M, T >= 2"):
        ma2mi.pretrain(np.zeros((3, 1, 64, 64), np.uint8), 1)
    wrong = replace(catalogue.form_of("rcn"), shape=(3, 32, 32))
    with pytest.raises(ValueError, match=r"reads clips of shape \(3, 28, 28\); its network takes \(3, 32, 32\)"):
        training.NetworkPeer("rcn", wrong, CLASSES, 1).fit(inputs, labels)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_rate_that_explodes_is_an_error_that_names_the_epoch():
    with pytest.raises(FloatingPointError, match="offapexnet: no finite loss in epoch"):
        peer("offapexnet", 30, rate=1e30, optimiser="sgd").fit(*clips(12))
