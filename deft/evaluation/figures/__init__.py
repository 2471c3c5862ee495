"""The figures of the paper, one file each. `fN(profile)` reads files and returns a matplotlib Figure and the words
that say what is found in it.
"""

from deft.evaluation.figures.f1_problem import f1
from deft.evaluation.figures.f2_record import f2
from deft.evaluation.figures.f3_architecture import f3
from deft.evaluation.figures.f4_answers import f4
from deft.evaluation.figures.f5_probes import f5
from deft.evaluation.figures.f6_confusions import f6
from deft.evaluation.figures.f7_robustness import f7
from deft.evaluation.figures.f8_curves import f8
from deft.evaluation.figures.f9_results import f9, panels

__all__ = ["f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "panels"]
