"""Long simulated videos with known micro-expressions among blinks and talk, for those who spot before they recognise.

Real long videos (CAS(ME)^2, SAMM-LV, CAS(ME)^3) hold seconds of a resting face, a few micro-expressions, and
movements that are none: blinks, talk, a drifting head. The movements come from `render_clip`, one after the other,
with rest between them; then the whole video is moved as one head and filmed by one camera, so that nothing but the
face changes at a cut. Talk is a chain of syllables: jaw and lips open and close four times a second. Shares,
strengths and lengths of the distractors are ours. The truth is exact: a micro-expression lasts from the first to the
last frame in which a unit moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from deft.clips.simulator.camera import Camera
from deft.clips.simulator.habits import HABITS
from deft.clips.simulator.identity import Identity
from deft.clips.simulator.motion import Timing
from deft.clips.simulator.render import render_clip
from deft.runtime import rng

MICRO, BLINK, TALK = "micro", "blink", "talk"
STILL = Camera(pose=0.0)  # the head moves once, over the whole video
CAMERA = Camera(noise=3.0, flicker=0.008, jpeg=70)
REST = 0.5  # s, at least, between two movements and at both ends


@dataclass(frozen=True)
class Event:
    """A movement. kind: MICRO, BLINK or TALK; onset, apex, offset: frames, inclusive; emotion: of a micro-expression;
    actions: unit (+ side) -> peak intensity.
    """

    kind: str
    onset: int
    apex: int
    offset: int
    emotion: str = ""
    actions: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class LongVideo:
    """frames: (T, S, S, 3) uint8 RGB; fps: 1/s; landmarks: (68, 2) px of frame 0; events: in order of time; subject:
    number of the identity.
    """

    frames: np.ndarray
    fps: float
    landmarks: np.ndarray
    events: tuple[Event, ...]
    subject: int

    @property
    def truth(self) -> list[tuple[int, int, str]]:
        """(onset, offset, emotion) of the micro-expressions, frames inclusive."""
        return [(event.onset, event.offset, event.emotion) for event in self.events if event.kind == MICRO]


def film(
    identity: Identity,
    seed: int,
    seconds: float = 15.0,
    fps: float = 30.0,
    emotions: Sequence[str] = ("happiness", "disgust", "surprise"),
    blinks: int = 3,
    talks: int = 1,
    camera: Camera = CAMERA,
    sway: float = 1.0,
    habit: str = "sim-a",
    intensity: tuple[float, float] = (0.12, 0.40),
) -> LongVideo:
    """Film a person for `seconds`, with one micro-expression per entry of `emotions`, blinks and talk in random order
    and places.

    sway: px of a 128-px image, standard deviation of the head's slow wandering. habit: data set of
    `deft.clips.simulator.habits` whose unit combinations are shown. intensity: range of a unit's peak in a
    micro-expression, FACS-like fraction of a full movement. ValueError for an unknown emotion and for more movements
    than the seconds hold.
    """
    for emotion in emotions:
        if emotion not in HABITS[habit]:
            raise ValueError(f"no habit of {habit} shows {emotion!r}; choose from {', '.join(HABITS[habit])}")
    draw = rng(seed, "long-video/plan", identity.index)
    kinds = [(MICRO, emotion) for emotion in emotions] + [(BLINK, "")] * blinks + [(TALK, "")] * talks
    moves = [
        _move(identity, kind, emotion, fps, habit, intensity, draw, seed * 1000 + number)
        for number, (kind, emotion) in enumerate(kinds)
    ]
    moves = [moves[place] for place in draw.permutation(len(moves))]
    total, gap = round(seconds * fps), max(1, round(REST * fps))
    spare = total - sum(len(frames) for frames, _ in moves) - gap * (len(moves) + 1)
    if spare < 0:
        raise ValueError(
            f"{len(moves)} movements with {REST} s of rest around each lack {-spare / fps:.1f} of {seconds:g} s"
        )
    extra = draw.multinomial(spare, np.full(len(moves) + 1, 1 / (len(moves) + 1)))
    rest = render_clip(identity, {}, times_ms=(0.0,), camera=STILL, truth="none")
    video, events = np.repeat(rest.frames, total, 0), []
    start = gap + extra[0]
    for (frames, event), more in zip(moves, extra[1:]):
        video[start : start + len(frames)] = frames
        moments = {name: int(start + getattr(event, name)) for name in ("onset", "apex", "offset")}
        events.append(replace(event, **moments))
        start += len(frames) + gap + more
    poses = _sway(total, fps, identity.size, sway, seed, identity.index)
    for at, pose in enumerate(poses):
        video[at] = cv2.warpAffine(video[at], pose, (identity.size,) * 2, borderMode=cv2.BORDER_REPLICATE)
    times = np.arange(total) * 1000.0 / fps
    for number, piece in enumerate(np.array_split(np.arange(total), -(-total // 100))):  # floats of all would not fit
        pictures = video[piece].astype(np.float32)
        video[piece] = camera.record(pictures, times[piece], identity.size, seed * 1000 + number, identity.index)
    points = rest.truth.landmarks[0] @ poses[0][:, :2].T + poses[0][:, 2]
    return LongVideo(video, fps, points.astype(np.float32), tuple(events), identity.index)


def _move(
    identity: Identity,
    kind: str,
    emotion: str,
    fps: float,
    habit: str,
    intensity: tuple[float, float],
    draw: np.random.Generator,
    seed: int,
) -> tuple[np.ndarray, Event]:
    """-> (frames of one movement, the event, counted from its first frame)."""
    frame = 1000.0 / fps
    if kind == MICRO:
        weights, options = zip(*HABITS[habit][emotion])
        units = options[draw.choice(len(options), p=np.array(weights) / sum(weights))].split()
        actions = {unit.replace("?", str(draw.choice(["L", "R"]))): float(draw.uniform(*intensity)) for unit in units}
        timing = Timing.sample(draw)
        clip = render_clip(
            identity,
            actions,
            times_ms=np.arange(1, np.ceil(timing.total_ms / frame)) * frame,
            timing=timing,
            camera=STILL,
            seed=seed,
            truth="none",
        )
        apex = int(np.clip(round((timing.onset_ms + 0.5 * timing.hold_ms) / frame) - 1, 1, len(clip.frames) - 2))
        return clip.frames, Event(kind, 0, apex, len(clip.frames) - 1, emotion, tuple(actions.items()))
    if kind == BLINK:
        timing = Timing(onset_ms=200.0)  # shut 100 to 240 ms after its first frame, open again by 400
        frames = render_clip(
            identity,
            {},
            times_ms=np.arange(0, 400.0, frame),
            timing=timing,
            camera=STILL,
            seed=seed,
            truth="none",
            distractors=("blink",),
        ).frames
        return frames, Event(kind, 0, len(frames) // 2, len(frames) - 1)
    frames = []
    for syllable in range(int(draw.integers(4, 9))):
        timing = Timing(float(draw.uniform(90, 130)), 20.0, float(draw.uniform(90, 130)))
        lips = {
            "25": float(draw.uniform(0.3, 0.8)),
            "26": float(draw.uniform(0.1, 0.4)),
            str(draw.choice(["20", "23", "17"])): float(draw.uniform(0.1, 0.4)),
        }
        times = np.arange(1, np.ceil(timing.total_ms / frame)) * frame
        frames.append(
            render_clip(
                identity, lips, times_ms=times, timing=timing, camera=STILL, seed=seed + syllable, truth="none"
            ).frames
        )
    frames = np.concatenate(frames)
    return frames, Event(kind, 0, len(frames) // 2, len(frames) - 1)


def _sway(count: int, fps: float, size: int, sway: float, seed: int, person: int) -> np.ndarray:
    """(count, 2, 3) similarities about the middle: a head that wanders slowly and stays, as sums of four waves of 3
    to 20 s.
    """
    draw, t = rng(seed, "long-video/sway", person), np.arange(count)[:, None, None] / fps
    waves = np.sin(2 * np.pi * t / draw.uniform(3, 20, (4, 3)) + draw.uniform(0, 2 * np.pi, (4, 3))).sum(1) / np.sqrt(
        2
    )  # x, y, roll; unit variance
    across, down, roll = (sway * waves * (size / 128, size / 128, np.radians(0.4))).T
    turn = np.stack([np.cos(roll), -np.sin(roll), np.sin(roll), np.cos(roll)], -1).reshape(-1, 2, 2)
    middle = np.full(2, (size - 1) / 2)
    return np.concatenate([turn, (middle - turn @ middle + np.stack([across, down], -1))[..., None]], -1)
