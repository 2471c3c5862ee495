"""Colours that go together: hair and iris given the skin, grey hair given the age, freckles on light skin; eyes in the
light of the scene.

In sim-v1 every colour is drawn by itself, so that dark skin meets orange hair and pale eyes as often as not, and a
reader of colours meets people whom no camera meets. Shares are ours, by the order that Sulem et al. (2007) report:
light hair and light eyes occur with light skin and with each other (docs/method.md#sim-v2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

# Columns: black, dark, brown, chestnut, blond, red. Rows: skin tone 0, .25, .5, .75, 1; shares between rows are mixed.
HAIR = ("black", "dark", "brown", "chestnut", "blond", "red")
TONES = np.linspace(0, 1, 5)
HAIR_GIVEN_SKIN = np.array(
    [
        (0.03, 0.15, 0.28, 0.16, 0.28, 0.10),
        (0.12, 0.32, 0.30, 0.14, 0.09, 0.03),
        (0.42, 0.40, 0.14, 0.04, 0.00, 0.00),
        (0.68, 0.30, 0.02, 0.00, 0.00, 0.00),
        (0.86, 0.14, 0.00, 0.00, 0.00, 0.00),
    ]
)
# Columns: the irises of identity.IRIS_COLOURS (dark brown, brown, green, blue, grey). Rows as above.
IRIS_GIVEN_SKIN = np.array(
    [
        (0.10, 0.22, 0.20, 0.30, 0.18),
        (0.32, 0.34, 0.14, 0.12, 0.08),
        (0.66, 0.29, 0.05, 0.00, 0.00),
        (0.88, 0.12, 0.00, 0.00, 0.00),
        (0.96, 0.04, 0.00, 0.00, 0.00),
    ]
)
LIGHT_HAIR = ("blond", "red")
GREY_AGE = (0.55, 0.95)  # of `Identity.age`: nobody is grey below, nearly everybody above


def _shares(table: np.ndarray, tone: float) -> np.ndarray:
    row = np.array([np.interp(tone, TONES, column) for column in table.T])
    return row / row.sum()


def draw(attributes: Mapping[str, object], stream: Callable[[str], np.random.Generator]) -> dict[str, object]:
    """Colours of hair and iris, and freckles, given the skin tone and the age of `attributes`."""
    tone, age = float(attributes["skin_tone"]), float(attributes["age"])
    hair = HAIR[int(stream("colours/hair").choice(len(HAIR), p=_shares(HAIR_GIVEN_SKIN, tone)))]
    irises = _shares(IRIS_GIVEN_SKIN, tone)
    if hair in LIGHT_HAIR:
        irises = irises * (0.4, 0.7, 1.3, 1.6, 1.4)
    iris = int(stream("colours/iris").choice(len(irises), p=irises / irises.sum()))
    if stream("colours/grey").random() < 0.9 * np.clip((age - GREY_AGE[0]) / (GREY_AGE[1] - GREY_AGE[0]), 0, 1):
        hair = "grey"
    freckles = float(attributes["freckles"]) * max(0.0, 1 - 2 * tone) * (1.4 if hair == "red" else 1.0)
    return {"hair_colour": hair, "iris": iris, "freckles": freckles}


def lit_eyes(colour: np.ndarray, x: np.ndarray, ball: np.ndarray, azimuth: float) -> np.ndarray:
    """The sclera (..., 3) under the key light of the face instead of under none.

    x: distance from the eye's centre towards larger image x, face units; ball: 0..1, how far the eyeball faces the
    camera; azimuth: degrees.
    """
    towards = np.clip(x / 0.143, -1, 1) * np.sin(np.radians(azimuth))
    return colour * (1 + 0.28 * towards - 0.10 * (1 - ball))[..., None] * 0.92
