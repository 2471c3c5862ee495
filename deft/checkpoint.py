"""What training runs share: a learning rate that warms up and falls, and checkpoints (safetensors, no pickle)."""

import hashlib
import json
import math
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from deft import runtime


def warm_cosine(step: int, steps: int, top: float, warm: int, floor: float) -> float:
    """Learning rate of a step: linear warm-up over `warm` steps to `top`, then half a cosine down to the share
    `floor` of it.
    """
    if step < warm:
        return top * (step + 1) / warm
    return top * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


class Checkpoint:
    """Weights, optimiser and history of a training run in one file; key: of what is trained (`deft.cache.State.key`).

    A file of another key is left alone. One that is cut short or altered is named in a warning, and training starts
    over."""

    def __init__(self, folder: Path, key: str):
        self.path, self.key = Path(folder) / ".resume.safetensors", key

    def save(
        self,
        model: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        history: list[dict],
        best: dict[str, Tensor] | None = None,
    ) -> None:
        """Write the file, whole or not at all; best: weights of the best epoch so far."""
        tensors = {f"model/{name}": value for name, value in model.state_dict().items()} | {
            f"best/{name}": value for name, value in (best or {}).items()
        }
        for number, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{number}/{name}": value for name, value in state.items()}
        tensors = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        words = {"key": self.key, "history": json.dumps(history)}
        with runtime.atomic(self.path) as temporary:
            save_file(tensors, temporary, metadata={**words, "sha256": _digest(tensors, words)})

    def load(self, model: torch.nn.Module, optimiser: torch.optim.Optimizer) -> tuple[list[dict], dict[str, Tensor]]:
        """(history, best weights); both empty when there is nothing that belongs to this run."""
        if not self.path.is_file():
            return [], {}
        try:
            with safe_open(self.path, "pt") as file:
                words, tensors = dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}
            whole = words.pop("sha256", "") == _digest(tensors, words)
        except SafetensorError:
            whole = False
        if not whole:
            warnings.warn(f"{self.path} is not as it was written; training starts over", RuntimeWarning, stacklevel=2)
            return [], {}
        if words["key"] != self.key:
            return [], {}
        model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model/")})
        state = optimiser.state_dict()
        for name, value in tensors.items():
            if name.startswith("optimiser/"):
                _, number, what = name.split("/")
                state["state"].setdefault(int(number), {})[what] = value
        optimiser.load_state_dict(state)
        return json.loads(words["history"]), {
            name[5:]: value for name, value in tensors.items() if name.startswith("best/")
        }


def _digest(tensors: dict[str, Tensor], words: dict[str, str]) -> str:
    total = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name].contiguous().numpy()
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()
