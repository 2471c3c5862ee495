"""Benchmarks: what is claimed to be fast is timed here, arms alternating inside one run. Nothing in the tests is
timed.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deft import paths

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def row(id: str, what: str, values: Sequence[float], unit: str, limit: str = "-") -> dict:
    """One row of bench.csv: median and range of what was measured; numbers that are none where nothing was."""
    known = values or [math.nan]
    return {
        "id": id,
        "what": what,
        "value": statistics.median(known),
        "unit": unit,
        "low": min(known),
        "high": max(known),
        "runs": len(values),
        "limit": limit,
    }


def fake_bench() -> Any:
    """The made-up bench of the tests (tests/fake_bench.py)."""
    sys.path.insert(0, str(paths.ROOT / "tests"))
    import fake_bench

    return fake_bench


def wide(words: int = 151_936, hidden: int = 512, layers: int = 8) -> PreTrainedModel:
    """A base of random weights with the vocabulary of Qwen 2, of a width and depth that a processor can carry."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=words,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Qwen2ForCausalLM(config).eval()
