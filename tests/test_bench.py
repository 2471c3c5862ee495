"""What the benchmarks compare computes the same thing; else their ratios would mean nothing. Nothing is timed."""

import csv
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deft import runtime
from deft.mllm import language
from tests.bench import __main__ as bench
from tests.bench import b1_tuning, b2_labels, b4_folds, rows, wide


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
    found = {(row["metric"].split(" (")[0], row["arm"]): row for row in b1_tuning.measure()}
    assert "TRL is not installed" in capsys.readouterr().out
    for metric in ("CPU time of training on 64 examples", "peak memory of training"):
        assert [found[metric, arm]["ratio_to_first"] for arm in (b1_tuning.OURS, b1_tuning.HF)] == [1.0, 3.0]
        absent = found[metric, b1_tuning.TRL]
        assert absent["runs"] == 0 and math.isnan(absent["median"]) and math.isnan(absent["ratio_to_first"])
    gains = [row["median"] for (metric, _), row in found.items() if metric.startswith("gain of the word head")]
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


def test_the_ratio_to_the_first_arm_is_paired_round_by_round():
    arms = {"ours": [1.0, 2.0, 10.0], "theirs": [3.0, 4.0, 50.0], "once": [6.0], "absent": []}
    ours, theirs, once, absent = rows("B1", "time (s)", arms, {"theirs": "ratio_to_first >= 4"})
    assert (ours["median"], ours["low"], ours["high"], ours["ratio_to_first"], ours["limit"]) == (2, 1, 10, 1, "-")
    assert theirs["ratio_to_first"] == 3 and theirs["limit"] == "ratio_to_first >= 4"  # of 3, 2, 5; of the medians: 2
    assert once["ratio_to_first"] == 3 and once["runs"] == 1  # no rounds to pair: of the medians
    assert absent["runs"] == 0 and math.isnan(absent["median"]) and math.isnan(absent["ratio_to_first"])
    assert rows("B2", "difference (nat)", {"theirs": [0.0, 0.0]})[0]["ratio_to_first"] == 1
    assert math.isnan(rows("B1", "time (s)", {"absent": [], "theirs": [1.0]})[1]["ratio_to_first"])


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    """Three benchmarks that measure what is put into the dictionary, an error where it is one; and bench.csv read."""
    monkeypatch.setenv("DEFT_FIGURES", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # put back afterwards
    values = {"b1": 1.0, "b2": 2.0, "b10": 3.0}

    def measure(name):
        if isinstance(values[name], Exception):
            raise values[name]
        return rows(name.upper(), "time, of nothing (s)", {"ours": [values[name]], "theirs": [2 * values[name]]})

    for name in values:
        module = SimpleNamespace(measure=lambda name=name: measure(name))
        monkeypatch.setitem(sys.modules, f"fake.{name}", module)
    monkeypatch.setattr(bench, "benchmarks", lambda: {name: f"fake.{name}" for name in values})

    def read():
        with open(tmp_path / "demo" / "bench.csv", newline="", encoding="utf-8") as file:
            return [(row["id"], row["arm"], float(row["median"])) for row in csv.DictReader(file)]

    return values, read, tmp_path / "demo" / "bench.csv"


def test_the_columns_and_a_choice_of_benchmarks_that_keeps_the_others(fakes, capsys):
    values, read, path = fakes
    path.parent.mkdir()
    path.write_text("id,what,value\nB1,old,1\n")  # of other columns: replaced
    assert bench.main([]) == 0
    with open(path, newline="", encoding="utf-8") as file:
        header, first = list(csv.reader(file))[:2]
    assert header == ["id", "arm", "metric", "median", "low", "high", "ratio_to_first", "device"] + [
        *("runs", "limit", "commit", "cores")
    ]
    assert first[:3] == ["B1", "ours", "time, of nothing (s)"] and first[7].startswith("cpu: ")
    values |= {"b1": 7.0, "b2": 8.0, "b10": 9.0}
    assert bench.main(["--only=b10 B1"]) == 0
    assert read() == [
        (n, a, k * v) for n, v in (("B1", 7), ("B2", 2), ("B10", 9)) for a, k in (("ours", 1), ("theirs", 2))
    ]
    for wrong in (["--only", "b1", "b3"], ["--profile", "demmo"]):
        with pytest.raises(SystemExit, match="2"):
            bench.main(wrong)
    assert "b3; there are b1, b2, b10" in (said := capsys.readouterr().err) and "did you mean 'demo'" in said


def test_a_benchmark_that_fails_or_is_killed_loses_nothing_of_the_others(fakes, capsys):
    values, read, path = fakes
    values["b2"] = RuntimeError("the arms differ")
    assert bench.main([]) == 1
    assert [name for name, *_ in read()] == ["B1", "B1", "B10", "B10"]
    said = capsys.readouterr().err
    assert "the arms differ" in said and "failed: b2;" in said
    values |= {"b1": 5.0, "b2": 6.0}
    measured = sys.modules["fake.b10"].measure

    def killed():
        measured()
        raise KeyboardInterrupt

    sys.modules["fake.b10"].measure = killed
    with pytest.raises(KeyboardInterrupt):
        bench.main([])
    assert [value for _, arm, value in read() if arm == "ours"] == [5.0, 6.0, 3.0]
    assert [file.name for file in path.parent.iterdir()] == ["bench.csv"]
