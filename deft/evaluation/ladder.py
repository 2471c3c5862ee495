"""Where recognition is lost, rung by rung: from the textbook on the true units down to the tuned model's answers.

`python -m deft.evaluation.ladder --profile demo` prints it after a complete run of the profile. Every rung answers the
same clips and differs from its neighbour in one thing:

- *perception*: the textbook (`peers.bayes`) reads true units, what coders wrote, one expert, or all that the experts
  say of a unit, put together by logistic regression on corpus people (`deft.evaluation.unique.odds`);
- *language*: the base after text pretraining, and after instruction, reads the same words without a fold having tuned
  it;
- *tuning*: the tuned models, whole and with a part of their prompt masked when they are asked.

Log loss is given as it is said, and recalibrated: every rung with a temperature and class shares fitted on the answers
for people of the other folds, so that rungs differ by what they know and not by how boldly they say it. The
recalibration reads labels of tested people, so it belongs to this diagnosis and to no other table."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedTokenizerBase

from deft import paths, runtime
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.evaluation import metrics, unique
from deft.evaluation.peers import base_rate, bayes, linear
from deft.evaluation.tables import present
from deft.evaluation.tables.common import BROKEN, nll_sample, recognition, sample
from deft.evaluation.tables.present import Column, Page, Part
from deft.experts import draws
from deft.mllm import prompt, score, tune
from deft.mllm.data import TuningData, features_of, read_bench
from deft.mllm.examples import TuneSettings
from deft.mllm.model import DeftLLMForConditionalGeneration
from deft.mllm.runs import Job, base_of, instructed_of, jobs_asked
from deft.systems import DEFT, LISTED, SYSTEMS
from deft.unimer.build import annotated_array

PERCEPTION, LANGUAGE, TUNING = "perception", "language", "tuning"
TEXTBOOK = "textbook on the motion expert"  # what the other rungs are held against
Rung = tuple[str, str, np.ndarray]  # (stage, what answers, (N, 5) probabilities)


# ---------------------------------------------------------------- perception
def perception(work: Path, draw: int) -> Iterator[Rung]:
    """The textbook on what is true, written, or seen by the experts of a draw. Every likelihood ratio is taken at the
    base rate that its probabilities were calibrated at.
    """
    bench, corpus = (ClipStore(work / "clips" / which) for which in ("bench", "corpus"))
    truth = bench.array("units_true") > 0  # (N, 17, 2)
    rate = base_rate(work.name)
    yield PERCEPTION, "textbook on the true units", bayes.probabilities(truth.any(-1).astype(float), rate)
    written = annotated_array(bench.index["units"]).any(-1).astype(float)
    yield PERCEPTION, "textbook on the coders' units", bayes.probabilities(written, rate)
    for name in unique.SPEAKING:
        said = bayes.clip_units(runtime.load_array(draws.features(work, "bench", draw), f"{name}_units"))
        yield PERCEPTION, f"textbook on the {name} expert", bayes.probabilities(said, rate)
    held = np.flatnonzero(corpus.index["split"] == "validation")
    said = _said(work, draw, held, corpus, truth)
    learn, ask = np.arange(len(held)), len(held) + np.arange(len(truth))
    known = said.moved[learn].any(-1).mean(0)
    enough = len(set(said.person[learn])) >= unique.FOLDS  # people, to choose what the resting face may weigh
    for experts in (unique.SPEAKING, tuple(unique.OWN))[: 1 + enough]:
        chance = 1 / (1 + np.exp(-unique.odds(said, experts, learn, ask)))
        read = bayes.probabilities(bayes.clip_units(chance), known)
        yield PERCEPTION, f"textbook on {present.listed(experts)}, put together", read


def _said(work: Path, draw: int, held: np.ndarray, corpus: ClipStore, truth: np.ndarray) -> unique.Said:
    """What the experts say of the corpus clips `held`, and behind them of the benchmark's, whose units are `truth`."""

    def both(name: str) -> np.ndarray:
        mine, theirs = (runtime.load_array(draws.features(work, which, draw), name) for which in ("corpus", "bench"))
        return np.concatenate([mine[held], theirs])

    moved = np.concatenate([corpus.array("units_true")[held] > 0, truth])
    people = corpus.index["subject"].to_numpy(str)[held]
    return unique.Said(
        {name: linear.logits(both(f"{name}_units")).reshape(moved.shape) for name in unique.SPEAKING},
        both(unique.STRUCTURE).reshape(len(moved), -1).astype(np.float64),
        moved,
        np.concatenate([people, np.full(len(truth), "bench")]),
    )


# ---------------------------------------------------------------- language and tuning
@torch.inference_mode()
def reading(
    model: DeftLLMForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    data: TuningData,
    rows: np.ndarray,
    without: Sequence[str] = (),
    hidden: Sequence[str] = (),
    batch: int = 128,
) -> np.ndarray:
    """Probability (N, C) of each class for clips `rows`. without: streams whose whole part of the prompt is masked;
    hidden: streams of which the projected tokens are masked and the soft words stay.
    """
    asked, start = score.prompts(model, tokenizer, 1, score.PREFIX), 0
    ids, mask = asked["input_ids"][0], asked["attention_mask"][0]
    slots = {"tokens": model.config.tokens, "words": model.config.words_shown}
    for name, piece in prompt.prefix(tokenizer, model.streams, **slots):
        here, start = slice(start, start + len(piece)), start + len(piece)
        if name in without:
            mask[here] = 0
        elif name in hidden:
            mask[here] *= ids[here] != model.config.markers[name]
    options, said = [prompt.ids_of(tokenizer, one) for one in model.config.classes], []
    with model.merged():
        for first in range(0, len(rows), batch):
            part = np.asarray(rows[first : first + batch])
            many = {k: v.expand(len(part), *v.shape[1:]) for k, v in asked.items()}
            found = score.option_scores(model, many, features_of(data, model.streams, part), options)
            said.append(score.class_probability(model, found))
    return np.concatenate(said)


def language(work: Path, draw: int, data: TuningData) -> Iterator[Rung]:
    """A base that no fold has tuned, on soft words and, once it is instructed, on tokens."""
    everyone, streams = np.arange(len(data.index)), prompt.streams_of(SYSTEMS[DEFT].streams)
    others = [name for name in streams if name != "motion"]
    for stage, folder, instruct in (
        ("after text pretraining", base_of(work, "base", draw), 0),
        ("after instruction", instructed_of(work, "base", draw), 1),
    ):
        if not folder.is_dir():
            continue
        tokenizer, model = tune.build(work, DEFT, TuneSettings(instruct=instruct), 0, draw)
        ways = {"motion's words": (others, streams), "texture's and motion's words": (["structure"], streams)}
        if instruct:  # projectors that have learned nothing say nothing
            ways |= {"words and tokens of all": ((), ())}
        for what, (without, hidden) in ways.items():
            read = reading(model.eval(), tokenizer, data, everyone, without, hidden)
            yield LANGUAGE, f"base {stage}, {what}", read


def tuning(work: Path, draw: int, data: TuningData) -> Iterator[Rung]:
    """The tuned models of a draw, each about the people whom it never met; DEFT with parts of its prompt masked."""
    streams = prompt.streams_of(SYSTEMS[DEFT].streams)
    masked: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "": ((), ()),
        ", structure masked": (("structure",), ()),
        ", texture masked": (("texture",), ()),
        ", structure and texture masked": (("structure", "texture"), ()),
        ", tokens masked": ((), streams),
    }
    asked = [job for job in jobs_asked(work) if job.seed == draw]
    for system in LISTED["T3"]:
        jobs = [job for job in asked if job.system == system]
        for what, way in (masked if system == DEFT else {"": ((), ())}).items() if jobs else ():
            yield TUNING, f"{SYSTEMS[system].spoken}, tuned{what}", _folded(work, jobs, data, *way)


def _folded(
    work: Path, jobs: Sequence[Job], data: TuningData, without: Sequence[str], hidden: Sequence[str]
) -> np.ndarray:
    """(N, 5): every clip answered by the model of its fold."""
    found = np.full((len(data.index), len(EMOTIONS)), np.nan)
    for job in jobs:
        tokenizer, model = score.load(job.folder(work))
        rows = data.rows(job.fold, "test")
        found[rows] = reading(model, tokenizer, data, rows, without, hidden)
    if np.isnan(found).any():
        raise ValueError(f"{jobs[0].system}, draw {jobs[0].seed}: not every clip is in a tuned fold; finish 07")
    return found


# ---------------------------------------------------------------- the table
def recalibrated(probability: np.ndarray, truth: np.ndarray, fold: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(N, 5) with a temperature and class shares fitted on the kept clips of the other folds' people. truth: (N,)
    positions in EMOTIONS; fold: (N,) in which the clip is tested; kept: (N,) bool.
    """
    out = np.array(probability, np.float64)
    for number in np.unique(fold):
        other = (fold != number) & kept
        out[fold == number] = bayes.adjusted(probability[fold == number], *bayes.fit(probability[other], truth[other]))
    return out


def ladder(profile: str, seed: int = 7) -> pd.DataFrame:
    """One row per rung and condition: stage, rung, clips, draws; uf1, nll and recalibrated_nll with their intervals
    over subjects and draws; less_uf1 and less_nll: the rung less TEXTBOOK (of NLL: both recalibrated), paired.

    FileNotFoundError where the profile has no complete run.
    """
    work = paths.work(profile)
    index = ClipStore(work / "clips" / "bench").index
    frames: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for draw in sorted({job.seed for job in jobs_asked(work)}):
        data = read_bench(work, "bench", SYSTEMS[DEFT].streams, facts=False, draw=draw)
        fold = data.index["subject"].map(data.folds.set_index("subject")["fold"]).to_numpy()
        truth = index["emotion"].map(list(EMOTIONS).index).to_numpy()
        kept = (index["condition"] == "kept").to_numpy()
        for rungs in (
            perception(work, draws.read_by(work, draw)),
            language(work, draw, data),
            tuning(work, draw, data),
        ):
            for stage, what, probability in rungs:
                frame = linear.answers(index, probability, EMOTIONS, fold).assign(
                    system=what, seed=draw, look=index["look"].to_numpy()
                )
                again = linear.answers(index, recalibrated(probability, truth, fold, kept), EMOTIONS, fold)
                frames.setdefault((stage, what), []).append(frame.assign(recalibrated=again["scores"]))
    whole = {key: pd.concat(parts, ignore_index=True) for key, parts in frames.items()}
    return pd.DataFrame(
        _row(stage, what, frame[frame["condition"] == condition], whole[PERCEPTION, TEXTBOOK], seed)
        for (stage, what), frame in whole.items()
        for condition in ("kept", "broken")
    ).round(4)


def _row(stage: str, what: str, mine: pd.DataFrame, textbook: pd.DataFrame, seed: int) -> dict:
    condition = mine["condition"].iloc[0]
    theirs = textbook[textbook["condition"] == condition]
    row = {
        "kind": "simulated",
        "stage": stage,
        "rung": what,
        "condition": condition,
        "clips": mine["clip"].nunique(),
        "draws": mine["seed"].nunique(),
        **recognition(mine, seed),
    }
    told, held = (nll_sample(one.assign(scores=one["recalibrated"])) for one in (mine, theirs))
    row |= metrics.interval(told, metrics.share, seed=seed).columns("recalibrated_nll")
    if what != TEXTBOOK:
        row |= metrics.difference(sample(mine), sample(theirs), metrics.uf1, seed=seed).columns("less_uf1")
        row |= metrics.difference(told, held, metrics.share, seed=seed).columns("less_nll")
    return row


def _told(part: pd.DataFrame) -> list[str]:
    broken = part[part["condition"] == "broken"].dropna(subset=["less_nll"])
    words = [
        f"{row['rung']} {present.quote(row, 'less_nll')}"
        for _, row in broken.iterrows()
        if row["less_nll_high"] < 0 or row["less_nll_low"] > 0
    ]
    apart = present.listed(words) if words else "nothing"
    return [f"Log loss apart from that of the {TEXTBOOK}, tie broken, recalibrated: {apart}."]


PAGE = Page(
    tuple(
        Part(
            stage,
            (Column("Who answers", "rung"),),
            (
                *present.both("UF1", "uf1", best=max),
                Column("Log loss, tie broken", "nll", BROKEN),
                Column("... recalibrated", "recalibrated_nll", BROKEN, best=min),
                Column("... less the textbook's on motion", "less_nll", BROKEN),
                Column("UF1 less the textbook's on motion", "less_uf1", BROKEN),
            ),
            _told,
            {"stage": stage},
        )
        for stage in (PERCEPTION, LANGUAGE, TUNING)
    ),
    "Brackets: 95 % intervals over subjects and draws. Recalibrated: with a temperature and class shares fitted on the"
    " answers for people of the other folds. Less: paired, negative where the rung is better.",
)


def main() -> None:
    """Command line: write work/<profile>/ladder.csv and print its page."""
    parser = argparse.ArgumentParser(prog="deft.evaluation.ladder", description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    given = parser.parse_args()
    table = ladder(given.profile)
    out = paths.work(given.profile) / "ladder.csv"
    with runtime.atomic(out) as fresh:
        table.to_csv(fresh, index=False)
    title = f"The ladder, profile {given.profile}"
    print(present.bound(title, present.parts(PAGE, table), f"All columns: {out.name}.", "tab:ladder")["md"])


if __name__ == "__main__":
    main()
