"""What `sim-v2` adds to the simulated people, as switches: one name for each device, each in a file of its own.

An identity carries the names of its devices (`Identity.devices`). Without any it is a person of `sim-v1`, drawn and
moved as before, bit by bit. Where the constants come from: docs/method.md#sim-v2.
"""

from __future__ import annotations

from types import MappingProxyType

DEVICES = MappingProxyType(
    {
        "furrows": "skin folds where a unit bunches it up, as in sim-v1",
        "cues": "what FACS scores and no displacement shows: sclera, lid bulge, red of the lips, dark of the mouth,"
        " dimple, chin boss (cues.py)",
        "gains": "how far skin moves and how deep it folds differ by person and unit, and show at rest (gains.py)",
        "pull": "the geometry at rest bends and scales the path of skin (pull.py)",
        "pose": "the head turns out of the picture plane, with parallax (pose.py)",
        "idle": "skin moves without a unit: breath, chewing, a blink that drags the cheek (idle.py)",
        "lines": "lines at rest that look like expressions (standing.py)",
        "colours": "hair, skin and eyes go together; the eyes are lit as the face is (colours.py)",
        "margin": "the face is smaller, so that hair and chin lie inside the picture (identity.py)",
    }
)

# Each switches off what an expert is said to live on. Who finds that expert useful there reads something else.
CONTROLS = MappingProxyType({"no texture": ("furrows", "cues"), "equal gains": ("gains",), "planar pose": ("pose",)})


def check(devices: tuple[str, ...]) -> None:
    """Raises ValueError for a name that is no device, and for one that is given twice."""
    for name in devices:
        if name not in DEVICES:
            raise ValueError(f"device {name!r} is not one of {', '.join(DEVICES)}")
        if devices.count(name) > 1:
            raise ValueError(f"device {name!r} is given twice")
