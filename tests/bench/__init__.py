"""Benchmarks: what is claimed to be fast is timed here, arms alternating inside one run. Nothing in the tests is
timed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from deft import paths

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def rows(id: str, metric: str, arms: Mapping[str, Sequence[float]], limits: Mapping[str, str] | None = None) -> list:
    """Rows of bench.csv, one per arm: median, low and high of its rounds; NaN and 0 runs where nothing was measured.

    metric: what was measured, its unit in parentheses. arms: name -> a number per round. ratio_to_first: the median
    over rounds of this arm / the first arm; where they have not as many rounds, the ratio of the medians. limits:
    arm -> the column that is bounded, and how ("ratio_to_first >= 4").
    """
    first, found = None, []
    for arm, values in arms.items():
        known = np.array(values if len(values) else [np.nan])
        first = known if first is None else first
        mine, base = (known, first) if len(known) == len(first) else (np.median(known), np.median(first))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(mine == base, 1.0, mine / base)  # 0 / 0 is 1: the first arm to itself
        told = {"median": np.median(known), "low": known.min(), "high": known.max(), "ratio_to_first": np.median(ratio)}
        told = {name: float(number) for name, number in told.items()}
        found.append(
            {"id": id, "arm": arm, "metric": metric, **told, "runs": len(values), "limit": (limits or {}).get(arm, "-")}
        )
    return found


def child(*words: str, cwd: str | os.PathLike = paths.ROOT, **environment: str) -> str:
    """What a Python process of its own prints: `python *words` in folder `cwd`. RuntimeError with its last words when
    it fails.
    """
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"python {' '.join(words)[:200]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
