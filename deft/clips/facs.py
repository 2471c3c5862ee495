"""What is known about faces before any clip is seen: action units, regions, expected motion, emotion prototypes.

Everything here is written from the literature and from anatomy; none of it is fitted to data, and none of it is read by
the simulator, whose own anchor table and habits are a separate piece of knowledge (otherwise text would teach the
answer).

Sources
- Ekman, Friesen, Hager (2002), Facial Action Coding System, and its Investigator's Guide (unit texts, emotion table).
- Friesen, Ekman (1983), EMFACS-7 (emotion-relevant combinations).
- Yan et al. (2014), CASME II, PLoS ONE 9(1), the table of labelling criteria (disgust: 9, 10 or 4+7; happiness: 6 or
  12; ...).
- Liu et al. (2016), MDMO: 36 regions of interest (the number and the tradition; the outlines here are our own).

Frame of reference: L and R are the *person's* left and right. Directions are (outward from the midline, down in the
image)."""

from __future__ import annotations

import math
from types import MappingProxyType

from deft.clips.notation import ActionUnit, ParsedUnits, format_units, parse_action_units, unit_sides

__all__ = [
    "UNITS",
    "SIDES",
    "NAMES",
    "MUSCLES",
    "REGION_NAMES",
    "MIDLINE",
    "REGIONS",
    "REGION_INDEX",
    "STABLE",
    "EXPECTED",
    "FURROWS",
    "UNIT_FURROWS",
    "EMOTIONS",
    "COARSE",
    "COARSE_CLASSES",
    "PROTOTYPES",
    "UNIT_INDEX",
    "ActionUnit",
    "ParsedUnits",
    "parse_action_units",
    "format_units",
    "unit_sides",
    "expected_vectors",
    "main_direction",
]

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26)  # 17; the order of every array over units
UNIT_INDEX = MappingProxyType({unit: i for i, unit in enumerate(UNITS)})
SIDES = ("L", "R")  # the person's left (larger image x) and right; the last axis of every array over units

NAMES = MappingProxyType(
    {
        1: "inner brow raiser",
        2: "outer brow raiser",
        4: "brow lowerer",
        5: "upper lid raiser",
        6: "cheek raiser",
        7: "lid tightener",
        9: "nose wrinkler",
        10: "upper lip raiser",
        12: "lip corner puller",
        14: "dimpler",
        15: "lip corner depressor",
        17: "chin raiser",
        20: "lip stretcher",
        23: "lip tightener",
        24: "lip pressor",
        25: "lips part",
        26: "jaw drop",
    }
)
MUSCLES = MappingProxyType(
    {
        1: "frontalis medialis",
        2: "frontalis lateralis",
        4: "corrugator, depressor supercilii, procerus",
        5: "levator palpebrae superioris",
        6: "orbicularis oculi, orbital part",
        7: "orbicularis oculi, palpebral part",
        9: "levator labii superioris alaeque nasi",
        10: "levator labii superioris",
        12: "zygomaticus major",
        14: "buccinator",
        15: "depressor anguli oris (triangularis)",
        17: "mentalis",
        20: "risorius, platysma",
        23: "orbicularis oris",
        24: "orbicularis oris",
        25: "depressor labii inferioris, or relaxed mentalis or orbicularis oris",
        26: "masseter relaxed, temporalis and internal pterygoid relaxed",
    }
)

# --- regions ----------------------------------------------------------------------------------------------------------
REGION_NAMES = (
    "forehead_inner",
    "forehead_outer",
    "brow_inner",
    "brow_outer",
    "temple",
    "upper_lid",
    "lower_lid",
    "outer_canthus",
    "cheek",
    "nose_side",
    "nasolabial",
    "upper_lip",
    "lip_corner",
    "lower_lip",
    "chin_side",
    "jaw",
)  # each on two sides
MIDLINE = ("glabella", "nose_bridge", "nose_tip", "chin")
REGIONS = tuple((name, side) for name in REGION_NAMES for side in SIDES) + tuple((name, "") for name in MIDLINE)  # 36
REGION_INDEX = MappingProxyType({region: i for i, region in enumerate(REGIONS)})
# No unit of UNITS is told by these: they carry the rigid motion of the head and set the noise floor. They do not lie
# still (cheek raising pulls at the temples, nose wrinkling at the tip: notebook 03), but evidence that leaves them out,
# always or only where such a unit is found, is no better (docs/decisions.md).
STABLE = (("temple", "L"), ("temple", "R"), ("nose_bridge", ""), ("nose_tip", ""))

# Ten places where a unit folds or bulges skin, so that brightness constancy breaks.
FURROWS = (
    "forehead",
    "glabella",
    "crowsfeet_L",
    "crowsfeet_R",
    "nose_root",
    "nasolabial_L",
    "nasolabial_R",
    "corner_L",
    "corner_R",
    "chin",
)
# From the wrinkle texts of FACS; "_" stands for a furrow that exists on both sides.
UNIT_FURROWS = MappingProxyType(
    {
        1: ("forehead",),
        2: ("forehead",),
        4: ("glabella",),
        6: ("crowsfeet_",),
        9: ("nose_root",),
        10: ("nasolabial_",),
        12: ("nasolabial_",),
        14: ("corner_",),
        15: ("corner_",),
        17: ("chin",),
        20: ("corner_",),
    }
)


def _toward(region: str, outward: float, down: float, weight: float) -> tuple[str, float, float, float]:
    """(region name, outward, down, weight) with (outward, down) made a unit vector."""
    length = math.hypot(outward, down)
    return region, outward / length, down / length, weight


# Which regions a unit moves, where to, and how telling the region is (weight 1: the place by which FACS scores the
# unit).
# Read from the "appearance changes" of each unit; angles are estimates by eye, since FACS gives words, not degrees.
EXPECTED = MappingProxyType(
    {
        # "pulls the medial part of the brow upwards"; wrinkles in the centre of the forehead
        1: (_toward("brow_inner", 0, -1, 1.0), _toward("forehead_inner", 0, -1, 0.6), _toward("glabella", 0, -1, 0.3)),
        # "pulls the lateral portion of the eyebrows upwards", an arch
        2: (_toward("brow_outer", 0.1, -1, 1.0), _toward("forehead_outer", 0, -1, 0.6)),
        # "lowers the eyebrow", "pulls the eyebrows closer together", pushes the eye cover fold down
        4: (
            _toward("brow_inner", -0.6, 0.8, 1.0),
            _toward("brow_outer", -0.5, 0.8, 0.4),
            _toward("glabella", 0, 1, 0.5),
            _toward("forehead_inner", -0.3, 1, 0.3),
        ),
        # "raises the upper lid", widens the aperture
        5: (_toward("upper_lid", 0, -1, 1.0),),
        # "draws skin towards the eye from the temple and cheeks", raises the infraorbital triangle
        6: (_toward("cheek", -0.1, -1, 1.0), _toward("outer_canthus", -1, 0, 0.7), _toward("lower_lid", 0, -1, 0.4)),
        # "tightens eyelids, narrows the eye aperture", raises the lower lid
        7: (_toward("lower_lid", -0.15, -1, 1.0), _toward("upper_lid", 0, 1, 0.4)),
        # "pulls the skin along the sides of the nose upwards", lowers the medial brows, raises the centre of the lip
        9: (
            _toward("nose_side", -0.1, -1, 1.0),
            _toward("upper_lip", 0, -1, 0.4),
            _toward("brow_inner", -0.2, 1, 0.3),
            _toward("glabella", 0, 1, 0.3),
        ),
        # "raises the upper lip; the centre is drawn straight up", pushes the infraorbital triangle up, deepens the
        # furrow
        10: (_toward("upper_lip", 0, -1, 1.0), _toward("nasolabial", 0.2, -1, 0.6)),
        # "pulls the corners of the lips back and upwards obliquely", raises the cheek
        12: (
            _toward("lip_corner", 0.75, -0.66, 1.0),
            _toward("nasolabial", 0.5, -0.8, 0.4),
            _toward("cheek", 0.3, -0.95, 0.4),
        ),
        # "tightens the corners of the mouth": the buccinator draws them back, in the picture outward; the text does not
        # say
        # which way the skin beyond the corner goes, so nothing else is expected
        14: (_toward("lip_corner", 1, 0, 1.0),),
        # "pulls the corners of the lips down", changes the skin beside the chin
        15: (_toward("lip_corner", 0.15, 1, 1.0), _toward("chin_side", 0, 1, 0.4)),
        # "pushes the chin boss upwards", "pushes the lower lip upwards"
        17: (_toward("chin", 0, -1, 1.0), _toward("lower_lip", 0, -1, 0.7), _toward("chin_side", 0, -1, 0.5)),
        # "pulls the lips back laterally", stretches the skin of the lower face
        20: (_toward("lip_corner", 1, 0.15, 1.0), _toward("chin_side", 1, 0, 0.4), _toward("lower_lip", 1, 0, 0.3)),
        # "tightens the lips", narrows the mouth
        23: (_toward("lip_corner", -1, 0, 0.8), _toward("upper_lip", 0, 1, 0.6), _toward("lower_lip", 0, -1, 0.6)),
        # "presses the lips together", lowers the upper lip and raises the lower lip
        24: (_toward("upper_lip", 0, 1, 1.0), _toward("lower_lip", 0, -1, 0.9), _toward("lip_corner", -1, 0, 0.3)),
        # "parts the lips"
        25: (_toward("lower_lip", 0, 1, 1.0), _toward("upper_lip", 0, -1, 0.3)),
        # "the mandible is lowered by relaxation"
        26: (
            _toward("chin", 0, 1, 1.0),
            _toward("jaw", 0, 1, 0.6),
            _toward("chin_side", 0, 1, 0.7),
            _toward("lower_lip", 0, 1, 0.6),
        ),
    }
)


def expected_vectors(unit: int, side: str) -> list[tuple[int, float, float, float]]:
    """Regions a unit moves on one side -> [(index into REGIONS, u, v, weight)], (u, v) in image axes: +x right, +y
    down.

    side: "L" or "R". A midline region belongs to both sides and only moves vertically here.
    """
    sign = {"L": 1.0, "R": -1.0}[side]  # the person's left is at larger image x
    rows = []
    for name, outward, down, weight in EXPECTED[unit]:
        index = REGION_INDEX[(name, "")] if name in MIDLINE else REGION_INDEX[(name, side)]
        rows.append((index, 0.0 if name in MIDLINE else sign * outward, down, weight))
    return rows


def main_direction(outward: float, down: float) -> str:
    """The larger component of a motion in words: up, down, outward or inward; up or down if they are equal."""
    if abs(down) >= abs(outward):
        return "down" if down > 0 else "up"
    return "outward" if outward > 0 else "inward"


# --- emotions ---------------------------------------------------------------------------------------------------------
EMOTIONS = ("happiness", "disgust", "surprise", "sadness", "anger")
COARSE_CLASSES = ("positive", "surprise", "negative")
COARSE = MappingProxyType(
    {
        "happiness": "positive",
        "surprise": "surprise",
        "disgust": "negative",
        "sadness": "negative",
        "anger": "negative",
    }
)


def _sets(*rows: tuple[float, str]) -> tuple[tuple[float, frozenset[int]], ...]:
    """("4+7" style rows with relative weights) -> ((weight, units), ...), the weights of one emotion sum to 1."""
    total = sum(weight for weight, _ in rows)
    return tuple((weight / total, frozenset(int(unit) for unit in text.split("+"))) for weight, text in rows)


# emotion -> unit sets. The sets are those of the sources; the weights are ours (the sources give none): a set that
# several sources name weighs more. Overlaps such as 4+7 are real ambiguity and stay.
PROTOTYPES = MappingProxyType(
    {
        "happiness": _sets((4, "12"), (4, "6+12"), (1, "6"), (1, "7+12"), (1, "6+7+12"), (1, "12+25")),
        "disgust": _sets(
            (3, "9"),
            (3, "10"),
            (3, "4+7"),
            (2, "4+9"),
            (1, "4+7+9"),
            (1, "4+7+10"),
            (1, "7+10"),
            (1, "9+17"),
            (1, "10+17"),
        ),
        "surprise": _sets(
            (4, "1+2"), (1, "5"), (1, "25"), (2, "1+2+5"), (2, "1+2+25"), (1, "1+2+5+26"), (1, "25+26"), (1, "2")
        ),
        "sadness": _sets((3, "1"), (3, "1+4"), (3, "15"), (1, "1+4+15"), (1, "15+17"), (1, "1+15"), (1, "6+15")),
        "anger": _sets(
            (3, "4"),
            (3, "4+7"),
            (1, "4+5"),
            (1, "4+5+7"),
            (2, "4+7+23"),
            (1, "23"),
            (1, "17+24"),
            (1, "4+24"),
            (1, "4+5+7+23"),
        ),
    }
)
