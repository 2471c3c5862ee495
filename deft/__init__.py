"""deft: the DEFT-LLM paper as something you can run."""

__version__ = "0.1.0"
