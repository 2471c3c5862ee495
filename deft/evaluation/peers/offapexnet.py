"""OFF-ApexNet (Gan et al., 2019, arXiv 1805.08699): horizontal and vertical flow of onset -> apex in separate streams.

Its source specifies (a public re-implementation): 28 px; per stream a 5 x 5 convolution with 6 kernels, pool 2, one
with 16, pool 2; the two streams side by side (1,568), two dense layers of 1,024 with dropout .5; rate 1e-4, 3,000
epochs.

The re-implementation has no activation after a convolution, and what the paper has is not on record; we use ReLU, as
every other network here does. Nor are its optimiser and batch; we use Adam and 256, as STSTNet of the same group. The
small form has dense layers of 256.

Checked: 2,664,475 parameters for three classes. A public benchmark's "OFF-ApexNet" (one stream, 3 x 3, one dense layer)
has 807,909: another network, and the reruns that are reported under this name (.7032, .8390) are of that one.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from deft.evaluation.peers.training import Form, Recipe, flow_reader


class Offapexnet(nn.Module):
    """(B, 2, 28, 28) flow images [u, v] -> (B, classes) logits. width: of the two dense layers."""

    def __init__(self, classes: int, width: int = 1024):
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(6, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            )
            for _ in range(2)
        )
        self.decide = nn.Sequential(
            *(nn.Linear(2 * 16 * 49, width), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, classes)),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 2, 28, 28) -> (B, classes)."""
        return self.decide(torch.cat([stream(images[:, i : i + 1]) for i, stream in enumerate(self.streams)], dim=1))


READ = {full: flow_reader(channels=(0, 1), full=full) for full in (1, 255)}
FORMS = {
    "small": Form(partial(Offapexnet, width=256), READ[1], (2, 28, 28), Recipe(epochs=40, rate=1e-3)),
    "published": Form(
        Offapexnet,
        READ[255],
        (2, 28, 28),
        Recipe(3000, 1e-4, 256, 0.0, "adam", anneal=False, standardise=False),
        stretched=True,
    ),
}
