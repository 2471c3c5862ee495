"""What does each expert know alone on `sim-v2`, and on its negative controls? `python -m tests.controls --work FOLDER
[--only "no texture"]`: by hand, minutes each, resumable; prints a table each.

A control is `sim-v2` without what an expert lives on (`specs.control`): its people, plans and looks are the same. Clips
with the tie broken and the corpus are filmed, measured, and read by experts that are trained on that corpus as profile
sim2 trains them. Where furrows and cues are off, texture should be missed less; where all people have equal gains,
structure should not be missed at all: who finds either useful there reads something else. No language model takes
part."""

import argparse
from pathlib import Path

import pandas as pd

from deft import paths, runtime
from deft.clips import benchmark, specs
from deft.clips.simulator.devices import CONTROLS
from deft.evaluation.tables import t5_probes
from deft.evaluation.unique import OWN
from deft.experts import draws, pretrain
from deft.faces import stage
from deft.motion import courses
from deft.run.chain import Chain

WHOLE = "sim-v2"


def films(spec: specs.BenchmarkSpec, given: dict) -> dict[str, list[benchmark.ClipPlan]]:
    """Plans of the tested people's clips with the tie broken, and of the corpus. given: parameters of 01_clips."""
    bench = benchmark.plan_bench(
        spec, subjects_per_dataset=given["subjects_per_dataset"], clips_per_subject=given["clips_per_subject"]
    )
    return {
        "bench": [plan for plan in bench if plan.condition == "broken"],
        "corpus": benchmark.plan_corpus(spec, given["corpus_subjects"], given["corpus_pairs"]),
    }


def measured(name: str, work: Path, profile: str = "sim2") -> pd.DataFrame:
    """Film, measure, train and read `sim-v2` or one of its controls under `work` -> rows of T5."""
    chain = Chain(profile, paths.NOTEBOOKS)
    given = {stage.name: chain.parameters(stage) for stage in chain.stages}
    spec = specs.SPECS[WHOLE] if name == WHOLE else specs.control(name)
    for which, plans in films(spec, given["01_clips"]).items():
        benchmark.render_set(plans, work / "clips" / which)
        stage.align_set(work / "clips" / which, work / "faces" / which)
        courses.measure_set(work / "clips" / which, work / "faces" / which, work / "motion" / which)
    train, seed = given["06_experts"], given["06_experts"]["seed"]
    own = runtime.seed_of(seed, "experts", 0)
    settings = {
        expert: pretrain.Settings(train[f"epochs_{expert}"], train["rate"], train["batch"], seed=own) for expert in OWN
    }
    pretrain.pretrain_all(work, settings)
    draws.record(work, 1)
    for which in ("bench", "corpus"):
        for expert in OWN:
            pretrain.extract(expert, which, work)
    return pd.DataFrame(t5_probes.alone(t5_probes.Asked(work, "bench", tuple(OWN)), seed))


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.controls", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="clips and experts are kept here, a folder for each")
    parser.add_argument("--only", nargs="+", choices=(WHOLE, *CONTROLS), default=(WHOLE, *CONTROLS))
    parser.add_argument("--profile", default="sim2", help="whose sizes and epochs")
    given = parser.parse_args()
    for name in given.only:  # each is told when it is known: a run that is stopped loses none
        table = measured(name, given.work / name, given.profile)
        print(
            f"{name}\n{table[['expert', 'value', 'low', 'high', 'chance', 'clips', 'subjects']].round(4).to_string()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
