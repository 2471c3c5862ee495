"""Is this run the one the repository speaks of? Comparison with the reference, recomputation by another path,
integrity, and how references are made.

It stands beside the driver (`deft.run`), whose stages it asks for their state; no other part of the package imports it.
"""
