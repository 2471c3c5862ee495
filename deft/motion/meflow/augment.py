"""What a camera does to a pair of frames: noise, light, blur, compression. numpy and OpenCV only; every draw comes from
the generator given.

Noise and JPEG follow `deft.clips.simulator.camera`, in grey levels; the light is its flicker and, beyond it, a ramp
across the frame that changes between the two moments, because a network that has met only a common factor would read a
moving shadow as motion."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Nuisance:
    """Upper ends of uniform draws; a share of pairs stays free of each. noise: grey levels; flicker: relative, standard
    deviation; ramp: relative change of the light from one side of the frame to the other; blur: px; jpeg: lowest
    quality."""

    noise: float = 6.5
    flicker: float = 0.02
    ramp: float = 0.04
    blur: float = 0.7
    jpeg: int = 50
    clean: float = 0.15  # share of pairs without noise; twice that share without each of the others

    def draw(self, rng: np.random.Generator) -> dict:
        """The numbers of one pair: those of the camera are shared by both frames, those of the light are not."""

        def unless(share, value):
            return value if rng.random() >= share else 0.0

        rare = 2 * self.clean
        return {
            "noise": unless(self.clean, rng.uniform(0.5, self.noise)),
            "blur": unless(0.5, rng.uniform(0, self.blur)),
            "jpeg": int(unless(rare, rng.integers(self.jpeg, 96))),
            "flicker": unless(rare, self.flicker) * rng.normal(size=2),
            "ramp": unless(0.5, self.ramp) * rng.normal(0, 0.5, (2, 2)),
            "gamma": float(np.exp(rng.normal(0, 0.15))),
            "contrast": float(rng.uniform(0.6, 1.2)),
        }


def photograph(
    frame: np.ndarray,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    blur: float = 0.0,
    jpeg: int = 0,
    flicker: float = 0.0,
    ramp: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Apply a camera to one clean frame (H, W), grey levels -> (H, W) uint8. Units of the settings: see `Nuisance`;
    0 is none.
    """
    image = np.asarray(frame, np.float32)
    height, width = image.shape
    if flicker or np.any(ramp):
        x, y = np.linspace(-0.5, 0.5, width, dtype=np.float32), np.linspace(-0.5, 0.5, height, dtype=np.float32)
        image = image * (1 + flicker + ramp[0] * x[None] + ramp[1] * y[:, None])
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), max(blur, 0.05))
    if noise:
        image = image + noise * np.sqrt(0.35 + 0.65 * np.clip(image, 0, 255) / 128) * rng.standard_normal(
            image.shape, dtype=np.float32
        )
    image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if jpeg:
        ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(jpeg)])
        if not ok:
            raise RuntimeError(f"JPEG compression at quality {jpeg} failed; this OpenCV was built without JPEG")
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return image


def pair(
    first: np.ndarray,
    second: np.ndarray,
    flow: np.ndarray,
    weight: np.ndarray,
    rng: np.random.Generator,
    nuisance: Nuisance = Nuisance(),
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A training pair: turned or mirrored, its tones changed, then each frame passed through the camera.

    first, second: (H, W) uint8 clean and square; flow (H, W, 2) px; weight (H, W) float32, 0 where the truth does not
    count -> the same four, flow as float32."""
    if rng.random() < 0.5:
        first, second, flow, weight = first[:, ::-1], second[:, ::-1], flow[:, ::-1] * (-1, 1), weight[:, ::-1]
    for _ in range(
        int(rng.integers(4)) if rng.random() < TURNED else 0
    ):  # quarter turns, so that up is not known to be up
        first, second, weight = np.rot90(first), np.rot90(second), np.rot90(weight)
        flow = np.rot90(flow)[..., ::-1] * (1, -1)  # np.rot90 turns counter-clockwise: what went right now goes up
    draw = nuisance.draw(rng)
    gamma, contrast = draw.pop("gamma"), draw.pop("contrast")
    table = 255 * (np.arange(256, dtype=np.float32) / 255) ** gamma
    table = contrast * (table - table.mean()) + table.mean()
    if rng.random() < NEGATIVE:
        table = table[::-1]
    flicker, ramp = draw.pop("flicker"), draw.pop("ramp")
    frames = [
        photograph(np.take(table, image), rng, flicker=flicker[i], ramp=ramp[i], **draw)
        for i, image in enumerate((first, second))
    ]
    flow, weight = np.ascontiguousarray(flow, np.float32), np.ascontiguousarray(weight, np.float32)
    if rng.random() < ALIGNED:
        return aligned(*frames, flow, weight, rng)
    return frames[0], frames[1], flow, weight


def aligned(
    first: np.ndarray, second: np.ndarray, flow: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The pair after a small random similarity, resampled as `deft.faces.align` does it; shapes as in `pair`.

    Both frames are moved bilinearly by the same matrix. That smooths the noise in a pattern that does not move with the
    face, and the estimator will meet this pattern in every aligned clip.
    """
    height, width = first.shape
    turn, grow = np.radians(rng.normal(0, 3)), np.exp(rng.normal(0, 0.06))
    linear = grow * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([width - 1, height - 1]) / 2
    matrix = np.hstack([linear, (centre + rng.normal(0, 3, 2) - linear @ centre)[:, None]])

    def moved(image, how=cv2.INTER_LINEAR, border=cv2.BORDER_REPLICATE):
        return cv2.warpAffine(image, matrix, (width, height), flags=how, borderMode=border)

    return (
        moved(first),
        moved(second),
        moved(flow) @ linear.T.astype(np.float32),
        moved(weight, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT),
    )


TURNED, NEGATIVE = (
    0.3,
    0.1,
)  # shares of pairs: a face that hangs sideways or in negative teaches texture rather than anatomy
ALIGNED = 0.6  # share of pairs that are resampled as aligned clips are
