"""The contact sheet of a data set: landmarks and regions on the onset frames of 24 clips. It shows faces and stays in
work/."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from deft import cache, runtime
from deft.drawing import BLUE, PINK, style
from deft.faces import regions
from deft.motion import prepare

COLUMNS, ROWS = 6, 4
NAME = "contact.png"


def contact(ready: pd.DataFrame, folder: Path, target: Path) -> Path:
    """Draw `target` (PNG) from prepared clips, evenly chosen, unless it is there. ready: clip, file, error, as
    `material.prepared` gives them; folder: of the files. -> the path, which does not exist when nothing was prepared.

    Where points or ellipses lie beside the face, every number that follows is wrong: this is the picture to look at
    first."""
    good = ready[ready["error"] == ""].reset_index(drop=True)
    chosen = (
        good.iloc[np.unique(np.linspace(0, len(good) - 1, COLUMNS * ROWS).round().astype(int))] if len(good) else good
    )
    state = cache.fresh_file(target, settings={"files": list(chosen["file"])}, code="deft.licensed.contact")
    if state or chosen.empty:
        return target
    with style():
        rows = -(-len(chosen) // COLUMNS)
        figure, places = plt.subplots(rows, COLUMNS, figsize=(9.0, 1.72 * rows), layout="constrained")
        for place in places.flat:
            place.set_axis_off()
        for place, row in zip(places.flat, chosen.itertuples()):
            found = prepare.load(folder / row.file, row.clip)
            points = found["landmarks"]
            regions.chart(np.zeros(len(regions.REGIONS)), points, place, image=found["gray"][0])
            for ellipse in place.patches:  # seen on dark and on light skin
                ellipse.set(edgecolor=BLUE, linewidth=0.8)
            place.plot(*points.T, ".", color=PINK, markersize=1.8)
            place.set(xlim=(0, 127), ylim=(127, 0))
            place.set_title(row.clip.split("_", 1)[-1][-26:], fontsize=6, pad=2)
        with runtime.atomic(target) as fresh, open(fresh, "wb") as file:
            figure.savefig(file, format="png", dpi=170)
        plt.close(figure)
    state.seal()
    return target
