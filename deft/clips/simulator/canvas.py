"""What a face is painted on: a grid in face units over the picture, noise and strokes on it, and layers of light.

Noise lives on a lattice of fixed size, so an identity keeps its texture at every resolution. Colours are lit in linear
light and stored as premultiplied RGBA, sRGB, 0..255 float32.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike

from deft.clips.simulator.identity import Geometry
from deft.clips.simulator.person import HAIR_COLOURS, SKIN_TONES, Identity
from deft.clips.simulator.shapes import box_of
from deft.runtime import rng

SUPER = 2  # supersampling
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


def rgba(light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Linear light (n, n, 3) and coverage (n, n) -> premultiplied sRGB RGBA float32."""
    out, box = np.zeros((*alpha.shape, 4), np.float32), box_of(alpha)
    out[box] = np.dstack([display(light[box]) * alpha[box][..., None], alpha[box]])
    return out


def over(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Premultiplied `top` over `bottom`, both (..., 4)."""
    return top + bottom * (1.0 - top[..., 3:])


def blend(picture: np.ndarray, share: np.ndarray, colour: np.ndarray) -> None:
    """Move `picture` (n, n, 3) by `share` (n, n) towards `colour` (3,), in place and only where the share is not 0."""
    box = box_of(share)
    picture[box] += share[box][..., None] * (colour - picture[box])


def lay(bottom: np.ndarray, light: np.ndarray, alpha: np.ndarray) -> None:
    """Lay linear `light` (n, n, 3) with coverage `alpha` (n, n) over the RGBA layer `bottom`, in place."""
    box = box_of(alpha)
    bottom[box] = over(rgba(light[box], alpha[box]), bottom[box])


class Canvas:
    """The picture of one identity, 2x supersampled, n = SUPER * size: what its painters share."""

    def __init__(self, identity: Identity, geometry: Geometry, window: tuple[slice, slice] = np.s_[:, :]):
        """window: rows and columns of the picture that are painted. Noise, blurs and strokes need the whole picture."""
        self.who, self.g = identity, geometry
        self.n = identity.size * SUPER
        self.x, self.y = (axis[window] for axis in geometry.grid(SUPER))
        self.pixel = 1.0 / (geometry.scale * SUPER)  # face units per supersampled px
        self.ax = np.abs(self.x)

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


def _rows(row: np.ndarray) -> int:
    """How many rows of the noise lattice are read by sampling it at `row`."""
    return min(LATTICE, int(row.max()) + 3)
