"""HTNet (Wang et al., Neurocomputing 2024, arXiv 2307.14637): a hierarchical transformer on four crops of the flow
image.

Its source specifies (public code): crops of 14 px around both eyes and both mouth corners of the 28 px flow image,
tiled to 28 px (eyes above); patches of 7 px, width 256, three levels (256, 512, 1,024), 2, 2 and 8 blocks, heads 3, 6,
12 (of 85 numbers), feed-forward 4 times as wide; between levels a 3 x 3 convolution, layer norm and max-pool; mean over
the map, linear layer; Adam 5e-5, batches of 256, 800 epochs, *best epoch of each test subject*. Landmarks are cut to 7
.. 21 px, and x is used as row and y as column, so the crops lie at the transposed place.

**With this shape each attention sees one token**: 4 x 4 patches in 4 x 4 blocks. Softmax over one token is 1, queries
and keys get exactly no gradient, and what remains is a residual perceptron per patch. Forms: "published" is all of that
(114 million weights; hours per fold on a CPU), with the last epoch; "one-token" has the same tokens at widths that two
cores train; "small" is what the idea asks for: crops of 32 px of the 128 px flow, patches of 8 px, two levels with 4 x
4 tokens in each attention, crops where the landmarks are.

Checked: 114,429,446 parameters for three classes; gradients of queries and keys exactly 0 in the published shape and
not in the small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from deft.evaluation.peers.inputs import Inputs, flow_images
from deft.evaluation.peers.training import Form, Reader, Recipe

# Landmarks of both eyes and of both mouth corners, in the order of the tiles.
PLACES = (range(36, 42), range(42, 48), range(48, 49), range(54, 55))


def tiles(images: np.ndarray, landmarks: np.ndarray, crop: int, transposed: bool = False) -> np.ndarray:
    """Images (N, C, S, S), landmarks (N, 68, 2) px of those images -> (N, C, 2 crop, 2 crop): squares of `crop` px
    (even) around eyes and mouth corners, eyes above; a centre nearer than half a square to the border is moved inwards.
    transposed: x as row and y as column.
    """
    half, out = crop // 2, np.empty((*images.shape[:2], 2 * crop, 2 * crop), images.dtype)
    for number, points in enumerate(landmarks):
        for tile, place in enumerate(PLACES):
            x, y = np.clip(points[list(place)].mean(0), half, images.shape[-1] - half).astype(int)
            row, column = (x, y) if transposed else (y, x)
            top, left = tile // 2 * crop, tile % 2 * crop
            seen = images[number, :, row - half : row + half, column - half : column + half]
            out[number, :, top : top + crop, left : left + crop] = seen
    return out


def crops(side: int, crop: int, transposed: bool = False, full: float = 1.0) -> Reader:
    """A reader of the tiled crops of flow images [u, v, strain] of `side` px. full: value of a stretched image's 1."""

    def read(inputs: Inputs, stretched: bool) -> np.ndarray:
        points, found = inputs.landmarks * (side / inputs.gray.shape[-1]), []
        for start in range(0, len(inputs), 64):  # in blocks: a thousand clips at 128 px would be 200 MB
            block = slice(start, start + 64)
            found.append(tiles(flow_images(inputs.rise[block], side, stretched), points[block], crop, transposed))
        return np.concatenate(found) * np.float32(full if stretched else 1.0)

    return read


class Attention(nn.Module):
    """Tokens (B, L, D) -> the same shape; heads of D // heads numbers, no bias on queries, keys and values."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.size = heads, width // heads
        inner = self.size * heads
        self.queries, self.keys, self.values = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.out = nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        parts = (part(tokens).unflatten(-1, (self.heads, self.size)) for part in (self.queries, self.keys, self.values))
        q, k, v = (part.transpose(1, 2) for part in parts)  # (B, heads, L, size)
        weight = (q @ k.transpose(-1, -2) * self.size**-0.5).softmax(dim=-1)  # (B, heads, L, L)
        return self.out((weight @ v).transpose(1, 2).flatten(2))


class Level(nn.Module):
    """Map (B, D, H, W) in blocks x blocks windows -> the same shape; attention stays inside a window."""

    def __init__(self, width: int, heads: int, depth: int, blocks: int, tokens: int):
        super().__init__()
        self.blocks = blocks
        self.position = nn.Parameter(torch.randn(tokens))  # one number per token of a window, as in the public code
        self.layers = nn.ModuleList(nn.ModuleList(self._layer(width, heads)) for _ in range(depth))

    @staticmethod
    def _layer(width: int, heads: int) -> list[nn.Module]:
        wide = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        return [nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width), wide]

    def forward(self, image: Tensor) -> Tensor:
        """(B, D, H, W) -> (B, D, H, W)."""
        n, (b, d, h, w) = self.blocks, image.shape
        x = image.reshape(b, d, n, h // n, n, w // n).permute(0, 2, 4, 3, 5, 1).reshape(b * n * n, -1, d)
        x = x + self.position[:, None]
        for norm, attention, second, wide in self.layers:
            x = x + attention(norm(x))  # (B n n, tokens, D)
            x = x + wide(second(x))
        return x.reshape(b, n, n, h // n, w // n, d).permute(0, 5, 1, 3, 2, 4).reshape(b, d, h, w)


class Htnet(nn.Module):
    """(B, 3, side, side) tiled crops -> (B, classes) logits. One width and one depth per level; heads double with the
    level.
    """

    def __init__(self, classes: int, side: int, patch: int, widths: Sequence[int], depths: Sequence[int]):
        super().__init__()
        levels, blocks = len(widths), 2 ** (len(widths) - 1)
        tokens = (side // patch // blocks) ** 2
        self.embed = nn.Conv2d(3, widths[0], patch, patch)
        sizes = ((widths[i], 3 * 2**i, depths[i], blocks // 2**i, tokens) for i in range(levels))
        self.levels = nn.ModuleList(Level(*size) for size in sizes)
        self.between = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 3, padding=1) for i in range(levels - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in (*widths[1:], widths[-1]))
        self.pool, self.decide = nn.MaxPool2d(3, 2, padding=1), nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, side, side) -> (B, classes)."""
        x = self.levels[0](self.embed(images))
        for level, between, norm in zip(self.levels[1:], self.between, self.norms):
            x = level(self.pool(norm(between(x).movedim(1, -1)).movedim(-1, 1)))
        return self.decide(self.norms[-1](x.movedim(1, -1)).mean((1, 2)))


SMALL = partial(Htnet, side=64, patch=8, widths=(48, 96), depths=(2, 2))
ONE_TOKEN = partial(Htnet, side=28, patch=7, widths=(48, 96, 192), depths=(2, 2, 2))
PUBLISHED = partial(Htnet, side=28, patch=7, widths=(256, 512, 1024), depths=(2, 2, 8))
AS_PUBLISHED = Recipe(800, 5e-5, 256, 0.0, "adam", anneal=False, standardise=False)
FORMS = {
    "small": Form(SMALL, crops(128, 32), (3, 64, 64), Recipe(epochs=20, rate=1e-3, decay=0.05)),
    "one-token": Form(ONE_TOKEN, crops(28, 14), (3, 28, 28), Recipe(epochs=30, rate=1e-3, decay=0.05)),
    "published": Form(PUBLISHED, crops(28, 14, True, 255), (3, 28, 28), AS_PUBLISHED, stretched=True),
}
