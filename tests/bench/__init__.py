"""Benchmarks: what is claimed to be fast is timed here, arms alternating inside one run. Nothing in the tests is
timed.
"""
