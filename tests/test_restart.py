"""Exact restart: what is killed ends in the same bytes, what is damaged is never read, and groups of examples make the
same step on one process and on several.
"""

import json
import os
import shutil
import signal
import socket
import time
import warnings
from dataclasses import replace

import kills
import pytest
import torch
import transformers
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from deft import __main__ as cli
from deft import paths, restart, runtime
from deft.mllm import prompt, tune


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    tune.quiet_worker()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return kills.world(tmp_path_factory.mktemp("restart") / "smoke")


@pytest.fixture(scope="module")
def whole(work, tmp_path_factory):
    """What the uninterrupted runs wrote."""
    out = tmp_path_factory.mktemp("whole")
    for name in ("tuned", "schooled"):
        getattr(kills, name)(work, out / name)
    return {name: kills.content(out / name) for name in ("tuned", "schooled")}


def steps(folder):
    return sorted(int(p.name[11:]) for p in folder.rglob("checkpoint-*"))


# ---------------------------------------------------------------- killed
MOMENTS = {
    "within a step": kills.dying(torch.nn.functional, "cross_entropy", 3),
    "while weights are written": kills.dying(restart, "save_file", 2, half=1),
    "while the optimiser is written": kills.dying(torch, "save", 5),
    "before the manifest": kills.dying(restart, "seal", 2),
    "while files go to the disk": kills.dying(restart, "_to_disk", 14),
    "while an old one is removed": kills.dying(shutil, "rmtree", 2),
    "while the finished run is written": kills.dying(transformers.PreTrainedTokenizerFast, "save_pretrained", 1),
}


@pytest.mark.parametrize("name", ["tuned", "schooled"])
def test_killed_again_and_again_it_ends_in_the_same_bytes(name, work, whole, tmp_path):
    out, reached = tmp_path / "out", []
    for words, moment in MOMENTS.items():
        process = kills.start(getattr(kills, name), work, out, before=moment)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, f"{words}: {process.exitcode}"
        reached.append(max(steps(out), default=0))
    assert reached == sorted(reached) and len(set(reached)) >= 5, reached  # each life went on from the one before
    assert list(tmp_path.rglob("*.partial*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(kills, name)(work, out)
    assert kills.content(out) == whole[name] and not list(tmp_path.rglob("*.partial*")) and not steps(out)


def test_sigterm_keeps_a_checkpoint_and_the_curve_goes_on(work, whole, tmp_path):
    def slow():
        real = tune.JointTrainer.training_step
        tune.JointTrainer.training_step = lambda *given: (time.sleep(0.1), real(*given))[1]

    process = kills.start(kills.tuned, work, tmp_path / "out", every=1e9, before=slow)
    while not (tmp_path / "out").is_dir():
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    (kept,) = (tmp_path / "out").glob("checkpoint-*")
    step, curve = json.loads((kept / restart.MANIFEST).read_text())["step"], runtime.read_jsonl(kept / restart.CURVE)
    history = json.loads(whole["tuned"]["history.json"])
    assert process.exitcode == 1 and 0 < step < history["steps"] and len(curve) == step and not restart.read(kept)[1]
    kills.tuned(work, tmp_path / "out")
    assert kills.content(tmp_path / "out") == whole["tuned"] and history["curve"][:step] == curve


# ---------------------------------------------------------------- damaged
@pytest.fixture(scope="module")
def kept(work, tmp_path_factory):
    """A run that was killed at its end: two checkpoints."""
    out = tmp_path_factory.mktemp("kept") / "out"
    kills.start(kills.tuned, work, out, before=list(MOMENTS.values())[-1]).join(120)
    assert len(steps(out)) == restart.KEPT
    return out


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncated, flipped, os.remove], ids=["truncated", "flipped", "deleted"])
def test_every_damaged_file_makes_the_older_checkpoint_win(damage, kept, tmp_path):
    first, last = (kept / f"checkpoint-{step}" for step in steps(kept))
    files = [path.relative_to(last) for path in last.rglob("*") if path.is_file()]
    assert {restart.MANIFEST, restart.WEIGHTS, restart.CURVE, "optimizer.pt", "scheduler.pt"} <= set(map(str, files))
    for name in files:
        shutil.copytree(kept, tmp_path / "copy")
        damage(tmp_path / "copy" / last.name / name)
        place = restart.Place(tmp_path / "copy", json.loads((last / restart.MANIFEST).read_text())["key"], strict=True)
        with pytest.warns(RuntimeWarning, match=f"{last.name}.*an older checkpoint or the start takes its place"):
            assert place.newest() == tmp_path / "copy" / first.name
        damage(tmp_path / "copy" / first.name / name)
        with pytest.warns(RuntimeWarning):
            assert place.newest() is None and not steps(tmp_path / "copy")
        shutil.rmtree(tmp_path / "copy")


def test_from_the_older_checkpoint_it_ends_in_the_same_bytes(work, kept, whole, tmp_path):
    shutil.copytree(kept, tmp_path / "out")
    flipped(tmp_path / "out" / f"checkpoint-{steps(kept)[-1]}" / "optimizer.pt")
    with pytest.warns(RuntimeWarning, match="optimizer.pt was altered"):
        kills.tuned(work, tmp_path / "out")
    assert kills.content(tmp_path / "out") == whole["tuned"]


def test_a_checkpoint_of_another_run_is_an_error_or_goes(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "copy")
    with pytest.raises(ValueError, match="belongs to another run"):
        restart.Place(tmp_path / "copy", "another", strict=True).newest()
    with pytest.warns(RuntimeWarning, match="belongs to other data, settings or code"):
        assert restart.Place(tmp_path / "copy", "another").newest() is None
    assert not steps(tmp_path / "copy")


def test_only_what_dead_processes_left_is_swept(tmp_path):
    gone = kills.start(time.sleep, 0)
    gone.join()
    for name in (f".fold0.{gone.pid}.partial", f".a.{os.getpid()}.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / f".x.{gone.pid}.partial.json").write_text("{")
    assert len(restart.sweep(tmp_path)) == 2 and [p.name for p in tmp_path.iterdir()] == [f".a.{os.getpid()}.partial"]
    assert restart.sweep(tmp_path / "nowhere") == []


def test_a_loss_that_is_no_number_stops_and_names_its_clips(work, tmp_path):
    settings, bench = (
        tune.TuneSettings(epochs=1, batch=6, rank=2, swap=0.0, drop=0.0, rehearse=0.0),
        tune.read_bench(work),
    )
    rows = bench.rows(0, "train", "kept")
    bench.features["motion"][rows[7]] = float("inf")
    tokenizer, model = tune.build(work, "deft-m", settings, 1)
    place = restart.Place(tmp_path, "key", every=0.0)
    with pytest.raises(RuntimeError, match=f"the loss became nan in step.* {bench.index['clip'][rows[7]]}[, :]"):
        tune.train(tokenizer, model, bench, rows, settings, 1, place=place)
    assert all(not restart.read(folder)[1] for folder in tmp_path.glob("checkpoint-*"))


# ---------------------------------------------------------------- groups
def test_a_step_over_groups_has_the_gradient_of_its_definition(work):
    """All words of the step count alike; every other part is the mean over its groups."""
    settings, bench = replace(kills.SETTINGS, epochs=1, groups=4), tune.read_bench(work)
    rows, taken = bench.rows(0, "train", "kept")[:24], []
    tokenizer, model = tune.build(work, "deft", settings, 1)
    course = tune.plan(tokenizer, bench, rows, model.streams, settings, 1)

    def step(self, *_, **__):
        taken.append({name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune.JointTrainer, "_clip_grad_norm", step)
        (curve,) = tune.train(tokenizer, model, bench, rows, settings, 1)
    _, fresh = tune.build(work, "deft", settings, 1)
    groups = [tune.collate(course[i : i + 6], tokenizer, bench, model.streams) for i in range(0, 24, 6)]
    outs = [fresh(**group) for group in groups]
    words = [group["labels"][:, 1:][group["labels"][:, 1:] != prompt.IGNORE] for group in groups]
    texts = [torch.nn.functional.cross_entropy(out.logits, said) for out, said in zip(outs, words)]
    everything = torch.nn.functional.cross_entropy(torch.cat([out.logits for out in outs]), torch.cat(words))
    loss = everything + sum(out.loss - text for out, text in zip(outs, texts)) / 4
    loss.backward()
    assert len({len(said) for said in words}) > 1  # else a mean of means would do
    assert curve["loss"] == pytest.approx(loss.item(), abs=2e-5) and curve["text"] == pytest.approx(
        everything.item(), abs=2e-5
    )
    for name, p in fresh.named_parameters():
        assert (p.grad is None) == (name not in taken[0])
        assert p.grad is None or torch.allclose(p.grad, taken[0][name], rtol=1e-4, atol=1e-6), name


def test_one_process_that_accumulates_equals_two_that_share(work, tmp_path):
    settings = replace(kills.SETTINGS, groups=4, epochs=4)
    kills.tuned(work, tmp_path / "one", settings)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def ranked(rank):
        def before():
            AcceleratorState._reset_state(True)
            os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)

        return before

    processes = [kills.start(kills.tuned, work, tmp_path / "two", settings, before=ranked(r)) for r in "01"]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    first, second = (json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two"))
    assert one.keys() == two.keys() and max(float((one[n] - two[n]).abs().max()) for n in one) < 1e-5
    assert max(float(one[n].abs().max()) for n in one if "lora_B" in n) > 1e-3  # they have learned something
    for mine, theirs in zip(first["curve"], second["curve"], strict=True):
        assert mine == pytest.approx(theirs, abs=2e-5)


@pytest.mark.parametrize("name, processes", [("1-gpu", 1), ("8-gpus", 8), ("2x8-gpus", 16)])
def test_the_launcher_reads_its_configs(name, processes):
    found = load_config_from_file(str(paths.ROOT / "docs" / "accelerate" / f"{name}.yaml"))
    assert found.num_processes == processes and found.num_machines == (2 if processes == 16 else 1)


# ---------------------------------------------------------------- the command
def test_the_command_ends_with_weights_and_a_manifest(work, kept, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DEFT_WORK", str(work.parent))

    def said(out, *more, fold="1", code=0):
        given = ["tune", "--profile", "smoke", "--system", "deft-m", "--fold", fold, "--out", str(out), *more]
        assert cli.main(given) == code
        return "".join(capsys.readouterr())

    fresh = tune.build(work, "deft-m", tune.TuneSettings(), 1)
    tune.write(tune.instructed_of(work, "base", 0), *fresh, {})
    assert "steps of 1 x 8 examples on 1 process (cpu)" in said(tmp_path / "run")
    manifest, wrong = restart.read(tmp_path / "run")
    assert not wrong and {"model.safetensors", "config.json", "history.json"} <= manifest["files"].keys()
    tune.tune(tune.Job("deft-m", 0, 1), work, tune.TuneSettings(epochs=2, instruct=1, batch=8))
    stage = tune.Job("deft-m", 0, 1).folder(work) / "model.safetensors"  # stage 07 writes the same
    assert stage.read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()
    assert "was finished before" in said(tmp_path / "run")
    assert "holds another run" in said(tmp_path / "run", "--groups", "2", code=2)
    assert "the profile has the folds 0, 1, 2" in said(tmp_path / "x", fold="9", code=2)
    assert "no language model in" in said(tmp_path / "x", "--base", str(tmp_path), code=2)
    assert "holds run and no MANIFEST.json" in said(tmp_path, code=2)
    shutil.copytree(kept, tmp_path / "began")
    assert "say --resume to go on" in said(tmp_path / "began", code=2)
    assert "belongs to another run" in said(tmp_path / "began", "--resume", code=2)
    flipped(tmp_path / "run" / "model.safetensors")
    with pytest.warns(RuntimeWarning, match="model.safetensors was altered.*made again"):
        said(tmp_path / "run")
    assert stage.read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()
