"""Fingerprint of a rendered clip: few numbers that tell whether the picture, the landmarks as written and the truth are
still the same.

A hash of the pixels would not do. Another processor rounds a few pixels to the neighbouring grey level, and JPEG then
stores some 8x8 blocks with the neighbouring coefficient: a few blocks look different by several grey levels, all others
are equal. So a picture is measured three ways:
- the mean of each block (a quarter of the side) and channel: sees light, colour, background, hair, pose, size of the
  face;
- the standard deviation of the luminance within each block: sees the lens, noise and relief, which leave means alone;
- single pixels at fixed places: see every change that touches most pixels, such as another draw of the noise or another
  JPEG quality.
All may differ by one grey level, and a small share of a clip's numbers by more. Measured: 1 % of the pixels one level
off before JPEG put 6 % of the single pixels astray, 30 % of them after JPEG none; a lens of .45 instead of .42 px puts
21 % astray. Landmarks and truth are not quantised; they are compared number by number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deft import runtime

BLOCKS = 4  # blocks along each side of a picture
PROBES = 48  # single pixels of each frame
LUMINANCE = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Measure:
    """One number's name in words, its unit, and how far it may lie from the frozen one."""

    words: str
    unit: str
    tolerance: float
    astray: float = 0.0  # share of a clip's numbers that may differ by more


MEASURES = {
    "means": Measure("mean of blocks of the frames", "grey levels", 1.0, 0.02),
    "spreads": Measure("contrast within blocks of the frames", "grey levels", 1.0, 0.02),
    "probes": Measure("single pixels of the frames", "grey levels", 1.0, 0.10),
    "landmarks": Measure("landmarks as written", "px", 0.01),
    "landmarks_true": Measure("true landmarks", "px", 0.01),
    "flow_true": Measure("true motion of the skin", "px", 0.02),
    "units_true": Measure("true intensities of the units", "of a full movement", 0.001),
    "furrows_true": Measure("true depth of the furrows", "of a full furrow", 0.001),
    "envelope": Measure("true time course", "of the peak", 0.001),
}


def _blocks(picture: np.ndarray) -> np.ndarray:
    """(..., H, W, C) -> (..., BLOCKS, BLOCKS, pixels of a block, C); rows and columns that fill no block are left
    out.
    """
    *lead, height, width, channels = picture.shape
    tall, wide = height // BLOCKS, width // BLOCKS
    cut = picture[..., : tall * BLOCKS, : wide * BLOCKS, :].reshape(*lead, BLOCKS, tall, BLOCKS, wide, channels)
    return np.moveaxis(cut, -3, -4).reshape(*lead, BLOCKS, BLOCKS, tall * wide, channels)


def measure(clip: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The fingerprint of one clip as a shard stores it: frames (T, H, W, 3) uint8, landmarks (68, 2), and the truth.

    -> {name of MEASURES: float32 array}, and "shape" (3,) int64: T, H, W.
    """
    frames = np.asarray(clip["frames"])
    count, height, width, _ = frames.shape
    grey = frames.astype(np.float64)
    place = runtime.rng(0, "fingerprint/probes").random((2, count, PROBES))  # shares of the height and the width
    row, column = (place[0] * height).astype(int), (place[1] * width).astype(int)
    found = {
        "means": _blocks(grey).mean(-2),
        "spreads": _blocks((grey @ LUMINANCE)[..., None]).std(-2)[..., 0],
        "probes": grey[np.arange(count)[:, None], row, column],
        "flow_true": _blocks(clip["flow_true"].astype(np.float64)).mean(-2),
        **{name: clip[name] for name in ("landmarks", "landmarks_true", "units_true", "furrows_true", "envelope")},
    }
    return {name: np.round(found[name], 3).astype(np.float32) for name in MEASURES} | {
        "shape": np.array([count, height, width])
    }


def differences(frozen: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]], clips: list[str]) -> list[str]:
    """What differs between two lists of fingerprints of the same `clips`, one sentence a measure; empty when nothing
    does.
    """
    for name, before, now in zip(clips, frozen, found, strict=True):
        if not np.array_equal(before["shape"], now["shape"]):
            count, height, width = before["shape"]
            return [
                f"clip {name} has {now['shape'][0]} frames of {now['shape'][1]} x {now['shape'][2]} px, "
                f"frozen are {count} of {height} x {width}"
            ]
    sentences = []
    for key, rule in MEASURES.items():
        apart = [np.abs(now[key].astype(np.float64) - before[key]) for before, now in zip(frozen, found)]
        bad = [not bool(np.mean(one <= rule.tolerance) >= 1 - rule.astray) for one in apart]  # NaN is bad
        if any(bad):
            worst = int(
                np.argmax([np.nan_to_num(one, nan=np.inf).max() if wrong else -1 for one, wrong in zip(apart, bad)])
            )
            allowed = f"{rule.tolerance:g} allowed" + (
                f" for {1 - rule.astray:.0%} of a clip's numbers" if rule.astray else ""
            )
            sentences.append(
                f"{rule.words}: {sum(bad)} of {len(clips)} clips differ, most {clips[worst]}, "
                f"by up to {apart[worst].max():.3g} {rule.unit} ({allowed})"
            )
    return sentences
