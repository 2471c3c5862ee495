"""Muon: what a step does to matrices, and that everything else is AdamW's."""

import copy

import pytest
import torch
from torch import nn

from deft.mllm import language
from deft.mllm.muon import LENGTH, Muon, orthogonal


def small(seed=0):
    torch.manual_seed(seed)
    return nn.ModuleDict({"words": nn.Embedding(11, 6), "wide": nn.Linear(6, 9), "narrow": nn.Linear(9, 4)})


def loss(model, seed=0):
    words = torch.randint(0, 11, (32,), generator=torch.Generator().manual_seed(seed))
    return (model["narrow"](model["wide"](model["words"](words)).tanh()) - 1).square().mean()


def step(model, optimizer, seed=0):
    optimizer.zero_grad()
    loss(model, seed).backward()
    optimizer.step()


def muon(model, lr=1e-2, decay=0.01):
    return Muon(model, lr=lr, others=3e-3, apart=(model["words"],), weight_decay=decay)


def test_directions_stay_and_their_lengths_become_alike():
    matrices = torch.randn(5, 8, 20, dtype=torch.float64) @ torch.diag(torch.linspace(0.5, 1, 20, dtype=torch.float64))
    found = orthogonal(matrices)
    before, after = (torch.linalg.svdvals(m) for m in (matrices, found))
    assert (after.amax(1) / after.amin(1) < before.amax(1) / before.amin(1)).all() and (after < 1.3).all()
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ found @ right.mT  # diagonal: singular vectors are the matrices' own
    assert torch.allclose(turned, torch.diag_embed(torch.diagonal(turned, dim1=1, dim2=2)), atol=1e-9)


def test_a_step_of_a_matrix_has_the_length_of_its_rate_whatever_its_gradient():
    for scale in (1e-3, 1.0, 1e3):
        model = small()
        before = copy.deepcopy(model.state_dict())
        optimizer = muon(model, lr=1e-2, decay=0.0)
        (loss(model) * scale).backward()
        optimizer.step()
        for name in ("wide.weight", "narrow.weight"):
            moved = before[name] - model.state_dict()[name]
            assert torch.linalg.svdvals(moved)[0] == pytest.approx(1e-2 * LENGTH * max(moved.shape) ** 0.5, rel=0.35)
            assert (moved * model.get_submodule(name.split(".")[0]).weight.grad).sum() > 0  # downhill


def test_tables_of_words_and_vectors_are_moved_as_by_adamw():
    ours, theirs = small(), small()
    mine = muon(ours, lr=0.0)  # matrices stay where they are, so both meet the same gradients
    others = [p for name, p in theirs.named_parameters() if name not in ("wide.weight", "narrow.weight")]
    adam = torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01)
    for seed in range(5):
        step(ours, mine, seed)
        step(theirs, adam, seed)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters()):
        assert torch.equal(one, other), name


def test_it_goes_on_from_its_state():
    whole, stopped = small(), small()
    one, other = muon(whole), muon(stopped)
    for seed in range(3):
        step(whole, one, seed)
        step(stopped, other, seed)
    again = small(1)
    optimizer = muon(again)
    again.load_state_dict(stopped.state_dict())
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    for seed in range(3, 6):
        step(whole, one, seed)
        step(again, optimizer, seed)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters()))


@pytest.mark.parametrize("hidden", [64, 128, 256])
def test_rates_of_text_pretraining_fall_as_the_base_grows_wider(hidden, tmp_path, monkeypatch):
    class Asked(Exception):
        pass

    def asked(model, lr, others, apart):
        raise Asked(lr, others)

    monkeypatch.setattr(language, "Muon", asked)
    (tmp_path / "detectors").write_text("")  # never read: rates are asked for first
    with pytest.raises(Asked) as found:
        language.pretrain(language.LanguageSettings(hidden=hidden), tmp_path / "base", tmp_path / "detectors")
    assert found.value.args == pytest.approx((1.2e-3 * 128 / hidden, 3e-3 * 128 / hidden))
