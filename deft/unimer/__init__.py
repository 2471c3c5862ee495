"""Uni-MER: verified text about micro-expressions. Facts, their wording, their checking, records and exports.

The name `deft.unimer.check` is the function; its module's other names are imported as `from deft.unimer.check import
...`."""

from deft.unimer.check import Evidence, check
from deft.unimer.export import from_megc, to_llava, to_megc
from deft.unimer.reading import parse

__all__ = ["Evidence", "check", "parse", "to_megc", "from_megc", "to_llava"]
