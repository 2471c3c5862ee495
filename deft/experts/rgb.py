"""Encoder of the RGB-only opponent: same size, corpus, labels and number of clips, but raw RGB frames instead of
computed motion.

It gets the onset and the mean of apex and hold (the same two moments the motion expert's flow averages, so neither sees
more), stacked to six channels; nothing is subtracted or warped for it. A baseline whose encoder learned nothing is no
evidence (docs/method.md#traps), so this one is given every help that is not motion computed by hand:
- frames are seen relative to the local contrast of the onset, like most encoders for faint detail (Jarrett et al.
  2009);
- its first layer multiplies pairs of learned filters, the cheapest form in which a network can express motion, and
  *starts* as motion energy (Adelson and Bergen 1985): blurred change times oriented derivative. From random filters it
  learned nothing at all in the minutes there are, not even large motion; training may leave this start;
- besides the units it learns the true motion of the regions, as the motion expert does, and the landmarks of the onset;
- in half of every batch the second moment is pushed about by a random smooth field of up to some px that it must
  report: motion large enough to learn from. `validate` states how well it sees large motion and landmarks, beside its
  units.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft import runtime
from deft.clips.facs import REGIONS
from deft.experts.data import INPUTS, Jitter, Pairs, tensor
from deft.experts.encoder import (
    SIDE,
    TOKENS,
    WIDTH,
    Expert,
    Standardise,
    UnitHead,
    conv_block,
    landmark_error,
    mean_shape,
)

GATES, LARGEST = 20, 3.0  # pairs of first filters; px of 128, spread of the strongest random field
REGION_COUNT = len(REGIONS)


def random_fields(count: int, generator: torch.Generator) -> Tensor:
    """Smooth displacement fields (count, 2, 64, 64), px of 128: a 5x5 grid of normal draws, log-uniform strength up
    to LARGEST.
    """
    grid = torch.randn(count, 2, 5, 5, generator=generator)
    strength = LARGEST * torch.exp(-2.5 * torch.rand(count, 1, 1, 1, generator=generator))
    return F.interpolate(grid * strength, size=(SIDE, SIDE), mode="bicubic", align_corners=True)


def push(images: Tensor, field: Tensor) -> Tensor:
    """Move images (B, C, 64, 64) along a smooth field (B, 2, 64, 64) px of 128; first order, as the field is smooth."""
    place = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    base = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1)  # (64, 64, 2), x then y in [-1, 1]
    return F.grid_sample(
        images, base - field.permute(0, 2, 3, 1) / SIDE, padding_mode="border", align_corners=False
    )  # 1 px of 128 = 1/64 of [-1, 1]


def motion_energy(gates: int) -> Tensor:
    """First filters (2 * gates, 6, 5, 5): `gates` blurred changes between the moments, then as many oriented
    derivatives of their mean.
    """
    place = torch.arange(5) - 2.0
    out = torch.zeros(2 * gates, 6, 5, 5)
    for i in range(gates):
        width, angle = (0.8, 1.4)[i % 2], np.pi * (i // 2) / (gates // 2)
        blur = torch.exp(-place.square() / (2 * width**2))
        blur = torch.outer(blur, blur) / blur.sum() ** 2
        slope = -(place[None, :] * np.cos(angle) + place[:, None] * np.sin(angle)) * blur
        out[i, :3], out[i, 3:] = -blur / 3, blur / 3
        out[gates + i] = slope / 6
    return out


def local_contrast(pair: Tensor, floor: float = 0.02) -> Tensor:
    """Both moments less their local mean, over the local spread of the onset, windows of 8 px: (B, 6, 64, 64) -> the
    same shape.
    """

    def mean(x):
        coarse = F.avg_pool2d(
            x, 8, 4, 2, count_include_pad=False
        )  # (B, C, 16, 16): a full-size blur would cost more than the network
        return F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")

    onset = pair[:, :3].mean(1, keepdim=True)
    spread = (mean(onset.square()) - mean(onset).square()).clamp_min(0).sqrt()
    return (pair - mean(pair)) / (spread + floor)


class Rgb(Expert):
    """inputs: pair (B, 6, 64, 64) float32 in [0, 1], channels 0-2 the aligned onset, 3-5 the mean of apex and hold."""

    # No gain: it scales motion, and a picture cannot be shown with its motion scaled. `light` changes its contrast.
    name, keys, jitter, has_units = "rgb", INPUTS["rgb"], Jitter(gain=0.0, noise=0.02, shift=2), True

    def __init__(self):
        super().__init__()
        self.standardise = Standardise(6)
        self.first = nn.Sequential(nn.Conv2d(6, 2 * GATES, 5, 2, 2, bias=False), nn.BatchNorm2d(2 * GATES))
        self.body = nn.Sequential(
            nn.BatchNorm2d(GATES),
            *conv_block(GATES, 32, 3, 2),
            *conv_block(32, 32, 3, 1),  # (B, 32, 16, 16)
            *conv_block(32, 48, 3, 2),
            *conv_block(48, 48, 3, 1),
            *conv_block(48, 6, 1, 1),
            nn.Flatten(),  # (B, 384)
        ).to(memory_format=torch.channels_last)
        self.register_buffer("mean_shape", torch.zeros(68, 2))
        self.register_buffer("region_weights", torch.zeros(REGION_COUNT, SIDE * SIDE))
        self.tokens = nn.Linear(6 * (SIDE // 8) ** 2, TOKENS * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.unit_head = UnitHead()
        self.region_head = nn.Linear(TOKENS * WIDTH, REGION_COUNT * 2)
        self.shape_head = nn.Linear(TOKENS * WIDTH, 136)
        with torch.no_grad():
            self.first[0].weight.copy_(motion_energy(GATES))

    @torch.no_grad()
    def large_motion(self, data: Pairs, rows: np.ndarray) -> float:
        """Share of the regions' motion (R2) that it reports when the second moment is pushed by some px."""
        pair = tensor("pair", data.arrays["pair"][rows])
        moved, added = self.pushed(pair, torch.Generator().manual_seed(runtime.seed_of(0, "large motion")))
        truth = added + torch.from_numpy(np.array(data.arrays["region_true"][rows]))
        seen = torch.cat([self.regions(self({"pair": block})) for block in moved.split(256)])
        return float(1 - (seen - truth).square().sum() / (truth - truth.mean(0)).square().sum())

    def measure(self, data: Pairs, rows: np.ndarray) -> dict[str, float]:
        found, mean = landmark_error(self, data, rows)
        return {"landmark_px": found, "mean_shape_px": mean, "large_motion_r2": self.large_motion(data, rows)}

    def prepare(self, inputs: dict[str, Tensor], targets: dict[str, Tensor] | None = None) -> None:
        from deft.faces import regions

        if targets:
            self.mean_shape.copy_(mean_shape(targets["landmarks"]))
        self.standardise.fit(local_contrast(inputs["pair"]))
        for statistic in (
            self.standardise.mean,
            self.standardise.scale,
        ):  # one for both moments: a difference stays a difference
            statistic.copy_(statistic.view(2, 3).mean(0).repeat(2))
        masks = regions.masks(
            self.mean_shape.numpy(), 2 * SIDE
        )  # (36, 128, 128): where regions lie in the aligned mean face
        small = np.asarray(masks, np.float32).reshape(REGION_COUNT, SIDE, 2, SIDE, 2).sum((2, 4))
        self.region_weights.copy_(torch.from_numpy(small.reshape(REGION_COUNT, -1)))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        seen = self.standardise(local_contrast(inputs["pair"])).contiguous(memory_format=torch.channels_last)
        change, content = self.first(seen).chunk(2, dim=1)  # (B, 20, 32, 32) each
        flat = self.body(change * content)  # (B, 384)
        return self.norm(self.tokens(flat).view(-1, TOKENS, WIDTH))  # (B, 4, 64)

    def landmarks(self, inputs: dict[str, Tensor]) -> Tensor:
        """Predicted landmarks of the onset (B, 68, 2) in px of the aligned 128 px face."""
        return self.mean_shape + self.shape_head(self(inputs).flatten(1)).view(-1, 68, 2)  # (B, 68, 2) px

    def pushed(self, pair: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(pairs whose second moment is pushed, what that adds to the motion of the regions (B, 36, 2) px)."""
        field = random_fields(len(pair), generator)
        added = torch.einsum("bcp,rp->brc", field.flatten(2), self.region_weights)
        return torch.cat([pair[:, :3], push(pair[:, 3:], field)], dim=1), added

    def loss(
        self, inputs: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Units, motion of the regions (half of the batch pushed by a known field), landmarks of the onset.

        targets: units (B, 17, 2) true intensity, region_true (B, 36, 2) px, landmarks (B, 68, 2) px.
        """
        pair, motion, half = inputs["pair"], targets["region_true"], len(inputs["pair"]) // 2
        moved, added = self.pushed(pair[:half], generator)
        tokens = self({"pair": torch.cat([moved, pair[half:]])})
        # Units of a pushed face are still there but drowned: only the other half is asked for them.
        unit = F.binary_cross_entropy_with_logits(self.units(tokens[half:]), (targets["units"][half:] > 0).float())
        seen = self.regions(tokens)
        large = F.smooth_l1_loss(seen[:half], motion[:half] + added, beta=0.3)
        small = F.mse_loss(seen[half:], motion[half:])
        shape = F.smooth_l1_loss(
            self.shape_head(tokens.flatten(1)).view(-1, 68, 2), targets["landmarks"] - self.mean_shape
        )
        total = 3 * unit + large + 2 * small + 0.5 * shape
        return total, {"units": unit.item(), "regions": small.item(), "pushed": large.item(), "landmarks": shape.item()}
