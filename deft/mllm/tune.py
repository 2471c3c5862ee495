"""Joint tuning: projectors, adapters and heads learn from Uni-MER records of the training subjects (C5).

Examples and their order: `deft.mllm.examples`; what is finished is left alone (`state_of`).
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from deft import cache, runtime, systems
from deft.clips.facs import EMOTIONS
from deft.experts import draws
from deft.experts.encoder import TOKENS
from deft.mllm import base as bases
from deft.mllm import classes, detectors, hub, language, prompt, school, score
from deft.mllm.data import TuningData, cached_bench, read_bench, taught, with_still  # noqa: F401 (for who tunes)
from deft.mllm.examples import TuneSettings, collate, plan
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration, DeftOutput
from deft.mllm.runs import Job, base_of, instructed_of, jobs_asked, jobs_of  # noqa: F401
from deft.parallel import in_parallel, quiet_worker  # noqa: F401
from deft.restart import Place, RestartTrainer, arguments, sweep
from deft.unimer import lessons


class JointTrainer(RestartTrainer):
    """Joint tuning in the order of `plan`, with a record of each part of the loss.

    The examples come in *groups* of `batch` rows, which are never split: decorrelation is a statistic of a group. The
    loss of a step over several groups is the mean over all their words for the text, and the mean over groups for every
    other part. So the same groups give the same step on one process that accumulates and on several that share them.

    clips: name of each clip, for a message that must name some."""

    def __init__(self, *args: Any, clips: Sequence[str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.clips, self.met = clips, []
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True  # words are counted; `compute_loss` divides

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, DeftOutput]:
        """What one group adds to the loss of its step (scalar); the step's parts are kept in `curve`; with
        `return_outputs` also what the model returned. num_items_in_batch: words of the step that are scored, over all
        processes. RuntimeError names the clips of a group whose loss is no number.
        """
        out, here, processes = model(**inputs), self.current_gradient_accumulation_steps, self.accelerator.num_processes
        if not torch.isfinite(out.loss):
            raise RuntimeError(self._lost(out))
        loss, groups, share = out.loss, here * processes, 1.0
        if groups > 1:
            scored = inputs["labels"][:, 1:] != prompt.IGNORE
            text = nn.functional.cross_entropy(out.logits, inputs["labels"][:, 1:][scored])
            share = float(scored.sum() / num_items_in_batch)
            loss = out.loss / here + text * (share * processes - 1 / here)  # processes take the mean of gradients
        self.met.append((share, {"loss": out.loss.item(), **{k: v.item() for k, v in out.parts.items()}}))
        if len(self.met) == here:
            self.curve.append(self._step(gather_object(self.met) if processes > 1 else self.met))
            self.met = []
        return (loss, out) if return_outputs else loss

    @staticmethod
    def _step(groups: list[tuple[float, dict[str, float]]]) -> dict[str, float]:
        """The parts of a step, of (share of its words, parts) of each of its groups."""
        names = dict.fromkeys(name for _, parts in groups for name in parts)
        step = {name: sum(parts.get(name, 0.0) for _, parts in groups) / len(groups) for name in names}
        shift = sum((share - 1 / len(groups)) * parts["text"] for share, parts in groups)
        return {k: round(v + shift if k in ("loss", "text") else v, 5) for k, v in step.items()}

    def _lost(self, out: DeftOutput) -> str:
        """What became of the loss, in words, and in which clips."""
        size, processes = self.args.per_device_train_batch_size, self.accelerator.num_processes
        group = (self.state.global_step * self.args.gradient_accumulation_steps + len(self.met)) * processes
        group += self.accelerator.process_index
        clips = {self.clips[example["row"]] for example in self.train_dataset[group * size : (group + 1) * size]}
        parts = ", ".join(f"{name} {value.item():.3g}" for name, value in out.parts.items())
        kept = f"; the last checkpoint stays in {self.place.folder}" if self.place else ""
        return (
            f"the loss became {out.loss.item()} in step {self.state.global_step + 1} ({parts}), in a group of the clips"
            f" {', '.join(sorted(clips))}: look at their features, or lower `lr`{kept}"
        )


# ---------------------------------------------------------------- one run
def build(
    work: Path, system: str, settings: TuneSettings, seed: int, draw: int = 0, base: str | None = None
) -> tuple[PreTrainedTokenizerBase, DeftLLMForConditionalGeneration]:
    """(tokenizer, model) of a system before it meets a fold: the base of draw `draw`, or `base` (folder or hub id),
    with fresh adapters, projectors and heads, or with what these learned on text (`settings.school` > 0) and on the
    corpus (`settings.instruct` > 0); FileNotFoundError before that. The head of another list of classes than the corpus
    has starts fresh.
    """
    entry = systems.model(system)
    tokenizer, text = school.equip(base or base_of(work, entry.base, draw), settings)
    classes.taught_words(tokenizer, text, settings.classes, seed)
    sizes = {"rank": settings.rank, "alpha": 2 * settings.rank, "classes": settings.classes}
    shown = {"tokens": TOKENS if "tokens" in entry.shows else 0, "words_shown": "words" in entry.shows}
    config = DeftLLMConfig.of(
        text, tokenizer, entry.streams, **sizes, **shown, seed=seed, class_temperature=settings.class_temperature
    )
    model = DeftLLMForConditionalGeneration(config, text)
    if settings.school:
        school.begin(model, school.folder_of(work, draw, base))
    if settings.instruct:
        learned, own = load_file(instructed_of(work, entry.base, draw) / "model.safetensors"), model.state_dict()
        skipped = () if tuple(settings.classes) == EMOTIONS else ("emotion_head",)
        model.load_state_dict(
            {n: v for n, v in learned.items() if n in own and bases.own(n) and not n.startswith(skipped)}, strict=False
        )
    return tokenizer, model


def train(
    tokenizer: PreTrainedTokenizerBase,
    model: DeftLLMForConditionalGeneration,
    bench: TuningData,
    rows: np.ndarray,
    settings: TuneSettings,
    seed: int,
    flat: bool = False,
    place: Place | None = None,
) -> list[dict[str, float]]:
    """Tune `model` in place on clips `rows`; returns the loss parts of every step. flat: rehearse text without
    emotion knowledge. place: of its checkpoints; without one nothing is kept. Raises ValueError for groups that the
    processes cannot share, RuntimeError for a loss that is no number, `restart.Stopped` after SIGTERM.
    """
    slots = {"tokens": model.config.tokens, "words": model.config.words_shown}
    examples = plan(tokenizer, bench, rows, model.streams, settings, seed, flat, **slots)
    step = settings.batch * settings.groups
    if settings.groups > 1:
        examples = examples[: len(examples) // step * step]
    if not examples:
        raise ValueError(f"too few clips for one step of {settings.groups} groups of {settings.batch}")
    with contextlib.ExitStack() as stack:  # the Trainer wants a folder, also where nothing is kept
        given = arguments(
            place.folder if place else stack.enter_context(tempfile.TemporaryDirectory()),
            **settings.optimisation(len(examples) // step, seed),
        )
        if settings.groups % given.world_size:
            raise ValueError(
                f"a step of {settings.groups} groups cannot be shared by {given.world_size} processes: give `groups` a"
                " multiple of them"
            )
        given.gradient_accumulation_steps = settings.groups // given.world_size
        trainer = JointTrainer(
            model=model,
            args=given,
            train_dataset=examples,
            data_collator=functools.partial(collate, tokenizer=tokenizer, bench=bench, streams=model.streams),
            place=place,
            clips=list(bench.index["clip"]),
        )
        curve = trainer.run()
    model.eval()
    return curve


def tune(job: Job, work: Path, settings: TuneSettings, bench: TuningData | None = None) -> dict:
    """Run one job unless a finished run of the same inputs is there; returns its history. bench: as `read_bench` gives
    it.

    Validation subjects choose nothing: the number of epochs is fixed, their accuracy is only reported. A run that was
    stopped goes on from its last checkpoint.
    """
    folder, state = job.folder(work), state_of(job, work, settings)
    if state:
        return {**runtime.read_json(folder / "history.json"), **state.about}
    started = time.perf_counter()
    sweep(folder.parent)
    tokenizer, model, history = learn(job, work, settings, Place(folder / ".checkpoints", state.key), bench)
    with runtime.atomic(folder) as fresh:  # the folder appears whole or not at all
        write(fresh, tokenizer, model, history)
    state.seal(**(about := {"seconds": round(time.perf_counter() - started, 1)}))
    return {**history, **about}


def learn(
    job: Job,
    work: Path,
    settings: TuneSettings,
    place: Place | None = None,
    bench: TuningData | None = None,
    base: str | None = None,
) -> tuple[PreTrainedTokenizerBase, DeftLLMForConditionalGeneration, dict]:
    """(tokenizer, tuned model, history) of one job; place: of its checkpoints; bench: as `read_bench` gives it; base:
    folder or hub id that takes the place of the draw's own.
    """
    entry, seed = systems.model(job.system), runtime.seed_of(settings.seed, "mllm/run", settings.draw + job.seed)
    bench = bench or cached_bench(Path(work), draws.read_by(work, job.seed))
    if entry.construction != "both":
        bench = taught(bench, work, entry.construction)
    bench = classes.named(bench, settings.classes)
    if settings.still:
        bench = with_still(bench, work, entry.streams, draws.read_by(work, job.seed))
    tokenizer, model = build(work, job.system, settings, seed, job.seed, base)
    rows = np.array(
        [r for r in bench.rows(job.fold, "train", "kept") if bench.facts[r] and bench.facts[r].emotion], int
    )
    if not len(rows):
        raise ValueError(f"fold {job.fold} has no training clip with a Uni-MER record; rerun 05_uni_mer")
    curve = train(tokenizer, model, bench, rows, settings, seed, flat=entry.base == "base-flat", place=place)
    report = {"validation_accuracy_kept": float("nan"), "validation_accuracy_broken": float("nan")}
    for condition in ("kept", "broken"):
        held = bench.rows(job.fold, "validation", condition)
        if len(held):
            likelihood = score.emotion_scores(model, tokenizer, bench, held)
            truth = [settings.classes.index(e) for e in bench.index.emotion.iloc[held]]
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
    return tokenizer, model, history


def write(
    folder: Path, tokenizer: PreTrainedTokenizerBase, model: DeftLLMForConditionalGeneration, history: dict
) -> None:
    """The files of a finished run."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    runtime.write_json(folder / "history.json", history)


# ---------------------------------------------------------------- what is finished
def state_of(
    job: Job, work: Path, settings: TuneSettings, base: Path | None = None, folder: Path | None = None
) -> cache.State:
    """Whether a run is finished, over everything it reads: base, features, records or lessons, folds, settings, and
    the code that tunes. base, folder: in place of the draw's base and the run's folder.
    """
    work, entry = Path(work), systems.model(job.system)
    inputs = [
        base or base_of(work, entry.base, job.seed),
        *([school.folder_of(work, job.seed, base)] if settings.school else ()),
        *([instructed_of(work, entry.base, job.seed)] if settings.instruct else ()),
        detectors.path_of(work, job.seed),
        work / "clips" / "folds.csv",
        *([work / "clips" / "bench"] if tuple(settings.classes) != EMOTIONS else ()),  # such classes stand there alone
        (
            work / "unimer" / "bench.jsonl"
            if entry.construction == "both"
            else lessons.path(work / "unimer", entry.construction)
        ),
    ]
    features = draws.features(work, "bench", job.seed)
    for name in prompt.streams_of(entry.streams):
        for place in (features, draws.features(work, "corpus", job.seed)) if settings.still else (features,):
            inputs += [place / f"{name}.npy", *place.glob(f"{name}_units.npy")]
    about = {
        **asdict(job),
        **asdict(settings),
        "streams": [entry.streams, *systems.STREAMS.items()],
        "shows": entry.shows,
        "base": entry.base,
        "construction": entry.construction,
    }
    return cache.fresh(folder or job.folder(work), inputs, about, "deft.mllm.tune", apart=("deft.systems",))


def unless_finished(
    states: Sequence[cache.State],
    function: Callable[..., dict],
    arguments: Sequence[tuple],
    workers: int | None,
    log: Callable[[str], None] | None,
    what: str,
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
    """All runs, finished ones skipped, the others in parallel processes with one thread each. workers: by default as
    many as there are cores, or as hold a base from elsewhere in memory.
    """
    workers = workers or hub.room(base_of(work, "base", 0))
    for job in jobs:
        systems.model(job.system)
    runtime.write_json(
        Path(work) / "mllm" / "runs" / "jobs.json", [asdict(job) for job in jobs]
    )  # what was asked for, for 08
    states = [state_of(job, work, settings) for job in jobs]
    return unless_finished(states, tune, [(job, Path(work), settings) for job in jobs], workers, log, "tuning")
