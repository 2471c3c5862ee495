"""What tuning on a real base takes, against numbers worked out by hand."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from deft import __main__ as cli
from deft.mllm import planning
from deft.mllm.planning import GIB, Machine, Size, Task

TINY = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "vocab_size": 32,
    "tie_word_embeddings": False,
}


def test_weights_are_counted_as_by_hand():
    of = planning.size(AutoConfig.for_model("qwen2", **TINY), Task(rank=2, batch=2, length=5, scored=1))
    layer = 8 * 8 + 2 * 4 * 8 + 8 * 8 + 3 * 8 * 16  # q, k and v, o, gate and up and down
    assert of.layers == 2 * layer and of.head == 32 * 8
    assert of.total == 2 * layer + 2 * (8 + 4 + 4) + 2 * 2 * 8 + 8 + 2 * 32 * 8  # biases, norms, words and head
    adapters = 2 * 2 * ((8 + 8) + 2 * (8 + 4) + (8 + 8) + 3 * (8 + 16))
    projector = 2 * 64 + (64 * 8 + 8) + (8 * 8 + 8) + 2 * 8
    assert of.learned == adapters + 3 * projector + (8 * 5 + 5) + (8 * 34 + 34)


@pytest.mark.parametrize("base, published", [("0.5b", 494_032_768), ("3b", 3_085_938_688)])
def test_a_known_base_has_the_weights_that_its_makers_state(base, published):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(planning.config_of(base))
    assert sum(p.numel() for p in model.parameters()) == published


def test_what_a_step_keeps_is_counted_as_on_real_tensors():
    config = AutoConfig.for_model("qwen2", **TINY | {"hidden_size": 64, "intermediate_size": 128})
    unreal, real = planning.bare(config, 4), planning.bare(config, 4, device="cpu", attention="sdpa")
    one, other = (planning.kept_bytes(model, 3, 16) for model in (unreal, real))
    assert 0.8 < one / other < 1.25 and one > 3 * 16 * 2 * (6 * 64 + 4 * 128) * 2  # at least its products' inputs


def test_hours_and_memory_are_those_of_the_arithmetic():
    of = Size(total=10**9, layers=10**9, head=10**8, learned=10**6, kept=2 * GIB, again=GIB)
    task, machine = Task(clips=100, folds=10, length=100, scored=25, epochs=10), Machine(100.0, 0.5, 80.0, 1.0)
    row = planning.plan(of, 4, task, machine)
    assert task.tokens == 100_000 and row["tokens"] == 1_000_000
    operations = 4e9 + 6e6 + 4e8 * 25 / 100  # a token: frozen layers, what learns, the head at a quarter of positions
    assert row["pflop"] == pytest.approx(1e6 * operations / 1e15)
    assert row["fold_seconds"] == pytest.approx(1e5 * operations / 50e12) == pytest.approx(8.212)
    assert row["folds_at_once"] == 4 and row["hours"] == pytest.approx((2 + 3 * 8.212) / 3600)  # ten folds: three turns
    assert row["need_gib"] == pytest.approx((2e9 + 16e6) / GIB + 2) and row["fits"] and not row["computed_again"]
    taught = planning.plan(of, 4, replace(task, school=5, batch=20), machine)  # as many tokens as a tenth of a fold
    assert taught["hours"] - row["hours"] == pytest.approx(0.8212 / 3600)
    small = planning.plan(of, 4, task, Machine(100.0, 0.5, 2.5, 1.0))  # 2.25 GiB may be used
    assert (small["gpus_per_fold"], small["computed_again"], small["folds_at_once"]) == (2, True, 2)
    assert small["need_gib"] == pytest.approx((2e9 + 16e6) / GIB / 2 + 1)
    assert small["pflop"] == pytest.approx(1e6 * (operations + 2e9) / 1e15)
    assert not planning.plan(of, 1, task, Machine(100.0, 0.5, 2.5, 1.0))["fits"]


def test_the_command_plans_for_a_folder(tmp_path, capsys):
    AutoConfig.for_model("qwen2", **TINY).save_pretrained(tmp_path)
    assert cli.main(["plan", "--base", str(tmp_path), "--gpus", "2", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["gpus"] == 2 and row["parameters"] == 1736 and row["fits"]
    assert cli.main(["plan", "--base", str(tmp_path), "--efficiency", "0.5"]) == 0
    assert "given 50%" in (said := capsys.readouterr().out) and said.count(str(tmp_path)) == 3
    assert cli.main(["plan", "--base", str(tmp_path), "--gpus", "0"]) == 2
    assert cli.main(["plan", "--base", str(tmp_path), "--efficiency", "0"]) == 2 and capsys.readouterr().err
    assert cli.main(["plan", "--base", "9b"]) == 2 and "0.5b, 3b, 7b, 32b" in capsys.readouterr().err


def test_a_base_whose_layers_lie_the_other_way_round_gets_adapters_too():
    """GPT-2 holds its weights as (in, out); it can be tuned, so it can be planned."""
    sizes = {"n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 20, "n_positions": 32}
    found = planning.size(AutoConfig.for_model("gpt2", **sizes), Task(rank=2))
    assert found.layers == 2 * 12 * 8 * 8  # attention 4 x 8 x 8 and feed-forward 8 x 8 x 8 of each layer
