"""A draw is everything random in training at once: two differ in all of it, one repeats to the byte, all systems get
the same ones.
"""

from collections import Counter
from dataclasses import replace

import fake_bench
import numpy as np
import pytest
import torch

from deft import paths, runtime, systems
from deft.experts import draws
from deft.mllm import detectors, language, score, tune
from deft.run import book
from deft.run.chain import Chain

TINY = language.LanguageSettings(hidden=32, layers=1, heads=2, intermediate=48, text_steps=4, soft_steps=4, batch=4)
SETTINGS = tune.TuneSettings(epochs=1, batch=8)
JOBS = tune.jobs_of(["deft-m"], 2, [1])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    tune.quiet_worker()
    yield
    torch.set_num_threads(threads)


def world(folder, first=0):
    """A made-up bench with the bases of two draws, `first` and the next."""
    work = fake_bench.write(folder)
    tune.pretrain_all(
        [replace(TINY, seed=language.seed_of_draw(7, first + d)) for d in (0, 1)],
        [tune.base_of(work, "base", d) for d in (0, 1)],
        [detectors.path_of(work)] * 2,
        workers=1,
        log=lambda line: None,
    )
    return work


def run(work, jobs=JOBS, first=0):
    tune.tune_all(jobs, work, replace(SETTINGS, draw=first), workers=1, log=lambda line: None)
    return [(job.folder(work) / "model.safetensors").read_bytes() for job in jobs]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = world(tmp_path_factory.mktemp("draws"))
    run(folder)
    return folder


def test_two_draws_differ_in_base_adapters_and_answers(work):
    bases = [(tune.base_of(work, "base", d) / "model.safetensors").read_bytes() for d in (0, 1)]
    models = [score.load(job.folder(work))[1].state_dict() for job in JOBS]
    same = {name for name, value in models[0].items() if torch.equal(value, models[1][name])}
    assert bases[0] != bases[1] and not any(
        "lora_A" in name or "base_layer" in name or name.startswith("projectors.motion.body.1") for name in same
    )
    answers = [[row["scores"] for row in score.predict(job, work, text=False)] for job in JOBS]
    assert answers[0] != answers[1]
    assert {row["seed"] for job in JOBS for row in score.predict(job, work, text=False)} == {0, 1}


def test_a_draw_repeats_to_the_byte_and_goes_on_where_it_was_stopped(work, tmp_path):
    """Another folder; stopped after the first draw, then asked for both. Its second draw is also the first one of a
    run that starts there.
    """
    again = world(tmp_path / "again")
    (first,) = run(again, JOBS[:1])
    stamp = (JOBS[0].folder(again) / "model.safetensors").stat().st_mtime_ns
    assert run(again) == [(job.folder(work) / "model.safetensors").read_bytes() for job in JOBS]
    assert (JOBS[0].folder(again) / "model.safetensors").stat().st_mtime_ns == stamp and first
    later = world(tmp_path / "later", first=1)
    assert (tune.base_of(later, "base", 0) / "model.safetensors").read_bytes() == (
        tune.base_of(work, "base", 1) / "model.safetensors"
    ).read_bytes()
    assert run(later, JOBS[:1], first=1)[0] == (JOBS[1].folder(work) / "model.safetensors").read_bytes()


def test_a_draw_with_experts_of_its_own_reads_them(tmp_path):
    work = fake_bench.write(tmp_path)
    shared = tune.read_bench(work, draw=1)
    assert np.array_equal(
        shared.features["motion"], tune.read_bench(work, draw=0).features["motion"]
    )  # one draw of experts serves all
    draws.record(work, 2)
    for path in (work / "features" / "bench").glob("*.npy"):
        runtime.save_array(draws.features(work, "bench", 1), path.stem, np.load(path) * 0.5)
    detectors.Detectors.load(detectors.path_of(work)).save(detectors.path_of(work, 1))
    assert np.allclose(tune.read_bench(work, draw=1).features["motion"], shared.features["motion"] * 0.5)
    with pytest.raises(ValueError, match="expert_draws to 3"):
        tune.read_bench(work, draw=2)
    draws.record(work, 1)
    assert not (work / "features" / "draw1").exists() and (work / "features" / "bench").is_dir()


@pytest.mark.parametrize(("profile", "least"), [("demo", 2), ("full", 5)])
def test_every_system_that_is_compared_has_the_same_draws(profile, least):
    chain = Chain(profile)
    given, experts = (chain.parameters(book.find(chain.stages, number)) for number in ("07", "06"))
    jobs = tune.jobs_of(given["systems"].split(","), given["draws"], range(3))
    found = {system: Counter(job.seed for job in jobs if job.system == system) for system in systems.MODELS}
    assert all(counts == Counter({d: 3 for d in range(given["draws"])}) for counts in found.values())
    assert (
        given["draws"] >= least and experts["expert_draws"] in (1, given["draws"]) and given["draw"] == experts["draw"]
    )
    if profile == "full":
        demo = Chain("demo")
        assert experts["expert_draws"] == given["draws"]  # complete draws, and the same benchmark
        clips, fewer = (one.parameters(book.find(one.stages, "01")) for one in (chain, demo))
        assert fewer["heldback_subjects"] < clips["heldback_subjects"]  # nothing is chosen on them, so fewer will do
        assert clips | {name: fewer[name] for name in ("profile", "heldback_subjects")} == fewer
    assert paths.of_draw(paths.work(profile), 0) == paths.work(profile)
