"""Micro-Attention (Wang et al., Neurocomputing 2020, arXiv 1811.02360): residual blocks whose output is raised where a
softmax over places points.

Its source specifies (public re-implementation): 224 px, three channels; a 7 x 7 convolution with 32 kernels (stride 2),
ReLU, pool 3; three blocks of 64, 128, 256, each followed by pool 2. In a block x1 = f(x) and x2 = g(x1) are 3 x 3
convolutions with batch norm and ReLU, m = 1 x 1 convolution of x; [x1, x2, m] through a 1 x 1 convolution, mean over
channels, softmax over all places gives the map A; the output is (x2 + m) (1 + A). Dense 4,096 with dropout .5, linear
layer.

The paper trains on macro-expressions first and reads apex frames; the re-implementation reads flow, and so do we: [u,
v, strain] of onset -> apex, because photographs of macro-expressions are no input that all systems have. Recipe
unknown; we use that of the other systems, and Adam 1e-4 for the published form. The small form reads 28 px, has 16, 24,
32 kernels, pools twice and has a dense layer of 64.

Checked: 53.4 million parameters for three classes; every map sums to 1. A softmax over 3,136 places adds 1/3,136 on
average, so at the published size the attention is nearly the identity unless it concentrates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from deft.evaluation.peers.training import Form, Recipe, flow_reader


class MicroBlock(nn.Module):
    """(B, C, H, W) -> (B, C', H, W)."""

    def __init__(self, inward: int, outward: int):
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.Conv2d(n, outward, 3, padding=1), nn.BatchNorm2d(outward), nn.ReLU())
            for n in (inward, outward)
        )
        self.short, self.mix = nn.Conv2d(inward, outward, 1), nn.Conv2d(3 * outward, 3 * outward, 1)

    def map(self, x1: Tensor, x2: Tensor, short: Tensor) -> Tensor:
        """Three maps (B, C', H, W) -> attention (B, 1, H, W), sum 1 over places."""
        mean = self.mix(torch.cat([x1, x2, short], dim=1)).mean(1, keepdim=True)
        return mean.flatten(2).softmax(dim=2).view_as(mean)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x1, short = self.first(x), self.short(x)
        x2 = self.second(x1)
        return (x2 + short) * (1 + self.map(x1, x2, short))


class Microattention(nn.Module):
    """(B, 3, side, side) -> (B, classes) logits. stem: first convolution (kernels, size, stride), then pool 3; pools:
    whether a halving follows each block.
    """

    def __init__(
        self,
        classes: int,
        side: int,
        stem: tuple[int, int, int],
        widths: Sequence[int],
        pools: Sequence[bool],
        dense: int,
    ):
        super().__init__()
        kernels, size, stride = stem
        layers = [nn.Conv2d(3, kernels, size, stride, size // 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
        for inward, outward, pool in zip((kernels, *widths), widths, pools):
            layers += [MicroBlock(inward, outward), nn.MaxPool2d(2) if pool else nn.Identity()]
        places = (side // stride // 2 ** (1 + sum(pools))) ** 2
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.decide = nn.Sequential(nn.Linear(widths[-1] * places, dense), nn.ReLU(), nn.Dropout(0.5))
        self.decide.append(nn.Linear(dense, classes))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, side, side) -> (B, classes)."""
        return self.decide(self.body(images))


SMALL = partial(Microattention, side=28, stem=(12, 5, 1), widths=(16, 24, 32), pools=(True, False, False), dense=64)
PUBLISHED = partial(Microattention, side=224, stem=(32, 7, 2), widths=(64, 128, 256), pools=(True,) * 3, dense=4096)
AS_PUBLISHED = Recipe(100, 1e-4, 32, 0.0, "adam", anneal=False)
FORMS = {
    "small": Form(SMALL, flow_reader(), (3, 28, 28), Recipe(epochs=25, rate=2e-3)),
    "published": Form(PUBLISHED, flow_reader(224), (3, 224, 224), AS_PUBLISHED, stretched=True),
}
