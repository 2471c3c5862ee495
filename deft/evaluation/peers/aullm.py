"""AU-LLM (arXiv 2507.21778): a learnable Eulerian filter and a 3-D network speak to a language model through one token.

A figure's caption specifies: a learnable Eulerian matrix (LED) and 3-D convolutions give mid and high features, which
are concatenated and become **one** token by a perceptron; a text prompt; a language model with LoRA. LED as published
elsewhere: every output frame t >= 1 is a weighted sum of the frames 0 .. t, two exponential filters whose difference
sums to 0, divided by the sum with absolute weights plus 1; three numbers learn. The network used with it there: six
grey frames of 64 px, convolutions 1 x 5 x 5 -> 32 and 2 x 3 x 3 -> 64. **Unknown are the language model, the rank, the
widths and every number.**

We choose: the two blocks, both pooled to 3 x 3 places; DEFT's own base of the same draw; LoRA of rank 8; a linear head
on the hidden state at the end of the prompt, because a peer is scored on emotions. The source answers units: here they
are left out, since a peer is given class labels alone.

Checked: LED has 3 parameters; every column t >= 1 of its matrix sums to 0 (T = 3: -3.5, 3.5 and -5.425, 1.925, 3.5), so
a static clip gives 0; LED with its own network and 12 units has 2,695,503 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from deft.evaluation.peers.inputs import Inputs
from deft.evaluation.peers.speaking import Adapted, base_of
from deft.evaluation.peers.training import Form, NetworkPeer, Recipe
from deft.mllm import prompt

FRAMES, SIDE = 6, 64  # frames from onset to offset; px
BEFORE, AFTER = "user : motion", "question : which emotion is it ? answer :"


class Led(nn.Module):
    """Grey levels (B, T, H, W), 0 .. 255 -> (B, T - 1, H, W) changes: learnable Eulerian difference. log_*: logarithms
    of the gain a and of the two rates p and q."""

    def __init__(self, gain: float = 10.0, quick: float = 0.4, slow: float = 0.05):
        super().__init__()
        self.log_gain, self.log_quick, self.log_slow = (
            nn.Parameter(torch.tensor(float(np.log(value)))) for value in (gain, quick, slow)
        )

    def matrix(self, count: int) -> Tensor:
        """(T, T): weight of frame i in output j; columns j >= 1 sum to 0."""
        i, j = torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij")
        lag, first = (j - i).clamp(min=0).float(), i.clamp(max=1).float()
        one, two = (((1 - rate) ** lag) * rate**first for rate in (self.log_quick.exp(), self.log_slow.exp()))
        return self.log_gain.exp() * (one - two) * (j >= i)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, H, W) -> (B, T - 1, H, W)."""
        weight = self.matrix(frames.shape[1])
        summed = torch.einsum("btyx,tj->bjyx", frames, weight)
        return (summed / (torch.einsum("btyx,tj->bjyx", frames, weight.abs()) + 1))[:, 1:]


def blocks() -> nn.ModuleList:
    """(B, 1, 5, 64, 64) -> (B, 32, 5, 20, 20) -> (B, 64, 2, 9, 9)."""
    first = nn.Sequential(nn.Conv3d(1, 32, (1, 5, 5)), nn.BatchNorm3d(32), nn.ReLU(), nn.MaxPool3d((1, 3, 3)))
    second = nn.Sequential(nn.Conv3d(32, 64, (2, 3, 3)), nn.BatchNorm3d(64), nn.ReLU(), nn.MaxPool3d(2))
    return nn.ModuleList([first, second])


class LedNet(nn.Module):
    """The network that LED was published with: (B, 6, 64, 64) -> (B, units) logits."""

    def __init__(self, units: int = 12):
        super().__init__()
        self.led, self.blocks = Led(), blocks()
        self.decide = nn.Sequential(nn.Flatten(), nn.Linear(64 * 2 * 81, 256), nn.ReLU(), nn.Linear(256, units))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 6, 64, 64) -> (B, units)."""
        first, second = self.blocks
        return self.decide(second(first(self.led(frames)[:, None])))


class AuLlm(nn.Module):
    """(B, 6, 64, 64) grey levels -> (B, classes) logits. prompts: token ids before and after the one token."""

    def __init__(self, classes: int, model: PreTrainedModel, pretrained: bool, prompts: tuple[list[int], list[int]]):
        super().__init__()
        width, spread = model.config.hidden_size, float(model.get_input_embeddings().weight.detach().std())
        self.led, self.blocks, self.language = Led(), blocks(), Adapted(model, pretrained)
        self.token = nn.Sequential(nn.Linear(9 * 96, 128), nn.GELU(), nn.Linear(128, width), nn.LayerNorm(width))
        nn.init.constant_(self.token[-1].weight, spread)
        self.prompts = prompts
        self.decide = nn.Sequential(nn.Dropout(0.3), nn.Linear(width, classes))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 6, 64, 64) -> (B, classes)."""
        first, second = self.blocks
        middle = first(self.led(frames)[:, None])  # (B, 32, 5, 20, 20)
        high = second(middle)  # (B, 64, 2, 9, 9)
        seen = [F.adaptive_avg_pool2d(part.amax(2), 3).flatten(1) for part in (middle, high)]
        before, after = (self.language.words(torch.tensor(ids)).expand(len(frames), -1, -1) for ids in self.prompts)
        embedded = torch.cat([before, self.token(torch.cat(seen, 1))[:, None], after], dim=1)
        return self.decide(self.language(embedded, torch.ones(embedded.shape[:2], dtype=torch.long)))


def read(inputs: Inputs, stretched: bool) -> np.ndarray:
    """(N, 6, 64, 64) grey levels, frames evenly from onset to offset."""
    chosen = np.linspace(0, inputs.gray.shape[1] - 1, FRAMES).round().astype(int)
    shown = inputs.gray[:, chosen]
    return np.array(
        [[cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in clip] for clip in shown],
        np.float32,
    )


def peer(classes: Sequence[str], seed: int, base: Path | None = None) -> NetworkPeer:
    """The system `au-llm`. base: folder of a pretrained language model, None: a small one from a random start."""
    tokenizer, model, pretrained = base_of(base, (), seed)
    make = partial(
        AuLlm,
        model=model,
        pretrained=pretrained,
        prompts=(prompt.ids_of(tokenizer, BEFORE), prompt.ids_of(tokenizer, AFTER)),
    )
    recipe = Recipe(epochs=16, rate=2e-3, batch=16, standardise=False)
    return NetworkPeer("au-llm", Form(make, read, (FRAMES, SIDE, SIDE), recipe, None), classes, seed)
