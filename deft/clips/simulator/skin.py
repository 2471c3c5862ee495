"""Skin with what grows and lies on it: albedo, lips, brows, beard, freckles, lit with soft shadows."""

from __future__ import annotations

import cv2
import numpy as np

from deft.clips.simulator.canvas import SUPER, blend
from deft.clips.simulator.eyes import Eyes
from deft.clips.simulator.form import Form
from deft.clips.simulator.furrows import Furrows
from deft.clips.simulator.motion import smoothstep
from deft.clips.simulator.shapes import blob, box_of, pair
from deft.runtime import rng


class Skin(Form, Eyes, Furrows):
    """The skin of one identity, eyes still closed over."""

    def albedo(self, mottle: np.ndarray, spots: np.ndarray) -> np.ndarray:
        """Skin colour in linear light (..., 3), eyes still closed over.

        mottle: relative change of lightness; spots: coverage by freckles.
        """
        g, who, x, y = self.g, self.who, self.x, self.y
        tone = np.broadcast_to(self.skin_tone, (*x.shape, 3)).copy()
        tone *= (1 + mottle)[..., None]
        red = who.redness * (
            0.8 * pair(x, y, 0.36, 0.28, 0.14, 0.12)
            + 0.7 * blob(x, y, 0, g.nose_y - 0.06, 0.10, 0.07)
            + 0.25 * blob(x, y, 0, g.chin_y - 0.1, 0.15, 0.08)
        )
        tone *= 1 - red[..., None] * np.array([0.02, 0.20, 0.18], np.float32)
        dark = 0.26 * pair(x, y, g.eye_x, 0.0, 0.15, 0.075) + 0.16 * pair(x, y, g.eye_x - 0.04, 0.10, 0.10, 0.035) * (
            0.5 + who.age
        )
        tone *= 1 - dark[..., None] * np.array([0.75, 1.0, 0.85], np.float32)
        tone *= 1 - np.clip(spots, 0, 0.6)[..., None] * np.array([0.42, 0.62, 0.75], np.float32)
        return tone

    def freckles(self) -> np.ndarray:
        """Coverage of the skin by freckles (n, n)."""
        who, spots = self.who, np.zeros((self.n, self.n), np.float32)
        if who.freckles > 0.02:
            draw = rng(who.seed, "appearance/freckles", who.index)
            count = int(260 * min(who.freckles, 1.0))
            px, py = draw.normal(0, 0.30, count), draw.normal(0.20, 0.16, count)
            for cx, cy, r, strength in zip(px, py, draw.uniform(0.005, 0.013, count), draw.uniform(0.25, 0.7, count)):
                self._add_spot(spots, cx, cy, r, strength)
        return spots

    def _add_spot(self, canvas: np.ndarray, cx: float, cy: float, r: float, strength: float) -> None:
        """Add a Gaussian spot in place, only where it is not zero."""
        col, row = self.g.pixels(np.array([cx, cy])) * SUPER + 0.5 * (SUPER - 1)
        reach = int(np.ceil(3 * max(r / self.pixel, 0.5)))
        r0, r1, c0, c1 = max(0, int(row) - reach), int(row) + reach + 1, max(0, int(col) - reach), int(col) + reach + 1
        canvas[r0:r1, c0:c1] += (
            strength
            * min(1.0, r / (0.5 * self.pixel)) ** 2
            * blob(self.x[r0:r1, c0:c1], self.y[r0:r1, c0:c1], cx, cy, max(r, 0.5 * self.pixel))
        )

    def lips_mask(self) -> tuple[np.ndarray, np.ndarray]:
        """(vermilion coverage, distance below the lip line in face units)."""
        top, bottom = self.g.lip_edges(self.x)
        inside = np.maximum(np.maximum(top - self.y, self.y - bottom), self.ax - 0.985 * self.g.mouth_half)
        return np.clip(0.5 - inside / 0.022, 0, 1) ** 1.2, self.y - self.g.lip_line(self.x)

    def brows(self) -> np.ndarray:
        """Hair strokes of both brows -> coverage."""
        draw = rng(self.who.seed, "appearance/brows", self.who.index)
        hairs = int(150 * self.who.brow_thickness)
        drawn = [
            (draw.uniform(0, 1), draw.uniform(-0.5, 0.5), draw.normal(0, 9), draw.uniform(0.045, 0.075))
            for _ in range(2 * hairs)
        ]
        t, across, tilt, long = np.array(drawn).reshape(-1, 4).T
        x, y, thick = self.g.brow(t)
        y = y + thick * across
        lean = np.radians(-78 + 75 * np.minimum(1.0, t * 1.6) + tilt)  # inner hairs stand up, outer ones lie flat
        end_x, end_y = x + long * np.cos(lean), y + long * np.sin(lean) * 0.6 + 0.02 * np.maximum(0.0, t - 0.5)
        side = np.repeat([-1, 1], hairs)
        return self.strokes(np.stack([side * x, y, side * end_x, end_y], axis=1).reshape(-1, 2, 2), 0.008)

    def beard_cover(self) -> np.ndarray:
        """Coverage of the skin by beard, 0..1 (n, n)."""
        g, y = self.g, self.y
        if self.who.beard == "none":
            return np.zeros((self.n, self.n), np.float32)
        jawline = smoothstep(
            g.nose_y + 0.10, g.mouth_y + 0.10, y + 0.9 * np.clip(self.ax - 0.36, 0, None)
        ) * smoothstep(0.02, 0.16, y)
        bare_cheek = blob(self.ax, y, 0.26, g.nose_y + 0.08, 0.13, 0.15)
        lips, _ = self.lips_mask()
        lip_clear = 1 - np.clip(self.blur(lips, 0.012) * 1.5, 0, 1)
        moustache = (
            smoothstep(g.nose_y + 0.02, g.nose_y + 0.07, y)
            * smoothstep(g.mouth_half + 0.07, g.mouth_half - 0.02, self.ax)
            * (y < g.mouth_y + 0.05)
        )
        beard = np.clip(jawline - 1.1 * bare_cheek, 0, 1)
        area = moustache if self.who.beard == "moustache" else np.maximum(beard, 0.9 * moustache)
        return (area * lip_clear).astype(np.float32)

    def skin(self) -> tuple[np.ndarray, np.ndarray]:
        """-> (lit skin in linear light (n, n, 3), black far from the head; furrow maps (10, n, n))."""
        g, who = self.g, self.who
        far = int(np.ceil(0.22 / self.pixel)) + 5  # px around the eyes from where a closing lid takes its colour
        head = box_of(np.maximum(self.head, cv2.dilate(self.eye_patch, np.ones((2 * far + 1, 2 * far + 1), np.uint8))))
        part = type(self)(who, g, head)  # light and colours are put together where the head is
        x, y = part.x, part.y
        thick = who.thickness if "gains" in who.devices else 0.5  # coarse pores and shine are what thick skin shows
        mottle = 0.035 * self.noise("mottle", 0.16, 3) + 0.040 * (0.4 + 1.2 * thick) * self.noise(
            "pores", 0.022, 2, 0.8
        )
        albedo = part.albedo(mottle[head], self.freckles()[head])
        # lips
        lips, below = part.lips_mask()
        lip_tone = self.skin_tone * np.array([0.88, 0.50, 0.54]) * 0.86 + 0.06 * np.array([0.5, 0.08, 0.14])
        lip_tone = lip_tone * (1 - 0.5 * min(who.makeup, 1)) + 0.5 * min(who.makeup, 1) * np.array([0.42, 0.06, 0.08])
        grooves = 1 + 0.07 * self.strands("lips", 0.0, g.mouth_y + 0.9, 8.0, 0.5)[head] * lips
        upper_lip_dark = np.where(below < 0, 0.82, 1.0)
        box = box_of(lips)
        albedo[box] += (
            lips[box][..., None] * (lip_tone * (grooves * upper_lip_dark)[box][..., None] - albedo[box]) * 0.85
        )
        # beard, brows
        hair = self.hair_rgb if who.hair_colour != "blond" else 0.7 * self.hair_rgb
        beard = self.beard_cover()
        if who.beard != "none":
            grain = np.clip(
                0.80 + 0.24 * self.noise("beard", 0.014) + 0.22 * self.strands("beard-strands", 0, -0.2, 1.4, 0.05),
                0,
                1,
            )
            strength = {"stubble": 0.34, "moustache": 0.86, "full": 0.88}[who.beard]
            blend(albedo, (strength * beard * grain)[head], hair * 0.9)
        brows = self.brows()
        soft = self.blur(brows, 0.02)
        blend(albedo, np.clip(0.80 * brows + 0.35 * soft, 0, 0.92)[head], hair * 0.8)
        # form
        z = self.height + (0.03 * beard * (who.beard == "full")).astype(np.float32)
        z = z + 0.0009 * self.noise("relief", 0.03, 2, 0.7)
        irradiance, shine = self.light(z, head, gloss=0.10 * (0.6 + 0.8 * thick))
        z, near, far = z[head], self.blur(z, 0.035)[head], self.blur(z, 0.12)[head]
        occlusion = np.clip(1 - 5.0 * np.clip(near - z, 0, None) - 2.4 * np.clip(far - z, 0, None), 0.35, 1)
        oily = 0.6 + 0.9 * (
            blob(x, y, 0, -0.42, 0.25, 0.15)
            + blob(x, y, 0, g.nose_y - 0.1, 0.06, 0.16)
            + 0.7 * pair(x, y, 0.36, 0.17, 0.12, 0.08)
            + 1.2 * lips * (below > 0.02)
        )
        lit = albedo * irradiance * occlusion[..., None] + (0.55 * shine * oily * (1 - 0.7 * beard[head]))[
            ..., None
        ] * np.asarray(who.tint)
        # soft shadows: of the nose, of the hair, along the lip line, nostrils
        a = np.sin(np.radians(who.light_azimuth))
        shadow = 0.30 * blob(x, y, -0.10 * a, g.nose_y + 0.035, 0.11, 0.030) + 0.22 * abs(a) * blob(
            x, y, -0.17 * np.sign(a), g.nose_y - 0.08, 0.06, 0.12
        )
        shadow += 0.26 * blob(x, y, 0, g.mouth_y + g.lip_down + 0.035, 0.13, 0.022)
        lit *= (1 - shadow)[..., None] * np.array([1, 1, 1]) + shadow[..., None] * self.skin_tone * 0.25
        nostril = self.cover(np.hypot((part.ax - 0.062 * who.nose_width) / 1.55, y - (g.nose_y - 0.012)) - 0.0185, 2.2)
        wing = self.crease(
            [
                [
                    (s * (g.nose_half * 0.98), g.nose_y - 0.11),
                    (s * (g.nose_half + 0.012), g.nose_y - 0.06),
                    (s * (g.nose_half * 0.93), g.nose_y - 0.012),
                ]
                for s in (-1, 1)
            ],
            0.016,
        )
        lit *= (1 + 0.34 * wing[head])[..., None]
        blend(lit, 0.82 * nostril, self.skin_tone * np.array([0.10, 0.055, 0.05]))
        line = np.exp(-0.5 * (below / 0.0105) ** 2) * smoothstep(1.03, 0.86, part.ax / g.mouth_half)
        blend(lit, 0.78 * line, self.skin_tone * np.array([0.16, 0.06, 0.06]))
        corner = pair(x, y, g.mouth_half * 0.99, float(g.lip_line(np.float64(g.mouth_half))), 0.020, 0.014)
        lit *= (1 - 0.45 * corner)[..., None]
        lit *= 1 - np.clip(self._eye_lines()[head], 0, 0.94)[..., None] * np.array([0.93, 0.97, 0.97])
        furrows = self.furrow_maps()
        depth = 0.8 * self.standing
        lit *= np.clip(1 + np.tensordot(depth, furrows, 1)[head], 0.3, 1.5)[..., None]
        out = np.zeros((self.n, self.n, 3), lit.dtype)
        out[head] = lit
        return out, furrows
