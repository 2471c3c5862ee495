"""What the benchmarks compare computes the same thing; else their ratios would mean nothing. Nothing is timed."""

import numpy as np
import pytest
import torch

from deft import runtime
from deft.mllm import language
from tests.bench import b1_tuning, b2_labels, b4_folds, wide


@pytest.fixture(scope="module")
def small():
    return wide(words=400, hidden=64, layers=2)


def test_every_way_to_score_labels_gives_the_same_likelihoods(small):
    prompts, labels = b2_labels.asked(400)
    prompts = prompts[:3, :12]
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
    batch = b1_tuning.examples(tokenizer, 4, 4, people=6)  # a batch is an epoch: the Trainer's order is of no weight
    assert len({len(one["input_ids"]) for one in batch}) > 1
    theirs, ours = (
        b1_tuning.run(name, wide(words=400, hidden=64, layers=2), tokenizer, batch, 4, epochs=3)["losses"]
        for name in (arm, b1_tuning.OURS)
    )
    assert len(ours) == 3 and ours[0] - ours[-1] > 1e-3  # something is learned
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_tuning_names_an_arm_that_is_not_installed(monkeypatch, small, capsys):
    monkeypatch.setattr(b1_tuning.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(b1_tuning, "wide", lambda: small)
    seconds = {b1_tuning.HF: 6.0, b1_tuning.OURS: 2.0}
    monkeypatch.setattr(b1_tuning, "_child", lambda arm: {"seconds": seconds[arm], "gib": seconds[arm]})
    rows = {row["what"]: row for row in b1_tuning.measure()}
    assert "TRL is not installed" in capsys.readouterr().out
    assert rows["HF Trainer: CPU seconds / ours"]["value"] == 3.0
    absent = rows["TRL SFTTrainer (not installed): CPU seconds / ours"]
    assert absent["runs"] == 0 and np.isnan(absent["value"])
    gains = [row["value"] for what, row in rows.items() if what.startswith("gain of the word head")]
    assert len(gains) == 2 and min(gains) > 1  # of a base whose head is most of it, and of a real one


def test_a_fold_on_shared_inputs_answers_as_one_from_the_clips_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("DEFT_JOBS", "1")
    monkeypatch.setattr(b4_folds, "WORKERS", 1)
    assert b4_folds.simulate(tmp_path, subjects=2, clips=1) == 6
    b4_folds.main(str(tmp_path / "clips"), str(tmp_path / "all.json"))
    b4_folds.main(str(tmp_path / "clips"), str(tmp_path / "one.json"), "1")
    together, alone = (runtime.read_json(tmp_path / f"{name}.json")["said"] for name in ("all", "one"))
    assert np.shape(together) == (6, 1, 5) and not np.allclose(together[0], together[1])
    np.testing.assert_allclose(alone, together[1], rtol=0, atol=b4_folds.SAME)
