"""Instruction tuning on the corpus, before the folds: the model learns to read its experts where the truth is known.

Clips of the corpus' validation people, whom no expert was trained on, with their real tokens and real soft words. Their
records state the units that truly moved and the motions that were measured and that these explain. The corpus shows no
emotions, so a class is drawn anew each time from the textbook's posterior given the true units, and clips near no
prototype are told without one. This is what the paper calls instruction-aligned knowledge; it does not say what its
clips are.

One stage per base, shared by all folds and systems: the model has every stream, and each example shows those of one
system."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from deft import cache, runtime, systems
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.experts import draws
from deft.mllm import detectors, hub, school, tune
from deft.mllm.data import TuningData, features_at
from deft.mllm.examples import TuneSettings
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration
from deft.mllm.runs import base_of, instructed_of
from deft.restart import Place, sweep
from deft.unimer import build
from deft.unimer.facts import textbook_posterior

STREAMS = "".join(systems.STREAMS)


def corpus_data(work: Path, draw: int = 0, seed: int = 7) -> TuningData:
    """The corpus' validation clips with their features, their true facts and the textbook's posterior of their
    emotion.
    """
    work = Path(work)
    store = ClipStore(work / "clips" / "corpus")
    rows = np.flatnonzero(store.index["split"] == "validation")
    moved = store.array("units_true")[rows] > 0
    courses, noise = (
        np.asarray(runtime.load_array(work / "motion" / "corpus", name))[rows] for name in ("courses", "noise")
    )
    clips = build.measured(np.zeros(moved.shape), courses, noise)
    index = store.index.iloc[rows].reset_index(drop=True)
    facts = [
        build.true_facts(units, clip, runtime.rng(seed, "mllm/instruct/facts", i))
        for i, (units, clip) in enumerate(zip(moved, clips))
    ]
    features = {
        name: values[rows]
        for name, values in features_at(draws.features(work, "corpus", draw), STREAMS, len(store.index)).items()
    }
    textbook = np.stack([textbook_posterior(unit.code for unit in told.units) for told in facts])
    return TuningData(
        index,
        features,
        facts,
        None,
        [True] * len(facts),
        detectors.Detectors.load(detectors.path_of(work, draw)),
        textbook,
    )


def state_of(work: Path, base: str, draw: int, settings: TuneSettings) -> cache.State:
    """Whether a base is instructed, over base, features, motion, truth, settings and code."""
    work, features = Path(work), draws.features(work, "corpus", draw)
    inputs = [
        base_of(work, base, draw),
        detectors.path_of(work, draw),
        features,
        work / "motion" / "corpus",
        work / "clips" / "corpus",
        *([school.folder_of(work, draw)] if settings.school else ()),
    ]
    return cache.fresh(
        instructed_of(work, base, draw), inputs, asdict(settings), "deft.mllm.instruct", apart=("deft.systems",)
    )


def instruct(base: str, draw: int, work: Path, settings: TuneSettings) -> dict:
    """Instruct one base of one draw, unless it is done; returns its history. The flat control's examples have no
    emotion. A run that was stopped goes on from its last checkpoint.
    """
    folder, state = instructed_of(work, base, draw), state_of(work, base, draw, settings)
    if state:
        return {**runtime.read_json(folder / "history.json"), **state.about}
    started, seed = time.perf_counter(), runtime.seed_of(settings.seed, "mllm/instruct", draw)
    sweep(folder.parent)
    data = corpus_data(work, draw, seed)
    if flat := base == "base-flat":
        data.textbook[:] = 0
    tokenizer, language_model = school.equip(base_of(work, base, draw), settings)
    config = DeftLLMConfig.of(
        language_model, tokenizer, STREAMS, rank=settings.rank, alpha=2 * settings.rank, seed=seed
    )
    model = DeftLLMForConditionalGeneration(config, language_model)
    if settings.school:
        school.begin(model, school.folder_of(work, draw))
    place = Place(folder / ".checkpoints", state.key)
    curve = tune.train(tokenizer, model, data, np.arange(len(data.index)), settings, seed, flat, place)
    history = {"base": base, "draw": draw, "clips": len(data.index), "steps": len(curve), "curve": curve}
    with runtime.atomic(folder) as fresh:
        tune.write(fresh, tokenizer, model, history)
    state.seal(**(about := {"seconds": round(time.perf_counter() - started, 1)}))
    return {**history, **about}


def instruct_all(
    names: Sequence[str],
    draws: int,
    work: Path,
    settings: TuneSettings,
    workers: int | None = None,
    log: Callable[[str], None] | None = None,
) -> list[dict]:
    """The bases of systems `names` in the first `draws` draws, side by side; finished ones are kept. settings: those of
    the folds, which say for how many epochs (`instruct`; 0: nothing is done). Examples show the streams of one system,
    drawn."""
    if not settings.instruct:
        return []
    shown = tuple(dict.fromkeys(systems.model(name).streams for name in names))
    recipe = replace(settings, epochs=settings.instruct, instruct=0, still=0.0, shown=shown, classes=EMOTIONS)
    bases = dict.fromkeys(systems.model(name).base for name in names)
    asked = [(base, draw, Path(work), recipe) for draw in range(draws) for base in bases]
    workers = workers or hub.room(base_of(work, "base", 0))
    states = [state_of(work, base, draw, recipe) for base, draw, *_ in asked]
    return tune.unless_finished(states, instruct, asked, workers, log, "instruction tuning")
