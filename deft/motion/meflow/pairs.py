"""What MEFlow learns from: the people and movements of the pretraining corpus, filmed by a clean camera, with the
motion that is seen.

The stored corpus holds the motion of the skin alone and frames with their noise baked in. The network needs the visible
motion, head and eyes included, and fresh noise in every epoch; so the same plans are drawn again, without noise,
flicker and JPEG (`augment` puts them back, differently each time). Drawing is cheap: about 30 ms a clip of three frames
and 0.2 s a person."""

from __future__ import annotations

from dataclasses import dataclass

import joblib
import numpy as np

from deft import runtime
from deft.clips import benchmark, simulator
from deft.clips.record import Clip
from deft.motion.flow import gray

CLEAN = {"noise": 0.0, "flicker": 0.0, "jpeg": 0}


@dataclass(frozen=True)
class Pairs:
    """N clips. frames: (N, 3, 128, 128) uint8 onset, apex, hold. flow: (N, 2, 128, 128, 2) float16 px, onset -> apex
    and onset -> hold, head included. valid: (N, 2, 128, 128) bool, the surface seen at onset is still seen, unmixed.
    muscle: (N, 2, 128, 128) float16 px, how far the point moved on the face, the head's own motion taken out; 0 on the
    background."""

    frames: np.ndarray
    flow: np.ndarray
    valid: np.ndarray
    muscle: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)


def take(plan: benchmark.ClipPlan, identity: simulator.Identity, camera: simulator.Camera | None = None) -> Clip:
    """Render one planned clip with all its truth; camera: by default that of the plan without noise, flicker and
    JPEG.
    """
    return benchmark.film(plan, identity, camera or simulator.Camera(**(dict(plan.camera) | CLEAN)))


def _subject(plans: list[benchmark.ClipPlan]) -> tuple[np.ndarray, ...]:
    identity, frames, flow, valid, muscle = benchmark.identity_of(plans[0]), [], [], [], []
    for plan in plans:
        clip = take(plan, identity)
        frames.append(np.stack([gray(frame) for frame in clip.frames]))
        flow.append(clip.truth.flow[1:].astype(np.float16))
        valid.append(clip.truth.valid[1:])
        muscle.append(
            (np.linalg.norm(clip.truth.flow - clip.truth.rigid, axis=-1)[1:] * ~clip.truth.masks["background"]).astype(
                np.float16
            )
        )
    return np.stack(frames), np.stack(flow), np.stack(valid), np.stack(muscle)


def draw(
    subjects: int, pairs: int, split: str, limit: int | None = None, each: int | None = None, jobs: int | None = None
) -> Pairs:
    """Pairs of the corpus of `subjects` people with `pairs` clips each (the parameters of 01_clips): those of one
    split.

    limit: at most so many people; each: at most so many clips of a person. Subjects come in order, whatever `jobs` is.
    """
    people: dict[str, list] = {}
    for plan in benchmark.plan_corpus(benchmark.BenchmarkSpec(), subjects, pairs):
        if plan.split == split:
            people.setdefault(plan.subject, []).append(plan)
    if not people:
        raise ValueError(f"a corpus of {subjects} subjects has none for split {split!r}: ask for more subjects")
    chosen = [plans[:each] for plans in people.values()][:limit]
    parts = joblib.Parallel(n_jobs=jobs or runtime.jobs(), return_as="generator")(
        joblib.delayed(_subject)(plans) for plans in chosen
    )
    return Pairs(*(np.concatenate(arrays) for arrays in zip(*runtime.bar(parts, len(chosen), "pairs", "subject"))))
