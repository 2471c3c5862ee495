"""FMANet (arXiv 2510.07810): flow of both phases, onset -> apex and apex -> offset, weighed by a learned gate on its
magnitude.

Only a summary is on record: magnitudes of the two phases are min-max normalised, summed with two weights and modulated
by a threshold; the network makes weights and threshold learnable, in two streams with motion attention. **Weights,
sizes, recipe and numbers are unknown**, so there is no published form.

We choose: one set of convolutions (16, 32, 48) for both phases on [u, v, |flow|] at 28 px; a gate sigmoid(a (M - b)) on
the min-max magnitude M of each phase, with a and b per phase; fusion weights by softmax; spatial attention from the
fused gated magnitude. Features of the two phases are weighed and summed before the last layer.

Checked: a = 0 makes every gate .5; weights (1, 0) and an open gate leave the first phase alone; min-max of a constant
field is 0.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from deft.evaluation.peers.inputs import Inputs, flow_images
from deft.evaluation.peers.training import Form, Recipe

WIDTHS = (16, 32, 48)


def read(inputs: Inputs, stretched: bool) -> np.ndarray:
    """[u, v, |flow|] of the rise, then of the fall: (N, 6, 28, 28). The magnitude is that of the fixed scale in either
    kind; it is normalised later.
    """
    phases = []
    for flow in (inputs.rise, inputs.fall):
        fixed = flow_images(flow)
        moves = flow_images(flow, stretched=True) if stretched else fixed
        phases += [moves[:, :2], np.hypot(fixed[:, :1], fixed[:, 1:2])]
    return np.concatenate(phases, axis=1)


def normalised(magnitude: Tensor) -> Tensor:
    """(B, P, H, W) -> 0 .. 1 between minimum and maximum of each image; a constant image is 0."""
    low, high = magnitude.amin((2, 3), keepdim=True), magnitude.amax((2, 3), keepdim=True)
    return (magnitude - low) / (high - low).clamp_min(1e-12)


class Fmanet(nn.Module):
    """(B, 6, 28, 28) -> (B, classes) logits. slope, threshold: a and b of the two gates; fusion: logits of the two
    weights.
    """

    def __init__(self, classes: int):
        super().__init__()
        self.slope, self.threshold = nn.Parameter(torch.full((2,), 4.0)), nn.Parameter(torch.full((2,), 0.3))
        self.fusion = nn.Parameter(torch.zeros(2))
        layers: list[nn.Module] = []
        for inward, outward in zip((3, *WIDTHS), WIDTHS):
            layers += [
                nn.Conv2d(inward, outward, 3, padding=1, bias=False),
                nn.BatchNorm2d(outward),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers)  # (B, 48, 3, 3)
        self.attend = nn.Conv2d(1, 1, 3, padding=1)
        self.decide = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(WIDTHS[-1] * 9, classes))

    def gates(self, magnitude: Tensor) -> Tensor:
        """Normalised magnitudes (B, 2, H, W) -> gates (B, 2, H, W) in 0 .. 1."""
        return torch.sigmoid(self.slope.view(1, 2, 1, 1) * (magnitude - self.threshold.view(1, 2, 1, 1)))

    def weights(self) -> Tensor:
        """(2,) of the rise and of the fall, sum 1."""
        return self.fusion.softmax(dim=0)

    def forward(self, phases: Tensor) -> Tensor:
        """(B, 6, 28, 28) -> (B, classes)."""
        phases = phases.unflatten(1, (2, 3))  # (B, 2, 3, H, W)
        magnitude = normalised(phases[:, :, 2])  # any scale of the input gives the same
        gates, weights = self.gates(magnitude), self.weights()
        features = self.body((phases * gates[:, :, None]).flatten(0, 1)).unflatten(0, (-1, 2))  # (B, 2, 48, 3, 3)
        fused = torch.einsum("p,bpcij->bcij", weights, features)
        moving = torch.einsum("p,bpij->bij", weights, gates * magnitude)[:, None]  # the modulated sum
        attention = torch.sigmoid(self.attend(nn.functional.adaptive_avg_pool2d(moving, fused.shape[-2:])))
        return self.decide(fused * attention)


FORMS = {"small": Form(Fmanet, read, (6, 28, 28), Recipe(epochs=25, rate=3e-3))}
UNKNOWN = "weights, layer sizes, recipe and numbers"
