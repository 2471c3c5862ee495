"""MELLM (arXiv 2505.07007, v2 and v3): flow facts of facial regions as text to a language model, and no pixel.

Its public code specifies: flow onset -> apex; the mean flow of 5 x 5 px at the nose tip is subtracted; 29 regions, one
line each: mean magnitude, largest magnitude, direction (angle of the summed vectors, up positive, nearest of eight;
"no clear direction" where the length of the sum is less than .15 of the summed lengths; "no significant motion" below a
mean of 1e-4); a prompt in three steps; a text-only language model. **Unknown: every number, and the size of its set of
instructions.** Its flow network, trained on 54,611 pairs, is another matter: all systems read one flow here.

We choose: our 36 regions and flow; magnitudes as eight words, because a small model does not read digits; "no
significant motion" below .12 px of the 128 px face, about the noise of a region (their 1e-4 is of another flow), and
such a region is not named, which shortens the text to a third; one question, which emotion, whose label likelihood
answers; DEFT's own base of the same draw with LoRA of rank 8. The list of units that the source asks for is left out,
since a peer is given class labels alone.

Checked: vectors (1, 0), (0, 1) of the image give 315 degrees, down right, concentration .7071; (1, 0), (-1, 0) have no
clear direction; a still face says nothing but the question; no pixel is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from deft.clips.facs import REGIONS
from deft.evaluation.peers import handcrafted
from deft.evaluation.peers.inputs import Inputs
from deft.evaluation.peers.speaking import Adapted, base_of
from deft.evaluation.peers.training import Form, NetworkPeer, Recipe
from deft.faces import regions
from deft.mllm import prompt

STILL, MOST, UNCLEAR = 0.12, 3.0, 0.15  # px below which a region is still; px of the last word; least concentration
MAGNITUDES = ("trace", "faint", "slight", "small", "medium", "marked", "strong", "extreme")
EDGES = np.geomspace(STILL, MOST, len(MAGNITUDES) + 1)[1:-1]  # px between the words
TOWARDS = ("right", "up right", "up", "up left", "left", "down left", "down", "down right")  # of the image, from 0 deg
NOSE_TIP, QUESTION = 30, "question : which emotion is it ? answer : class :"


def direction(vectors: np.ndarray) -> tuple[float, float]:
    """Vectors (n, 2) px, +y down -> (angle of their sum in degrees, 0 right, 90 up; length of the sum over the summed
    lengths, 0 where nothing moves).
    """
    u, v = np.asarray(vectors, np.float64).sum(0)
    length = np.hypot(*np.asarray(vectors, np.float64).T).sum()
    return float(np.degrees(np.arctan2(-v, u)) % 360), float(np.hypot(u, v) / length) if length > 0 else 0.0


def facts(flow: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Flow (H, W, 2) px and regions (R, H, W) -> (R, 3): word of the mean and of the largest magnitude (1 .. 8, 0: no
    significant motion), and of the direction (1 .. 8, 0: none that is clear).
    """
    length, out = np.hypot(flow[..., 0], flow[..., 1]), np.zeros((len(weights), 3), np.float32)
    for row, weight in enumerate(weights):
        inside = weight > weight.max() / 2
        mean = float((weight * length).sum() / weight.sum())
        if mean >= STILL:
            angle, clear = direction(flow[inside])
            out[row, :2] = 1 + np.searchsorted(EDGES, (mean, length[inside].max()))
            out[row, 2] = 1 + round(angle / 45) % 8 if clear >= UNCLEAR else 0
    return out


def describe(inputs: Inputs, row: int) -> np.ndarray:
    """One clip -> (36, 3), see `facts`."""
    flow, (x, y) = inputs.rise[row], np.round(inputs.landmarks[row, NOSE_TIP]).astype(int)
    drift = flow[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].mean((0, 1))
    return facts(flow - drift, regions.masks(inputs.landmarks[row], flow.shape[0]))


def sentence(told: np.ndarray) -> str:
    """Facts (36, 3) -> "right brow inner faint slight up right , ...", the regions that move, in their order."""
    lines = []
    for (name, side), (mean, largest, towards) in zip(REGIONS, np.asarray(told, int)):
        if mean:
            where = {"L": "left ", "R": "right ", "": ""}[side] + name.replace("_", " ")
            way = TOWARDS[towards - 1] if towards else "no direction"
            lines.append(f"{where} {MAGNITUDES[mean - 1]} {MAGNITUDES[largest - 1]} {way}")
    return " , ".join(lines)


class Mellm(nn.Module):
    """(B, 36, 3) facts -> (B, classes) logits: the label likelihood of one word per class."""

    def __init__(self, count: int, model: PreTrainedModel, pretrained: bool, tokenizer: object, classes: Sequence[str]):
        super().__init__()
        self.language, self.padding = Adapted(model, pretrained), tokenizer.pad_token_id
        self.labels = torch.tensor([prompt.ids_of(tokenizer, name.lower())[0] for name in classes])
        self.level = nn.Parameter(torch.zeros(count))  # how likely a class is before anything is said
        self.ids = lru_cache(maxsize=None)(lambda text: prompt.ids_of(tokenizer, f"user : motion {text} {QUESTION}"))

    def forward(self, told: Tensor) -> Tensor:
        """(B, 36, 3) -> (B, classes)."""
        texts = [self.ids(sentence(one)) for one in told.numpy()]
        ids = torch.full((len(texts), max(map(len, texts))), self.padding)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):  # padded on the left
            ids[row, -len(text) :], mask[row, -len(text) :] = torch.tensor(text), 1
        hidden = self.language(self.language.words(ids), mask)
        return hidden @ self.language.words(self.labels).T + self.level


def peer(classes: Sequence[str], seed: int, base: Path | None = None) -> NetworkPeer:
    """The system `mellm`. base: folder of a pretrained language model, None: a small one from a random start."""
    spoken = [word for name, _ in REGIONS for word in name.split("_")]
    words = (*spoken, *MAGNITUDES, "direction", *(name.lower() for name in classes))
    tokenizer, model, pretrained = base_of(base, words, seed)
    make = partial(Mellm, model=model, pretrained=pretrained, tokenizer=tokenizer, classes=tuple(classes))
    read = lambda inputs, stretched: handcrafted.read(describe, inputs)
    recipe = Recipe(epochs=8, rate=2e-3, standardise=False)
    return NetworkPeer("mellm", Form(make, read, (len(REGIONS), 3), recipe, None), classes, seed)
