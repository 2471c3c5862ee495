"""False alarms of the evidence: clips in which no action unit moves, only the head, the lids, the eyes or the light.

The benchmark holds blinks and gazes beside units; here each distractor stands alone, on faces that are otherwise still,
so that every unit that the evidence reports is false. Measured twice: without annotation (does the flow alone report a
unit?), and with one wrong annotation at a time (does the flow of a distractor confirm it?)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deft import runtime
from deft.clips import simulator
from deft.clips.facs import UNITS
from deft.faces import align
from deft.motion import courses, evidence

TIMES = (
    0.0,
    47.0,
    93.0,
    140.0,
    180.0,
    220.0,
    260.0,
    300.0,
    340.0,
)  # ms: onset, rise, apex, hold, fall, offset of a usual clip
# name -> (camera, distractors of the simulator); the camera of sim-a unless the distractor is the camera's own
CAMERA = dict(noise=4.0, head_drift=0.0, flicker=0.0, jpeg=60)
CASES = {
    "nothing": ({}, ()),
    "head drift": ({"head_drift": 3.0}, ()),
    "strong head drift": ({"head_drift": 8.0}, ()),
    "blink": ({}, ("blink",)),
    "gaze": ({}, ("gaze",)),
    "flicker": ({"flicker": 0.02}, ()),
    "strong flicker": ({"flicker": 0.08}, ()),
}


def study(
    calibration: evidence.Calibration, people: int = 24, seed: int = 7, method: str = courses.METHOD
) -> pd.DataFrame:
    """One row per case (CASES), on `people` still faces; reported and confirmed ought to be near zero.

    reported: share of clips in which at least one unit is reported without any annotation. confirmed: of all (unit,
    side) pairs, the share that a wrong annotation would turn into a confirmed unit; by_word: the same if a
    posterior of one half were enough. p_mean: mean probability of a unit from the flow alone (the base rate without
    evidence)."""
    rows = []
    for name, (camera, distractors) in runtime.bar(CASES.items(), len(CASES), "still faces", "case"):
        measured = [_measure(seed, name, person, {**CAMERA, **camera}, distractors, method) for person in range(people)]
        probability = calibration.apply(
            evidence.score(np.stack([m["courses"] for m in measured]), np.array([m["noise"] for m in measured]))
        )
        nobody, everybody = np.zeros(probability.shape, bool), np.ones(probability.shape, bool)
        accused = evidence.is_confirmed(probability, everybody, calibration.rate)
        worst = accused.mean((0, 2))
        rows.append(
            {
                "case": name,
                "clips": people,
                "reported": float(evidence.is_confirmed(probability, nobody, calibration.rate).any((1, 2)).mean()),
                "confirmed": float(accused.mean()),
                "by_word": float((evidence.posterior(probability, everybody, calibration.rate) >= 0.5).mean()),
                "most_confirmed": f"AU {UNITS[int(worst.argmax())]} ({worst.max():.0%})",
                "p_mean": float(probability.mean()),
            }
        )
    return pd.DataFrame(rows)


def _measure(seed: int, case: str, person: int, camera: dict, distractors: tuple, method: str) -> dict:
    identity = simulator.sample_identity(runtime.seed_of(seed, "distractors/person", person) % 2**31)
    clip = simulator.render_clip(
        identity,
        {},
        times_ms=TIMES,
        camera=simulator.Camera(**camera),
        distractors=distractors,
        truth="none",
        seed=runtime.seed_of(seed, f"distractors/{case}", person) % 2**31,
    )
    face = align.align_clip(clip.frames, clip.truth.landmarks[0])
    return courses.measure_clip(face.gray, face.landmarks, method)
