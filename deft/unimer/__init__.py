"""Uni-MER: verified text about micro-expressions. Facts, their wording, their checking, records and exports."""

from deft.unimer.check import Evidence, check, parse
from deft.unimer.export import from_megc, to_llava, to_megc

__all__ = ["Evidence", "check", "parse", "to_megc", "from_megc", "to_llava"]
