"""What lies behind the face: the wall, hair behind the head, ears, neck, clothes, the inside of the mouth."""

from __future__ import annotations

import numpy as np

from deft.clips.simulator.canvas import lay, linear, rgba
from deft.clips.simulator.hair import Hair
from deft.clips.simulator.motion import smoothstep
from deft.clips.simulator.shapes import pair


class Behind(Hair):
    """What the moving skin uncovers."""

    def under(self) -> np.ndarray:
        """Hair behind the head, ears, neck, clothes and the inside of the mouth."""
        g, who, x, y = self.g, self.who, self.x, self.y
        out = np.zeros((self.n, self.n, 4), np.float32)
        if who.hair in ("long", "curly"):
            if who.hair == "long":
                wide = 0.86 + 0.025 * self.noise("hair-outline", 0.35, 2) + 0.06 * smoothstep(0.3, 1.1, y)
                shape = np.where(y < 0.1, np.hypot(x / wide, (y - 0.1) / 1.22) - 1, self.ax / wide - 1)
                strand = self.strands("hair-back", 0, -1.4, 1.0, 0.6)
            else:
                shape = np.hypot(x / 0.95, (y + 0.22) / 0.95) - 1 + 0.035 * self.noise("curl-outline", 0.11, 2)
                strand = np.tanh(self.noise("curl-back", 0.06, 2))
            tone = self._hair_tone(strand, 0.50)
            lay(out, tone, self.cover(shape * 0.9, 2))
        # ears
        ear_x = g.half_width(0.10) + 0.030
        ear = np.hypot((self.ax - ear_x) / 0.078, (y - 0.11 - 0.15 * (self.ax - ear_x)) / 0.190)
        form = (
            0.72
            + 0.34 * smoothstep(1.0, 0.72, ear)
            - 0.55 * np.exp(-0.5 * (((self.ax - ear_x - 0.010) / 0.022) ** 2 + ((y - 0.09) / 0.085) ** 2))
            + 0.10 * np.exp(-0.5 * ((ear - 0.86) / 0.08) ** 2)
        )
        side = 1 + 0.22 * np.sign(x) * np.sin(np.radians(who.light_azimuth))
        ear_tone = (
            self.skin_tone * np.array([0.84, 0.66, 0.62]) * (0.66 * form * side)[..., None] * np.asarray(who.tint)
        )
        lay(out, ear_tone, self.cover((ear - 1) * 0.078))
        # neck, then clothes
        half = 0.40 * who.jaw + 0.55 * np.clip(y - 1.02, 0, None) ** 1.6 + 0.02
        neck = np.maximum(self.ax - half, 0.55 - y)
        dome = np.sqrt(np.clip(1 - (x / (half + 0.02)) ** 2, 0, 1))
        azimuth = np.sin(np.radians(who.light_azimuth))
        lightness = 0.22 + 0.46 * dome * (1 + 0.35 * azimuth * x / 0.4)
        chin_shadow = 0.60 * smoothstep(0.22, -0.04, self.radial[2] + 0.10 * x * azimuth)
        muscle = 0.10 * pair(x, y, 0.17 + 0.1 * (1.4 - 1.2), 1.25, 0.05, 0.16)
        neck_tone = (
            self.skin_tone
            * ((lightness + muscle) * (1 - chin_shadow) * (1 + 0.03 * self.noise("neck", 0.05, 2)))[..., None]
            * np.array([1.0, 0.94, 0.92])
            * np.asarray(who.tint)
        )
        lay(out, neck_tone, self.cover(neck))
        collar = 1.17 + 0.16 * np.exp(-0.5 * (x / 0.20) ** 2) - y + 0.05 * np.clip(self.ax - 0.5, 0, None)
        fabric = (
            linear(np.asarray(who.clothes) * 255.0)
            * (0.80 * (1 + 0.06 * self.noise("cloth", 0.018)) * (0.75 + 0.25 * dome))[..., None]
        )
        lay(out, fabric, self.cover(np.maximum(collar, -10)))
        # mouth interior: dark, with the edge of the upper teeth
        m = np.maximum(self.ax / (g.mouth_half * 0.96) - 1, np.abs(y - g.mouth_y - 0.03) - 0.17)
        teeth = smoothstep(0.030, 0.020, np.abs(y - (g.lip_line(x) + 0.006))) * smoothstep(
            0.72, 0.45, self.ax / g.mouth_half
        )
        gaps = 1 - 0.25 * np.exp(-0.5 * ((np.mod(self.ax + 0.02, 0.042) - 0.021) / 0.004) ** 2)
        inside = np.array([0.050, 0.012, 0.012]) + (0.30 * teeth * gaps)[..., None] * np.array([1.0, 0.93, 0.82])
        lay(out, inside, self.cover(m))
        return out

    def background(self) -> np.ndarray:
        """The wall behind the head (n, n, 4), opaque."""
        base = linear(np.broadcast_to(np.asarray(self.who.background, np.float32), 3) * 255.0)
        vignette = (
            1.08 - 0.16 * (self.x**2 + (self.y - 0.2) ** 2) + 0.10 * np.sin(np.radians(self.who.light_azimuth)) * self.x
        )
        light = base * (vignette + 0.012 * self.noise("wall", 0.5, 2))[..., None] * np.asarray(self.who.tint)
        return rgba(light, np.ones((self.n, self.n), np.float32))
