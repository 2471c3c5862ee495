"""A small vision transformer pretrained by masking: three quarters of a face's patches are hidden and drawn again from
the rest (He et al., CVPR 2022). The backbone of MPT (`deft.evaluation.peers.mpt`).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from deft.evaluation.peers.training import settled

SIDE, PATCH, WIDE, DEEP = 128, 16, 96, 4
COUNT = (SIDE // PATCH) ** 2  # patches
MASKED, EPOCHS = 0.75, 12


class Backbone(nn.Module):
    """The transformer: (B, 128, 128) grey levels over 255 -> tokens (B, 1 + 64, 96), the class token first."""

    def __init__(self):
        super().__init__()
        self.embed, self.first = nn.Conv2d(1, WIDE, PATCH, PATCH), nn.Parameter(0.02 * torch.randn(1, 1, WIDE))
        self.place = nn.Parameter(0.02 * torch.randn(1, COUNT, WIDE))
        layer = partial(nn.TransformerEncoderLayer, WIDE, 4, 2 * WIDE, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks, self.norm = nn.ModuleList(layer() for _ in range(DEEP)), nn.LayerNorm(WIDE)

    def patches(self, images: Tensor) -> Tensor:
        """(B, 128, 128) -> (B, 64, 96), each with its place."""
        return self.embed((images - 0.5)[:, None] * 2).flatten(2).transpose(1, 2) + self.place

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = torch.cat([self.first.expand(len(images), -1, -1), self.patches(images)], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


def pretrain(frames: np.ndarray, seed: int, epochs: int = EPOCHS) -> tuple[dict[str, Tensor], list[float]]:
    """Frames (M, 128, 128) uint8 -> (weights of a `Backbone`, loss per epoch): mean squared error of masked patches,
    each with mean 0 and spread 1.
    """
    images, losses = torch.from_numpy(np.asarray(frames, np.float32) / 255), []
    with settled(seed, "peer/mpt/pretrain"):
        bone, hidden = Backbone(), nn.Parameter(torch.zeros(1, 1, WIDE))
        decode = nn.TransformerEncoderLayer(WIDE, 4, 2 * WIDE, 0.0, "gelu", batch_first=True, norm_first=True)
        paint, again = nn.Linear(WIDE, PATCH**2), nn.Parameter(0.02 * torch.randn(1, COUNT, WIDE))
        parts = [*bone.parameters(), *decode.parameters(), *paint.parameters(), hidden, again]
        optimiser = torch.optim.AdamW(parts, lr=2e-3, weight_decay=0.05)
        for epoch in range(epochs):
            optimiser.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * epoch / epochs))
            total = 0.0
            for rows in torch.randperm(len(images)).tensor_split(math.ceil(len(images) / 32)):
                batch, order = images[rows], torch.randperm(COUNT)
                seen, masked = order[: round((1 - MASKED) * COUNT)], order[round((1 - MASKED) * COUNT) :]
                x = torch.cat([bone.first.expand(len(batch), -1, -1), bone.patches(batch)[:, seen]], dim=1)
                for block in bone.blocks:
                    x = block(x)
                full = hidden.expand(len(batch), COUNT, -1).index_copy(1, seen, bone.norm(x)[:, 1:]) + again
                guess = paint(decode(full))[:, masked]
                truth = nn.functional.unfold(batch[:, None], PATCH, stride=PATCH).transpose(1, 2)[:, masked]
                truth = (truth - truth.mean(-1, keepdim=True)) / (truth.std(-1, keepdim=True) + 0.02)
                loss = (guess - truth).square().mean()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total += loss.item() * len(rows)
            losses.append(total / len(images))
    return bone.state_dict(), losses
