"""Benchmarks that are fixed before any model sees them (`sim-v1`, `sim-v2`), and the corpus of pretraining.

A *plan* says in plain numbers what every clip shows (who, in which look, which units, how strongly, how fast, what the
raters wrote, in how many pixels); rendering turns plans into frames with truth. Both are frozen (`deft.clips.freeze`).

The confounder of claim C1 is the look (hair, background, light, tint): every subject has one of five; with probability
`tie` a clip shows the emotion that belongs to the look, otherwise an emotion drawn independently of it. Condition
"kept" uses `tie`, "broken" uses 0. Why and how the benchmark is frozen: docs/method.md#simulated-faces."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from deft import cache, runtime
from deft.clips import keyframes, simulator, splits, store
from deft.clips.facs import COARSE, EMOTIONS, SIDES, UNITS
from deft.clips.record import Clip
from deft.clips.simulator import cues, gains, habits
from deft.clips.specs import LOOKS, SPECS, BenchmarkSpec, CameraSpec, Look, SecondSpec

__all__ = ["LOOKS", "BenchmarkSpec", "CameraSpec", "Look", "SecondSpec"]  # re-exported: where callers look for them
PLANS, NAME = "plans.jsonl", "benchmark.json"  # under clips/<set>, under clips


def spec(name: str) -> BenchmarkSpec:
    """The frozen benchmark "sim-v1" or "sim-v2"."""
    if name not in SPECS:
        raise ValueError(f"benchmark {name!r} is not one of {', '.join(SPECS)}")
    return SPECS[name]


@dataclass(frozen=True)
class ClipPlan:
    """What one clip will show.

    `actions`: unit+side -> peak intensity; times in ms from onset; frames counted from onset. `appearance`: the fields
    of its look; `apex`: position of the apex among `key_frames`; `size`: px."""

    clip: str
    dataset: str
    subject: str
    identity: int
    identity_seed: int
    condition: str
    look: int
    emotion: str
    actions: tuple[tuple[str, float], ...]
    annotated: str
    timing: tuple[float, float, float]  # onset, hold, offset durations in ms
    fps: float
    key_frames: tuple[int, ...]  # frame numbers of the camera, 0 = onset
    camera: tuple[tuple[str, float], ...]
    landmark_jitter: float
    distractor: str
    split: str
    seed: int
    appearance: tuple[tuple[str, object], ...]
    size: int
    apex: int


def plan_hash(plans: list[ClipPlan]) -> str:
    """Hash of the plans' numbers, rounded so that the last bits of a floating-point library do not matter."""

    def plain(value):
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        return value

    rows = [[plain(value) for value in dataclasses.astuple(plan)] for plan in plans]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def _draw_actions(
    combination: str, spec: BenchmarkSpec, rng: np.random.Generator
) -> tuple[dict[str, float], list[str]]:
    """-> (actions that move, unit tokens that were meant to move)."""
    actions, meant = {}, []
    strength = rng.uniform(*spec.intensity)
    for position, token in enumerate(combination.split()):
        side = str(rng.choice(SIDES)) if token.endswith("?") else ""
        unit = token.rstrip("?")
        meant.append(unit + side)
        if position and rng.random() < spec.drop_unit:
            continue  # the first unit always moves: a clip with an emotion and no movement would not be in such a set
        scale = 1.0 if position == 0 else rng.uniform(*spec.second_unit_scale)
        actions[unit + side] = float(np.clip(strength * scale, 0.04, 0.42))
    if rng.random() < spec.stray_unit:
        stray = str(rng.choice(habits.STRAY_UNITS))
        if not any(key.rstrip("LR") == stray for key in actions):
            actions[stray] = float(rng.uniform(spec.intensity[0], 0.5 * sum(spec.intensity)))
    return actions, meant


def _annotate(actions: dict[str, float], meant: list[str], spec: BenchmarkSpec, rng: np.random.Generator) -> str:
    """What the raters wrote: what moved, less what they missed, plus what they expected to see."""
    written = [key for key in actions if len(actions) == 1 or rng.random() >= spec.rater_misses]
    if rng.random() < spec.rater_invents:
        extra = [unit for unit in meant if unit not in written] or [str(rng.choice(UNITS))]
        written.append(extra[0])

    def notation(key: str) -> str:
        return key if key[-1] not in SIDES else key[-1] + key[:-1]

    units = sorted(set(written), key=lambda key: (int(key.rstrip("LR")), key))
    return "+".join(notation(key) for key in units)


def fields_of(fields: CameraSpec | Look) -> tuple[tuple[str, object], ...]:
    """The fields in alphabetical order; frames per second are the plan's own."""
    return tuple(sorted((name, value) for name, value in dataclasses.asdict(fields).items() if name != "fps"))


def appearance_of(spec: BenchmarkSpec, look: int) -> tuple[tuple[str, object], ...]:
    """What a plan sets of a person: the fields of the look, and the devices of the benchmark if it has any."""
    return fields_of(spec.looks[look]) + ((("devices", spec.devices),) if spec.devices else ())


def _distractor(spec: BenchmarkSpec, draw: float) -> str:
    """What happens beside the expression; draw: 0..1."""
    reach = 0.0
    for name, share in (("blink", spec.blink), ("gaze", spec.gaze), ("chew", spec.chew)):
        reach += share
        if draw < reach:
            return name
    return ""


def moments_of(spec: BenchmarkSpec, fps: float, rng: np.random.Generator) -> tuple[simulator.Timing, tuple[int, ...]]:
    """-> (durations, numbers of the kept frames at `fps` frames per second): apex in the hold, by eye, offset when
    all is back.
    """
    timing, frame = simulator.Timing.sample(rng), 1000.0 / fps
    apex = max(3, round((timing.onset_ms + 0.5 * timing.hold_ms) / frame + rng.normal(0, spec.apex_jitter_frames)))
    offset = max(apex + 5, round((timing.onset_ms + timing.hold_ms + timing.offset_ms) / frame))
    return timing, keyframes.key_frames(0, apex, offset, spec.frames, spec.apex)


def plan_bench(
    spec: BenchmarkSpec,
    *,
    held_back: bool = False,
    subjects_per_dataset: int | None = None,
    clips_per_subject: int | None = None,
) -> list[ClipPlan]:
    """Plans of the benchmark (or of its held-back twin: other subjects, other draws, same rules)."""
    seed = spec.held_back_seed if held_back else spec.seed
    subjects = subjects_per_dataset or spec.subjects_per_dataset
    clips = clips_per_subject or spec.clips_per_subject
    shares = np.array([habits.CLASS_SHARES[emotion] for emotion in EMOTIONS])
    plans = []
    for position, (dataset, camera) in enumerate(spec.cameras):
        # Largest-remainder apportionment: each look gets its share of subjects, and each occurs where there is room.
        exact = shares * subjects
        counts = np.floor(exact).astype(int)
        for index in np.argsort(counts - exact, kind="stable")[: subjects - counts.sum()]:
            counts[index] += 1
        looks = np.repeat(np.arange(len(EMOTIONS)), counts)
        for number in range(subjects):
            identity = position * 1000 + number
            subject = f"{'h' if held_back else 's'}{'abc'[position]}{number + 1:02d}"
            for condition, tie in (("kept", spec.tie), ("broken", 0.0)):
                for clip in range(clips):
                    rng = runtime.rng(seed, f"plan/{condition}", identity * 100 + clip)
                    look = int(looks[number])
                    emotion = EMOTIONS[look] if rng.random() < tie else str(rng.choice(EMOTIONS, p=shares))
                    options = habits.HABITS[dataset][emotion]
                    weights = np.array([weight for weight, _ in options])
                    combination = options[int(rng.choice(len(options), p=weights / weights.sum()))][1]
                    actions, meant = _draw_actions(combination, spec, rng)
                    timing, frames = moments_of(spec, camera.fps, rng)
                    label = (
                        emotion
                        if rng.random() >= spec.rater_disagrees
                        else str(rng.choice([e for e in EMOTIONS if e != emotion]))
                    )
                    distractor = _distractor(spec, rng.random())
                    plans.append(
                        ClipPlan(
                            clip=f"{subject}_{condition}_{clip + 1:02d}",
                            dataset=dataset,
                            subject=subject,
                            identity=identity,
                            identity_seed=seed,
                            condition=condition,
                            look=look,
                            emotion=label,
                            actions=tuple(actions.items()),
                            annotated=_annotate(actions, meant, spec, rng),
                            timing=(timing.onset_ms, timing.hold_ms, timing.offset_ms),
                            fps=camera.fps,
                            key_frames=frames,
                            camera=fields_of(camera),
                            landmark_jitter=spec.landmark_jitter,
                            distractor=distractor,
                            split="",
                            seed=runtime.seed_of(seed, f"render/{condition}", identity * 100 + clip),
                            appearance=appearance_of(spec, look),
                            size=spec.size,
                            apex=spec.apex,
                        )
                    )
    return plans


def plan_corpus(spec: BenchmarkSpec, subjects: int, pairs: int) -> list[ClipPlan]:
    """Plans of the pretraining corpus: other people, any combination of units, no emotion, cameras drawn at random.

    One in six subjects is for validation (early stopping, calibration); none occurs in the benchmark.
    """
    plans = []
    for number in range(subjects):
        camera_rng = runtime.rng(spec.seed, "corpus/camera", number)
        camera = CameraSpec(
            fps=200.0,
            noise=float(camera_rng.uniform(2.0, 6.5)),
            head_drift=float(camera_rng.uniform(0.5, 3.5)),
            flicker=float(camera_rng.uniform(0.0, 0.02)),
            jpeg=int(camera_rng.integers(50, 95)),
            blur=float(camera_rng.uniform(0.0, 0.4)),
            gray=bool(camera_rng.random() < 0.3),
        )
        look = int(camera_rng.integers(len(spec.looks)))
        for pair in range(pairs):
            rng = runtime.rng(spec.seed, "corpus/plan", number * 100 + pair)
            count = int(rng.choice([0, 1, 2, 3, 4], p=[0.07, 0.28, 0.33, 0.22, 0.10]))
            units = rng.choice(UNITS, size=count, replace=False)
            actions = {}
            for unit in units:
                side = str(rng.choice(SIDES)) if rng.random() < 0.25 else ""
                actions[f"{unit}{side}"] = float(rng.uniform(0.05, 0.42))
            timing, frames = moments_of(spec, 200.0, rng)
            draw = rng.random()
            distractor = "" if draw > 0.20 else "blink" if draw < 0.10 else "gaze" if draw < 0.17 else "macro"
            if spec.chew and draw > 1 - spec.chew:
                distractor = "chew"
            plans.append(
                ClipPlan(
                    clip=f"c{number:03d}_{pair + 1:02d}",
                    dataset="corpus",
                    subject=f"c{number:03d}",
                    identity=50_000 + number,
                    identity_seed=spec.seed,
                    condition="corpus",
                    look=look,
                    emotion="",
                    actions=tuple(actions.items()),
                    annotated="",
                    timing=(timing.onset_ms, timing.hold_ms, timing.offset_ms),
                    fps=200.0,
                    key_frames=tuple(frames[position] for position in spec.corpus_frames),
                    camera=fields_of(camera),
                    landmark_jitter=spec.landmark_jitter,
                    distractor=distractor if count else "neutral",
                    split="validation" if number % 6 == 5 else "train",
                    seed=runtime.seed_of(spec.seed, "corpus/render", number * 100 + pair),
                    appearance=appearance_of(spec, look),
                    size=spec.size,
                    apex=1,
                )
            )
    return plans


def identity_of(plan: ClipPlan) -> simulator.Identity:
    """The person of a plan in the look of the plan."""
    return simulator.sample_identity(plan.identity, seed=plan.identity_seed, size=plan.size, **dict(plan.appearance))


def film(plan: ClipPlan, identity: simulator.Identity, camera: simulator.Camera, truth: str = "all") -> Clip:
    """Render one planned clip of `identity` through `camera`; truth: as `simulator.render_clip`."""
    actions, timing = dict(plan.actions), simulator.Timing(*plan.timing)
    if plan.distractor == "talk":
        actions, timing = simulator.speech(plan.seed, plan.timing)
    return simulator.render_clip(
        identity,
        actions,
        times_ms=np.array(plan.key_frames) * 1000.0 / plan.fps,
        timing=timing,
        camera=camera,
        seed=plan.seed,
        truth=truth,
        truth_index=plan.apex,
        fps=plan.fps,
        distractors=(plan.distractor,) if plan.distractor in simulator.DISTRACTORS else (),
    )


def render_plan(plan: ClipPlan) -> tuple[dict, dict[str, np.ndarray]]:
    """One clip as a shard stores it -> (its row of the index, its arrays by name)."""
    clip = film(plan, identity_of(plan), simulator.Camera(**dict(plan.camera)), "skin")
    truth = clip.truth
    jitter = runtime.rng(plan.seed, "landmarks").normal(0, plan.landmark_jitter, (68, 2))
    row = {
        "clip": plan.clip,
        "dataset": plan.dataset,
        "subject": plan.subject,
        "condition": plan.condition,
        "look": plan.look,
        "emotion": plan.emotion,
        "coarse": COARSE.get(plan.emotion, ""),
        "fps": plan.fps,
        "onset": 0,
        "apex": plan.apex,
        "offset": len(plan.key_frames) - 1,
        "units": plan.annotated,
        "distractor": plan.distractor,
        "split": plan.split,
    }
    peak = np.zeros((len(UNITS), 2), np.float32)
    for key, intensity in plan.actions:
        sides = [SIDES.index(key[-1])] if key[-1] in SIDES else [0, 1]
        peak[UNITS.index(int(key.rstrip("LR"))), sides] = intensity
    identity = identity_of(plan)
    hidden = {}  # what only sim-v2 has
    if identity.devices:
        hidden = {"cues_true": cues.amounts(identity, truth.intensities)[plan.apex], "gains_true": gains.of(identity)}
    return row, {
        "frames": clip.frames,
        "landmarks": (truth.landmarks[0] + jitter).astype(np.float32),
        "landmarks_true": truth.landmarks.astype(np.float32),
        "flow_true": truth.skin_flow[plan.apex].astype(np.float16),
        "units_true": peak,
        "furrows_true": truth.furrows[plan.apex].astype(np.float32),
        "envelope": truth.envelope.astype(np.float32),
        **hidden,
    }


def render_subject(plans: list[ClipPlan], path: Path) -> None:
    """Render all clips of one subject into the shard `path`; a whole shard of the same plan and code is left alone."""
    state = cache.fresh_file(path, settings={"plan": (plan := plan_hash(plans))}, code="deft.clips.benchmark")
    if state:
        return
    rows, clips = zip(*(render_plan(plan) for plan in plans))
    store.write_shard(path, list(rows), plan, **{name: np.stack([clip[name] for clip in clips]) for name in clips[0]})
    state.seal()


def render_set(plans: list[ClipPlan], folder: Path) -> None:
    """Render every subject of `plans` into `folder`, in parallel processes, and write the plans beside them; finished
    shards are kept, foreign ones removed.
    """
    by_subject: dict[str, list[ClipPlan]] = {}
    for plan in plans:
        by_subject.setdefault(plan.subject, []).append(plan)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.npz"):
        if path.stem not in by_subject and runtime.replaceable(path):
            path.unlink()
    work = (joblib.delayed(render_subject)(part, folder / f"{subject}.npz") for subject, part in by_subject.items())
    for _ in runtime.bar(
        joblib.Parallel(n_jobs=runtime.jobs(), return_as="generator_unordered")(work),
        len(by_subject),
        folder.name,
        "subject",
    ):
        pass
    runtime.write_jsonl(folder / PLANS, map(dataclasses.asdict, plans))


def name_in(work: Path, spec: BenchmarkSpec) -> None:
    """Write under work/<profile> which benchmark its clips are of."""
    runtime.write_json(Path(work) / "clips" / NAME, {"version": spec.version, "hash": spec.hash})


def named_in(work: Path) -> str:
    """Version of the benchmark whose clips lie under work/<profile>, e.g. "sim-v1"; FileNotFoundError without any."""
    path = Path(work) / "clips" / NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: run 01_clips first (`make reproduce`)")
    return runtime.read_json(path)["version"]


def read_plans(folder: Path) -> dict[str, ClipPlan]:
    """{clip: its plan} of a set that `render_set` made, so that a clip can be filmed again otherwise.
    FileNotFoundError without one.
    """

    def frozen(value: object) -> object:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    rows = runtime.read_jsonl(Path(folder) / PLANS)
    return {row["clip"]: ClipPlan(**{name: frozen(value) for name, value in row.items()}) for row in rows}


def folds_of(plans: list[ClipPlan], folds: int, seed: int) -> pd.DataFrame:
    """The subject-disjoint folds of a planned benchmark (`deft.clips.splits.make_folds`)."""
    subjects = pd.DataFrame(
        [(plan.subject, plan.dataset, plan.look) for plan in plans], columns=["subject", "dataset", "look"]
    )
    return splits.make_folds(subjects.drop_duplicates().reset_index(drop=True), folds, seed)
