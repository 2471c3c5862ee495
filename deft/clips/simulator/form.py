"""The form of a face and the light on it: an implicit height field -> normals -> wrapped light and a highlight
(docs/method.md#simulated-faces, point 1).
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from deft.clips.simulator import gains
from deft.clips.simulator.canvas import Canvas
from deft.clips.simulator.motion import smoothstep
from deft.clips.simulator.shapes import blob, pair


class Form(Canvas):
    """Height of the face over the image plane, and what falls on it."""

    @cached_property
    def height(self) -> np.ndarray:
        """The face as a height over the image plane, face units."""
        g, who, x, y = self.g, self.who, self.x, self.y
        rho = np.clip(self.radial[1], 0, 1)
        z = 0.80 * (1 - rho**2.5) ** 0.52
        z += 0.050 * pair(x, y, g.eye_x * 0.95, -0.20, 0.17, 0.060)  # brow ridge
        z -= 0.105 * pair(x, y, g.eye_x - 0.02, -0.02, 0.150, 0.095)  # sockets
        z += 0.050 * pair(x, y, g.eye_x, 0.0, 0.100, 0.070)  # eyeballs
        z -= 0.030 * pair(x, y, g.eye_x - 0.02, 0.125, 0.11, 0.035) * (0.4 + who.age)  # under the eyes
        z += 0.060 * pair(x, y, 0.40 * who.face_width, 0.22, 0.15, 0.13)  # cheekbones
        z -= 0.045 * pair(x, y, 0.46 * who.face_width, 0.60, 0.13, 0.17)  # hollow below them
        t = np.clip((y + 0.12) / (g.nose_y - 0.06 + 0.12), 0, 1)  # along the nose
        wide = (0.062 + 0.026 * t) * (0.6 + 0.4 * who.nose_width)
        ridge = (
            (0.040 + 0.125 * t**1.3)
            * smoothstep(-0.22, 0.0, y)
            * (1 - smoothstep(g.nose_y - 0.10, g.nose_y + 0.015, y))
        )
        z += ridge * np.exp(-0.5 * (x / wide) ** 2)
        z += 0.080 * blob(x, y, 0, g.nose_y - 0.070, 0.066 * who.nose_width, 0.056)  # tip
        z += 0.075 * pair(x, y, 0.105 * who.nose_width, g.nose_y - 0.050, 0.040, 0.045)  # wings
        z -= 0.020 * blob(x, y, 0, 0.5 * (g.nose_y + g.mouth_y) - 0.01, 0.024, 0.060)  # philtrum
        z += 0.050 * blob(x, y, 0, g.mouth_y, 0.22, 0.14)  # dental arch
        top, bottom = g.lip_edges(x)
        line = g.lip_line(x)
        inside = smoothstep(1.0, 0.75, self.ax / g.mouth_half)
        z += 0.040 * inside * np.exp(-0.5 * ((y - (0.45 * top + 0.55 * line)) / (0.030 * who.lips)) ** 2)
        z += 0.052 * inside * np.exp(-0.5 * ((y - (0.50 * bottom + 0.50 * line)) / (0.038 * who.lips)) ** 2)
        z -= 0.045 * inside * np.exp(-0.5 * ((y - line) / 0.012) ** 2)
        z -= 0.020 * pair(x, y, g.mouth_half + 0.01, g.mouth_y + 0.005, 0.030, 0.035)  # mouth corners
        z -= 0.030 * blob(x, y, 0, g.mouth_y + 0.150, 0.13, 0.030)  # fold over the chin
        z += 0.075 * blob(x, y, 0, g.chin_y - 0.13, 0.13, 0.085)
        # nasolabial fold: the cheek stands over it
        fold = self.ax - (g.nose_half + 0.03 + 0.42 * np.clip(y - (g.nose_y - 0.06), 0, 0.4))
        z += (
            (0.010 + 0.022 * who.age)
            * smoothstep(-0.02, 0.05, fold)
            * smoothstep(0.20, 0.06, fold)
            * smoothstep(g.nose_y - 0.14, g.nose_y, y)
            * smoothstep(g.mouth_y + 0.12, g.mouth_y, y)
        )
        if "gains" in who.devices:
            z += gains.relief(who, x, y)
        return z.astype(np.float32)

    def light(
        self,
        z: np.ndarray,
        box: tuple[slice, slice],
        wrap: tuple[float, float, float] = (0.42, 0.32, 0.28),
        gloss: float = 0.10,
        power: float = 18.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Height (n, n) -> irradiance (..., 3) and highlight within `box`, key light from `light_azimuth`."""
        dy, dx = (slope[box] for slope in np.gradient(z, self.pixel))
        norm = 1.0 / np.sqrt(dx**2 + dy**2 + 1.0)
        nx, ny, nz = -dx * norm, -dy * norm, norm
        a, e = np.radians(self.who.light_azimuth), np.radians(32.0)
        key = np.array([np.sin(a) * np.cos(e), -np.sin(e), np.cos(a) * np.cos(e)])
        cosine = nx * key[0] + ny * key[1] + nz * key[2]
        wrap = np.array(wrap, np.float32)
        # Red light wanders further under skin: a wider wrap for red softens the terminator as scattering does.
        diffuse = np.clip((cosine[..., None] + wrap) / (1 + wrap), 0, None) ** 1.25
        sky = 0.5 - 0.5 * ny
        ambient = (0.20 + 0.14 * sky + 0.12 * nz)[..., None] * np.array([0.97, 1.0, 1.05], np.float32)
        half = key + np.array([0, 0, 1.0])
        half /= np.linalg.norm(half)
        shine = gloss * np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1) ** power
        total = (0.86 * diffuse + ambient) * np.asarray(self.who.tint, np.float32)
        return total.astype(np.float32), shine.astype(np.float32)
