"""Versions of benchmark clips: filmed again with one number changed, degraded, or counterfactual (F7, T5b).

A *version* of a clip differs from it in one thing. Amplitude, head motion, frame rate and the coder's apex are numbers
of the clip's plan: the simulator films it again with another number, and all that is random stays the same. Noise, blur
and compression are added to the frames as they are stored. Two more versions are counterfactuals that only a simulator
allows: the same motion on *another face*, and *another motion* on the same face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd

from deft import runtime
from deft.clips import benchmark, keyframes, simulator
from deft.clips.facs import EMOTIONS
from deft.clips.store import ClipStore
from deft.faces import align
from deft.motion import courses

AS_FILMED, FACE, MOTION = "as filmed", "another face", "another motion"
CLIP = "another clip"  # of another person, as it is stored: face and motion differ
LEVELS: dict[str, tuple[float | None, ...]] = {  # nuisance -> levels from mild to hard; None: as filmed
    "amplitude": (None, 0.5, 0.25),
    "head motion": (None, 2.0, 4.0),
    "frame rate": (None, 12.5),
    "apex jitter": (None, 80.0),
    "noise": (None, 6.0, 12.0),
    "blur": (None, 2.0),
    "compression": (None, 20.0, 10.0),
}  # milder ones (25 frames a second, 40 ms, 3 grey levels, 1 px, quality 40) changed no answer to speak of
UNITS = {  # what a level counts
    "amplitude": "times the clip's",
    "head motion": "times the clip's",
    "frame rate": "frames per s",
    "apex jitter": "ms, early or late",
    "noise": "grey levels added",
    "blur": "px added",
    "compression": "JPEG quality, once more",
}
RECORDED = {"noise": "noise", "blur": "blur", "compression": "jpeg"}  # nuisance -> field of `simulator.Camera`


@dataclass(frozen=True)
class Version:
    """One thing that is changed, and how far. level: one of LEVELS[nuisance]; 0 where there is nothing to measure."""

    nuisance: str
    level: float = 0.0


VERSIONS = (
    Version(AS_FILMED),
    *(Version(nuisance, level) for nuisance, levels in LEVELS.items() for level in levels if level is not None),
    Version(FACE),
    Version(MOTION),
)


def chosen(index: pd.DataFrame, each: int, seed: int = 7) -> np.ndarray:
    """Rows of `index` (all clips of a benchmark) that are asked about: `each` clips of every subject, tie broken, the
    emotion that was taken least often so far first: about as many clips of every emotion.
    """
    taken, rows = dict.fromkeys(EMOTIONS, 0), []
    broken = index[index["condition"] == "broken"]
    for _, mine in sorted(broken.groupby(["dataset", "subject"]), key=lambda pair: pair[0]):
        order = list(runtime.rng(seed, "robustness/clips", int(mine.index[0])).permutation(mine.index))
        for _ in range(min(each, len(order))):
            row = min(order, key=lambda r: taken[index["emotion"][r]])
            order.remove(row)
            taken[index["emotion"][row]] += 1
            rows.append(int(row))
    return np.array(sorted(rows))


def partners(index: pd.DataFrame, rows: np.ndarray, folds: pd.DataFrame, seed: int = 7) -> dict[int, tuple[int, int]]:
    """{row: (a row of another face, a row of another motion)} for the counterfactuals.

    The face is that of one subject of another look, the motion that of another chosen clip under the same camera, with
    another emotion; both of the same fold where it has one, whom the models of that fold never met either."""
    fold = index["subject"].map(folds.set_index("subject")["fold"])
    found = {}
    for row in rows:
        clip, told = index.loc[row], index.loc[rows]
        others = index[(index["subject"] != clip["subject"]) & (fold == fold[row])].drop_duplicates("subject")
        faces = [others[others["look"] != clip["look"]].index, others.index]
        moves = told[(told["dataset"] == clip["dataset"]) & (told["emotion"] != clip["emotion"])]
        mine = moves[(fold[moves.index] == fold[row]) & (moves["subject"] != clip["subject"])]
        face, motion = (
            next((one for one in options if len(one)), ()) for options in (faces, [mine.index, moves.index])
        )
        if not len(face) or not len(motion):
            raise ValueError(
                f"clip {clip['clip']}: no other person in its fold, or no other emotion under its camera; the"
                " counterfactuals need more subjects or clips (01_clips)"
            )
        drawn = [
            runtime.rng(seed, f"robustness/face/{clip['subject']}"),
            runtime.rng(seed, "robustness/motion", int(row)),
        ]
        found[int(row)] = tuple(int(draw.choice(sorted(one))) for draw, one in zip(drawn, (face, motion)))
    return found  # one other face per person, so that it is painted once


def replanned(plan: benchmark.ClipPlan, version: Version, seed: int = 7) -> benchmark.ClipPlan:
    """The plan of a version that is filmed again; of every other version the plan itself."""
    level, last, apex = version.level, plan.key_frames[-1], plan.key_frames[plan.apex]
    if version.nuisance == "amplitude":
        return replace(plan, actions=tuple((unit, min(level * size, 1.0)) for unit, size in plan.actions))
    if version.nuisance == "head motion":
        camera = dict(plan.camera)
        return replace(plan, camera=tuple((camera | {"head_drift": level * camera["head_drift"]}).items()))
    if version.nuisance == "frame rate":
        apex = max(1, round(apex * level / plan.fps))
        frames = (0, apex, max(apex + 1, round(last * level / plan.fps)))
        return replace(plan, fps=level, key_frames=keyframes.key_frames(*frames, len(plan.key_frames), plan.apex))
    if version.nuisance == "apex jitter":
        off = max(1, round(level * plan.fps / 1000))
        sides = [
            apex + sign * off for sign in runtime.rng(seed, "robustness/apex", plan.seed % 2**31).permutation([-1, 1])
        ]
        apex = next((one for one in sides if 0 < one < last), min(max(sides[0], 1), last - 1))
        return replace(plan, key_frames=keyframes.key_frames(0, apex, last, len(plan.key_frames), plan.apex))
    return plan


def counterfactual(plan: benchmark.ClipPlan, version: Version, other: benchmark.ClipPlan) -> benchmark.ClipPlan:
    """The plan with the face and look of `other` (FACE), or with its units and times (MOTION)."""
    if version.nuisance == FACE:
        names = ("identity", "identity_seed", "look", "appearance")
    else:
        names = ("emotion", "actions", "timing", "fps", "key_frames")
    return replace(plan, **{name: getattr(other, name) for name in names})


def filmed(plan: benchmark.ClipPlan) -> tuple[np.ndarray, np.ndarray]:
    """(frames, landmarks of the onset as the benchmark writes them). An instant that is kept twice is one frame."""
    _, clip = benchmark.render_plan(plan)
    return clip["frames"][[plan.key_frames.index(frame) for frame in plan.key_frames]], clip["landmarks"]


def degraded(frames: np.ndarray, plan: benchmark.ClipPlan, version: Version) -> np.ndarray:
    """Stored frames (T, H, W, 3) uint8 through one more camera, which does nothing but `version`."""
    field = RECORDED[version.nuisance]
    level = int(version.level) if field == "jpeg" else version.level
    camera = simulator.Camera(gray=dict(plan.camera)["gray"], **{field: level})
    times = np.array(plan.key_frames) * 1000.0 / plan.fps
    seed = runtime.seed_of(plan.seed, "robustness/noise") % 2**31
    return camera.record(frames.astype(np.float32), times, plan.size, seed, plan.identity)


def seen(frames: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of stages 02 and 03 that experts and readers see."""
    face = align.align_clip(frames, landmarks)
    shown = face.rgb[keyframes.shown(len(frames))]
    points = face.landmarks.astype(np.float32)
    return {"rgb": shown, "landmarks": points, **courses.measure_clip(face.gray, points)}


def _of_subject(
    shard: Path, clips: Sequence[tuple[int, int, benchmark.ClipPlan, benchmark.ClipPlan, benchmark.ClipPlan]], seed: int
) -> tuple[list[tuple[int, Version]], dict[str, np.ndarray]]:
    """All versions of one subject's clips -> [(row, version)], arrays (V, ...). clips: (row of the index, row of the
    shard, its plan, the plans of its counterfactuals).
    """
    cv2.setNumThreads(1)
    with np.load(shard) as stored:
        frames, landmarks = stored["frames"], stored["landmarks"]
    about, arrays = [], []
    for row, place, plan, face, motion in clips:
        for version in VERSIONS:
            if version.nuisance in RECORDED:
                taken = degraded(frames[place], plan, version), landmarks[place]
            elif version.nuisance == AS_FILMED:
                taken = frames[place], landmarks[place]
            elif version.nuisance in (FACE, MOTION):
                taken = filmed(counterfactual(plan, version, face if version.nuisance == FACE else motion))
            else:
                taken = filmed(replanned(plan, version, seed))
            about.append((row, version))
            arrays.append(seen(*taken))
    return about, {name: np.stack([one[name] for one in arrays]) for name in arrays[0]}


def measured(
    work: Path, rows: np.ndarray, pairs: dict[int, tuple[int, int]], seed: int
) -> Iterator[tuple[list[tuple[int, Version]], dict[str, np.ndarray]]]:
    """Yield what `_of_subject` returns, subject by subject, as they are finished in parallel processes."""
    store, plans = ClipStore(work / "clips" / "bench"), benchmark.read_plans(work / "clips" / "bench")
    first = {shard.stem: int(store.index[store.index["subject"] == shard.stem].index[0]) for shard in store.shards}
    by_subject: dict[str, list] = {}
    for row in rows:
        subject, face, motion = store.index["subject"][row], *pairs[int(row)]
        told = [plans[store.index["clip"][one]] for one in (row, face, motion)]
        by_subject.setdefault(subject, []).append((int(row), int(row) - first[subject], *told))
    tasks = (joblib.delayed(_of_subject)(work / "clips" / "bench" / f"{s}.npz", c, seed) for s, c in by_subject.items())
    done = joblib.Parallel(n_jobs=runtime.jobs(), return_as="generator")(tasks)
    yield from runtime.bar(done, len(by_subject), "versions of clips", "subject")
