"""MMNet (Li et al., IJCAI 2022): apex minus onset through attention blocks, plus a transformer that says where things
are on the onset face.

Its source specifies (paper and public code): frames of 224 px; the difference apex - onset through a 3 x 3 convolution
with 180 kernels (stride 2) and one with 128; four blocks of 128, 128, 256, 512 (stride 1, 2, 2, 2): 3 x 3 and 1 x 1
convolution with a shortcut, then a map from the mean and maximum over channels (1 x 1 convolution, batch norm,
sigmoid), multiplied by the map of the block before (max-pooled) and laid over the features; a transformer of 2 layers
(512 wide, 4 heads, feed-forward twice as wide) on the onset frame at 14 px, one token per pixel; its output is added to
the last map, which is laid flat into a linear layer; AdamW 8e-4, decay .6, flips, turns and crops; best accuracy and
best F1 of each test subject, from different epochs.

We read grey frames (the aligned frames of this package are grey), augment nothing, as no system here does, leave out
stochastic depth, and take the last epoch. The small form reads 64 px and has 16, 16, 24, 32 kernels, the last block at
stride 1, and 32 wide tokens on the onset at 8 px.

Checked: a face that does not move says nothing about motion (the first map of a zero difference is constant); maps of
later blocks lie below those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from deft.evaluation.peers.inputs import Inputs
from deft.evaluation.peers.training import Form, Reader, Recipe


def frames(side: int) -> Reader:
    """A reader of [apex - onset, onset], (N, 2, side, side), grey levels over 255."""

    def read(inputs: Inputs, stretched: bool) -> np.ndarray:
        how = cv2.INTER_AREA if side <= inputs.gray.shape[-1] else cv2.INTER_LINEAR
        pairs = (np.stack(pair).astype(np.float32) / 255 for pair in zip(inputs.onset, inputs.apex))
        sized = np.stack([[cv2.resize(frame, (side, side), interpolation=how) for frame in pair] for pair in pairs])
        return np.stack([sized[:, 1] - sized[:, 0], sized[:, 0]], axis=1)

    return read


class AttentionBlock(nn.Module):
    """(B, C, H, W) and the map before (B, 1, H, W) or None -> (B, C', H / stride, W / stride) and its map (B, 1, ...),
    between 0 and 1.
    """

    def __init__(self, inward: int, outward: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(inward, outward, 3, stride, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU()),
            *(nn.Conv2d(outward, outward, 1, bias=False), nn.BatchNorm2d(outward)),
        )
        self.short: nn.Module = nn.Identity()
        if stride > 1 or inward != outward:
            self.short = nn.Sequential(nn.Conv2d(inward, outward, 1, stride, bias=False), nn.BatchNorm2d(outward))
        self.map = nn.Sequential(nn.Conv2d(2, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid())
        self.shrink = nn.MaxPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = torch.relu(self.body(x) + self.short(x))
        attention = self.map(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1))
        if before is not None:
            attention = attention * self.shrink(before)
        return x * attention, attention


class Mmnet(nn.Module):
    """(B, 2, side, side) [apex - onset, onset] -> (B, classes) logits. stem, widths, strides: of the motion branch;
    channels: 3 where the published network takes colour, which here are three copies of the grey level.
    """

    def __init__(
        self, classes: int, side: int, stem: int, widths: Sequence[int], strides: Sequence[int], channels: int
    ):
        super().__init__()
        self.grid, self.channels, width = side // 2 // int(np.prod(strides)), channels, widths[-1]
        self.stem = nn.Sequential(
            *(nn.Conv2d(channels, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()),
            *(nn.Conv2d(stem, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()),
        )
        self.blocks = nn.ModuleList(map(AttentionBlock, (widths[0], *widths), widths, strides))
        self.embed, self.place = nn.Linear(channels, width), nn.Parameter(torch.zeros(1, self.grid**2, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.onset = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        nn.init.trunc_normal_(self.place, std=0.02)
        self.decide = nn.Linear(width * self.grid**2, classes)

    def maps(self, difference: Tensor) -> tuple[Tensor, list[Tensor]]:
        """apex - onset (B, 1, side, side) -> (features (B, C, grid, grid), the attention map of every block)."""
        x, found = self.stem(difference.expand(-1, self.channels, -1, -1)), []
        for block in self.blocks:
            x, attention = block(x, found[-1] if found else None)
            found.append(attention)
        return x, found

    def forward(self, pair: Tensor) -> Tensor:
        """(B, 2, side, side) -> (B, classes)."""
        small = nn.functional.adaptive_avg_pool2d(pair[:, 1:], self.grid).flatten(2).transpose(1, 2)  # (B, grid^2, 1)
        where = (
            self.onset(self.embed(small.expand(-1, -1, self.channels)) + self.place)
            .transpose(1, 2)
            .unflatten(2, (self.grid, self.grid))
        )
        return self.decide((self.maps(pair[:, :1])[0] + where).flatten(1))


SMALL = partial(Mmnet, side=64, stem=16, widths=(16, 16, 24, 32), strides=(1, 2, 2, 1), channels=1)
PUBLISHED = partial(Mmnet, side=224, stem=180, widths=(128, 128, 256, 512), strides=(1, 2, 2, 2), channels=3)
FORMS = {
    "small": Form(SMALL, frames(64), (2, 64, 64), Recipe(20, 1e-3, decay=0.3), None),
    "published": Form(PUBLISHED, frames(224), (2, 224, 224), Recipe(100, 8e-4, 34, 0.6, anneal=False), None),
}
