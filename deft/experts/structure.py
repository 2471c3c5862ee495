"""Structure expert: shape and appearance of the face, from the onset frame alone. It never sees a second frame, so it
cannot see motion.

Tokens 0-1 (SHAPE) are computed from the 68 landmarks that the expert itself predicts and from nothing else: an
information bottleneck that skin, hair and glasses cannot pass. Tokens 2-3 (APPEARANCE) see everything. A later stage
can leave out the appearance tokens, which carry the looks that are tied to an emotion. The paper does not say how the
structure stream is laid out; we split it because of claim C1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.experts.data import INPUTS, STILL, Pairs
from deft.experts.encoder import (
    TOKENS,
    WIDTH,
    Decoder,
    Expert,
    Reading,
    Standardise,
    Trunk,
    landmark_error,
    mean_shape,
)
from deft.experts.frozen import SEEN

SHAPE, APPEARANCE = (0, 1), (2, 3)  # rows of the tokens


class Structure(Expert):
    """inputs: onset (B, 3, 64, 64) float32 in [0, 1], the aligned onset frame. Landmarks are px of the aligned 128
    px face. width: of the features of a frozen encoder, onset_seen (B, 2, width, 7, 7), which it then reads in place of
    the picture; 0: none.
    """

    name, keys = "structure", INPUTS["structure"]

    def __init__(self, width: int = 0):
        super().__init__()
        self.sees = SEEN["structure"] if width else "onset"
        if width:
            self.keys, self.jitter = (*INPUTS["structure"], self.sees), STILL
        self.standardise = Standardise(width or 3)
        self.trunk = Reading(width) if width else Trunk(3)
        self.register_buffer("mean_shape", torch.zeros(68, 2))
        self.regress = nn.Sequential(nn.Linear(self.trunk.features, 96), nn.ReLU(), nn.Linear(96, 136))
        self.geometry = nn.Sequential(nn.Linear(136, 96), nn.ReLU(), nn.Linear(96, len(SHAPE) * WIDTH))
        self.appearance = nn.Linear(self.trunk.features, len(APPEARANCE) * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.decoder = Decoder(3)

    def prepare(self, inputs: dict[str, Tensor], targets: dict[str, Tensor] | None = None) -> None:
        if targets:
            self.mean_shape.copy_(mean_shape(targets["landmarks"]))
        self.standardise.fit(self._picture(inputs))

    def measure(self, data: Pairs, rows: np.ndarray) -> dict[str, float]:
        found, mean = landmark_error(self, data, rows)
        return {"landmark_px": found, "mean_shape_px": mean, "score": -found}

    def _picture(self, inputs: dict[str, Tensor]) -> Tensor:
        return inputs[self.sees] if self.sees == "onset" else inputs[self.sees][:, 0]

    def _see(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        flat = self.trunk(self.standardise(self._picture(inputs)))  # (B, F)
        residual = self.regress(flat).view(-1, 68, 2)  # px, to the mean shape
        geometry = self.geometry(residual.detach().flatten(1) / 3.0)  # detached: landmarks answer to landmarks only
        tokens = torch.cat([geometry, self.appearance(flat)], dim=1).view(-1, TOKENS, WIDTH)
        return self.norm(tokens), residual

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self._see(inputs)[0]  # (B, 4, 64)

    def landmarks(self, inputs: dict[str, Tensor]) -> Tensor:
        """Predicted landmarks (B, 68, 2) in px of the aligned 128 px face."""
        return self.mean_shape + self._see(inputs)[1]  # (B, 68, 2) px

    def loss(
        self, inputs: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """targets: landmarks (B, 68, 2) px, true ones. Landmark error plus reconstruction of the onset at 16 x 16."""
        tokens, residual = self._see(inputs)
        landmarks = F.smooth_l1_loss(residual, targets["landmarks"] - self.mean_shape)
        small = F.avg_pool2d(inputs["onset"], 4)  # (B, 3, 16, 16)
        reconstruction = F.mse_loss(self.decoder(tokens), small)
        total = landmarks + 20.0 * reconstruction  # one px of landmark error weighs as much as .2 of the grey range
        return total, {"landmarks": landmarks.item(), "reconstruction": reconstruction.item()}
