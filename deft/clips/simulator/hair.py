"""Hair and glasses in front of the face, and the shadow they cast on it."""

from __future__ import annotations

import cv2
import numpy as np

from deft.clips.simulator.canvas import Canvas, lay, linear, over
from deft.clips.simulator.motion import smoothstep
from deft.runtime import rng


class Hair(Canvas):
    """Hair of one identity, and its glasses."""

    def _hair_tone(self, strand: np.ndarray, lift: float = 1.0) -> np.ndarray:
        """Linear colour of hair: strands under the same key light, a soft band of shine."""
        a = np.sin(np.radians(self.who.light_azimuth))
        side = 1 + 0.35 * a * np.clip(self.x / 0.8, -1, 1)
        top = 0.62 + 0.55 * np.exp(-0.5 * ((self.y + 0.82 + 0.25 * (self.x - 0.15 * a) ** 2) / 0.16) ** 2)
        body = np.clip((0.80 + 0.24 * strand) * side * top * lift, 0.05, None)
        shine = (
            0.030
            * np.clip(0.7 + 0.6 * strand, 0, None)
            * np.exp(-0.5 * ((self.y + 0.80 - 0.3 * (self.x - 0.2 * a) ** 2) / 0.09) ** 2)
            * side
            * lift
        )
        return (self.hair_rgb * body[..., None] * 1.15 + shine[..., None]) * np.asarray(self.who.tint)

    def hair_front(self) -> np.ndarray:
        """Coverage of the hair in front of the face."""
        who, x, y, ax = self.who, self.x, self.y, self.ax
        if who.hair == "bald":
            return np.zeros((self.n, self.n), np.float32)
        line = {  # height of the hairline over |x|
            "short": [
                (0, -0.66),
                (0.20, -0.66),
                (0.36, -0.61),
                (0.46, -0.50),
                (0.53, -0.34),
                (0.575, -0.14),
                (0.61, 0.06),
                (0.9, 0.10),
            ],
            "bun": [
                (0, -0.70),
                (0.20, -0.69),
                (0.36, -0.62),
                (0.48, -0.48),
                (0.56, -0.30),
                (0.60, -0.12),
                (0.63, -0.02),
                (0.9, -0.02),
            ],
            "curly": [
                (0, -0.62),
                (0.20, -0.62),
                (0.34, -0.58),
                (0.46, -0.46),
                (0.53, -0.25),
                (0.57, 0.00),
                (0.60, 0.25),
                (0.9, 0.42),
            ],
            "fringe": [
                (0, -0.215),
                (0.18, -0.225),
                (0.34, -0.205),
                (0.46, -0.17),
                (0.54, -0.05),
                (0.58, 0.12),
                (0.61, 0.30),
                (0.9, 0.34),
            ],
            "long": [
                (0, -0.72),
                (0.10, -0.66),
                (0.26, -0.56),
                (0.40, -0.42),
                (0.50, -0.22),
                (0.56, 0.05),
                (0.58, 0.40),
                (0.60, 0.80),
                (0.66, 1.4),
            ],
        }[who.hair]
        u, v = np.array(line).T
        strand = self.strands("hair-edge", 0, -1.1 if who.hair != "fringe" else -1.25, 2.0, 0.9)
        edge = {"fringe": 0.045, "short": 0.022, "curly": 0.03, "long": 0.014, "bun": 0.008}[who.hair]
        if who.hair == "curly":
            strand = strand + 1.4 * self.noise("curls", 0.10, 2)
        lean = 0.05 * (rng(who.seed, "appearance/parting", who.index).random() - 0.5)
        below = y - np.interp(np.abs(x - lean * (y < -0.3)), u, v) - edge * strand
        # how far the mass stands out from the skull
        angle, _, distance = self.radial
        up = smoothstep(0.25, -0.7, y)
        puff = {"short": 0.075, "bun": 0.045, "curly": 0.17, "fringe": 0.10, "long": 0.085}[who.hair]
        out = distance - puff * up - {"curly": 0.10, "long": 0.10, "fringe": 0.05}.get(who.hair, 0.015) * (1 - up)
        if who.hair == "curly":
            out = out - 0.03 * self.noise("curl-outline", 0.11, 2)
        else:
            out = out - 0.006 * strand
        shape = np.maximum(below * 0.9, out)
        if who.hair == "bun":
            knot = np.hypot(x / 0.25, (y + 1.06) / 0.17) - 1 - 0.03 * strand
            shape = np.minimum(shape, knot * 0.2)
        if who.hair == "long":
            shape = np.maximum(shape, np.where(y > 0.2, ax - 1.0, -9))
        return self.cover(shape, 3.0).astype(np.float32)

    def front(self) -> tuple[np.ndarray, np.ndarray]:
        """-> (hair and glasses RGBA, shadow they cast on the skin)."""
        g, who = self.g, self.who
        cover = self.hair_front()
        out = np.zeros((self.n, self.n, 4), np.float32)
        shadow = np.zeros((self.n, self.n), np.float32)
        if cover.any():
            strand = 0.7 * self.strands("hair", 0.03, -1.32, 1.5, 0.45) + 0.5 * self.strands(
                "hair-locks", 0.03, -1.32, 0.45, 0.9
            )
            if who.hair == "short":
                strand = 0.55 * strand + 0.55 * self.noise("hair-short", 0.035, 2)
            if who.hair == "curly":
                strand = 0.4 * strand + 0.95 * np.tanh(self.noise("curl-tone", 0.06, 2))
            tone = self._hair_tone(strand)
            rim = 1 - 0.35 * smoothstep(0.55, 1.0, self.blur(cover, 0.03)) * smoothstep(
                1.0, 0.7, self.blur(cover, 0.06)
            )
            lay(out, tone * rim[..., None], cover)
            drop = np.float32(
                [[1, 0, -2 * np.sin(np.radians(who.light_azimuth)) * 0.02 / self.pixel], [0, 1, 0.03 / self.pixel]]
            )
            shadow = 0.55 * self.blur(
                cv2.warpAffine(cover, drop, (self.n, self.n), borderMode=cv2.BORDER_REPLICATE), 0.03
            )
        if who.glasses != "none":
            px, py = self.ax - g.eye_x * 1.03, self.y - 0.035
            if who.glasses == "round":
                rim = np.hypot(px / 1.08, py) - 0.185
            else:
                rim = (np.abs(px / 0.232) ** 3.6 + np.abs(py / 0.150) ** 3.6) ** (1 / 3.6) * 0.18 - 0.18
            frame = np.abs(rim) - (0.013 if who.glasses == "round" else 0.017)
            bridge = np.maximum(np.abs(self.y + 0.005 - 0.25 * self.x**2) - 0.012, self.ax - (g.eye_x * 1.03 - 0.18))
            temple = np.maximum(np.abs(self.y + 0.02) - 0.014, -(self.ax - (g.eye_x * 1.03 + 0.20)))
            temple = np.maximum(temple, self.ax - g.half_width(0.0) - 0.01)
            metal = np.minimum(np.minimum(frame, bridge), temple)
            colour = (
                linear(((38, 34, 36), (92, 60, 40), (60, 66, 78))[who.index % 3])
                * (0.85 + 0.5 * smoothstep(0.1, -0.15, py))[..., None]
            )
            glass = 0.05 * self.cover(rim) + 0.10 * self.cover(rim) * np.exp(
                -0.5 * ((px * np.sign(self.x) + 0.8 * py + 0.06) / 0.028) ** 2
            )
            reflection = np.dstack([np.repeat((glass * 225)[..., None], 3, axis=2), glass]).astype(np.float32)
            out = over(reflection, out)
            lay(out, colour, self.cover(metal))
            fall = np.float32([[1, 0, 0], [0, 1, 0.028 / self.pixel]])
            shadow = np.maximum(
                shadow,
                0.30 * self.blur(cv2.warpAffine(self.cover(metal).astype(np.float32), fall, (self.n, self.n)), 0.012),
            )
        return out, shadow
