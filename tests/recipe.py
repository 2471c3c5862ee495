"""What does another recipe of joint tuning do, on benchmarks of other seeds? `python -m tests.recipe --work FOLDER
[--seeds 20260701 ...] [--set hide=0.3 "swap=1 rehearse=0.3" ...]`: by hand, after a complete run of the profile; ten
minutes to film a seed, a minute per recipe and seed; what is filmed is kept.

Nothing may be chosen on clips that a table reports. So each seed's people are filmed under the frozen rules and read by
the experts and the instructed bases of the profile; DEFT is tuned on their folds by its recipe and by every other one
(`--set`, fields of `TuneSettings`), in memory. Printed for each way of answering: UF1 and log loss, tie kept and
broken; the temperature that would have been best, and the log loss with it and with class shares of other people
(`ladder.recalibrated`)."""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from deft import paths, runtime
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.evaluation import ladder, metrics
from deft.evaluation.peers import choose
from deft.mllm import prompt, score, tune
from deft.mllm.data import read_bench
from deft.mllm.examples import TuneSettings
from deft.mllm.runs import Job
from deft.motion import evidence
from deft.parallel import in_parallel
from deft.run.chain import Chain
from deft.systems import DEFT, SYSTEMS
from deft.unimer import build, schema
from deft.verify.produce import linked

SEEDS = (choose.SEED, 20251115)  # the third and the fifth seed of docs/decisions.md
TAKEN = ("clips/corpus", "features/corpus", "motion/corpus", "mllm/base", "mllm/instructed", "mllm/draw*/base")
TAKEN += ("mllm/draw*/instructed", "mllm/detectors.safetensors", "mllm/draw*/detectors.safetensors")
WHOLE, MASKED, HEAD = "whole prompt", "tokens masked", "emotion head"


def filmed(seed: int, profile: str, folder: Path) -> Path:
    """Benchmark of `seed` under `folder`, with what tuning reads of the profile; -> the work folder."""
    source, work = paths.work(profile), folder / str(seed) / profile
    done = work / "unimer" / "bench.jsonl"
    if done.is_file():
        return work
    for path in (path for pattern in TAKEN for path in source.glob(pattern)):
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                linked(file, work / file.relative_to(source))
    folds = choose.prepare(work, source / "experts", seed, prompt.streams_of("stmr"))
    folds.to_csv(work / "clips" / "folds.csv", index=False)
    courses, noise = (runtime.load_array(work / "motion" / "bench", name) for name in ("courses", "noise"))
    calibration = evidence.Calibration.load(source / "evidence" / "calibration.json")
    probability = calibration.judge(work / "evidence" / "bench", evidence.parts(courses, noise).combined)
    index = ClipStore(work / "clips" / "bench").index
    schema.write_records(done, build.build_records(index, probability, courses, noise, "both", rate=calibration.rate))
    return work


def recipes(profile: str, changes: Sequence[str]) -> dict[str, TuneSettings]:
    """{words: recipe}: that of the profile, and each of `changes` to it ("swap=1 rehearse=0.3")."""
    chain = Chain(profile, paths.NOTEBOOKS)
    given = chain.parameters(next(stage for stage in chain.stages if stage.name == "07_joint_tuning"))
    kinds = {field.name: type(field.default) for field in fields(TuneSettings)}
    told = {name: given[name] for name in ("epochs", "instruct", "batch", "seed", "draw")}
    own = TuneSettings(**told, class_temperature=1.0)  # the best is what is looked for here
    found = {"as it is": own}
    for change in changes:
        asked = dict(one.split("=", 1) for one in change.split())
        if unknown := sorted(set(asked) - {name for name, kind in kinds.items() if kind in (int, float)}):
            raise SystemExit(f"--set {change}: {unknown[0]} is no number of TuneSettings")
        found[change] = replace(own, **{name: kinds[name](value) for name, value in asked.items()})
    return found


def answered(job: Job, work: Path, settings: TuneSettings) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(rows of the fold's test people, {way of answering: (N, 5) probabilities}) of one run, tuned in memory."""
    tokenizer, model, _ = tune.learn(job, work, settings)
    bench = tune.cached_bench(work, 0)
    rows = bench.rows(job.fold, "test")
    said, head = score.emotion_scores(model, tokenizer, bench, rows, head=True)
    masked = ladder.reading(model, tokenizer, bench, rows, (), model.streams)
    return rows, {WHOLE: said, MASKED: masked, HEAD: head}


def together(*probability: np.ndarray) -> np.ndarray:
    """Geometric mean of (N, C) probabilities, made to sum to one."""
    mean = np.exp(np.mean([np.log(np.maximum(one, 1e-9)) for one in probability], axis=0))
    return mean / mean.sum(1, keepdims=True)


def judged(work: Path, answers: dict[str, np.ndarray]) -> pd.DataFrame:
    """A row per way of answering all clips under `work`."""
    bench = read_bench(work, "bench", SYSTEMS[DEFT].streams, facts=False)
    fold = bench.index["subject"].map(bench.folds.set_index("subject")["fold"]).to_numpy()
    truth = bench.index["emotion"].map(list(EMOTIONS).index).to_numpy()
    kept, rows = (bench.index["condition"] == "kept").to_numpy(), []
    for way, said in answers.items():
        row, again = {"answer": way}, ladder.recalibrated(said, truth, fold, kept)
        for name, part in (("kept", kept), ("broken", ~kept)):
            row[f"uf1_{name}"] = metrics.recognition_scores(truth[part], said[part].argmax(1), range(len(EMOTIONS)))[
                "uf1"
            ]
            lost = [-np.log(p[part][np.arange(part.sum()), truth[part]]).mean() for p in (said, again)]
            row |= {f"nll_{name}": lost[0], f"recalibrated_{name}": lost[1]}
            row[f"temperature_{name}"] = choose.temperature(said[part], truth[part])[0]
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.recipe", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="clips are kept here, a folder for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--set", nargs="+", default=(), metavar="FIELD=NUMBER", help="a recipe each")
    parser.add_argument("--profile", default="demo", help="whose experts, bases and recipe")
    parser.add_argument("--draws", type=int, default=2, help="of base and tuning")
    given = parser.parse_args()
    asked = recipes(given.profile, given.set)
    for seed in given.seeds:
        work = filmed(seed, given.profile, given.work)
        folds = sorted(pd.read_csv(work / "clips" / "folds.csv")["fold"].unique())
        for words, settings in asked.items():
            found = []
            for draw in range(given.draws):
                jobs = [(Job(DEFT, draw, int(fold)), work, settings) for fold in folds]
                parts = in_parallel(answered, jobs, None, lambda _: None, "recipes")
                order = np.argsort(np.concatenate([rows for rows, _ in parts]))
                whole = {way: np.concatenate([said[way] for _, said in parts])[order] for way in parts[0][1]}
                both = together(whole[WHOLE], whole[MASKED])
                means = {f"{WHOLE}, {MASKED}": both, "all three": together(*whole.values())}
                found.append(judged(work, whole | means))
            table = pd.concat(found).groupby("answer", sort=False).mean()
            print(f"seed {seed}, recipe {words}\n{table.round(3).to_string()}", flush=True)


if __name__ == "__main__":
    main()
