"""Joint tuning: projectors, adapters and heads learn from Uni-MER records of the training subjects (C5).

Every draw (which question, which wording, whose structure, which stream is dropped) comes from (seed, epoch, index), so
the whole course of a run is fixed before its first step and a run that is started again gives the same weights.

Two devices keep the text true to the units:
- *Rehearsal*: a share of the examples is about clips that never existed, with simulated soft words and no tokens, so that
  the reading of uncertain units, learned in text pretraining, is not forgotten on a few hundred clips.
- *Missing labels are not negative labels*: where an annotated unit was not confirmed, the record does not list it, but it may
  have moved. From such a record only the emotion class is trained, not the list of units.

Disentangling by intervention: with probability `swap` an example is shown the structure tokens of another training
clip, so that looks cannot decide the emotion. The paper does not say how it separates looks from motion in the language
model; we use this because structure carries the tie between looks and emotion, and a penalty alone did not remove it.
An RGB-only model cannot be treated so: its looks and its motion arrive in the same tokens.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PrinterCallback, Trainer, TrainingArguments
from transformers.utils import logging as hf_logging

from deft import cache, paths, runtime, systems
from deft.clips.facs import EMOTIONS
from deft.clips.splits import roles
from deft.clips.store import ClipStore
from deft.experts import draws
from deft.mllm import language, prompt
from deft.mllm.model import DeftLLMConfig, DeftLLMForConditionalGeneration
from deft.unimer import lessons
from deft.unimer.facts import Facts, text_facts, unit_array


@dataclass(frozen=True)
class TuneSettings:
    """One recipe for every system. swap, drop: chance that structure is another clip's, that a stream is missing.
    rehearse: share of examples about clips that never existed (below). draw: number of the first draw; a job's seed counts on from it."""

    epochs: int = 10
    batch: int = 32
    lr: float = 1e-3
    swap: float = 0.75
    drop: float = 0.1
    rehearse: float = 0.45
    rank: int = 16
    seed: int = 7
    draw: int = 0


@dataclass(frozen=True)
class Job:
    """One run: a system, the number of its draw (0, 1, ...; `seed` in predictions.jsonl), and the fold whose subjects it never meets."""

    system: str
    seed: int
    fold: int

    def __str__(self) -> str:
        return f"{self.system} draw {self.seed} fold {self.fold}"

    def folder(self, work: Path) -> Path:
        return Path(work) / "mllm" / "runs" / self.system / f"seed{self.seed}" / f"fold{self.fold}"


@dataclass(frozen=True)
class Bench:
    """The data of tuning and scoring for one set: its index, the experts' features, and the facts of its records (None without one).

    complete: whether the record confirms every annotated unit. A unit that was annotated but not confirmed may well have
    moved below the noise: that the record does not list it must not be learned as "absent".
    """

    index: pd.DataFrame
    features: dict[str, np.ndarray]
    facts: list[Facts | None]
    folds: pd.DataFrame | None
    complete: list[bool]

    def rows(self, fold: int, role: str, condition: str | None = None) -> np.ndarray:
        """Row numbers of the clips whose subject plays `role` (train, validation, test) in `fold`."""
        part = self.index.subject.map(roles(self.folds, fold)) == role
        return np.flatnonzero(part & ((self.index.condition == condition) if condition else True))


def read_bench(work: Path, which: str = "bench", letters: str = "stmr", facts: bool = True, draw: int = 0) -> Bench:
    """Read index, features of a draw and (training needs them) Uni-MER facts of set `which` under work/<profile>."""
    work = Path(work)
    index = ClipStore(work / "clips" / which).index
    features = {}
    for name in prompt.streams_of(letters):
        for key in (name, f"{name}_units") if name in prompt.UNIT_STREAMS else (name,):
            array = np.asarray(runtime.load_array(draws.features(work, which, draw), key, mmap=False), np.float32)
            if len(array) != len(index) or not np.isfinite(array).all():
                raise ValueError(f"{draws.features(work, which, draw) / key}.npy: {array.shape} for {len(index)} clips, or not finite; rerun 06_experts")
            features[key] = array
    records = runtime.read_jsonl(work / "unimer" / f"{which}.jsonl") if facts else []
    found, open_ended = facts_by_clip(records), unconfirmed(records)
    folds = pd.read_csv(work / "clips" / "folds.csv", dtype={"subject": str}) if which == "bench" else None
    return Bench(index, features, [found.get(clip) for clip in index["clip"]], folds,
                 [clip not in open_ended for clip in index["clip"]])


def taught(bench: Bench, work: Path, construction: str) -> Bench:
    """The same bench, its facts those of another construction of Uni-MER (`deft.unimer.lessons`)."""
    found = lessons.read(Path(work) / "unimer", construction)
    told = [found.get(clip, (None, False)) for clip in bench.index["clip"]]
    return replace(bench, facts=[facts for facts, _ in told], complete=[complete for _, complete in told])


def facts_by_clip(records: Iterable[dict]) -> dict[str, Facts]:
    """Uni-MER records -> clip: what its texts say. All records of a clip carry the same facts."""
    return {record["clip"]: Facts.from_json(record["facts"]) for record in records}


def unconfirmed(records: Iterable[dict]) -> set[str]:
    """Clips with an annotated unit that the evidence did not confirm (verdict unsupported or contradicted)."""
    return {record["clip"] for record in records for row in record.get("verdicts", ()) if row["verdict"] in ("unsupported", "contradicted")}


# ---------------------------------------------------------------- examples
def draw_example(tokenizer, bench: Bench, rows: np.ndarray, streams: Sequence[str], settings: TuneSettings, seed: int,
                 epoch: int, position: int, flat: bool = False) -> dict:
    """Example `position` of `epoch`: a fresh question and wording, perhaps another clip's structure, perhaps fewer streams."""
    rng = runtime.rng(seed, f"mllm/tune/{epoch}", position)
    row = int(rows[position])
    facts = bench.facts[row]
    partner = int(rng.choice(rows)) if rng.random() < settings.swap else row
    dropped = [name for name in streams if rng.random() < settings.drop]
    if len(dropped) == len(streams):
        dropped.remove(str(rng.choice(dropped)))                            # an example always keeps one stream
    simulated, complete = {}, bench.complete[row]
    if set(streams) & set(prompt.UNIT_STREAMS) and rng.random() < settings.rehearse:
        facts = text_facts(rng, flat=flat)
        active, complete = unit_array(facts.units) > 0, True
        simulated = {f"{name}_units": language.simulate_probability(active, rng, language.QUALITY[name])
                     for name in streams if name in prompt.UNIT_STREAMS}
    kind, question, answer = language.ask(facts, rng, complete)
    example = prompt.encode(tokenizer, streams, question, answer, dropped,
                            end=complete or kind != "reasoning")
    if simulated:                                                           # no clip, so no expert tokens: they are masked, soft words remain
        slots = {tokenizer.convert_tokens_to_ids(f"<{name}>") for name in streams}
        example["attention_mask"] = [0 if i in slots else m for i, m in zip(example["input_ids"], example["attention_mask"])]
    return {**example, "row": row, "structure_row": partner, "kind": kind, "simulated": simulated, "facts": facts,
            "present": [name not in dropped for name in streams]}


def plan(tokenizer, bench: Bench, rows: np.ndarray, streams: Sequence[str], settings: TuneSettings, seed: int, flat: bool = False) -> list[dict]:
    """All examples of a run in the order they are met: in an epoch every clip once, batches of like length, drawn order.

    Clips that do not fill a last batch wait for the next epoch, where others are left over.
    """
    order = []
    for epoch in range(settings.epochs):
        shuffled = runtime.rng(seed, "mllm/order", epoch).permutation(len(rows))
        whole = len(rows) // settings.batch * settings.batch or len(rows)
        drawn = [draw_example(tokenizer, bench, rows, streams, settings, seed, epoch, int(p), flat) for p in shuffled[:whole]]
        drawn.sort(key=lambda e: sum(e["attention_mask"]))                  # what is computed once masked positions are left out
        batches = [drawn[i:i + settings.batch] for i in range(0, whole, settings.batch)]
        for i in runtime.rng(seed, "mllm/batches", epoch).permutation(len(batches)):
            order += batches[i]
    return order


def features_of(bench: Bench, streams: Sequence[str], rows: np.ndarray, structure_rows: np.ndarray | None = None) -> dict[str, torch.Tensor]:
    """Features of clips `rows` as the model's keyword arguments; structure may come from other clips."""
    taken = {}
    for name in streams:
        source = structure_rows if name == "structure" and structure_rows is not None else rows
        taken[name] = torch.from_numpy(bench.features[name][source])
        if name in prompt.UNIT_STREAMS:
            taken[f"{name}_units"] = torch.from_numpy(bench.features[f"{name}_units"][rows])
    return taken


def collate(examples: list[dict], tokenizer, bench: Bench, streams: Sequence[str]) -> dict[str, torch.Tensor]:
    """Examples of `plan` -> one batch of the model's inputs."""
    rows = np.array([e["row"] for e in examples])
    facts = [e["facts"] for e in examples]
    features = features_of(bench, streams, rows, np.array([e["structure_row"] for e in examples]))
    for i, example in enumerate(examples):
        for name, probability in example["simulated"].items():
            features[name][i] = torch.from_numpy(probability)
    return {**prompt.pad([prompt.closed_up(example) for example in examples], tokenizer.pad_token_id), **features,
            "lived": torch.tensor([not e["simulated"] for e in examples]),
            "emotion": torch.tensor([EMOTIONS.index(f.emotion) for f in facts]),
            "units": torch.from_numpy(np.stack([unit_array(f.units) for f in facts])),
            "present": torch.tensor([e["present"] for e in examples])}


class JointTrainer(Trainer):
    """The Hugging Face Trainer, with the order of `plan` and a record of each part of the loss."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.curve: list[dict[str, float]] = []

    def _get_train_sampler(self, train_dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        out = model(**inputs)
        self.curve.append({"loss": round(out.loss.item(), 5), **{k: round(v.item(), 5) for k, v in out.parts.items()}})
        return (out.loss, out) if return_outputs else out.loss


# ---------------------------------------------------------------- one run
def base_of(work: Path, name: str, draw: int) -> Path:
    """Where base `name` (`base`, or `base-flat`, the control) of a draw lies: `mllm/<name>` for draw 0, else `mllm/draw<d>/<name>`."""
    return paths.of_draw(Path(work) / "mllm", draw) / name


def build(work: Path, system: str, settings: TuneSettings, seed: int, draw: int = 0):
    """(tokenizer, model) of a system before tuning: the base of draw `draw` with fresh adapters, projectors and heads."""
    entry = systems.model(system)
    tokenizer, base = language.load_base(base_of(work, entry.base, draw))
    config = DeftLLMConfig.of(base, tokenizer, entry.streams, rank=settings.rank, alpha=2 * settings.rank, seed=seed)
    return tokenizer, DeftLLMForConditionalGeneration(config, base)


def train(tokenizer, model, bench: Bench, rows: np.ndarray, settings: TuneSettings, seed: int, flat: bool = False) -> list[dict[str, float]]:
    """Tune `model` in place on clips `rows`; returns the loss parts of every step. flat: rehearse text without emotion knowledge."""
    examples = plan(tokenizer, bench, rows, model.streams, settings, seed, flat)
    cpu = not torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as scratch:                          # the Trainer wants a folder; nothing is kept there
        arguments = TrainingArguments(
            output_dir=scratch, num_train_epochs=1, per_device_train_batch_size=settings.batch, learning_rate=settings.lr,
            lr_scheduler_type="cosine", warmup_steps=min(10, max(1, len(examples) // settings.batch // 10)), weight_decay=0.01,
            max_grad_norm=1.0, seed=runtime.seed_of(seed, "mllm/trainer") % 2**32, use_cpu=cpu, dataloader_pin_memory=not cpu,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False)
        trainer = JointTrainer(model=model, args=arguments, train_dataset=examples,
                               data_collator=functools.partial(collate, tokenizer=tokenizer, bench=bench, streams=model.streams))
        trainer.remove_callback(PrinterCallback)                            # progress is told per run, by `in_parallel`
        trainer.train()
    model.eval()
    return trainer.curve


def tune(job: Job, work: Path, settings: TuneSettings, bench: Bench | None = None) -> dict:
    """Run one job unless a finished run of the same inputs is there; returns its history. bench: as `read_bench` gives it.

    Validation subjects choose nothing: the number of epochs is fixed, their accuracy is only reported.
    """
    from deft.mllm import score                                             # score reads what tune writes

    entry, folder, state = systems.model(job.system), job.folder(work), state_of(job, work, settings)
    if state:
        return {**runtime.read_json(folder / "history.json"), **state.about}
    bench = bench or cached_bench(Path(work), draws.read_by(work, job.seed))
    if entry.construction != "both":
        bench = taught(bench, work, entry.construction)
    started, seed = time.perf_counter(), runtime.seed_of(settings.seed, "mllm/run", settings.draw + job.seed)
    tokenizer, model = build(work, job.system, settings, seed, job.seed)
    rows = np.array([r for r in bench.rows(job.fold, "train", "kept") if bench.facts[r] and bench.facts[r].emotion in EMOTIONS], int)
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
    history = {**asdict(job), "streams": model.config.streams, "clips": len(rows), "steps": len(curve),
               "parameters": sum(p.numel() for p in model.parameters()),
               "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
               **report, "curve": curve}
    with runtime.atomic(folder) as fresh:                                   # the folder appears whole or not at all
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)
        runtime.write_json(fresh / "history.json", history)
    state.seal(**(about := {"seconds": round(time.perf_counter() - started, 1)}))
    return {**history, **about}


# ---------------------------------------------------------------- what is finished
def state_of(job: Job, work: Path, settings: TuneSettings) -> cache.State:
    """Whether a run is finished, over everything it reads: base, features, records or lessons, folds, settings, and the code that tunes."""
    work, entry = Path(work), systems.model(job.system)
    inputs = [base_of(work, entry.base, job.seed), work / "clips" / "folds.csv",
              work / "unimer" / "bench.jsonl" if entry.construction == "both" else lessons.path(work / "unimer", entry.construction)]
    features = draws.features(work, "bench", job.seed)
    for name in prompt.streams_of(entry.streams):
        inputs += [features / f"{name}.npy", *features.glob(f"{name}_units.npy")]
    about = {**asdict(job), **asdict(settings), "streams": [entry.streams, *systems.STREAMS.items()], "base": entry.base, "construction": entry.construction}
    return cache.fresh(job.folder(work), inputs, about, "deft.mllm.tune", apart=("deft.systems",))


@functools.lru_cache(maxsize=1)
def cached_bench(work: Path, expert_draw: int = 0) -> Bench:
    """The bench as one draw of the experts describes it, read once per process."""
    return read_bench(work, draw=expert_draw)


def jobs_of(systems: Iterable[str], draws: int, folds: Iterable[int]) -> list[Job]:
    """All runs: every system in every fold with the same draws, because rows that are compared must differ in nothing else.

    Draw by draw, so that a run which is stopped has finished whole draws first.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least 1 is needed")
    return [Job(system, draw, int(fold)) for draw in range(draws) for system in systems for fold in folds]


def jobs_asked(work: Path) -> list[Job]:
    """The runs that `tune_all` was last asked for; runs of earlier settings that still lie there are not among them."""
    path = Path(work) / "mllm" / "runs" / "jobs.json"
    if not path.exists():
        raise FileNotFoundError(f"no {path.name} under mllm/runs: run 07_joint_tuning first")
    return [Job(**row) for row in runtime.read_json(path)]


def quiet_worker() -> None:
    """One thread per process: two runs side by side finish sooner than one on two cores."""
    torch.set_num_threads(1)
    hf_logging.disable_progress_bar()


def _start_worker(parent: int) -> None:
    """A worker is quiet and leaves when its parent is killed, at its start too, instead of waiting for work for ever. parent: process id."""
    quiet_worker()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(function, arguments: tuple):
    """function(*arguments); what it freed goes back to the system, or the workers would grow with every run."""
    try:
        return function(*arguments)
    finally:
        runtime.release_memory()


def in_parallel(function, arguments: Sequence[tuple], workers: int | None = None, log=print) -> list:
    """function(*a) for each of `arguments` in separate processes; results in order, a line per finished one."""
    workers = min(workers or runtime.jobs(), len(arguments)) or 1
    if workers == 1:
        threads = torch.get_num_threads()
        quiet_worker()
        try:
            results = []
            for number, a in enumerate(arguments, 1):
                results.append(function(*a))
                log(f"{number}/{len(arguments)}  {a[0]}")
            return results
        finally:
            torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", "1")                           # children read both before torch does
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")          # of 1,024: code for shapes that do not come again fills memory
    results = [None] * len(arguments)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)) as pool:
        waiting = {pool.submit(_work, function, a): i for i, a in enumerate(arguments)}
        for number, future in enumerate(as_completed(waiting), 1):
            i = waiting[future]
            try:
                results[i] = future.result()
            except Exception as error:
                pool.shutdown(cancel_futures=True)
                raise RuntimeError(f"{arguments[i][0]} failed: {error}; finished runs are kept, start again to go on") from error
            log(f"{number}/{len(arguments)}  {arguments[i][0]}")
    return results


def pretrain_all(settings: Sequence[language.LanguageSettings], folders: Sequence[Path], workers: int | None = None, log=print) -> list[dict]:
    """Several bases side by side (the literature's prototypes and the flat control); finished ones are kept."""
    asked = [("/".join(Path(folder).parts[-2:]), one, Path(folder)) for one, folder in zip(settings, folders)]
    return in_parallel(_pretrain_quietly, asked, workers, log)


def _pretrain_quietly(_: str, settings: language.LanguageSettings, folder: Path) -> dict:
    return language.pretrain(settings, folder, log=lambda line: None)


def tune_all(jobs: Sequence[Job], work: Path, settings: TuneSettings, workers: int | None = None, log=print) -> list[dict]:
    """All runs, finished ones skipped, the others in parallel processes with one thread each."""
    for job in jobs:
        systems.model(job.system)
    runtime.write_json(Path(work) / "mllm" / "runs" / "jobs.json", [asdict(job) for job in jobs])   # what was asked for, for 08
    return in_parallel(tune, [(job, Path(work), settings) for job in jobs], workers, log)
