"""The ten furrows: where they run, how they shade the skin, and how deep they stand at rest."""

from __future__ import annotations

import cv2
import numpy as np

from deft.clips.facs import FURROWS
from deft.clips.simulator import gains
from deft.clips.simulator.canvas import Canvas
from deft.clips.simulator.motion import UNIT_FURROWS
from deft.clips.simulator.shapes import blob, pair
from deft.runtime import rng


class Furrows(Canvas):
    """Furrows of one identity, as relative changes of skin brightness."""

    def lines(self) -> dict[str, list]:
        """Polylines of the ten furrows, face units."""
        g = self.g
        draw = rng(self.who.seed, "appearance/lines", self.who.index)

        def wavy(x0, y0, x1, y1, bend=0.0, count=14, jitter=0.004):
            t = np.linspace(0, 1, count)
            nx, ny = y0 - y1, x1 - x0
            offset = bend * np.sin(np.pi * t) + jitter * np.cumsum(draw.normal(0, 0.6, count)) * np.sin(np.pi * t)
            length = max(np.hypot(nx, ny), 1e-6)
            return np.stack(
                [x0 + (x1 - x0) * t + nx / length * offset, y0 + (y1 - y0) * t + ny / length * offset], axis=1
            )

        out = {name: [] for name in FURROWS}
        for y in (-0.36, -0.43, -0.50):
            out["forehead"].append(wavy(-0.36, y + 0.02, 0.36, y + 0.02, bend=-0.02, count=24))
        for x in (-0.055, 0.050):
            out["glabella"].append(wavy(x, -0.27, 0.8 * x, -0.13, bend=0.006 * np.sign(x)))
        for y in (-0.100, -0.058):
            out["nose_root"].append(wavy(-0.085, y, 0.085, y, bend=0.014, jitter=0.002))
        out["nose_root"] += [wavy(s * 0.055, 0.02, s * 0.125, 0.13, bend=-0.01 * s, jitter=0.002) for s in (-1, 1)]
        for side, s in (("L", 1), ("R", -1)):
            x0 = g.eye_x + g.eye_half + 0.035
            for tilt in (-0.055, 0.0, 0.060):
                out[f"crowsfeet_{side}"].append(
                    wavy(s * x0, 0.3 * tilt, s * (x0 + 0.10), 1.2 * tilt + 0.01, bend=0.006 * s)
                )
            out[f"nasolabial_{side}"].append(
                wavy(
                    s * (g.nose_half + 0.015),
                    g.nose_y - 0.07,
                    s * (g.mouth_half + 0.075),
                    g.mouth_y - 0.01,
                    bend=-0.028 * s,
                    count=20,
                    jitter=0.002,
                )
            )
            out[f"corner_{side}"].append(
                wavy(
                    s * (g.mouth_half + 0.030),
                    g.mouth_y - 0.05,
                    s * (g.mouth_half + 0.035),
                    g.mouth_y + 0.075,
                    bend=-0.014 * s,
                )
            )
        for _ in range(14):
            x, y = draw.uniform(-0.12, 0.12), g.chin_y - 0.14 + draw.uniform(-0.07, 0.07)
            out["chin"].append(wavy(x - 0.018, y, x + 0.018, y + draw.normal(0, 0.010), count=8, jitter=0.001))
        out["chin"].append(wavy(-0.09, g.mouth_y + 0.155, 0.09, g.mouth_y + 0.155, bend=-0.012))
        return out

    def crease(self, lines: list, width: float) -> np.ndarray:
        """Shading of creases: a dark groove with a lit lower lip, fading at both ends. About -1 at the deepest."""
        ends = [np.asarray(line) for line in lines]
        groove = self.strokes(ends, width)
        core = [line[len(line) // 4 : -(len(line) // 4) or None] for line in ends]
        groove = 0.5 * groove + 0.5 * self.strokes(core, width)
        soft = self.blur(groove, 0.9 * width) * 2.0
        shift = np.float32([[1, 0, 0], [0, 1, 1.6 * width / self.pixel]])
        lit = cv2.warpAffine(soft, shift, (self.n, self.n))
        return -soft + 0.45 * lit

    def furrow_maps(self) -> np.ndarray:
        """(10, n, n) relative brightness change at depth 1: creases and, where a unit bunches skin up, its bulge."""
        g, x, y = self.g, self.x, self.y
        lines = self.lines()
        width = {"nasolabial_L": 0.020, "nasolabial_R": 0.020, "chin": 0.013}
        strength = {"chin": 0.16, "nose_root": 0.22, "glabella": 0.26}
        maps = np.stack(
            [strength.get(name, 0.30) * self.crease(lines[name], width.get(name, 0.014)) for name in FURROWS]
        )
        for s, side in ((1, "L"), (-1, "R")):
            maps[FURROWS.index(f"crowsfeet_{side}")] += 0.09 * blob(s * x, y, 0.36, 0.17, 0.10, 0.05) - 0.12 * blob(
                s * x, y, g.eye_x, 0.095, 0.11, 0.020
            )
            maps[FURROWS.index(f"nasolabial_{side}")] += 0.08 * blob(
                s * x, y, g.nose_half + 0.14, g.nose_y - 0.02, 0.07, 0.07
            )
            maps[FURROWS.index(f"corner_{side}")] += 0.06 * blob(
                s * x, y, g.mouth_half + 0.09, g.mouth_y + 0.01, 0.04, 0.06
            )
        maps[FURROWS.index("glabella")] += 0.07 * pair(x, y, 0.10, -0.20, 0.035, 0.050)
        maps[FURROWS.index("chin")] += 0.07 * blob(x, y, 0, g.chin_y - 0.14, 0.09, 0.05)
        return maps.astype(np.float32)

    @property
    def standing(self) -> np.ndarray:
        """How deep the ten furrows stand at rest, (10,): by age, or by what folds deeper, and lines of one's own."""
        who = self.who
        usual = np.array([0.45, 0.35, 0.6, 0.6, 0.3, 1.0, 1.0, 0.45, 0.45, 0.25])
        aged = 0.40 * gains.standing(who, UNIT_FURROWS) if "gains" in who.devices else 0.15 + 0.95 * who.age
        return aged * usual + np.array(who.standing) if who.standing else aged * usual
