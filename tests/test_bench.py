"""What the benchmarks compare computes the same thing; else their ratios would mean nothing. Nothing is timed."""

import numpy as np
import pytest
import torch

from deft.mllm import language
from tests.bench import b1_tuning, b2_labels, b4_folds, wide


@pytest.fixture(scope="module")
def small():
    return wide(words=400, hidden=64, layers=2)


def test_every_way_to_score_labels_gives_the_same_likelihoods(small):
    prompts, labels = b2_labels.asked(400)
    labels.append([*labels[-1][:-1], 7])  # one that shares all words but the last with another
    with torch.inference_mode():
        ours = b2_labels.ours(small, prompts, labels)
        for arm in (b2_labels.NAIVE, b2_labels.HARNESS, b2_labels.BATCHED):
            assert torch.allclose(b2_labels.ARMS[arm](small, prompts, labels), ours, atol=1e-4), arm
        first = b2_labels.generated(small, prompts, labels)[:, 0]
        assert torch.equal(first, b2_labels.ours(small, prompts, [[word] for word in range(400)]).argmax(1))


@pytest.mark.parametrize("arm", [b1_tuning.HF, b1_tuning.TRL])
def test_the_arms_of_tuning_take_the_same_steps(arm):
    if arm == b1_tuning.TRL:
        pytest.importorskip("trl")
    tokenizer = language.build_tokenizer()
    batch = b1_tuning.examples(tokenizer, 4, 4)
    # one example over and over: the Trainer shuffles, we do not
    given = [batch[0]] * 12
    theirs, ours = (
        b1_tuning.run(name, wide(words=400, hidden=64, layers=2), tokenizer, given, 4)["losses"]
        for name in (arm, b1_tuning.OURS)
    )
    assert len(ours) == 3 and ours[0] - ours[-1] > 1e-3  # something is learned
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    # and a batch of unlike lengths, whose order is of no weight
    theirs, ours = (
        b1_tuning.run(name, wide(words=400, hidden=64, layers=2), tokenizer, batch, 4)["losses"]
        for name in (arm, b1_tuning.OURS)
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_a_fold_on_shared_inputs_answers_as_one_from_the_clips_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_JOBS", "1")
    assert b4_folds.simulate(tmp_path, subjects=2, clips=1) == 6
    (first, _), (second, _) = b4_folds.shared(2, tmp_path / "clips", tmp_path, workers=1)
    assert first.shape == second.shape == (1, 5) and not np.array_equal(first, second)
    np.testing.assert_array_equal(b4_folds.recomputed(1, tmp_path / "clips"), second)
