"""The camera: how a moving head in front of a lens becomes numbers, in the order light takes.

pose and drift -> flicker -> blur -> gray -> sensor noise -> JPEG. Every draw comes from its own stream of (seed, what).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deft.runtime import rng


@dataclass(frozen=True)
class Camera:
    """A clean camera by default. Lengths in px of a 128-px image, so that a camera means the same at every size."""

    noise: float = 0.0  # grey levels (0..255), standard deviation at mid grey
    head_drift: float = 0.0  # px, typical displacement of the head after 300 ms
    flicker: float = 0.0  # relative change of the light, standard deviation
    jpeg: int = 0  # quality 1..100; 0 stores the frames as they are
    blur: float = 0.0  # px, Gaussian sigma of the lens
    gray: bool = False
    pose: float = 1.0  # how much the resting pose differs between clips (shift, roll, size); 0 is the same every time

    def __post_init__(self):
        for name in ("noise", "head_drift", "flicker", "blur", "pose"):
            if getattr(self, name) < 0:
                raise ValueError(f"camera: {name}={getattr(self, name)} must be >= 0")
        if not 0 <= self.jpeg <= 100:
            raise ValueError(f"camera: jpeg={self.jpeg} must be a quality 1..100, or 0 for none")

    def poses(self, times_ms: np.ndarray, size: int, centre: tuple[float, float], seed: int, person: int) -> np.ndarray:
        """Canonical px -> px of frame t: (T, 2, 3) float64 similarities about `centre`.

        The pose at rest has a fractional shift and a roll, so that frame 0 is resampled like every other frame (blur
        must not give the motion away). The head then drifts slowly with a small tremor; at t = 0 the drift is zero.
        """
        unit = size / 128.0
        draw = rng(seed, "simulator/pose", person)
        shift, roll, grow = draw.normal(0, 1.1, 2) * unit, np.radians(draw.normal(0, 1.3)), draw.normal(0, 0.010)
        rest = _similarity(
            self.pose * shift + 0.27 * unit, self.pose * roll + np.radians(0.15), 1.0 + self.pose * grow, centre
        )
        draw = rng(seed, "simulator/drift", person)
        t = np.asarray(times_ms, np.float64) / 300.0
        slow, bend, phase, tremor = (
            draw.normal(0, 0.7, 4),
            draw.normal(0, 0.25, 4),
            draw.uniform(0, 2 * np.pi, 4),
            draw.normal(0, 0.05, 4),
        )
        rate = draw.uniform(2.2, 3.6, 4)  # tremor at 7-12 Hz
        course = (
            slow * t[:, None]
            + bend * t[:, None] ** 2
            + tremor * (np.sin(2 * np.pi * rate * t[:, None] + phase) - np.sin(phase))
        )
        course *= self.head_drift  # (T, 4): x, y in px at 128; roll; size
        return np.stack(
            [
                compose(_similarity(c[:2] * unit, np.radians(0.25 * c[2]), 1.0 + 0.0015 * c[3], centre), rest)
                for c in course
            ]
        )

    def record(self, frames: np.ndarray, times_ms: np.ndarray, size: int, seed: int, person: int) -> np.ndarray:
        """Linear picture (T, H, W, 3) float32 0..255 -> (T, H, W, 3) uint8."""
        if self.flicker:
            draw = rng(seed, "simulator/flicker", person)
            t = np.asarray(times_ms, np.float64)
            wave = np.sin(2 * np.pi * t / draw.uniform(60, 200) + draw.uniform(0, 2 * np.pi)) + 0.5 * draw.normal(
                size=len(t)
            )
            frames = frames * (1.0 + self.flicker * wave[:, None, None, None]).astype(np.float32)
        if self.blur:
            sigma = self.blur * size / 128.0
            frames = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
        if self.gray:
            frames = _rgb(frames @ np.array([0.299, 0.587, 0.114], np.float32))
        if self.noise:
            draw = rng(seed, "simulator/noise", person)
            shape = frames.shape[:3]
            mean = (frames[..., 0] + frames[..., 1] + frames[..., 2]) / 3
            shot = np.sqrt(0.35 + 0.65 * np.clip(mean, 0, 255) / 128.0)  # brighter is noisier, as photons are
            noise = draw.standard_normal(shape, dtype=np.float32)
            if self.gray:
                noise = _rgb(noise)
            else:
                # Colour noise shares most of its variance between channels after demosaicing; the recipe does not say,
                # we use 80 %.
                noise = _rgb(0.894 * noise)
                own = draw.standard_normal((*shape, 3), dtype=np.float32)
                own *= 0.447
                noise += own
            noise *= _rgb(self.noise * shot)
            noise += frames
            frames = noise
        out = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
        if self.jpeg:
            out = np.stack([_jpeg(frame, self.jpeg) for frame in out])
        return out


def _rgb(values: np.ndarray) -> np.ndarray:
    """(T, H, W) float32 -> (T, H, W, 3), three channels alike."""
    return cv2.merge([values.reshape(len(values), -1)] * 3).reshape(*values.shape, 3)


def _jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    if not ok:
        raise RuntimeError(f"JPEG compression at quality {quality} failed; this OpenCV was built without JPEG")
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _similarity(shift, roll: float, grow: float, centre) -> np.ndarray:
    """Scale by `grow` and turn by `roll` about `centre`, then shift -> (2, 3)."""
    linear = grow * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    centre = np.asarray(centre, np.float64)
    return np.concatenate([linear, (centre - linear @ centre + np.asarray(shift))[:, None]], axis=1)


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """x -> second(first(x)), all (2, 3)."""
    return np.concatenate([second[:, :2] @ first[:, :2], (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]], axis=1)


def invert(matrix: np.ndarray) -> np.ndarray:
    """The inverses of affine maps (..., 2, 3), as (..., 2, 3)."""
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)
