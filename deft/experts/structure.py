"""Structure expert: who and how the face is, from the onset frame alone. Blind to motion because it never sees a second frame.

Tokens 0-1 (SHAPE) are read from the 68 landmarks the expert itself predicts and from nothing else: a bottleneck through which
skin, hair and glasses cannot pass. Tokens 2-3 (APPEARANCE) are free. A later stage can leave out the appearance tokens, where
looks tied to an emotion live. The paper does not say how the structure stream is laid out; we split it because of claim C1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.experts.encoder import TOKENS, WIDTH, Decoder, Expert, Standardise, Trunk

SHAPE, APPEARANCE = (0, 1), (2, 3)  # rows of the tokens


class Structure(Expert):
    """inputs: onset (B, 3, 64, 64) float32 in [0, 1], the aligned onset frame. Landmarks are px of the aligned 128 px face."""

    name, keys = "structure", ("onset",)

    def __init__(self):
        super().__init__()
        self.standardise = Standardise(3)
        self.trunk = Trunk(3)
        self.register_buffer("mean_shape", torch.zeros(68, 2))
        self.regress = nn.Sequential(nn.Linear(self.trunk.features, 96), nn.ReLU(), nn.Linear(96, 136))
        self.geometry = nn.Sequential(nn.Linear(136, 96), nn.ReLU(), nn.Linear(96, len(SHAPE) * WIDTH))
        self.appearance = nn.Linear(self.trunk.features, len(APPEARANCE) * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.decoder = Decoder(3)

    def prepare(self, inputs: dict[str, Tensor]) -> None:
        self.standardise.fit(inputs["onset"])

    def _see(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        flat = self.trunk(self.standardise(inputs["onset"]))  # (B, F)
        residual = self.regress(flat).view(-1, 68, 2)  # px, to the mean shape
        geometry = self.geometry(residual.detach().flatten(1) / 3.0)  # detached: landmarks answer to landmarks only
        tokens = torch.cat([geometry, self.appearance(flat)], dim=1).view(-1, TOKENS, WIDTH)
        return self.norm(tokens), residual

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self._see(inputs)[0]  # (B, 4, 64)

    def landmarks(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.mean_shape + self._see(inputs)[1]  # (B, 68, 2) px

    def loss(self, inputs, targets, generator):
        tokens, residual = self._see(inputs)
        landmarks = F.smooth_l1_loss(residual, targets["landmarks"] - self.mean_shape)
        small = F.avg_pool2d(inputs["onset"], 4)  # (B, 3, 16, 16)
        reconstruction = F.mse_loss(self.decoder(tokens), small)
        total = landmarks + 20.0 * reconstruction  # one px of landmark error weighs like .2 of grey range
        return total, {"landmarks": landmarks.item(), "reconstruction": reconstruction.item()}
