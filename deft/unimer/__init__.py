"""Uni-MER: verified text about micro-expressions. Facts, their wording, their checking, records and exports."""

from deft.unimer.check import Evidence, check, parse

__all__ = ["Evidence", "check", "parse"]
