"""How far skin moves and how deep it folds for the same contraction: two gains for each person and unit.

Both are log-normal with a spread of about .6. Skin stiffens with age and then moves less and folds deeper; thick, oily
skin moves and folds less; fat under the skin of cheeks and chin takes motion up (sources: docs/method.md#sim-v2). Most
of it shows in the resting face: age, pores, the fullness of the cheeks, how deep the lines of each furrow stand. The
rest is a person's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

from deft.clips.facs import FURROWS, UNIT_INDEX, UNITS
from deft.clips.simulator.person import Identity
from deft.runtime import rng

# Share of the fat under the skin that a unit moves: much over cheek and chin, little over brow and lids.
FAT = {1: 0.4, 2: 0.4, 4: 0.4, 5: 0.2, 6: 1.0, 7: 0.3, 9: 0.5, 10: 1.0, 12: 1.0, 14: 1.0, 15: 1.0, 17: 0.8, 20: 1.0}
FAT |= {23: 0.5, 24: 0.5, 25: 0.5, 26: 0.6}
# Change of the log gain for one standard deviation of age, thickness, fat (times FAT), and of the person's own; "usual"
# is the gain in the middle.
MOVES = {"usual": 1.0, "age": -0.28, "thickness": -0.33, "fat": -0.42, "own": 0.27}
FOLDS = {"usual": 1.3, "age": 0.46, "thickness": -0.34, "fat": -0.20, "own": 0.27}
LIMITS = (0.25, 3.2)  # of a gain
STRETCH = 0.85  # strength at which skin ends to give, whatever the gain: a large expression of sim-v1
# Mean and spread of the attributes: `age` as identity.py draws it, the others as `draw` does.
USUAL = {"age": (0.4375, 0.242), "thickness": (0.5, 0.2236), "fat": (0.5, 0.2236)}


def draw(attributes: Mapping[str, object], stream: Callable[[str], np.random.Generator]) -> dict[str, object]:
    """Thickness of the skin and fat under it; a full face is wider."""
    thickness, fat = (float(stream(f"gains/{name}").beta(2, 2)) for name in ("thickness", "fat"))
    return {
        "thickness": thickness,
        "fat": fat,
        "face_width": float(attributes["face_width"]) + 0.09 * (fat - 0.5),
        "jaw": float(attributes["jaw"]) + 0.15 * (fat - 0.5),
    }


def visible(identity: Identity, effect: Mapping[str, float]) -> np.ndarray:
    """Log gain of each of the 17 units as age, thickness and fat alone give it, (17,)."""
    z = {name: (getattr(identity, name) - mean) / spread for name, (mean, spread) in USUAL.items()}
    fat = np.array([FAT[unit] for unit in UNITS])
    usual = np.log(effect["usual"])
    return usual + effect["age"] * z["age"] + effect["thickness"] * z["thickness"] + effect["fat"] * z["fat"] * fat


@lru_cache(maxsize=64)
def of(identity: Identity) -> np.ndarray:
    """Gains of displacement and of folding, (2, 17), order of `facs.UNITS`; ones without the device."""
    if "gains" not in identity.devices:
        return np.ones((2, len(UNITS)), np.float32)
    own = rng(identity.seed, "identity/gains/own", identity.index).normal(0, 1, (2, len(UNITS)))
    log = np.stack([visible(identity, effect) + effect["own"] * mine for effect, mine in zip((MOVES, FOLDS), own)])
    return np.clip(np.exp(log), *LIMITS).astype(np.float32)


def moved(identity: Identity, intensities: np.ndarray) -> np.ndarray:
    """Strengths (T, 17, 2) of the muscles -> strengths with which the skin follows."""
    if "gains" not in identity.devices:
        return intensities
    return np.minimum(intensities * of(identity)[0][:, None], STRETCH)


def folded(identity: Identity, intensities: np.ndarray) -> np.ndarray:
    """Strengths (T, 17, 2) of the muscles -> strengths with which the skin folds."""
    if identity.devices and "furrows" not in identity.devices:
        return np.zeros_like(intensities)
    return intensities * of(identity)[1][:, None] if "gains" in identity.devices else intensities


def standing(identity: Identity, unit_furrows: Mapping[int, tuple]) -> np.ndarray:
    """How deep each furrow stands at rest, relative to a face of middle age, (10,): what folds deeper stays deeper.

    unit_furrows: unit -> ((furrow, amount at strength 1), ...).
    """
    total, weight = np.zeros(len(FURROWS)), np.full(len(FURROWS), 1e-9)
    for unit, rows in unit_furrows.items():
        for name, amount in rows:
            places = [i for i, furrow in enumerate(FURROWS) if furrow == name or name[-1] == "_" and name in furrow]
            total[places] += amount * of(identity)[1][UNIT_INDEX[unit]]
            weight[places] += amount
    return total / weight


def relief(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Change of the face's height at (x, y), face units: full or hollow cheeks, a full chin."""
    full = 2 * identity.fat - 1
    cheek = np.exp(-0.5 * (((np.abs(x) - 0.44) / 0.15) ** 2 + ((y - 0.50) / 0.19) ** 2))
    chin = np.exp(-0.5 * ((x / 0.20) ** 2 + ((y - 0.98) / 0.10) ** 2))
    return (full * (0.050 * cheek + 0.030 * chin)).astype(np.float32)
