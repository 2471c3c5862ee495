"""The figures of the paper, one file each. `fN(profile)` reads files and returns a matplotlib Figure; it computes no result."""

from deft.evaluation.figures.f1_problem import f1
from deft.evaluation.figures.f6_confusions import f6
from deft.evaluation.figures.f8_curves import f8

__all__ = ["f1", "f6", "f8"]
