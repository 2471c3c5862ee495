"""STSTNet (Liong et al., FG 2019, arXiv 1902.03634): three shallow streams on [u, v, strain] of onset -> apex.

Its source specifies (paper and public code): flow by TV-L1 at 28 x 28 px, fed as 8-bit images; three parallel 3 x 3
convolutions with 3, 5 and 8 kernels (padding 2), each ReLU, batch norm, max-pool 3 (stride 3, padding 1), dropout .5;
16 x 10 x 10, average-pool 2, one linear layer; Adam 5e-5, batches of 256, 500 to 800 epochs, last epoch.

We choose: the flow of this package (DIS) instead of TV-L1, because all systems read one flow; a class-balanced loss,
because all systems have it. The small form is the published network with a rate that arrives within seconds.

Checked: 1,683 parameters for three classes (the paper prints 1,670).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deft.evaluation.peers.training import Form, Recipe, flow_reader

KERNELS = (3, 5, 8)  # of the three streams


class Ststnet(nn.Module):
    """(B, 3, 28, 28) flow images -> (B, classes) logits."""

    def __init__(self, classes: int):
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3, n, 3, padding=2),
                nn.ReLU(),
                nn.BatchNorm2d(n),
                nn.MaxPool2d(3, 3, padding=1),
                nn.Dropout(0.5),
            )
            for n in KERNELS
        )
        self.decide = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(sum(KERNELS) * 25, classes))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 28, 28) -> (B, classes)."""
        return self.decide(
            torch.cat([stream(images) for stream in self.streams], dim=1)
        )  # (B, 16, 10, 10) before the decision


FORMS = {
    "small": Form(Ststnet, flow_reader(), (3, 28, 28), Recipe(epochs=60, rate=5e-3)),
    "published": Form(
        Ststnet,
        flow_reader(full=255),
        (3, 28, 28),
        Recipe(800, 5e-5, 256, 0.0, "adam", anneal=False, standardise=False),
        stretched=True,
    ),
}
