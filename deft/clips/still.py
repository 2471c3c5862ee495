"""Clips in which no action unit moves: a face that is still, that drifts, that blinks, that talks.

The benchmark asks only about clips with an expression, so a system that always finds one loses nothing there. These
clips ask the other question: what is said about a face that shows nothing? They are a set of their own beside `sim-v1`,
with people and draws of their own, and no emotion and no unit is right for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deft import runtime
from deft.clips.benchmark import BenchmarkSpec, ClipPlan, appearance_of, fields_of, moments_of

KINDS = ("still", "drift", "blink", "talk")  # what a clip shows; column `distractor` of the set
FIRST = 80_000  # number of the first person of the set that tables report; the corpus begins at 50,000
DRIFT = (4.0, 9.0)  # px in 300 ms, of a head that drifts: up to three times the strongest camera of the benchmark


def plan_still(spec: BenchmarkSpec, people: Sequence[int]) -> list[ClipPlan]:
    """Plans of the clips of `people` (numbers of identities): each is filmed once in every kind, cameras and looks of
    the benchmark in turn. The moments are those of a usual clip: somebody believed to see a movement there."""
    plans = []
    for turn, person in enumerate(people):
        dataset, camera = spec.cameras[turn % len(spec.cameras)]
        look, subject = turn % len(spec.looks), f"q{person}"
        for number, kind in enumerate(KINDS):
            rng = runtime.rng(spec.seed, "still/plan", person * 10 + number)
            timing, frames = moments_of(spec, camera.fps, rng)
            drift = {"still": 0.0, "drift": float(rng.uniform(*DRIFT))}.get(kind, camera.head_drift)
            plans.append(
                ClipPlan(
                    clip=f"{subject}_{kind}",
                    dataset=dataset,
                    subject=subject,
                    identity=person,
                    identity_seed=spec.seed,
                    condition="still",
                    look=look,
                    emotion="",
                    actions=(),
                    annotated="",
                    timing=(timing.onset_ms, timing.hold_ms, timing.offset_ms),
                    fps=camera.fps,
                    key_frames=frames,
                    camera=fields_of(replace(camera, head_drift=drift)),
                    landmark_jitter=spec.landmark_jitter,
                    distractor=kind,
                    split="",
                    seed=runtime.seed_of(spec.seed, "still/render", person * 10 + number),
                    appearance=appearance_of(spec, look),
                    size=spec.size,
                    apex=spec.apex,
                )
            )
    return plans
