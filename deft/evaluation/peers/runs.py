"""The systems of other papers on the folds of the benchmark: fitted side by side, each run kept when it is finished.

Equal freedom: the kept clips of a fold's training subjects teach; its validation subjects' kept clips may choose what a
system leaves open (strength and temperature of a support vector machine, magnification of MPT), and nothing else;
networks answer with their last epoch. Every system has the same draws, and its budget is its recipe's number of epochs,
printed beside its trained parameters and seconds (`costs`). Nothing is chosen on a test fold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file

from deft import cache, paths, runtime, systems
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.evaluation.peers import catalogue, linear, ma2mi, prepare
from deft.evaluation.peers.inputs import Inputs, Peer
from deft.evaluation.protocols import NEVER, read_folds, roles_of
from deft.parallel import in_parallel

SETS = ("bench", "heldback")
MACRO = 150  # macro-expressions that MA2MI is pretrained on, per draw
BLOCK = 128  # clips that are answered at once


@dataclass(frozen=True)
class Run:
    """One system, fitted without the test subjects of one fold. draw: number of the draw of all that is random."""

    system: str
    fold: int
    draw: int

    def __str__(self) -> str:
        return f"{self.system}, fold {self.fold}, draw {self.draw}"

    def folder(self, work: Path) -> Path:
        """Where its answers and history lie."""
        return Path(work) / "peers" / "runs" / self.system / f"draw{self.draw}-fold{self.fold}"

    def seed(self, seed: int) -> int:
        """Of this draw of this system; the same for every fold."""
        return runtime.seed_of(seed, f"peer/{self.system}", self.draw)


def asked(names: Sequence[str], draws: int, folds: Sequence[int]) -> list[Run]:
    """All runs. ValueError for a name that is no system of another paper. A system in which nothing is drawn has one
    draw, which stands for all.
    """
    if unknown := [name for name in names if name not in systems.FIELD]:
        raise ValueError(f"no system of another paper is called {unknown[0]!r}; choose of {', '.join(systems.FIELD)}")
    count = {name: 1 if name in systems.CONSTANT else draws for name in names}
    return [Run(name, fold, draw) for name in names for draw in range(count[name]) for fold in folds]


def state_of(run: Run, work: Path, seed: int) -> cache.State:
    """Whether a run is finished, over what it reads, its seed and the code of the peers."""
    work = Path(work)
    inputs = [work / "clips" / "folds.csv"]
    for part in SETS:
        inputs += [work / "faces" / part / "gray.npy", work / "motion" / part / "courses.npy"]
        inputs += [prepare.folder(work, part) / f"{name}.npy" for name in ("rise", "fall")]
    inputs += [base] if (base := base_of(run, work)) else []
    settings = {"run": str(run), "seed": seed, **code_of(run.system)}
    return cache.fresh(run.folder(work), inputs, settings, module_of(run.system), apart=("deft.systems",))


def module_of(system: str) -> str:
    """The module whose imports are all the code of a system: a change to one peer makes no other one stale."""
    return f"deft.evaluation.peers.{systems.SYSTEMS[system].module or system}"


def code_of(system: str) -> dict:
    """What else decides a run: the row of the registry, and this file."""
    entry, here = systems.SYSTEMS[system], "deft/evaluation/peers/runs.py"
    return {
        "row": [entry.module, entry.form, entry.stretched],
        "rule": cache.code_of("deft.evaluation.peers.runs")[here],
    }


def start_of(run: Run, work: Path, seed: int) -> dict | None:
    """Pretrained weights that a system begins with, made once per draw; None for a system that has none. MA2MI: people
    of neither benchmark nor corpus, so that every fold may have them.
    """
    if run.system != "ma2mi":
        return None
    path = Path(work) / "peers" / "start" / f"ma2mi-draw{run.draw}.safetensors"
    state = cache.fresh_file(path, settings={"seed": run.seed(seed), "clips": MACRO}, code=module_of(run.system))
    if not state:
        weights, _ = ma2mi.pretrain(ma2mi.macro_clips(MACRO, run.seed(seed))[0], run.seed(seed))
        with runtime.atomic(path) as fresh:
            save_file({name: value.contiguous() for name, value in weights.items()}, fresh)
        state.seal()
    return load_file(path)


def base_of(run: Run, work: Path) -> Path | None:
    """The language model that a system adapts: DEFT's own of the same draw; None for a system that has none."""
    if not systems.SYSTEMS[run.system].language:
        return None
    from deft.mllm.runs import base_of as base

    return base(work, "base", run.draw)


def taught(
    name: str, classes: Sequence[str], seed: int, inputs: Inputs, labels: np.ndarray, **how: object
) -> tuple[Peer, Callable[[Inputs], np.ndarray]]:
    """-> (the peer fitted on the classes that its training clips show, its scores (N, C) over all `classes`). What
    nobody taught is never answered: its score is 0.
    """
    shown = [one for one in classes if (labels[~inputs.may_choose] == one).any()]
    known, places = np.isin(labels, shown), [list(classes).index(one) for one in shown]
    peer = catalogue.build(name, shown, seed, **how).fit(inputs.take(known), labels[known])

    def scores(asked: Inputs) -> np.ndarray:
        out = np.zeros((len(asked), len(classes)))
        out[:, places] = peer.scores(asked)
        return out

    return peer, scores


def fit(run: Run, work: Path, seed: int) -> dict:
    """Fit and answer one run unless it is finished: bench.npy (test clips of the fold, C), heldback.npy (N, C),
    history.json. -> history.
    """
    work, state = Path(work), state_of(run, work, seed)
    if state:
        return {**runtime.read_json(run.folder(work) / "history.json"), **state.about}
    index, folds = ClipStore(work / "clips" / "bench").index, read_folds(work / "clips" / "folds.csv")
    role, truth = roles_of(index, folds, run.fold), index["emotion"].to_numpy()
    learn = np.flatnonzero((role != "test") & (index["condition"].to_numpy() == "kept") & np.isin(truth, EMOTIONS))
    rows = {"bench": np.flatnonzero(role == "test"), "heldback": None}
    began, how = time.perf_counter(), {}
    if base := base_of(run, work):
        how["base"] = base
    if start := start_of(run, work, seed):
        how["start"] = start
    inputs = prepare.read(work, "bench", learn, role[learn] == "validation")
    peer, scores = taught(run.system, EMOTIONS, run.seed(seed), inputs, truth[learn], **how)
    fitted = time.perf_counter()
    with runtime.atomic(run.folder(work)) as fresh:
        fresh.mkdir()
        for part in SETS:
            where = rows[part] if rows[part] is not None else np.arange(len(ClipStore(work / "clips" / part).index))
            blocks = np.array_split(where, max(1, len(where) // BLOCK))
            said = np.concatenate([scores(prepare.read(work, part, block)) for block in blocks])
            runtime.save_array(fresh, part, said)
        told = {"system": run.system, "fold": run.fold, "draw": run.draw, "clips": len(learn)}
        told |= {"parameters": int(peer.parameters), "chosen": getattr(peer, "chosen", None)}
        runtime.write_json(fresh / "history.json", {**told, "curve": getattr(peer, "history", [])})
    about = {"seconds": round(fitted - began, 2), "answering": round(time.perf_counter() - fitted, 2)}
    state.seal(**about)
    return {**runtime.read_json(run.folder(work) / "history.json"), **about}


def fit_all(
    profile: str, seed: int, names: Sequence[str], draws: int, log: Callable[[str], None] | None = None
) -> pd.DataFrame:
    """Every run of these systems: what is finished is kept, the others go side by side in processes. -> `costs`."""
    work = paths.work(profile)
    runs = asked(names, draws, sorted(set(read_folds(work / "clips" / "folds.csv")["fold"].tolist()) - {NEVER}))
    for part in SETS if runs else ():
        prepare.measure(work, part)
    waiting = [run for run in runs if not state_of(run, work, seed)]
    first = {run.draw: run for run in waiting if run.system == "ma2mi"}
    in_parallel(start_of, [(run, work, seed) for run in first.values()], log=log, what="pretraining")
    in_parallel(fit, [(run, work, seed) for run in waiting], log=log, what="systems of other papers")
    runtime.write_json(work / "peers" / "runs.json", {"systems": list(names), "draws": draws, "seed": seed})
    return costs([fit(run, work, seed) for run in runs])


def costs(histories: Sequence[dict]) -> pd.DataFrame:
    """One row per system: draws, folds, training clips and trained parameters of a fold, epochs, seconds of one run and
    of all.
    """
    frame = pd.DataFrame(
        [{**h, "epochs": len(h["curve"]), "loss": h["curve"][-1]["loss"] if h["curve"] else None} for h in histories]
    )
    if frame.empty:
        return frame
    each = frame.groupby("system", sort=False)
    table = each.agg(
        draws=("draw", "nunique"), folds=("fold", "nunique"), clips=("clips", "max"), parameters=("parameters", "max"),
        epochs=("epochs", "max"), last_loss=("loss", "mean"), seconds=("seconds", "mean"),
    )  # fmt: skip
    return table.assign(all_seconds=each["seconds"].sum() + each["answering"].sum())


def answers(profile: str, part: str = "bench") -> list[dict]:
    """Rows of predictions.jsonl of every run that `fit_all` was asked for last. part: 'bench' (each subject by the fold
    that never saw it) or 'heldback' (mean over folds).
    """
    work = paths.work(profile)
    told = runtime.read_json(work / "peers" / "runs.json")
    folds, rows = read_folds(work / "clips" / "folds.csv"), []
    bench, index = ClipStore(work / "clips" / "bench").index, ClipStore(work / "clips" / part).index
    runs = asked(told["systems"], told["draws"], sorted(set(folds["fold"].tolist()) - {NEVER}))
    for system, draw in dict.fromkeys((run.system, run.draw) for run in runs):
        mine = [run for run in runs if (run.system, run.draw) == (system, draw)]
        said = [np.asarray(runtime.load_array(run.folder(work), part)) for run in mine]
        where = np.full(len(index), -1)
        if part == "bench":
            probability = np.zeros((len(index), len(EMOTIONS)))
            for run, one in zip(mine, said):
                test = roles_of(bench, folds, run.fold) == "test"
                probability[test], where[test] = one, run.fold
        else:
            probability = np.mean(said, axis=0)
        parameters = runtime.read_json(mine[0].folder(work) / "history.json")["parameters"]
        frame = linear.answers(index, probability, EMOTIONS, where)
        rows += frame.assign(system=system, text="", seed=draw, set=part, parameters=parameters).to_dict("records")
    return rows
