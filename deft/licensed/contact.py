"""The contact sheet of a data set: landmarks and regions on the onset frames of 24 clips. It shows faces and stays in
work/."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from deft import cache, runtime
from deft.drawing import show_points, style
from deft.motion import prepare

COLUMNS, ROWS = 6, 4
NAME = "contact.png"


def contact(ready: pd.DataFrame, folder: Path, target: Path) -> Path:
    """Draw `target` (PNG) from prepared clips, evenly chosen, unless it is there. ready: clip, file, error, as
    `material.prepared` gives them; folder: of the files. -> the path, which does not exist when nothing was prepared.

    It is the picture to look at first (`show_points`)."""
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
            show_points(place, found["gray"][0], found["landmarks"])
            place.set_title(row.clip.split("_", 1)[-1][-26:], fontsize=6, pad=2)
        with runtime.atomic(target) as fresh, open(fresh, "wb") as file:
            figure.savefig(file, format="png", dpi=170)
        plt.close(figure)
    state.seal()
    return target
