"""What decides a benchmark but the simulator itself: looks, cameras, people, strengths, habits of raters; of `sim-v1`
and of `sim-v2`.

`sim-v2` stands beside sim-v1, never in its place: other people, and devices of the simulator that sim-v1 lacks
(`deft.clips.simulator.devices`; why, and by which targets it was set: docs/method.md#sim-v2)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from deft import cache
from deft.clips import keyframes
from deft.clips.simulator.devices import CONTROLS, DEVICES


@dataclass(frozen=True)
class Look:
    """Things of the recording that have nothing to do with any muscle; fields as in `deft.clips.simulator.Identity`."""

    hair: str
    background: float  # grey level 0..1
    light_azimuth: float  # degrees
    tint: tuple[float, float, float]


LOOKS = (
    Look("short", 0.30, -35.0, (1.04, 1.00, 0.95)),
    Look("long", 0.72, 20.0, (0.97, 1.00, 1.03)),
    Look("fringe", 0.50, 0.0, (1.00, 1.00, 1.00)),
    Look("bald", 0.84, 40.0, (1.03, 0.99, 0.99)),
    Look("bun", 0.16, -15.0, (0.96, 1.01, 1.00)),
)


@dataclass(frozen=True)
class CameraSpec:
    """One dataset's camera: frames per second, noise in grey levels (0-255), drift in px, relative flicker, JPEG
    quality.
    """

    fps: float
    noise: float
    head_drift: float
    flicker: float
    jpeg: int
    blur: float
    gray: bool


@dataclass(frozen=True)
class BenchmarkSpec:
    """All that decides `sim-v1` but the simulator itself. Intensities are FACS-like fractions of a full movement."""

    version: str = "sim-v1"
    seed: int = 20251114
    held_back_seed: int = 20261114
    subjects_per_dataset: int = 12
    clips_per_subject: int = 14
    tie: float = 0.85
    intensity: tuple[float, float] = (0.06, 0.30)
    second_unit_scale: tuple[float, float] = (0.5, 1.0)  # later units of a combination move less
    drop_unit: float = 0.05  # a unit of the combination that does not move although raters expect it
    stray_unit: float = 0.10  # a unit that moves uninvited
    rater_misses: float = 0.12  # a moved unit that is not annotated
    rater_invents: float = 0.15  # a clip annotated with a unit that did not move
    rater_disagrees: float = 0.01  # a clip labelled with another emotion
    apex_jitter_frames: float = 1.0
    landmark_jitter: float = 0.7  # px
    blink: float = 0.08
    gaze: float = 0.06
    cameras: tuple[tuple[str, CameraSpec], ...] = (
        ("sim-a", CameraSpec(fps=200.0, noise=4.0, head_drift=2.5, flicker=0.010, jpeg=60, blur=0.0, gray=False)),
        ("sim-b", CameraSpec(fps=200.0, noise=3.5, head_drift=2.0, flicker=0.008, jpeg=70, blur=0.3, gray=True)),
        ("sim-c", CameraSpec(fps=100.0, noise=4.5, head_drift=3.0, flicker=0.015, jpeg=60, blur=0.0, gray=False)),
    )
    looks: tuple[Look, ...] = LOOKS
    size: int = 128  # px of the square frames
    frames: int = keyframes.COUNT  # stored frames of a clip, from onset to offset
    apex: int = keyframes.APEX  # position of the apex among them
    corpus_frames: tuple[int, ...] = (
        keyframes.SHORT
    )  # the positions that a clip of the corpus keeps; the second is its apex

    # Of sim-v2 alone: no field here, so that sim-v1 keeps its hash.
    devices: ClassVar[tuple[str, ...]] = ()
    chew: ClassVar[float] = 0.0

    @property
    def hash(self) -> str:
        """16 hex digits over all fields."""
        return cache.hash_of(dataclasses.asdict(self))[:16]


@dataclass(frozen=True)
class SecondSpec(BenchmarkSpec):
    """`sim-v2`: 96 people, and what faces have that sim-v1 lacks. Each device is a switch: drop its name."""

    version: str = "sim-v2"
    seed: int = 20271114
    held_back_seed: int = 20281114
    subjects_per_dataset: int = 32
    devices: tuple[str, ...] = tuple(DEVICES)
    chew: float = 0.06  # share of clips in which the person chews


SPECS = {"sim-v1": BenchmarkSpec(), "sim-v2": SecondSpec()}


def without(spec: SecondSpec, *devices: str) -> SecondSpec:
    """The same people and plans with some devices off, under a name of its own; ValueError for one that is not on."""
    for name in devices:
        if name not in spec.devices:
            raise ValueError(f"{spec.version} has no device {name!r}; it has {', '.join(spec.devices) or 'none'}")
    kept = tuple(name for name in spec.devices if name not in devices)
    return dataclasses.replace(spec, devices=kept, version=f"{spec.version} without {', '.join(devices)}")


def control(name: str) -> SecondSpec:
    """A negative control of `sim-v2` (`simulator.devices.CONTROLS`): what an expert lives on is switched off."""
    if name not in CONTROLS:
        raise ValueError(f"control {name!r} is not one of {', '.join(CONTROLS)}")
    return without(SPECS["sim-v2"], *CONTROLS[name])
