"""MPT (arXiv 2508.09446): motion prompts, magnified and pooled by Gaussian windows, for a frozen vision transformer.

The abstract specifies: motion magnification and Gaussian tokenisation make motion prompts for a frozen vision
transformer; a group adapter; a summary adds that class, image and prompt tokens have adapters of their own. **Unknown:
the transformer, windows, magnification, sizes, recipe and numbers.**

We choose: a small transformer (128 px, patches of 16 px, 96 wide, 4 blocks), pretrained by masking three quarters of
the patches of the training clips' onset and apex frames (He et al., CVPR 2022), then frozen; m = a (apex - onset), a
from SCALES by the loss of the validation people; 16 Gaussian windows with learned centre and width pool m and |m| into
prompts; one bottleneck adapter of 12 numbers per block and group; the class token decides. Pretraining sees nobody of
the test fold, because it happens inside `fit`.

Checked: with zero up-projections and no prompts it is the frozen transformer exactly; a very wide window is the mean of
the image; less than 10 % of the weights are trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from deft.evaluation.peers import masked
from deft.evaluation.peers.inputs import Inputs
from deft.evaluation.peers.masked import COUNT, DEEP, SIDE, WIDE, Backbone
from deft.evaluation.peers.training import Form, NetworkPeer, Recipe

NARROW, WINDOWS = 12, 16  # numbers of a bottleneck; windows
SCALES = (4.0, 12.0)  # magnifications that validation chooses from


class Adapter(nn.Module):
    """(B, L, 96) -> the same shape, to be added: through 12 numbers, 0 at first."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(WIDE, NARROW), nn.Linear(NARROW, WIDE)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        return self.up(nn.functional.gelu(self.down(tokens)))


def windows(places: Tensor, widths: Tensor, side: int) -> Tensor:
    """Centres (K, 2) [x, y] and widths (K,), shares of the image's side -> (K, side, side) weights, each summing to
    1.
    """
    at = (torch.arange(side) + 0.5) / side
    near = [torch.exp(-((at - places[:, axis, None]) ** 2) / (2 * widths[:, None] ** 2)) for axis in (0, 1)]
    weight = near[1][:, :, None] * near[0][:, None, :]
    return weight / weight.sum((1, 2), keepdim=True)


class Mpt(nn.Module):
    """(B, 2, 128, 128) [apex over 255, magnified difference] -> (B, classes) logits."""

    def __init__(self, classes: int):
        super().__init__()
        self.backbone = Backbone().requires_grad_(False)
        grid = (torch.arange(4) + 0.5) / 4
        self.places = nn.Parameter(torch.cartesian_prod(grid, grid))
        self.log_widths = nn.Parameter(torch.full((WINDOWS,), math.log(0.08)))
        self.level = nn.BatchNorm1d(2 * WINDOWS, affine=False)  # a window's mean is a few grey levels of 255
        self.token, self.names = nn.Linear(2, WIDE), nn.Parameter(0.02 * torch.randn(1, WINDOWS, WIDE))
        self.adapters = nn.ModuleList(nn.ModuleList(Adapter() for _ in range(3)) for _ in range(DEEP))
        self.decide = nn.Linear(WIDE, classes)

    def prompts(self, motion: Tensor) -> Tensor:
        """(B, 128, 128) -> (B, 16, 96)."""
        weight = windows(self.places, self.log_widths.exp(), motion.shape[-1])
        pooled = torch.einsum("bnyx,kyx->bkn", torch.stack([motion, motion.abs()], 1), weight)
        return self.token(self.level(pooled.flatten(1)).unflatten(1, (WINDOWS, 2))) + self.names

    def tokens(self, images: Tensor, prompts: Tensor) -> Tensor:
        """Apex frames (B, 128, 128) and prompts (B, P, 96) -> (B, 1 + 64 + P, 96)."""
        bone = self.backbone
        x = torch.cat([bone.first.expand(len(images), -1, -1), bone.patches(images), prompts], dim=1)
        sizes = (1, COUNT, prompts.shape[1])
        for block, groups in zip(bone.blocks, self.adapters):
            x = block(x)
            x = x + torch.cat([adapter(part) for adapter, part in zip(groups, x.split(sizes, 1))], dim=1)
        return bone.norm(x)

    def forward(self, pair: Tensor) -> Tensor:
        """See the class."""
        return self.decide(self.tokens(pair[:, 0], self.prompts(pair[:, 1]))[:, 0])


def read(inputs: Inputs, stretched: bool, scale: float = SCALES[0]) -> np.ndarray:
    """[apex, scale x (apex - onset)] of grey levels over 255: (N, 2, 128, 128)."""
    apex, onset = (part.astype(np.float32) / 255 for part in (inputs.apex, inputs.onset))
    return np.stack([apex, scale * (apex - onset)], axis=1)


RECIPE = Recipe(epochs=12, rate=4e-3, standardise=False)
FORMS = {"small": Form(Mpt, read, (2, SIDE, SIDE), RECIPE, None)}
UNKNOWN = "the transformer, windows, magnification, sizes, recipe and numbers"


class MptPeer:
    """The `Peer`: pretraining on the clips that it is fitted on, one `NetworkPeer` per magnification, of which the
    validation clips choose. chosen: the magnification; pretraining: loss per epoch.
    """

    def __init__(self, classes: Sequence[str], seed: int):
        self.classes, self.seed, self.chosen, self.pretraining = tuple(classes), seed, 0.0, []
        self.parameters = NetworkPeer("mpt", FORMS["small"], classes, seed).parameters

    def fit(self, inputs: Inputs, labels: np.ndarray) -> MptPeer:
        """See `inputs.Peer.fit`. ValueError where no clip may choose."""
        if not np.asarray(inputs.may_choose).any():
            raise ValueError("mpt: no clip may choose (inputs.may_choose), and validation clips choose its scale")
        learns = ~np.asarray(inputs.may_choose, bool)
        weights, self.pretraining = masked.pretrain(
            np.concatenate([inputs.onset[learns], inputs.apex[learns]]), self.seed
        )
        start = {f"backbone.{name}": value for name, value in weights.items()}
        tried = {}
        for scale in SCALES:
            form = Form(Mpt, partial(read, scale=scale), (2, SIDE, SIDE), RECIPE, None)
            tried[scale] = NetworkPeer("mpt", form, self.classes, self.seed, start=start).fit(inputs, labels)
        self.chosen = min(tried, key=lambda scale: tried[scale].history[-1]["validation_loss"])
        self.best, self.history = tried[self.chosen], tried[self.chosen].history
        return self

    def scores(self, inputs: Inputs) -> np.ndarray:
        """See `inputs.Peer.scores`. RuntimeError before `fit`."""
        if not self.chosen:
            raise RuntimeError("mpt has learned nothing yet: call fit first")
        return self.best.scores(inputs)


def peer(classes: Sequence[str], seed: int) -> MptPeer:
    """The system `mpt`."""
    return MptPeer(classes, seed)
