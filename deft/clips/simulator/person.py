"""Who can be filmed: the attributes of one simulated person under one light, and the values that they may have."""

from __future__ import annotations

from dataclasses import dataclass

from deft.clips.simulator import devices as second

HAIR = ("bald", "short", "long", "fringe", "bun", "curly")
BEARD = ("none", "stubble", "moustache", "full")
GLASSES = ("none", "round", "square")
# sRGB. The tones run from light to dark; identities interpolate between neighbours.
SKIN_TONES = ((244, 210, 190), (234, 192, 165), (216, 168, 135), (188, 136, 102), (146, 100, 74), (104, 70, 52))
HAIR_COLOURS = {
    "black": (26, 22, 22),
    "dark": (52, 36, 28),
    "brown": (92, 60, 40),
    "chestnut": (122, 72, 44),
    "blond": (186, 150, 98),
    "red": (150, 74, 40),
    "grey": (150, 148, 146),
}
IRIS_COLOURS = ((74, 46, 28), (96, 66, 36), (70, 92, 70), (76, 106, 136), (92, 112, 124))


@dataclass(frozen=True)
class Identity:
    """One person under one light, in front of one background. Lengths are factors around 1 unless a unit is named."""

    index: int
    seed: int = 0
    size: int = 128  # px of the square image
    skin_tone: float = 0.3  # 0 light .. 1 dark
    freckles: float = 0.0  # 0..1
    redness: float = 0.5  # 0..1, cheeks and nose
    hair: str = "short"  # one of HAIR
    hair_colour: str = "dark"  # one of HAIR_COLOURS
    brow_thickness: float = 1.0
    brow_arch: float = 0.5  # 0 straight .. 1 arched
    beard: str = "none"  # one of BEARD
    glasses: str = "none"  # one of GLASSES
    age: float = 0.3  # 0..1, depth of the standing lines
    face_width: float = 1.0
    jaw: float = 1.0
    chin: float = 1.0
    eye_spacing: float = 1.0
    eye_size: float = 1.0
    eye_tilt: float = 0.0  # face units, outer corner above the inner one
    nose_width: float = 1.0
    nose_length: float = 1.0
    mouth_width: float = 1.0
    lips: float = 1.0
    mouth_tilt: float = 0.0  # face units, corners above the middle
    iris: int = 0  # index into IRIS_COLOURS
    makeup: float = 0.0  # 0..1, lips and lashes
    background: float | tuple[float, float, float] = 0.5  # grey level or RGB, 0..1
    light_azimuth: float = 0.0  # degrees, + from larger image x
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # colour of the light
    clothes: tuple[float, float, float] = (0.3, 0.3, 0.4)  # RGB 0..1
    # Of sim-v2; a person without devices is one of sim-v1.
    devices: tuple[str, ...] = ()  # names of `deft.clips.simulator.devices.DEVICES`
    thickness: float = 0.5  # 0 thin skin .. 1 thick and oily
    fat: float = 0.5  # 0 hollow cheeks .. 1 full ones
    lid_fold: float = 0.5  # 0 high fold of the upper lid .. 1 heavy, low one
    standing: tuple[float, ...] = ()  # depth at rest of each furrow, order of facs.FURROWS, beside what age gives

    def __post_init__(self):
        for name, allowed in (
            ("hair", HAIR),
            ("beard", BEARD),
            ("glasses", GLASSES),
            ("hair_colour", tuple(HAIR_COLOURS)),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"identity {self.index}: {name}={getattr(self, name)!r} is not one of {', '.join(allowed)}"
                )
        second.check(self.devices)
        if not 48 <= self.size <= 1024:
            raise ValueError(f"identity {self.index}: size={self.size} px; the simulator draws 48 to 1024 px")
