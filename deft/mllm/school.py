"""Schooling: a base from elsewhere learns to read soft words before its adapters meet a clip, as our own base does.

Our small base meets soft words in text pretraining (`deft.mllm.language`), with all its weights. A base from elsewhere
stays frozen, so the same questions and answers, with probabilities of the simulated detectors of the draw, train its
LoRA adapters alone (and the rows of unit names, where these are tokens of their own): no projector, no head, no clip.
Instruction and every fold then start from these adapters.

One schooling per base, draw and settings is kept, by the hash of the base's files, and shared by folds and systems."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from deft import cache, restart, runtime
from deft.clips.facs import UNITS
from deft.mllm import base as bases
from deft.mllm import detectors, hub, language, prompt
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration
from deft.mllm.runs import base_of
from deft.parallel import in_parallel

if TYPE_CHECKING:
    from deft.mllm.examples import TuneSettings

STREAMS = "tmr"  # those with soft words; adapters do not depend on it
FILE = "adapter.safetensors"


def equip(place: str | Path, settings: TuneSettings) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """(tokenizer, model) of a base as schooling, instruction and folds meet it: within its chat template (`chat`), unit
    names as single tokens (`unit_tokens`). place: as `language.load_base` takes it.
    """
    tokenizer, text = language.load_base(place)
    if settings.chat:
        prompt.chat_frame(tokenizer)
    if settings.unit_tokens:
        hub.single_tokens(tokenizer, text)
    return tokenizer, text


def folder_of(work: Path, draw: int, base: str | Path | None = None) -> Path:
    """Where the schooled adapters of a draw's base lie, or of `base` (folder or hub id) in its place: by the hash of
    its files.
    """
    return base_of(work, "schooled", draw) / _known(work, draw, base)[:12]


def _known(work: Path, draw: int, base: str | Path | None) -> str:
    place = base_of(work, "base", draw)
    if base is None and (place / hub.NAMED).is_file():
        return runtime.read_json(place / hub.NAMED)["sha256"]
    return hub.found(base or place)[1].sha256


def state_of(work: Path, draw: int, settings: TuneSettings, base: str | Path | None = None) -> cache.State:
    """Whether the base of a draw is schooled, over the base's files, the detectors, settings and code."""
    given = {name: getattr(settings, name) for name in ("school", "batch", "lr", "rank", "chat", "unit_tokens")}
    given |= {"base": _known(work, draw, base), "seed": _seed(settings, draw)}
    return cache.fresh(
        folder_of(work, draw, base), [detectors.path_of(work, draw)], given, "deft.mllm.school", apart=("deft.systems",)
    )


def _seed(settings: TuneSettings, draw: int) -> int:
    return runtime.seed_of(settings.seed, "mllm/school", settings.draw + draw)


def school(work: Path, draw: int, settings: TuneSettings, base: str | Path | None = None) -> dict:
    """School the base of a draw, or `base`, for `settings.school` steps, unless it is done; -> the history.

    A run that was stopped goes on from its last checkpoint and writes the same bytes. Raises BaseError for a base,
    RuntimeError for a loss that is no number, `restart.Stopped` after SIGTERM."""
    work, state = Path(work), state_of(work, draw, settings, base)
    folder = state.folder
    if state:
        return {**runtime.read_json(folder / "history.json"), **state.about}
    started, seed = time.perf_counter(), _seed(settings, draw)
    restart.sweep(folder.parent)
    tokenizer, text = equip(base or base_of(work, "base", draw), settings)
    config = DeftLLMConfig.of(
        text, tokenizer, STREAMS, rank=settings.rank, alpha=2 * settings.rank, tokens=0, seed=seed
    )
    model = DeftLLMForConditionalGeneration(config, text)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(bases.adapts(name))
    place = restart.Place(folder / ".checkpoints", state.key)
    recipe = language.LanguageSettings(text_steps=0, soft_steps=settings.school, batch=settings.batch, seed=seed)
    trainer = language.TextTrainer(
        model=model,
        args=restart.arguments(
            place.folder, **settings.optimisation(settings.school, seed) | {"per_device_train_batch_size": 1}
        ),
        train_dataset=language.TextCourse(tokenizer, recipe, detectors.Detectors.load(detectors.path_of(work, draw))),
        data_collator=operator.itemgetter(0),
        place=place,
        loss=loss,
        log=lambda line: None,
    )
    curve = [round(step["loss"], 5) for step in trainer.run()]
    history = {"base": text.reference.id if text.reference else "", "draw": draw, "steps": len(curve), "loss": curve}
    with runtime.atomic(folder) as fresh:
        fresh.mkdir(parents=True, exist_ok=True)
        save_file(adapters(model), fresh / FILE)
        runtime.write_json(fresh / "history.json", history)
    state.seal(**(about := {"seconds": round(time.perf_counter() - started, 1)}))
    return {**history, **about}


def loss(model: DeftLLMForConditionalGeneration, batch: dict[str, Tensor]) -> Tensor:
    """Mean cross entropy (scalar) of the answers' words. batch: as `language.text_inputs` gives it."""
    ids, heard = batch["input_ids"], {}
    for name in model.unit_streams:
        heard[f"{name}_units"] = torch.zeros(len(ids), len(UNITS), 2, device=ids.device)
        if f"{name}_units" in batch:
            rows = (ids == model.config.markers[f"{name}-unit"]).any(1)
            heard[f"{name}_units"][rows] = batch[f"{name}_units"]
    return model(**batch | heard).loss


def adapters(model: DeftLLMForConditionalGeneration) -> dict[str, Tensor]:
    """{name: tensor on the CPU} of what schooling trains."""
    return {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if bases.adapts(n)}


def begin(model: DeftLLMForConditionalGeneration, folder: Path) -> None:
    """Let a model's adapters start as those in `folder`. FileNotFoundError: no schooling there; ValueError: of another
    base or rank."""
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"{folder / FILE} is missing: run 07_joint_tuning, or tune without `school_steps`")
    learned, own = load_file(folder / FILE), adapters(model)
    if {n: v.shape for n, v in learned.items()} != {n: v.shape for n, v in own.items()}:
        raise ValueError(f"{folder / FILE} holds adapters of another base or rank: run 07_joint_tuning again")
    model.load_state_dict(learned, strict=False)


def school_all(
    draws: int,
    work: Path,
    settings: TuneSettings,
    workers: int | None = None,
    log: Callable[[str], None] | None = None,
) -> list[dict]:
    """The base of each of the first `draws` draws; finished ones are kept, and with `settings.school` 0 nothing is
    done. workers: by default as many as hold the base in memory."""
    if not settings.school:
        return []
    waiting = [(Path(work), draw, settings) for draw in range(draws) if not state_of(work, draw, settings)]
    if waiting:
        in_parallel(school, waiting, workers or hub.room(base_of(work, "base", 0)), log, "schooling")
    return [school(Path(work), draw, settings) for draw in range(draws)]
