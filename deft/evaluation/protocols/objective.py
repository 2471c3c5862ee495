"""Objective classes: told by action units alone, not by what a rater felt (Davison, Merghani, Yap 2018, J. Imaging)."""

from __future__ import annotations

from types import MappingProxyType

from deft.clips.facs import ParsedUnits, unit_sides

# Unit combinations of each class, in the order of the paper's table. VII is every other combination.
OBJECTIVE = MappingProxyType(
    {
        "I": ("6", "12", "6+12", "6+7+12", "7+12"),
        "II": ("1+2", "5", "25", "1+2+25", "25+26", "5+24"),
        "III": ("23", "4", "4+7", "4+5", "4+5+7", "17+24", "4+6+7", "4+38"),
        "IV": ("10", "9", "4+9", "4+40", "4+5+40", "4+7+9", "4+9+17", "4+7+10", "4+5+7+9", "7+10"),
        "V": ("1", "15", "1+4", "6+15", "15+17"),
        "VI": ("1+2+4", "20"),
    }
)
NAMES = (*OBJECTIVE, "VII")


def objective_class(clip: object) -> str | None:
    """I to VII: what the sheet says (`clip.objective`, 1 to 7), else by the certain units; None where there is none.

    Sides and intensities do not count.
    """
    if written := getattr(clip, "objective", None):
        return NAMES[written - 1]
    codes = "+".join(str(code) for code in sorted(unit_sides(ParsedUnits(tuple(clip.action_units)))))
    return next((name for name, members in OBJECTIVE.items() if codes in members), "VII") if codes else None
