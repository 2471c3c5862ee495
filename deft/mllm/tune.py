"""Joint tuning: projectors, adapters and heads learn from Uni-MER records of the training subjects (C5).

Examples and their order: `deft.mllm.examples`; what is finished is left alone (`state_of`).
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainingArguments

from deft import cache, runtime, systems
from deft.clips.facs import EMOTIONS
from deft.experts import draws
from deft.experts.encoder import TOKENS
from deft.mllm import detectors, language, prompt, score
from deft.mllm.data import TuningData, cached_bench, read_bench, taught  # noqa: F401 (read_bench: for who tunes)
from deft.mllm.examples import TuneSettings, collate, plan
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration, DeftOutput
from deft.mllm.runs import Job, base_of, instructed_of, jobs_asked, jobs_of  # noqa: F401
from deft.parallel import in_parallel, quiet_worker  # noqa: F401
from deft.unimer import lessons


class JointTrainer(Trainer):
    """The Hugging Face Trainer, with the order of `plan` and a record of each part of the loss."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.curve: list[dict[str, float]] = []

    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: int | None = None,
    ) -> Tensor | tuple[Tensor, DeftOutput]:
        """The loss of one batch (scalar), its parts kept in `curve`; with `return_outputs` also what the model
        returned.
        """
        out = model(**inputs)
        self.curve.append({"loss": round(out.loss.item(), 5), **{k: round(v.item(), 5) for k, v in out.parts.items()}})
        return (out.loss, out) if return_outputs else out.loss


# ---------------------------------------------------------------- one run
def build(
    work: Path, system: str, settings: TuneSettings, seed: int, draw: int = 0
) -> tuple[PreTrainedTokenizerBase, DeftLLMForConditionalGeneration]:
    """(tokenizer, model) of a system before it meets a fold: the base of draw `draw` with fresh adapters, projectors
    and heads, or with what these learned on the corpus (`settings.instruct` > 0; FileNotFoundError before that)."""
    entry = systems.model(system)
    tokenizer, base = language.load_base(base_of(work, entry.base, draw))
    shown = {"tokens": TOKENS if "tokens" in entry.shows else 0, "words_shown": "words" in entry.shows}
    config = DeftLLMConfig.of(
        base, tokenizer, entry.streams, rank=settings.rank, alpha=2 * settings.rank, seed=seed, **shown
    )
    model = DeftLLMForConditionalGeneration(config, base)
    if settings.instruct:
        learned, own = load_file(instructed_of(work, entry.base, draw) / "model.safetensors"), model.state_dict()
        model.load_state_dict({name: value for name, value in learned.items() if name in own}, strict=False)
    return tokenizer, model


def train(
    tokenizer: PreTrainedTokenizerBase,
    model: DeftLLMForConditionalGeneration,
    bench: TuningData,
    rows: np.ndarray,
    settings: TuneSettings,
    seed: int,
    flat: bool = False,
) -> list[dict[str, float]]:
    """Tune `model` in place on clips `rows`; returns the loss parts of every step. flat: rehearse text without
    emotion knowledge.
    """
    slots = {"tokens": model.config.tokens, "words": model.config.words_shown}
    examples = plan(tokenizer, bench, rows, model.streams, settings, seed, flat, **slots)
    cpu = not torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as scratch:  # the Trainer wants a folder; nothing is kept there
        arguments = TrainingArguments(
            output_dir=scratch,
            num_train_epochs=1,
            per_device_train_batch_size=settings.batch,
            learning_rate=settings.lr,
            lr_scheduler_type="cosine",
            warmup_steps=min(10, max(1, len(examples) // settings.batch // 10)),
            weight_decay=0.01,
            max_grad_norm=1.0,
            seed=runtime.seed_of(seed, "mllm/trainer") % 2**32,
            use_cpu=cpu,
            dataloader_pin_memory=not cpu,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = JointTrainer(
            model=model,
            args=arguments,
            train_dataset=examples,
            data_collator=functools.partial(collate, tokenizer=tokenizer, bench=bench, streams=model.streams),
        )
        trainer.remove_callback(PrinterCallback)  # progress is told per run, by `in_parallel`
        trainer.train()
    model.eval()
    return trainer.curve


def tune(job: Job, work: Path, settings: TuneSettings, bench: TuningData | None = None) -> dict:
    """Run one job unless a finished run of the same inputs is there; returns its history. bench: as `read_bench` gives
    it.

    Validation subjects choose nothing: the number of epochs is fixed, their accuracy is only reported.
    """
    entry, folder, state = systems.model(job.system), job.folder(work), state_of(job, work, settings)
    if state:
        return {**runtime.read_json(folder / "history.json"), **state.about}
    bench = bench or cached_bench(Path(work), draws.read_by(work, job.seed))
    if entry.construction != "both":
        bench = taught(bench, work, entry.construction)
    started, seed = time.perf_counter(), runtime.seed_of(settings.seed, "mllm/run", settings.draw + job.seed)
    tokenizer, model = build(work, job.system, settings, seed, job.seed)
    rows = np.array(
        [r for r in bench.rows(job.fold, "train", "kept") if bench.facts[r] and bench.facts[r].emotion in EMOTIONS], int
    )
    if not len(rows):
        raise ValueError(f"fold {job.fold} has no training clip with a Uni-MER record; rerun 05_uni_mer")
    curve = train(tokenizer, model, bench, rows, settings, seed, flat=entry.base == "base-flat")
    report = {"validation_accuracy_kept": float("nan"), "validation_accuracy_broken": float("nan")}
    for condition in ("kept", "broken"):
        held = bench.rows(job.fold, "validation", condition)
        if len(held):
            likelihood = score.emotion_scores(model, tokenizer, bench, held)
            truth = [EMOTIONS.index(e) for e in bench.index.emotion.iloc[held]]
            report[f"validation_accuracy_{condition}"] = float(np.mean(likelihood.argmax(1) == truth))
    history = {
        **asdict(job),
        "streams": model.config.streams,
        "clips": len(rows),
        "steps": len(curve),
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        **report,
        "curve": curve,
    }
    with runtime.atomic(folder) as fresh:  # the folder appears whole or not at all
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        runtime.write_json(fresh / "history.json", history)
    state.seal(**(about := {"seconds": round(time.perf_counter() - started, 1)}))
    return {**history, **about}


# ---------------------------------------------------------------- what is finished
def state_of(job: Job, work: Path, settings: TuneSettings) -> cache.State:
    """Whether a run is finished, over everything it reads: base, features, records or lessons, folds, settings, and
    the code that tunes.
    """
    work, entry = Path(work), systems.model(job.system)
    inputs = [
        base_of(work, entry.base, job.seed),
        *([instructed_of(work, entry.base, job.seed)] if settings.instruct else ()),
        detectors.path_of(work, job.seed),
        work / "clips" / "folds.csv",
        (
            work / "unimer" / "bench.jsonl"
            if entry.construction == "both"
            else lessons.path(work / "unimer", entry.construction)
        ),
    ]
    features = draws.features(work, "bench", job.seed)
    for name in prompt.streams_of(entry.streams):
        inputs += [features / f"{name}.npy", *features.glob(f"{name}_units.npy")]
    about = {
        **asdict(job),
        **asdict(settings),
        "streams": [entry.streams, *systems.STREAMS.items()],
        "shows": entry.shows,
        "base": entry.base,
        "construction": entry.construction,
    }
    return cache.fresh(job.folder(work), inputs, about, "deft.mllm.tune", apart=("deft.systems",))


def unless_finished(
    states: Sequence[cache.State], function, arguments: Sequence[tuple], workers: int | None, log, what: str
) -> list:
    """Histories of all runs: what is finished is read here, only the others need processes of their own."""
    waiting = [a for state, a in zip(states, arguments) if not state]
    if len(waiting) < len(arguments):
        (log or print)(f"{what}: {len(arguments) - len(waiting)} of {len(arguments)} finished before, not made again")
    made = iter(in_parallel(function, waiting, workers, log, what) if waiting else ())
    return [
        {**runtime.read_json(state.folder / "history.json"), **state.about} if state else next(made) for state in states
    ]


def pretrain_all(
    settings: Sequence[language.LanguageSettings],
    folders: Sequence[Path],
    heard: Sequence[Path],
    workers: int | None = None,
    log: Callable[[str], None] | None = None,
) -> list[dict]:
    """Several bases side by side (the literature's prototypes and the flat control); finished ones are kept.

    heard: file of the detectors that each base learns to hear (`detectors.prepare`).
    """
    asked = [
        ("/".join(Path(folder).parts[-2:]), one, Path(folder), file)
        for one, folder, file in zip(settings, folders, heard)
    ]
    return unless_finished(
        [language.state_of(*one[1:]) for one in asked], _pretrain_quietly, asked, workers, log, "bases"
    )


def _pretrain_quietly(_: str, settings: language.LanguageSettings, folder: Path, heard: Path) -> dict:
    return language.pretrain(settings, folder, heard, log=lambda line: None)


def tune_all(
    jobs: Sequence[Job],
    work: Path,
    settings: TuneSettings,
    workers: int | None = None,
    log: Callable[[str], None] | None = None,
) -> list[dict]:
    """All runs, finished ones skipped, the others in parallel processes with one thread each."""
    for job in jobs:
        systems.model(job.system)
    runtime.write_json(
        Path(work) / "mllm" / "runs" / "jobs.json", [asdict(job) for job in jobs]
    )  # what was asked for, for 08
    states = [state_of(job, work, settings) for job in jobs]
    return unless_finished(states, tune, [(job, Path(work), settings) for job in jobs], workers, log, "tuning")
