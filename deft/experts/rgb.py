"""The opponent's encoder: the same size, corpus, labels and number of clips, but raw RGB frames instead of computed motion.

It gets the onset and the mean of apex and hold (the same two moments the motion expert's flow averages, so neither sees more),
stacked to six channels; nothing is subtracted or warped for it. It learns units and, so that it demonstrably learns to see
(learning.md: a baseline whose encoder never learned is not evidence), the landmarks of the onset.
Half of its first filters *start* as differences of the two moments (weights w and -w); training may keep or leave that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.experts.encoder import TOKENS, WIDTH, Expert, Standardise, Trunk, UnitHead


class Rgb(Expert):
    """inputs: pair (B, 6, 64, 64) float32 in [0, 1], channels 0-2 the aligned onset, 3-5 the mean of apex and hold."""

    name, keys = "rgb", ("pair",)

    def __init__(self):
        super().__init__()
        self.standardise = Standardise(6)
        self.trunk = Trunk(6, widths=(24, 36, 48))
        self.register_buffer("mean_shape", torch.zeros(68, 2))
        self.tokens = nn.Linear(self.trunk.features, TOKENS * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.unit_head = UnitHead()
        self.shape_head = nn.Linear(TOKENS * WIDTH, 136)
        with torch.no_grad():
            first = self.trunk.body[0].weight  # (24, 6, 5, 5)
            half = len(first) // 2
            first[:half, 3:] = -first[:half, :3]
            first[:half] *= 4.0  # differences are faint beside the pictures themselves

    def prepare(self, inputs: dict[str, Tensor]) -> None:
        self.standardise.fit(inputs["pair"])
        for statistic in (self.standardise.mean, self.standardise.scale):  # one for both moments: a difference stays a difference
            statistic.copy_(statistic.view(2, 3).mean(0).repeat(2))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        flat = self.trunk(self.standardise(inputs["pair"]))  # (B, F)
        return self.norm(self.tokens(flat).view(-1, TOKENS, WIDTH))  # (B, 4, 64)

    def units(self, tokens: Tensor) -> Tensor:
        return self.unit_head(tokens)  # (B, 17, 2) logits

    def landmarks(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.mean_shape + self.shape_head(self(inputs).flatten(1)).view(-1, 68, 2)  # (B, 68, 2) px

    def loss(self, inputs, targets, generator):
        tokens = self(inputs)
        unit = F.binary_cross_entropy_with_logits(self.units(tokens), (targets["units"] > 0).float())
        residual = self.shape_head(tokens.flatten(1)).view(-1, 68, 2)
        shape = F.smooth_l1_loss(residual, targets["landmarks"] - self.mean_shape)
        return 3 * unit + 0.1 * shape, {"units": unit.item(), "landmarks": shape.item()}
