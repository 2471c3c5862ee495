"""Eyes that are open under the skin: sclera, iris, catchlight, and the lines around them."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from deft.clips.simulator import colours
from deft.clips.simulator.canvas import Canvas, linear, rgba
from deft.clips.simulator.motion import smoothstep
from deft.clips.simulator.person import IRIS_COLOURS
from deft.clips.simulator.shapes import blob, box_of
from deft.runtime import rng


class Eyes(Canvas):
    """Both eyes of one identity."""

    @cached_property
    def eye_height(self) -> np.ndarray:
        """0 at the upper lid margin, 1 at the lower; far outside beyond the corners."""
        t = (self.ax - self.g.eye_x) / self.g.eye_half
        upper, lower = self.g.lids(np.clip(t, -1, 1))
        v = (self.y - upper) / np.maximum(lower - upper, 0.012)
        return np.where(np.abs(t) < 1, v, -9.0).astype(np.float32)

    @cached_property
    def eye_hole(self) -> np.ndarray:
        """Coverage of the opened eyes."""
        t = (self.ax - self.g.eye_x) / self.g.eye_half
        upper, lower = self.g.lids(np.clip(t, -1, 1))
        outside = np.maximum(np.maximum(upper - self.y, self.y - lower), (np.abs(t) - 1) * self.g.eye_half)
        return self.cover(outside).astype(np.float32)

    @cached_property
    def eye_patch(self) -> np.ndarray:
        """Coverage of a patch larger than the opened eyes."""
        return self.cover(np.maximum(np.abs(self.ax - self.g.eye_x) - self.g.eye_half - 0.05, np.abs(self.y) - 0.16))

    def eyes(self) -> np.ndarray:
        """Sclera, iris and gloss, (3, n, n, 4): painted where the eyes are, empty elsewhere."""
        box = box_of(self.eye_patch)
        out = np.zeros((3, self.n, self.n, 4), np.float32)
        out[:, *box] = type(self)(self.who, self.g, box)._eyes()
        return out

    def _eyes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sclera, iris and gloss in this painter's window."""
        g, who, near = self.g, self.who, self.eye_patch
        cx = self.ax - g.eye_x
        ball = np.clip(1 - (cx / 0.21) ** 2 - ((self.y + 0.005) / 0.16) ** 2, 0, 1)
        white = np.array([0.80, 0.77, 0.74]) * (0.40 + 0.52 * ball**0.6)[..., None] * np.asarray(who.tint)
        if "colours" in who.devices:
            white = colours.lit_eyes(white, self.x - np.sign(self.x) * g.eye_x, ball, who.light_azimuth)
        inner = blob(cx, self.y, -g.eye_half * 0.97, 0.012, 0.024, 0.020)
        white += (0.75 * inner)[..., None] * (np.array([0.55, 0.24, 0.20]) * 0.8 - white)
        rim = np.exp(-0.5 * ((1 - np.clip(self.eye_height, -0.5, 1.5)) / 0.10) ** 2)
        white += (0.40 * rim)[..., None] * (self.skin_tone * np.array([1.0, 0.62, 0.58]) - white)
        sclera = rgba(white, near)
        r = np.hypot(cx, self.y - g.iris_y)
        angle = np.arctan2(self.y - g.iris_y, self.x - np.sign(self.x) * g.eye_x)
        draw = rng(who.seed, "appearance/iris", who.index)
        rays = sum(
            a * np.cos(k * angle + p)
            for k, a, p in zip((7, 11, 17, 23), draw.uniform(0.04, 0.10, 4), draw.uniform(0, 6.28, 4))
        )
        colour = linear(IRIS_COLOURS[who.iris]) * 1.25
        light_from_below = 1 + 0.55 * np.clip((self.y - g.iris_y) / g.iris_radius, -0.6, 1)
        tone = (
            colour * ((1 + rays) * light_from_below * (1 - 0.75 * smoothstep(0.72, 1.02, r / g.iris_radius)))[..., None]
        )
        pupil = self.cover(r - 0.40 * g.iris_radius, 1.5)
        tone = tone * (1 - pupil[..., None]) + 0.006 * pupil[..., None]
        iris = rgba(tone, self.cover(r - g.iris_radius, 1.6))
        a = np.sin(np.radians(who.light_azimuth))
        dx = self.x - np.sign(self.x) * g.eye_x  # the catchlight is on the same image side in both eyes
        spark = self.cover(np.hypot(dx - (0.012 + 0.026 * a), self.y - g.iris_y + 0.022) - 0.0125, 1.3)
        spark = np.maximum(
            spark, 0.35 * self.cover(np.hypot(dx + (0.014 + 0.02 * a), self.y - g.iris_y - 0.022) - 0.008, 1.5)
        )
        lid_shadow = 0.52 * smoothstep(0.46, -0.05, self.eye_height) * (self.eye_height > -5)
        alpha = lid_shadow * (1 - spark) + 0.95 * spark
        gloss = np.dstack([np.repeat((0.95 * spark * 250)[..., None], 3, axis=2), alpha]).astype(np.float32)
        gloss[..., 3] *= near
        gloss[..., :3] *= near[..., None]
        return sclera, iris, gloss

    def _eye_lines(self) -> np.ndarray:
        """Lash line, crease above it, and the lower rim -> darkness 0..1."""
        g, who = self.g, self.who
        t = np.linspace(-1.02, 1.06, 36)
        upper, lower = g.lids(np.clip(t, -1, 1))
        x = g.eye_x + g.eye_half * t
        upper = upper - 0.012 * np.clip(t - 0.9, 0, 1)
        lash, crease, rim, lashes = [], [], [], []
        draw = rng(who.seed, "appearance/lashes", who.index)
        for s in (-1, 1):
            lash.append(np.stack([s * x, upper - 0.004], 1))
            middle = slice(3, -2)
            high = 0.034 if "pull" not in who.devices else 0.046 - 0.026 * who.lid_fold
            crease.append(np.stack([s * x, upper - high - 0.012 * (1 - t**2)], 1)[middle])
            rim.append(np.stack([s * x, lower + 0.004], 1)[6:])
            for k in range(10, 36, 2):
                base = np.array([s * x[k], upper[k] - 0.004])
                lashes.append([base, base + np.array([s * (0.006 + 0.022 * t[k]), -0.022 - 0.010 * draw.uniform()])])
        strong = 0.62 + 0.35 * min(who.makeup, 1.0)
        darkness = strong * self.blur(self.strokes(lash, 0.020), 0.003) + 0.42 * self.blur(
            self.strokes(crease, 0.014), 0.007
        )
        darkness += 0.30 * self.blur(self.strokes(rim, 0.012), 0.004) + 0.35 * min(
            who.makeup + 0.2, 1.0
        ) * self.strokes(lashes, 0.006)
        return darkness
