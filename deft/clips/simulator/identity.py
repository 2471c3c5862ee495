"""Who is filmed: an identity's attributes, sampled independently of each other, and the geometry they imply.

Face units (docs/method.md#simulated-faces): the origin lies between the eyes, +x right and +y down in the image; the
eyes are 0.584 units apart, and one unit is 51.28 px in a 128-px image (19.5 thousandths = 1 px)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from deft.clips.simulator import colours, gains, pull, standing
from deft.clips.simulator.devices import check
from deft.clips.simulator.person import BEARD, GLASSES, HAIR, HAIR_COLOURS, IRIS_COLOURS, Identity
from deft.runtime import rng

UNIT_PX = 1000.0 / 19.5 / 128.0  # px per face unit, per px of image size
EYE_DISTANCE = 0.584  # face units
EYE_LEVEL = 0.475  # of the image height
MARGIN = 0.90  # size of a face with the device "margin", relative to one without
# Devices that draw attributes or change them, in this order.
DRAWS = {"colours": colours.draw, "gains": gains.draw, "pull": pull.draw, "lines": standing.draw}


@lru_cache(maxsize=64)  # every clip of a person asks again
def sample_identity(index: int, seed: int = 0, size: int = 128, **overrides: object) -> Identity:
    """Draw the person `index`. Each attribute has its own random stream, so no attribute says anything about another.

    overrides: attributes of `Identity` to set instead of drawing them (a *look* is a bundle of these).
    """

    def draw(name: str) -> np.random.Generator:
        return rng(seed, f"identity/{name}", index)

    def factor(name: str, spread: float) -> float:
        return float(1.0 + spread * np.clip(draw(name).normal(), -2.0, 2.0))

    def choice(name: str, options, weights=None):
        return options[int(draw(name).choice(len(options), p=weights))]

    grey = draw("background").uniform(0.2, 0.8)
    attributes = dict(
        skin_tone=float(draw("skin_tone").beta(1.1, 1.4)),
        freckles=float(max(0.0, draw("freckles").normal(-0.1, 0.45))),
        redness=float(draw("redness").uniform(0.1, 1.0)),
        hair=choice("hair", HAIR, (0.12, 0.30, 0.22, 0.14, 0.10, 0.12)),
        hair_colour=choice("hair_colour", tuple(HAIR_COLOURS), (0.22, 0.22, 0.18, 0.12, 0.12, 0.06, 0.08)),
        brow_thickness=factor("brow_thickness", 0.22),
        brow_arch=float(draw("brow_arch").uniform(0, 1)),
        beard=choice("beard", BEARD, (0.66, 0.14, 0.06, 0.14)),
        glasses=choice("glasses", GLASSES, (0.80, 0.10, 0.10)),
        age=float(draw("age").beta(1.4, 1.8)),
        face_width=factor("face_width", 0.035),
        jaw=factor("jaw", 0.05),
        chin=factor("chin", 0.025),
        eye_spacing=factor("eye_spacing", 0.03),
        eye_size=factor("eye_size", 0.08),
        eye_tilt=float(draw("eye_tilt").normal(0.008, 0.010)),
        nose_width=factor("nose_width", 0.12),
        nose_length=factor("nose_length", 0.05),
        mouth_width=factor("mouth_width", 0.07),
        lips=factor("lips", 0.20),
        mouth_tilt=float(draw("mouth_tilt").normal(0.003, 0.007)),
        iris=int(draw("iris").choice(len(IRIS_COLOURS), p=(0.35, 0.25, 0.12, 0.16, 0.12))),
        makeup=float(max(0.0, draw("makeup").normal(0.0, 0.4))),
        background=tuple(float(v) for v in np.clip(grey + draw("background_colour").normal(0, 0.030, 3), 0.05, 0.95)),
        light_azimuth=float(draw("light_azimuth").uniform(-40, 40)),
        tint=tuple(float(v) for v in 1.0 + draw("tint").normal(0, 0.015, 3)),
        clothes=tuple(
            float(v)
            for v in np.clip(draw("clothes").uniform(0.12, 0.7) + draw("clothes_colour").normal(0, 0.09, 3), 0.04, 0.9)
        ),
    )
    attributes["devices"] = ()
    check(devices := tuple(overrides.get("devices", ())))
    for name, dress in DRAWS.items():
        if name in devices:
            attributes |= dress(attributes, draw)
    unknown = sorted(set(overrides) - set(attributes))
    if unknown:
        raise ValueError(f"unknown identity attribute {unknown[0]!r}; known: {', '.join(sorted(attributes))}")
    return Identity(index=index, seed=seed, size=size, **{**attributes, **overrides})


class Geometry:
    """Where things are on the face of an identity, in face units. All methods take the side as +1 (person's L) or -1
    (R).
    """

    def __init__(self, identity: Identity):
        self.identity = who = identity
        self.scale = UNIT_PX * who.size  # px per face unit
        if "margin" in who.devices:
            self.scale *= MARGIN
        self.centre = ((who.size - 1) / 2.0, EYE_LEVEL * who.size - 0.5)  # px of the origin
        self.eye_x = 0.5 * EYE_DISTANCE * who.eye_spacing
        self.eye_half = 0.143 * (0.5 + 0.5 * who.eye_size)
        self.eye_up, self.eye_down = 0.064 * who.eye_size, 0.038 * who.eye_size
        self.iris_radius, self.iris_y = 0.058, -0.010
        self.nose_y = 0.440 * who.nose_length  # under the septum
        self.nose_half = 0.150 * who.nose_width
        self.mouth_y = self.nose_y + 0.205
        self.mouth_half = 0.235 * who.mouth_width
        self.lip_up, self.lip_down = 0.058 * who.lips, 0.088 * who.lips
        self.chin_y = 1.05 * who.chin
        width, jaw = who.face_width, who.jaw
        # Outline as a radius over the angle (degrees, 0 = image right, 90 = down); authored from anthropometric means.
        degrees = np.array([-90, -66, -46, -23.5, 0, 24.8, 44, 62, 78, 90])
        radii = np.array(
            [
                1.03,
                0.985,
                0.900 * width,
                0.760 * width,
                0.693 * width,
                0.722 * width * jaw**0.15,
                0.790 * width * jaw**0.55,
                0.885 * jaw**0.5 * who.chin,
                0.990 * who.chin,
                self.chin_y,
            ]
        )
        angle = np.radians(np.concatenate([degrees, 180.0 - degrees[-2::-1]]))  # -90 .. 270, symmetric
        self._outline = CubicSpline(angle, np.concatenate([radii, radii[-2::-1]]), bc_type="periodic")

    # --- outlines ---
    def outline(self, angle: np.ndarray) -> np.ndarray:
        """Head radius in face units at `angle` (radians, image convention)."""
        return self._outline(np.mod(angle + np.pi / 2, 2 * np.pi) - np.pi / 2)

    def half_width(self, y: float) -> float:
        """Half the face's width at height y."""
        angles = np.linspace(-np.pi / 2, np.pi / 2, 721)
        radius = self.outline(angles)
        return float(np.interp(y, radius * np.sin(angles), radius * np.cos(angles)))

    def lids(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights of upper and lower lid margin at t in [-1 inner corner, 1 outer corner]."""
        base = 0.006 - (0.006 + self.identity.eye_tilt) * t
        inside = np.clip(1.0 - t**2, 0.0, 1.0)
        upper = base - self.eye_up * inside**0.72 * (1.0 + 0.10 * t)
        lower = base + self.eye_down * inside**0.85 * (1.0 + 0.18 * t)
        return upper, lower

    def lip_line(self, x: np.ndarray) -> np.ndarray:
        """Height y of the closed lips at x, face units."""
        u = x / self.mouth_half
        return (
            self.mouth_y
            - self.identity.mouth_tilt * np.clip(np.abs(u), 0, 1.3) ** 2
            + 0.007 * np.exp(-((x / 0.055) ** 2))
            + 0.003 * np.cos(np.pi * np.clip(u, -1, 1))
        )

    def lip_edges(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights of the vermilion's upper and lower border."""
        u = np.clip(np.abs(x) / self.mouth_half, 0, 1)
        line = self.lip_line(x)
        bow = 1.0 + 0.10 * np.exp(-(((np.abs(x) - 0.055) / 0.035) ** 2)) - 0.20 * np.exp(-((x / 0.028) ** 2))
        return line - self.lip_up * (1 - u**1.5) * bow, line + self.lip_down * (1 - u**2.2)

    def brow(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Brow at t in [0 inner, 1 outer] -> (x outward, y, thickness)."""
        arch = 0.5 + self.identity.brow_arch
        x = self.eye_x - 0.165 + 0.355 * t
        y = -0.178 - 0.050 * arch * np.sin(np.pi * np.clip(t, 0, 1) ** 1.35 * 0.93) + 0.012 * t
        thick = (
            0.052
            * self.identity.brow_thickness
            * (0.55 + 0.45 * np.sin(np.pi * np.clip(t, 0, 1) ** 0.6))
            * (1 - 0.62 * t)
        )
        return x, y, thick

    # --- frames of reference ---
    def grid(self, factor: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Face-unit coordinates of the pixel centres of the image, `factor` times supersampled -> X, Y (n, n)
        float32.
        """
        n = self.identity.size * factor
        px = (np.arange(n, dtype=np.float32) + 0.5) / factor - 0.5
        x = ((px - self.centre[0]) / self.scale).astype(np.float32)
        y = ((px - self.centre[1]) / self.scale).astype(np.float32)
        return np.broadcast_to(x[None, :], (n, n)), np.broadcast_to(y[:, None], (n, n))

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Face units (..., 2) -> px (..., 2)."""
        return np.asarray(points) * self.scale + np.array(self.centre)

    def landmarks(self) -> np.ndarray:
        """The 68 points (iBUG order) at rest: (68, 2) face units."""
        points = []
        angles = np.radians(np.linspace(180 - 2, 90, 9))  # image-left ear to chin
        jaw = [(r * np.cos(a), r * np.sin(a)) for a, r in zip(angles, self.outline(angles))]
        points += jaw + [(-x, y) for x, y in jaw[-2::-1]]
        bx, by, thick = self.brow(np.linspace(1.0, 0.02, 5))
        brow = list(zip(-bx, by - 0.15 * thick))
        points += brow + [(-x, y) for x, y in brow[::-1]]
        points += [(0.0, y) for y in np.linspace(0.02, self.nose_y - 0.085, 4)]
        points += [
            (x * self.nose_half, y)
            for x, y in (
                (-0.78, self.nose_y - 0.02),
                (-0.4, self.nose_y - 0.005),
                (0, self.nose_y + 0.008),
                (0.4, self.nose_y - 0.005),
                (0.78, self.nose_y - 0.02),
            )
        ]
        t = np.array([1.0, 0.36, -0.36, -1.0])
        upper, lower = self.lids(t)
        x = self.eye_x + self.eye_half * t
        right = [
            (-x[0], upper[0]),
            (-x[1], upper[1]),
            (-x[2], upper[2]),
            (-x[3], upper[3]),
            (-x[2], lower[2]),
            (-x[1], lower[1]),
        ]
        mirrored = [(-px, py) for px, py in right]
        points += right + [mirrored[i] for i in (3, 2, 1, 0, 5, 4)]
        m = self.mouth_half
        xs = m * np.array([-1, -0.62, -0.24, 0, 0.24, 0.62, 1])
        top, bottom = self.lip_edges(xs)
        line = self.lip_line(xs)
        points += (
            [(xs[0], line[0])]
            + list(zip(xs[1:6], top[1:6]))
            + [(xs[6], line[6])]
            + list(zip(xs[5:0:-1], bottom[5:0:-1]))
        )
        inner = m * np.array([-0.86, -0.35, 0, 0.35, 0.86])
        line = self.lip_line(inner)
        points += list(zip(inner, line - np.array([0, 0.002, 0.002, 0.002, 0]))) + list(
            zip(inner[3:0:-1], line[3:0:-1] + 0.002)
        )
        return np.array(points, dtype=np.float64)
