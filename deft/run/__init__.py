"""The driver: notebooks in order, each rerun only when something it depends on has changed.

`book` reads the notebooks, `deft.closure` finds the modules they import, `chain` knows where a profile keeps its
records, `lock` lets one run at a time write them, `stale` decides what must run and says why, `execute` runs one
notebook, `driver` runs the chain; `hand` is for a notebook that somebody opens without the driver, `see` for the
sentences that notebooks check. It knows notebooks, not models, and imports nothing heavy."""


class RunError(RuntimeError):
    """Something the reader can mend; the message says what and how."""
