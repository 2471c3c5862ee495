"""Benchmarks: what is claimed to be fast is timed here, arms alternating inside one run. Nothing in the tests is
timed.
"""

import statistics
from collections.abc import Sequence


def row(id: str, what: str, values: Sequence[float], unit: str, limit: str = "-") -> dict:
    """One row of bench.csv: median and range of what was measured."""
    return {
        "id": id,
        "what": what,
        "value": statistics.median(values),
        "unit": unit,
        "low": min(values),
        "high": max(values),
        "runs": len(values),
        "limit": limit,
    }
