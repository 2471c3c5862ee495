"""LocalStaticFaceMix, the augmentation of MER-CLIP (arXiv 2505.05937, Apache-2.0), as an opponent on looks: a network
that reads frames and no flow.

Its source specifies (public code): with probability .5 the forehead, the chin or a cheek of *every* frame is blended
(.5) with the same place of another clip's *first* frame: looks change, motion stays; around it 16 frames of 224 px,
UniFormerV2-B, a frozen text encoder and phrases of action units. That network needs weights that are learned elsewhere,
so there is no published form: we keep the augmentation, which attacks the same entanglement as this paper, and give it
to the plainest reader of pixels: [onset, apex, offset] at 64 px into the convolutions that the experts have. The page
does not say where the regions end; faces are aligned here, so we use four fixed boxes. The partner is drawn within the
batch, whatever its label. What stays exactly is where things move; the contrast of the moving texture halves inside the
box. `mix` serves RGB frames as well. Form "plain" is the control without mixing.

Checked: outside the box nothing changes, inside the difference of two frames is exactly half; frames of one clip
receive the same patch.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from deft.evaluation.peers.inputs import Inputs
from deft.evaluation.peers.training import Form, Recipe
from deft.experts.encoder import SIDE, Trunk

# top, bottom, left, right as shares of the aligned frame, whose eyes lie at (.38, .40) and (.62, .40)
BOXES = {
    "forehead": (0.10, 0.28, 0.24, 0.76),
    "chin": (0.74, 0.90, 0.34, 0.66),
    "right cheek": (0.48, 0.74, 0.18, 0.38),
    "left cheek": (0.48, 0.74, 0.62, 0.82),
}


def mix(clips: Tensor, generator: torch.Generator, probability: float = 0.5, strength: float = 0.5) -> Tensor:
    """Clips (B, T, ..., H, W) -> the same shape: of each, with `probability`, one of BOXES in all T frames is blended
    with a partner's first frame.

    strength: share of the partner, 0 .. 1. T is the number of frames; axes between it and H (colours) are kept.
    """
    count, (height, width) = len(clips), clips.shape[-2:]
    if not 0 <= probability <= 1 or not 0 <= strength <= 1:
        raise ValueError(f"probability {probability} and strength {strength} must lie in 0 .. 1")
    changed, ring = torch.rand(count, generator=generator) < probability, torch.randperm(count, generator=generator)
    partner = torch.empty_like(ring)
    partner[ring] = ring.roll(1)  # nobody is blended with itself, unless it is alone
    place, out = torch.randint(len(BOXES), (count,), generator=generator), clips.clone()
    for number in changed.nonzero()[:, 0].tolist():
        top, bottom, left, right = list(BOXES.values())[int(place[number])]
        box = (
            ...,
            slice(round(top * height), round(bottom * height)),
            slice(round(left * width), round(right * width)),
        )
        out[number][box] = (1 - strength) * clips[number][box] + strength * clips[partner[number], 0][box]
    return out


def read(inputs: Inputs, stretched: bool) -> np.ndarray:
    """[onset, apex, offset] at 64 px, grey levels over 255, minus .5: (N, 3, 64, 64)."""
    shown = zip(inputs.onset, inputs.apex, inputs.offset)
    return (
        np.stack(
            [[cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in clip] for clip in shown]
        ).astype(np.float32)
        / 255
        - 0.5
    )


class Frames(nn.Module):
    """(B, 3, 64, 64) frames -> (B, classes) logits."""

    def __init__(self, classes: int):
        super().__init__()
        self.body = Trunk(3)
        self.decide = nn.Sequential(nn.Dropout(0.3), nn.Linear(self.body.features, classes))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, 64, 64) -> (B, classes)."""
        return self.decide(self.body(frames))


RECIPE = Recipe(epochs=20, standardise=False)
FORMS = {
    "small": Form(Frames, read, (3, SIDE, SIDE), RECIPE, None, mix),
    "plain": Form(Frames, read, (3, SIDE, SIDE), RECIPE, None),
}
UNKNOWN = (
    "nothing of the network, but it stands on weights of UniFormerV2-B and of a text encoder that are learned elsewhere"
)
