"""Exact restart: a training run of the Hugging Face Trainer that is stopped at any moment, a power cut included, ends
in the same bytes when the same call is made again.

A checkpoint is a folder `checkpoint-<step>`: the weights that learn, what the Trainer keeps of optimiser, schedule,
random states and its own state, and the curve so far. MANIFEST.json is written last: the hash of every file, and the
key of all that the run is made of. The newest checkpoint that is as it was written is used; one that is damaged or
unfinished is named in a warning and removed, and an older one takes its place. Draws of the data must come from (seed,
step), never from what was drawn before."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from deft import cache, runtime

MANIFEST, WEIGHTS, CURVE = "MANIFEST.json", "trainable.safetensors", "curve.jsonl"
EVERY = 60.0  # seconds between two checkpoints
KEPT = 2  # so many whole ones; an older one goes when a newer one is finished


class Stopped(RuntimeError):
    """The process was asked to stop (SIGTERM) and has kept a checkpoint: the same call goes on from there."""


# ---------------------------------------------------------------- folders that say what they hold
def seal(folder: Path, **about: str | int) -> None:
    """Write MANIFEST.json: `about` and the hash of every file in `folder`, after all of them are on the disk."""
    files = {}
    for path in sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name != MANIFEST):
        _to_disk(path)
        files[path.relative_to(folder).as_posix()] = runtime.sha256(path)
    content = {"format": 1, **about, "files": files}
    runtime.write_json(folder / MANIFEST, {**content, "sha256": cache.hash_of(content)})
    for path in (folder / MANIFEST, folder, folder.parent):
        _to_disk(path)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read(folder: Path) -> tuple[dict, str]:
    """(manifest, what is wrong with the folder in words): the words are empty when every file is as it was written."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return {}, f"{folder} was never finished"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        whole = found.pop("sha256") == cache.hash_of(found)
    except (ValueError, AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        return {}, f"{path} is not as it was written"
    for name, known in found["files"].items():
        if not (folder / name).is_file():
            return found, f"{folder / name} is missing"
        if runtime.sha256(folder / name) != known:
            return found, f"{folder / name} was altered since it was written"
    return found, ""


def sweep(folder: Path) -> list[Path]:
    """Remove what `runtime.atomic` left half-written in `folder` and whose writer no longer lives; -> what was
    removed.
    """
    gone = []
    for path in Path(folder).glob(".*.partial*") if Path(folder).is_dir() else ():
        owner = re.search(r"\.(\d+)\.partial", path.name)
        if owner and not _wrote(int(owner[1]), path):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            gone.append(path)
    return gone


def _wrote(process: int, path: Path) -> bool:
    """Whether a process of this number lives and is not younger than `path`."""
    import psutil

    try:
        return psutil.Process(process).create_time() <= path.stat().st_mtime + 1
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


@dataclass(frozen=True)
class Place:
    """Where a run keeps its checkpoints, one folder each in `folder`. key: hash of all that the run is made of. every:
    seconds between two. strict: a checkpoint of another run is an error; else it is removed with a warning."""

    folder: Path
    key: str
    every: float = field(default_factory=lambda: EVERY)
    strict: bool = False

    def newest(self) -> Path | None:
        """The newest whole checkpoint of this run; None: start from the beginning.

        What is damaged, unfinished or of another run is named and removed. ValueError (`strict`): a whole one belongs
        to another run."""
        for folder in self._all():
            manifest, wrong = read(folder)
            if not wrong and manifest.get("key") == self.key:
                return folder
            if not wrong and self.strict:
                raise ValueError(
                    f"{folder} belongs to another run: other data, base, settings, code or versions; name another"
                    " folder, or remove this one to start over"
                )
            wrong = wrong or f"{folder} belongs to other data, settings or code"
            warnings.warn(f"{wrong}; an older checkpoint or the start takes its place", RuntimeWarning, stacklevel=2)
            shutil.rmtree(folder)
        return None

    def prune(self) -> None:
        """Remove all but the newest `KEPT` checkpoints."""
        for folder in self._all()[KEPT:]:
            shutil.rmtree(folder)

    def _all(self) -> list[Path]:
        found = {int(p.name[11:]): p for p in self.folder.glob("checkpoint-*") if p.name[11:].isdigit()}
        return [found[step] for step in sorted(found, reverse=True)]


# ---------------------------------------------------------------- training
class _Clock(TrainerCallback):
    """Asks for a checkpoint every `every` seconds, at the end of a run that took as long, and after SIGTERM for a last
    one. Processes that train together ask together.
    """

    def __init__(self, every: float):
        self.every, self.stop = every, False

    def on_train_begin(self, args, state, control, **_):
        self.began = self.saved = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_):
        since = self.began if state.global_step == state.max_steps else self.saved
        votes = torch.tensor([self.stop, time.monotonic() - since >= self.every], dtype=torch.int32)
        if distributed.is_available() and distributed.is_initialized():
            votes = votes.to(args.device)
            distributed.all_reduce(votes, distributed.ReduceOp.MAX)
        self.stop, due = votes.bool().tolist()
        control.should_training_stop |= self.stop
        control.should_save |= self.stop or due

    def on_save(self, args, state, control, **_):
        self.saved = time.monotonic()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, SIGTERM asks for a last checkpoint; signals reach the main thread of a process alone."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)

    def _hear(self, *_: object) -> None:
        self.stop = True


def arguments(folder: Path | str, **given: Any) -> TrainingArguments:
    """What every training run here says to the Trainer: one pass over data in their order, silence, checkpoints by
    `Place` alone.
    """
    cpu = not torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        use_cpu=cpu,
        bf16=not cpu and torch.cuda.is_bf16_supported(),
        dataloader_pin_memory=not cpu,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        **given,
    )


class RestartTrainer(Trainer):
    """The Hugging Face Trainer over examples in their order, with exact checkpoints and a curve that survives.

    place: where they are kept; None: nothing is kept. curve: one dict of numbers per step, by `compute_loss`."""

    def __init__(self, *args: Any, place: Place | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.place, self.curve = place, []
        self.clock = _Clock(place.every if place else float("inf"))
        self.remove_callback(PrinterCallback)  # progress is told per run, by `in_parallel`
        if place:
            self.add_callback(self.clock)

    def run(self) -> list[dict[str, float]]:
        """Train to the end, from the newest checkpoint if there is one; -> the curve. Raises Stopped after SIGTERM."""
        if not self.place:
            self.train()
            return self.curve
        with self.accelerator.main_process_first():  # it removes what is damaged; the others then find the same one
            newest = self.place.newest()
        with self.clock.listening():
            self.train(resume_from_checkpoint=str(newest) if newest else None)
        if self.clock.stop:
            raise Stopped(
                f"stopped after step {self.state.global_step} of {self.state.max_steps}; a checkpoint is kept in"
                f" {self.place.folder}, the same call goes on from there"
            )
        return self.curve

    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def floating_point_ops(self, inputs: dict[str, Tensor]) -> int:
        """0: nobody reads the Trainer's estimate, and counting all parameters takes its time in every step."""
        return 0

    def _learning(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def _save(self, output_dir=None, state_dict=None):
        """Only what learns: the base is named by the key."""
        if self.args.should_save:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            given = state_dict or {}
            tensors = {n: given.get(n, p).detach().cpu().contiguous() for n, p in self._learning().items()}
            save_file(tensors, Path(output_dir) / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        folder = Path(resume_from_checkpoint)
        self.curve = runtime.read_jsonl(folder / CURVE)
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        kept, mine = load_file(folder / WEIGHTS), self._learning()
        if kept.keys() != mine.keys():
            raise ValueError(f"{folder} holds the weights of another architecture; remove it to start over")
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(kept[name])

    def _save_checkpoint(self, model, trial):
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            runtime.write_jsonl(folder / CURVE, self.curve)
            seal(folder, key=self.place.key, step=self.state.global_step)
            self.place.prune()
