"""What FACS scores and no displacement shows: how eyes, lips, mouth and chin change their brightness and colour.

The scoring texts name them beside the movement: exposed sclera (5), the bulge of the lower lid and a narrow eye (7), a
dimple beyond the corner (14), the boss of the chin and the fold above it (17), lips that lose their red, roll in
and bulge the skin around them (23, 24), the dark of the mouth and the teeth in it (25, 26). A cue is a map over the
resting face, the relative change of display colour at full amount; it moves along with skin or eyes as furrows do. The
amounts at full strength are set by eye, and scaled once by the information targets (docs/method.md#sim-v2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deft.clips.facs import SIDES, UNIT_INDEX
from deft.clips.simulator import gains
from deft.clips.simulator.motion import smoothstep
from deft.clips.simulator.person import Identity
from deft.clips.simulator.shapes import blob, box_of
from deft.clips.simulator.skin import Skin

CUES = (
    *("sclera_L", "sclera_R", "lower_lid_L", "lower_lid_R", "dimple_L", "dimple_R"),
    *("lip_red", "lip_bulge", "mouth_dark", "teeth", "chin_boss"),
)
# unit -> (cue, amount at strength 1); "_" stands for the side that moves, a cue of both sides takes their mean.
UNIT_CUES = {
    5: (("sclera_", 1.0),),
    7: (("lower_lid_", 1.2), ("sclera_", -0.4)),
    14: (("dimple_", 0.7),),
    17: (("chin_boss", 0.8), ("lip_bulge", 0.2)),
    23: (("lip_red", 0.8), ("lip_bulge", 0.7)),
    24: (("lip_red", 0.8), ("lip_bulge", 0.6)),
    25: (("mouth_dark", 0.7), ("teeth", 0.4)),
    26: (("mouth_dark", 0.5), ("teeth", 0.6)),
}
FOLDED = ("lower_lid_", "dimple_", "lip_bulge", "chin_boss")  # bunched skin: follows the gain of folding
SKIN, EYES = "skin", "eyes"


@dataclass(frozen=True)
class Cue:
    """One map: `change` (h, w, 3) float32 within `box` of the supersampled layer, at amount 1."""

    name: str
    layer: str  # SKIN or EYES
    box: tuple[slice, slice]
    change: np.ndarray


def amounts(identity: Identity, intensities: np.ndarray) -> np.ndarray:
    """(T, 17, 2) strengths -> (T, 11) amounts of `CUES`, -1..1; zeros without the device."""
    found = np.zeros((len(intensities), len(CUES)), np.float32)
    if "cues" not in identity.devices:
        return found
    fold = gains.of(identity)[1]
    for unit, rows in UNIT_CUES.items():
        strength = intensities[:, UNIT_INDEX[unit]]  # (T, 2)
        for name, weight in rows:
            shown = weight * strength * (fold[UNIT_INDEX[unit]] if name in FOLDED else 1.0)
            if name.endswith("_"):
                for s, side in enumerate(SIDES):
                    found[:, CUES.index(name + side)] += shown[:, s]
            else:
                found[:, CUES.index(name)] += shown.mean(axis=1)
    return np.clip(found, -1.0, 1.0)


def shade(layer: np.ndarray, cues: tuple[Cue, ...], which: str, amount: np.ndarray) -> None:
    """Multiply the colours of `layer` (n, n, 4) by what the cues of the layer `which` do, in place."""
    for cue in cues:
        depth = amount[CUES.index(cue.name)]
        if cue.layer == which and abs(depth) > 1e-3:
            layer[cue.box][..., :3] *= np.maximum(1.0 + depth * cue.change, 0.0)


def paint(painter: Skin, lit: np.ndarray) -> tuple[Cue, ...]:
    """The maps of a person; lit: the resting skin in linear light (n, n, 3). None without the device."""
    if "cues" not in painter.who.devices:
        return ()
    gray = {**_lids(painter), **_chin(painter), **_mouth(painter)}
    maps = {key: np.repeat(change[..., None], 3, axis=2) for key, change in gray.items()}
    maps["lip_red", SKIN] = _red(painter, lit)
    return tuple(
        Cue(name, layer, box, np.ascontiguousarray(change[box], np.float32))
        for (name, layer), change in maps.items()
        for box in [box_of((np.abs(change) > 0.004).any(-1))]
    )


def _lids(p: Skin) -> dict[tuple[str, str], np.ndarray]:
    g, v, maps = p.g, p.eye_height, {}
    upper, lower = g.lids(np.clip((p.ax - g.eye_x) / g.eye_half, -1, 1))
    across = np.exp(-0.5 * ((p.ax - g.eye_x) / (0.62 * g.eye_half)) ** 4)
    near = np.abs(p.ax - g.eye_x) < 1.5 * g.eye_half
    inside = (v > -0.6) & (v < 1.6)
    for side, s in zip(SIDES, (1, -1)):
        here = (s * p.x > 0) & near
        # The raised lid takes its shadow along: sclera above the iris, and the fold swallows the lid.
        maps[f"sclera_{side}", EYES] = here * inside * (0.85 * smoothstep(0.50, 0.05, v))
        platform = np.exp(-0.5 * ((p.y - upper + 0.020) / 0.010) ** 2)
        maps[f"sclera_{side}", SKIN] = here * across * (-0.40 * platform)
        # The lower lid straightens over the eye; below it the skin bulges, with a crease under the bulge.
        maps[f"lower_lid_{side}", EYES] = (
            here * inside * (-0.70 * smoothstep(0.55, 1.0, v) - 0.25 * smoothstep(0.40, 0.0, v))
        )
        bulge = np.exp(-0.5 * ((p.y - lower - 0.036) / 0.017) ** 2)
        crease = np.exp(-0.5 * ((p.y - lower - 0.078) / 0.013) ** 2)
        maps[f"lower_lid_{side}", SKIN] = here * across * (0.26 * bulge - 0.40 * crease)
    return maps


def _chin(p: Skin) -> dict[tuple[str, str], np.ndarray]:
    g, x, y, maps = p.g, p.x, p.y, {}
    boss = 0.26 * blob(x, y, 0, g.chin_y - 0.165, 0.085, 0.048)
    fold = 0.42 * blob(x, y, 0, g.mouth_y + g.lip_down + 0.048, 0.105, 0.018)
    maps["chin_boss", SKIN] = boss - fold - 0.22 * blob(x, y, 0, g.chin_y - 0.060, 0.095, 0.022)
    for side, s in zip(SIDES, (1, -1)):
        cx, cy = g.mouth_half + 0.055, float(g.lip_line(np.float64(g.mouth_half))) - 0.004
        pit = blob(s * x, y, cx, cy, 0.021, 0.036)
        rim = blob(s * x, y, cx + 0.045, cy - 0.006, 0.022, 0.045)
        maps[f"dimple_{side}", SKIN] = 0.16 * rim - 0.40 * pit - 0.18 * blob(s * x, y, cx - 0.05, cy, 0.018, 0.012)
    return maps


def _vermilion(p: Skin) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(coverage by red, how far a point lies from the lip line to the border 0..1, height over the upper border,
    depth below the lower border; face units).
    """
    top, bottom = p.g.lip_edges(p.x)
    red, below = p.lips_mask()
    line = p.y - below
    towards = np.where(below < 0, (line - p.y) / np.maximum(line - top, 0.01), below / np.maximum(bottom - line, 0.01))
    return red, np.clip(towards, 0, 1), top - p.y, p.y - bottom


def _mouth(p: Skin) -> dict[tuple[str, str], np.ndarray]:
    g = p.g
    red, towards, above, under = _vermilion(p)
    below = p.y - g.lip_line(p.x)
    middle = smoothstep(1.08, 0.70, p.ax / g.mouth_half)
    ridge = np.exp(-0.5 * ((above - 0.020) / 0.014) ** 2) + np.exp(-0.5 * ((under - 0.020) / 0.014) ** 2)
    rolled = red * (0.30 * smoothstep(0.75, 0.35, towards)) + 0.35 * np.exp(-0.5 * (below / 0.013) ** 2)
    gap = np.exp(-0.5 * ((below - 0.005) / 0.020) ** 2) * smoothstep(0.95, 0.45, p.ax / g.mouth_half)
    edge = np.exp(-0.5 * ((below - 0.004) / 0.008) ** 2) * smoothstep(0.62, 0.36, p.ax / g.mouth_half)
    return {
        ("lip_bulge", SKIN): middle * (0.13 * ridge - rolled),
        ("mouth_dark", SKIN): -1.25 * gap,
        ("teeth", SKIN): 1.60 * edge,
    }


def _red(p: Skin, lit: np.ndarray) -> np.ndarray:
    """The outer part of the red turns to skin: the colour of the skin around over that of the lips."""
    red, towards, above, under = _vermilion(p)
    around = (red < 0.02) & (np.maximum(above, under) < 0.05) & (p.ax < 0.8 * p.g.mouth_half)
    ratio = (lit[around].mean(0) / lit[red > 0.6].mean(0)) ** (1 / 2.2)
    return 0.85 * red[..., None] * (0.30 + 0.70 * smoothstep(0.25, 0.85, towards))[..., None] * (ratio - 1)
