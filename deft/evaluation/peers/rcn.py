"""RCN-A (Xia et al., IEEE TIP 2020): one recurrent convolution and a spatial map that costs no parameter.

Its source specifies (public code): a 5 x 5 convolution with 64 kernels (no padding), batch norm, ReLU, pool 2, dropout
.5; a recurrent unit y0 = f(x), y1 = g(x + y0), y2 = g(x + y1), where f is a 1 x 1 and g a 3 x 3 convolution with batch
norm and ReLU and g is used twice with the same weights; pool 2, dropout .5; average-pool to 5 x 5; a linear layer. The
map: per class the pooled first features times the classifier's own weights, mean over kernels, stretched to 0 .. 1; the
mean over classes multiplies what the classifier reads. SGD with momentum .9, rate 5e-4, batches of 64, 100 epochs, last
epoch.

What size the reported runs read is not settled on record (the study shrinks it); we use 28 px, as the other shallow
networks, as 8-bit images over 255, and guard the division where a map is constant. The small form has 24 kernels.

Checked: 51,139 parameters for three classes; the recurrent weights are shared; the map lies in 0 .. 1 and has its
maximum on the place that the classifier weighs.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from deft.evaluation.peers.training import Form, Recipe, flow_reader

POOL = 5  # the side of the map that the classifier reads


class Rcn(nn.Module):
    """(B, 3, S, S) flow images, S >= 24 px -> (B, classes) logits. width: number of kernels."""

    def __init__(self, classes: int, width: int = 64):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, width, 5), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5)
        )
        self.enter = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.again = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.leave = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(POOL))
        self.pool = nn.AdaptiveAvgPool2d(POOL)
        self.decide = nn.Linear(width * POOL**2, classes)
        for part in self.modules():  # as the public code starts
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.decide.weight, 0, 0.01)
        nn.init.zeros_(self.decide.bias)

    def place(self, features: Tensor) -> Tensor:
        """Pooled first features (B, width, 5, 5) -> map (B, 1, 5, 5) in 0 .. 1, read off the classifier's weights."""
        weight = self.decide.weight.view(-1, features.shape[1], POOL, POOL)  # (classes, width, 5, 5)
        maps = torch.einsum("bwij,cwij->bcij", features, weight) / features.shape[1]
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        return ((maps - low) / (high - low).clamp_min(1e-12)).mean(1, keepdim=True)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, classes)."""
        x = self.first(images)
        y = self.again(x + self.enter(x))
        y = self.again(x + y)
        return self.decide((self.leave(y) * self.place(self.pool(x))).flatten(1))


FORMS = {
    "small": Form(partial(Rcn, width=24), flow_reader(), (3, 28, 28), Recipe(epochs=40, rate=3e-3)),
    "published": Form(
        Rcn,
        flow_reader(),
        (3, 28, 28),
        Recipe(100, 5e-4, 64, 0.0, "sgd", anneal=False, standardise=False),
        stretched=True,
    ),
}
