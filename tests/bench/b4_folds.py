"""B4: every fold of a leave-one-subject-out table, from clips on disk to the answers of STSTNet, two ways.

*Recomputed*: for each fold a fresh process reads the clips, aligns faces, measures region motion and the flow of both
phases, trains on all subjects but one and answers that one: what running a published repository once per subject
does. *Ours*: inputs are measured once, and the folds are dealt to kept workers (`deft.parallel`).

What is shared is computed from one clip alone: alignment from its onset, flow and region motion from its own frames, by
estimators that are not trained on the bench. No statistic over clips is among it: standardisation, class weights and
network are fitted inside each fold, on its training subjects (`peers.training`). So a test subject's clips meet nothing
that was fitted with them, and sharing leaks nothing: both arms must give the same probabilities (to 1e-5), or
this stops.

CPU seconds of all processes. Folds recomputed are alike, so SAMPLE of them are run in each round and their sum is
extended to all. Starting a process (imports) is a share of a small bench that it is not of a large one: the first ratio
counts it on both sides, the second on neither."""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from deft import parallel, runtime
from deft.clips import benchmark
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.evaluation.peers import prepare, runs
from deft.evaluation.protocols import read_folds, roles_of
from deft.faces import stage
from deft.motion import courses
from tests.bench import ONE_THREAD, child, rows

SYSTEM, PART, SEED = "ststnet", "bench", 7
SUBJECTS, CLIPS = 6, 3  # subjects per data set (of three), clips of each with the tie kept
ROUNDS, SAMPLE, WORKERS = 3, 3, 2
SAME = 1e-5  # fits of one network in two processes are equal but for float32's last digits


def simulate(work: Path, subjects: int = SUBJECTS, clips: int = CLIPS) -> int:
    """Write clips/bench and clips/folds.csv, one fold per subject, under `work`; -> number of folds."""
    plans = benchmark.plan_bench(benchmark.spec("sim-v1"), subjects_per_dataset=subjects, clips_per_subject=clips)
    plans = [plan for plan in plans if plan.condition == "kept"]
    benchmark.render_set(plans, work / "clips" / PART)
    people = pd.DataFrame(
        sorted({(p.subject, p.dataset, p.look) for p in plans}), columns=["subject", "dataset", "look"]
    )
    people.assign(fold=range(len(people)), validation_of=-1).to_csv(work / "clips" / "folds.csv", index=False)
    return len(people)


def inputs(clips: Path, work: Path) -> None:
    """Measure what peers read of the clips in folder `clips` and write it under `work`."""
    faces = work / "faces" / PART
    stage.align_set(clips, faces)
    courses.measure_set(clips, faces, work / "motion" / PART)
    prepare.measure(work, PART)


def fold(number: int, clips: Path, work: Path) -> np.ndarray:
    """(clips of the fold's test subject, 5) probabilities of a network that never met them. clips: folder of clips and
    folds.csv; work: of the inputs."""
    index, folds = ClipStore(clips / PART).index, read_folds(clips / "folds.csv")
    role, truth = roles_of(index, folds, number), index["emotion"].to_numpy()
    learn = np.flatnonzero(role != "test")
    given = prepare.read(work, PART, learn, role[learn] == "validation")
    seed = runs.Run(SYSTEM, number, 0).seed(SEED)
    _, scores = runs.taught(SYSTEM, EMOTIONS, seed, given, truth[learn])
    return scores(prepare.read(work, PART, np.flatnonzero(role == "test")))


def recomputed(number: int, clips: Path) -> np.ndarray:
    """One fold from the clips alone; nothing is kept."""
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as own:
        inputs(clips / PART, Path(own))
        return fold(number, clips, Path(own))


def shared(folds: int, clips: Path, work: Path) -> list[tuple[np.ndarray, float]]:
    """(probabilities, CPU seconds) of all folds on inputs that are measured once, in kept workers."""
    inputs(clips / PART, work)
    return parallel.in_parallel(_timed, [(n, clips, work) for n in range(folds)], WORKERS, log=lambda _: None)


def _timed(*asked: object) -> tuple[np.ndarray, float]:
    began = time.process_time()
    return fold(*asked), time.process_time() - began


def _processor() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _child(clips: Path, out: Path, *asked: int) -> tuple[float, dict]:
    """(CPU seconds of this module in a process of its own, its children included; what it wrote to `out`).

    asked: the one fold to recompute, or nothing for all on shared inputs."""
    before = _processor()
    child("-m", "tests.bench.b4_folds", str(clips), str(out), *map(str, asked), **ONE_THREAD)
    return _processor() - before, runtime.read_json(out)


def main(clips: str, out: str, *number: str) -> None:
    """What a child does: one fold recomputed, or all folds on shared inputs."""
    place, began = Path(clips), time.process_time()
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as work:
        if number:
            told = {"said": recomputed(int(number[0]), place), "all": time.process_time() - began}
        else:
            found = shared(len(read_folds(place / "folds.csv")), place, Path(work))
            told = {"said": [said for said, _ in found], "trained": [seconds for _, seconds in found]}
            told["prepared"] = time.process_time() - began
    runtime.write_json(out, told)


def measure() -> list[dict]:
    """Rows of bench.csv."""
    naive, ours = [], []
    with tempfile.TemporaryDirectory(prefix="deft-bench-") as folder:
        folds, out = simulate(Path(folder)), Path(folder) / "told.json"
        clips = Path(folder) / "clips"
        for number in range(ROUNDS):
            sample = [(number + folds * i // SAMPLE) % folds for i in range(SAMPLE)]
            alone = [_child(clips, out, n) for n in sample]
            ours.append(_child(clips, out))
            naive.append([(seconds, told["all"]) for seconds, told in alone])
            for n, (_, told) in zip(sample, alone):
                if not np.allclose(told["said"], ours[-1][1]["said"][n], rtol=0, atol=SAME):
                    raise RuntimeError(f"the arms do not give the same probabilities in fold {n}")
    whole, within = ([folds / SAMPLE * sum(one[i] for one in sampled) for sampled in naive] for i in (0, 1))
    least = [told["prepared"] + sum(told["trained"]) for _, told in ours]
    what, count = f"CPU time of {folds} folds, {folds * CLIPS} clips", folds * CLIPS
    times = {"ours": [seconds for seconds, _ in ours], "recomputed": whole, "inputs once, the folds' training": least}
    parts = {
        "inputs of a clip": [1e3 * told["prepared"] / count for _, told in ours],
        f"{SYSTEM}: a fold": [1e3 * sum(told["trained"]) / folds for _, told in ours],
    }
    return [
        *rows("B4", f"{what} (s)", times, {"recomputed": "ratio_to_first >= 5"}),
        *rows("B4", f"{what}, without starting processes (s)", {"ours": least, "recomputed": within}),
        *rows("B4", "CPU time of a part (ms)", parts),
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
