"""Lines and shapes at rest that look like expressions and say nothing about the emotion.

Folds of age make a neutral face look angry, sad or happy to observers (Hess et al. 2012; Adams et al. 2012). Each line
is drawn by itself, and none of it depends on what a clip shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from deft.clips.facs import FURROWS

# How often a line stands, and between which depths (1: as deep as the unit folds it at full strength). A line on two
# sides stands on both, seldom equally deep.
STANDS = {
    "forehead": (0.25, 0.25, 0.70),
    "glabella": (0.25, 0.25, 0.80),
    "crowsfeet": (0.20, 0.20, 0.60),
    "nose_root": (0.12, 0.15, 0.50),
    "nasolabial": (0.30, 0.25, 0.80),
    "corner": (0.22, 0.25, 0.80),
    "chin": (0.18, 0.20, 0.60),
}


def draw(attributes: Mapping[str, object], stream: Callable[[str], np.random.Generator]) -> dict[str, object]:
    """Depth at rest of each furrow, `standing` (10,), and a mouth whose corners stand up or hang."""
    depth = np.zeros(len(FURROWS))
    for name, (share, low, high) in STANDS.items():
        own = stream(f"lines/{name}")
        stands, deep, uneven = own.random() < share, own.uniform(low, high), own.uniform(0.75, 1.0, 2)
        for place, furrow in enumerate(FURROWS):
            if stands and furrow.startswith(name):
                depth[place] = deep * (uneven["LR".index(furrow[-1])] if furrow[-2:] in ("_L", "_R") else 1.0)
    hangs = stream("lines/mouth")
    tilt = float(attributes["mouth_tilt"]) + (hangs.normal(0, 0.012) if hangs.random() < 0.4 else 0.0)
    return {"standing": tuple(float(d) for d in depth), "mouth_tilt": float(np.clip(tilt, -0.030, 0.034))}
