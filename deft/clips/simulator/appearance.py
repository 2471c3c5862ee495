"""What a face looks like at rest: the layers of one identity, drawn once, 2x supersampled.

An implicit height field -> normals -> wrapped light, ambient occlusion, highlights, over a procedural albedo
(docs/method.md#simulated-faces, point 1). Noise lives on a lattice of fixed size, so an identity keeps its texture at
every resolution.
Colours are lit in linear light and stored as premultiplied RGBA, sRGB, 0..255 float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

from deft.clips.facs import FURROWS
from deft.clips.simulator import colours, cues, gains, pose
from deft.clips.simulator.identity import Geometry
from deft.clips.simulator.motion import UNIT_FURROWS, Fields, smoothstep
from deft.clips.simulator.person import HAIR_COLOURS, IRIS_COLOURS, SKIN_TONES, Identity
from deft.clips.simulator.shapes import blob, box_of, pair
from deft.runtime import rng

SUPER = 2  # supersampling
LENS_SIGMA = 0.42  # px of the image
# Whose surface is seen at a pixel. SKIN is split into sheets only where the mouth can open.
BACKGROUND, UNDER, EYES, SKIN_UPPER, SKIN_LOWER, FRONT = range(6)
LATTICE = 512  # cells of the noise lattice per side, whatever the resolution


def linear(rgb: ArrayLike) -> np.ndarray:
    """sRGB 0..255 -> linear 0..1 (a plain power is close enough for a drawing)."""
    return (np.asarray(rgb, np.float32) / 255.0) ** 2.2


def display(light: np.ndarray) -> np.ndarray:
    """Linear -> sRGB 0..255, with a soft shoulder so that highlights do not burn out."""
    light = np.maximum(light, 0.0)
    bright = light > 0.7
    light[bright] = 0.7 + 0.3 * (1 - np.exp(-(light[bright] - 0.7) / 0.3))
    return 255.0 * np.minimum(light, 1.0) ** (1 / 2.2)


def _rows(row: np.ndarray) -> int:
    """How many rows of the noise lattice are read by sampling it at `row`."""
    return min(LATTICE, int(row.max()) + 3)


def blend(picture: np.ndarray, share: np.ndarray, colour: np.ndarray) -> None:
    """Move `picture` (n, n, 3) by `share` (n, n) towards `colour` (3,), in place and only where the share is not 0."""
    box = box_of(share)
    picture[box] += share[box][..., None] * (colour - picture[box])


def lay(bottom: np.ndarray, light: np.ndarray, alpha: np.ndarray) -> None:
    """Lay linear `light` (n, n, 3) with coverage `alpha` (n, n) over the RGBA layer `bottom`, in place."""
    box = box_of(alpha)
    bottom[box] = over(rgba(light[box], alpha[box]), bottom[box])


@dataclass(frozen=True)
class Layers:
    """Drawn layers of one identity. n = SUPER * size; all RGBA are premultiplied float32 0..255 with alpha 0..1."""

    background: np.ndarray  # (n, n, 4), opaque, does not move with the head
    under: np.ndarray  # (n, n, 4): hair behind, neck, ears, mouth interior; opened eyes are painted on top of it
    eyes: np.ndarray  # (n, n, 4): sclera and corners
    iris: np.ndarray  # (n, n, 4): iris, pupil
    gloss: np.ndarray  # (n, n, 4): catchlight and the lids' shadow, over the iris
    lid: np.ndarray  # (n, n, 3): skin of a closing lid, over the eyes alone
    lid_height: np.ndarray  # (n, n): 0 at the upper lid margin, 1 at the lower, < 0 or > 1 outside the eye
    sheets: np.ndarray  # (2, n, n, 4): skin above and below the lip line, with holes for the eyes
    front: np.ndarray  # (n, n, 4): hair in front, glasses
    furrows: np.ndarray  # (10, n, n): relative change of skin brightness at depth 1
    cut: np.ndarray  # (size, size): 1 near the lip line inside the mouth, at 1x
    cues: tuple[cues.Cue, ...] = ()
    relief: np.ndarray | None = None  # (size, size): height over the eyes in px, where the head may turn

    @cached_property
    def skin_cover(self) -> np.ndarray:
        """Coverage by skin of either sheet, (n, n)."""
        return np.maximum(self.sheets[0, ..., 3], self.sheets[1, ..., 3])

    @cached_property
    def boxes(self) -> dict[int, np.ndarray]:
        """By surface, farthest first: the box ((left, top), (right, bottom)) in px outside which its layer is empty.

        The end is excluded, a px of margin included. UNDER has the eyes painted on it. A layer that is empty everywhere
        has no box.
        """
        upper, lower = self.sheets
        shown = {UNDER: np.maximum(self.under, self.eyes), SKIN_LOWER: lower, SKIN_UPPER: upper, FRONT: self.front}
        found = {}
        for surface, layer in shown.items():
            rows, columns = box_of((layer != 0).any(-1))
            if rows.stop:
                found[surface] = np.clip(
                    [(columns.start - 1, rows.start - 1), (columns.stop + 1, rows.stop + 1)], 0, len(layer)
                )
        return found


class Painter:
    """Draws `Layers` for one identity; the methods share the grid and the fields that several of them need."""

    def __init__(self, identity: Identity, geometry: Geometry, window: tuple[slice, slice] = np.s_[:, :]):
        """window: rows and columns of the picture that are painted. Noise, blurs and strokes need the whole picture."""
        self.who, self.g = identity, geometry
        self.n = identity.size * SUPER
        self.x, self.y = (axis[window] for axis in geometry.grid(SUPER))
        self.pixel = 1.0 / (geometry.scale * SUPER)  # face units per supersampled px
        self.ax = np.abs(self.x)

    # --- helpers ---
    def cover(self, distance: np.ndarray, soft: float = 1.0) -> np.ndarray:
        """Signed distance in face units (negative inside) -> coverage 0..1."""
        return np.clip(0.5 - distance / (soft * max(self.pixel, 0.006)), 0.0, 1.0)

    def noise(self, what: str, cell: float, octaves: int = 1, rough: float = 0.5) -> np.ndarray:
        """Smooth noise, unit variance; `cell` in face units is the size of the coarsest grain."""
        draw = rng(self.who.seed, f"appearance/{what}", self.who.index)
        out, gain, power = np.zeros((self.n, self.n), np.float32), 1.0, 0.0
        for octave in range(octaves):
            step = cell / 2**octave
            column = ((self.x[0] + 1.3) / step).astype(np.float32) % LATTICE
            row = ((self.y[:, 0] + 1.3) / step).astype(np.float32) % LATTICE
            # The last octave's stream ends here: rows that nobody reads are not drawn.
            grid = draw.standard_normal((_rows(row) if octave == octaves - 1 else LATTICE, LATTICE), dtype=np.float32)
            mx, my = np.meshgrid(column, row)
            # A grain finer than a pixel must fade instead of aliasing.
            fade = min(1.0, step / self.pixel)
            out += gain * fade * cv2.remap(grid, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            power += gain**2
            gain *= rough
        return out / (np.sqrt(power) * 0.67)

    def strands(self, what: str, cx: float, cy: float, across: float, along: float) -> np.ndarray:
        """Noise drawn out along rays from (cx, cy): hair."""
        draw = rng(self.who.seed, f"appearance/{what}", self.who.index)
        dx, dy = self.x - cx, self.y - cy
        mx = ((np.arctan2(dx, dy) / (2 * np.pi) + 0.5) * (LATTICE - 1) * across).astype(np.float32) % (LATTICE - 1)
        far = np.hypot(dx, dy)
        my = (far / along + 20).astype(np.float32) % (LATTICE - 1)
        grid = draw.standard_normal((_rows(my), LATTICE), dtype=np.float32)
        # Rays crowd at their centre: strands finer than a pixel fade instead of aliasing.
        fine = np.clip(far * 2 * np.pi / (LATTICE * across) / (1.5 * self.pixel), 0, 1)
        return fine * cv2.remap(grid, mx, my, cv2.INTER_LINEAR) / 0.67

    def strokes(self, lines: list, width: float) -> np.ndarray:
        """Polylines in face units -> coverage 0..1 (n, n). `width` in face units."""
        canvas = np.zeros((self.n, self.n), np.uint8)
        half = 0.5 * (SUPER - 1)
        points = np.rint((self.g.pixels(np.concatenate(lines)) * SUPER + half) * 16).astype(np.int32)
        paths = np.split(points, np.cumsum([len(line) for line in lines])[:-1])
        thick = width / self.pixel
        # Thinner than a pixel is drawn as a paler pixel.
        cv2.polylines(canvas, paths, False, int(255 * min(1.0, thick)), max(1, int(round(thick))), cv2.LINE_AA, 4)
        return canvas.astype(np.float32) / 255.0

    def blur(self, image: np.ndarray, sigma: float) -> np.ndarray:
        """Gaussian blur of a picture (n, n[, C]); sigma in face units."""
        return cv2.GaussianBlur(image, (0, 0), max(sigma / self.pixel, 0.3), borderType=cv2.BORDER_REPLICATE)

    # --- form ---
    @cached_property
    def radial(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(angle, distance from the origin over the outline's radius, signed distance to the outline)."""
        angle = np.arctan2(self.y, self.x)
        table = np.linspace(-np.pi, np.pi, 1441)
        outline = np.interp(angle, table, self.g.outline(table)).astype(np.float32)
        r = np.hypot(self.x, self.y)
        return angle, r / outline, (r - outline) * 0.97

    @cached_property
    def head(self) -> np.ndarray:
        """Coverage of the picture by the head without ears and hair, 0..1 (n, n)."""
        return self.cover(self.radial[2], 1.4)

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

    # --- skin ---
    @cached_property
    def skin_tone(self) -> np.ndarray:
        """Colour of the skin, linear RGB (3,)."""
        position = np.clip(self.who.skin_tone, 0, 1) * (len(SKIN_TONES) - 1)
        low = min(int(position), len(SKIN_TONES) - 2)
        tones = linear(SKIN_TONES)
        return tones[low] + (position - low) * (tones[low + 1] - tones[low])

    @cached_property
    def hair_rgb(self) -> np.ndarray:
        """Colour of the hair, linear RGB (3,)."""
        return linear(HAIR_COLOURS[self.who.hair_colour])

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

    def skin(self) -> tuple[np.ndarray, np.ndarray]:
        """-> (lit skin in linear light (n, n, 3), black far from the head; furrow maps (10, n, n))."""
        g, who = self.g, self.who
        far = int(np.ceil(0.22 / self.pixel)) + 5  # px around the eyes from where a closing lid takes its colour
        head = box_of(np.maximum(self.head, cv2.dilate(self.eye_patch, np.ones((2 * far + 1, 2 * far + 1), np.uint8))))
        part = Painter(who, g, head)  # light and colours are put together where the head is
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

    @property
    def standing(self) -> np.ndarray:
        """How deep the ten furrows stand at rest, (10,): by age, or by what folds deeper, and lines of one's own."""
        who = self.who
        usual = np.array([0.45, 0.35, 0.6, 0.6, 0.3, 1.0, 1.0, 0.45, 0.45, 0.25])
        aged = 0.40 * gains.standing(who, UNIT_FURROWS) if "gains" in who.devices else 0.15 + 0.95 * who.age
        return aged * usual + np.array(who.standing) if who.standing else aged * usual

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

    # --- eyes ---
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
        out[:, *box] = Painter(self.who, self.g, box)._eyes()
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

    # --- behind ---
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

    # --- in front ---
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

    def background(self) -> np.ndarray:
        """The wall behind the head (n, n, 4), opaque."""
        base = linear(np.broadcast_to(np.asarray(self.who.background, np.float32), 3) * 255.0)
        vignette = (
            1.08 - 0.16 * (self.x**2 + (self.y - 0.2) ** 2) + 0.10 * np.sin(np.radians(self.who.light_azimuth)) * self.x
        )
        light = base * (vignette + 0.012 * self.noise("wall", 0.5, 2))[..., None] * np.asarray(self.who.tint)
        return rgba(light, np.ones((self.n, self.n), np.float32))

    # --- all together ---
    def paint(self) -> Layers:
        """All layers of the identity."""
        g = self.g
        lit, furrows = self.skin()
        painted = cues.paint(self, lit)
        front, shadow = self.front()
        cast, head = box_of(shadow), self.head
        lit[cast] = lit[cast] * (1 - shadow[cast])[..., None] + lit[cast] * shadow[cast][..., None] * np.array(
            [0.40, 0.34, 0.34]
        )
        below = self.y - g.lip_line(self.x)
        reach = smoothstep(
            0.75, 1.0, self.ax / g.mouth_half
        )  # beyond the corners both sheets overlap, so that no seam shows
        alpha_upper = head * self.cover(below) * (1 - self.eye_hole)
        # The lower sheet starts a little above the line, dark: the inner side of the lower lip.
        alpha_lower = head * self.cover(-(below + 0.010 + 0.10 * reach))
        # A closing lid shows smooth skin like that between eye and brow, rounded by the eyeball.
        above = self.blur(lit.astype(np.float32), 0.03)[
            np.clip((np.arange(self.n) - 0.095 / self.pixel).astype(int), 0, None)
        ]
        sclera, iris, gloss = (lens(layer) for layer in self.eyes())
        lid = rgba(
            above * (0.80 + 0.22 * pair(self.x, self.y, g.eye_x, -0.01, 0.09, 0.045))[..., None], sclera[..., 3] != 0
        )[..., :3]
        fields = Fields(g)
        x1, y1 = g.grid()
        cut = (fields.cut(x1) > 0) & (np.abs(y1 - g.lip_line(x1)) < 0.10)
        skin = rgba(lit, head != 0)
        sheets = np.stack(
            [lens(np.dstack([skin[..., :3] * a[..., None], a]).astype(np.float32)) for a in (alpha_upper, alpha_lower)]
        )
        return Layers(
            background=self.background(),
            under=lens(self.under()),
            eyes=sclera,
            iris=iris,
            gloss=gloss,
            lid=lid,
            lid_height=self.eye_height,
            sheets=sheets,
            front=lens(front),
            furrows=furrows,
            cut=cut,
            cues=painted,
            relief=self.relief() if "pose" in self.who.devices else None,
        )

    def relief(self) -> np.ndarray:
        """Height over the eyes in px, (size, size): what a turn of the head shifts."""
        height = pose.relief(self.blur(self.height, 0.03), self.y, self.eye_hole > 0.5)
        size = self.who.size
        return self.g.scale * cv2.resize(height, (size, size), interpolation=cv2.INTER_AREA)


def rgba(light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Linear light (n, n, 3) and coverage (n, n) -> premultiplied sRGB RGBA float32."""
    out, box = np.zeros((*alpha.shape, 4), np.float32), box_of(alpha)
    out[box] = np.dstack([display(light[box]) * alpha[box][..., None], alpha[box]])
    return out


def lens(layer: np.ndarray) -> np.ndarray:
    """The blur of a good lens on a premultiplied layer. Texture finer than a pixel would alias, and no flow explains
    aliasing.
    """
    return cv2.GaussianBlur(layer, (0, 0), LENS_SIGMA * SUPER)


def over(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Premultiplied `top` over `bottom`, both (..., 4)."""
    return top + bottom * (1.0 - top[..., 3:])


@dataclass(frozen=True)
class Face:
    """An identity ready to be filmed."""

    identity: Identity
    geometry: Geometry
    layers: Layers
    fields: Fields


@lru_cache(maxsize=3)  # about 20 MB each at 128 px; clips of one subject come in a row
def face_of(identity: Identity) -> Face:
    """The layers, geometry and displacement fields of an identity; the last three asked for are kept."""
    cv2.setNumThreads(1)
    geometry = Geometry(identity)
    return Face(identity, geometry, Painter(identity, geometry).paint(), Fields(geometry))
