"""The network: warp, compare, correct; first at half size, then at full size, with one set of weights.

What is borrowed, in our own words and code:
- *Warp the second frame by what is known and estimate the rest*, coarse to fine: SpyNet (Ranjan and Black, CVPR 2017),
  PWC-Net (Sun et al., CVPR 2018), LiteFlowNet (Hui et al., CVPR 2018). We warp the image, not its features: bicubic
  interpolation of pixels is exact enough for a twentieth of a pixel.
- *One update block for every iteration, convex upsampling* of its answer to full resolution: RAFT (Teed and Deng, ECCV
  2020).
- *What is compared*: a cost volume has one entry per whole pixel, and micro-motion lives between them. Lucas and Kanade
  (IJCAI 1981) write the sub-pixel shift as a ratio of two averages, gradient times change over gradient times gradient.
  The block is given that ratio for windows of three sizes (the widest alone leaves .15 px of .44 through the simulated
  camera), and products of learned filters of the mean and the difference of both frames. A small U-Net decides how to
  weight the windows, what to add, where motion is discontinuous, and what is only noise or light (LiteFlowNet's
  regularisation, learned the same way).
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from deft import cache, runtime

NEAR = 0.25  # px; confidence is the probability of an error below this
GAIN = 3.0  # of the first filters: their products then have a spread near one
WINDOWS = (0, 1, 3)  # half widths of the least squares, cells
RIDGE, FAR = (
    0.001,
    3.0,
)  # of the least squares, squared grey levels at even contrast; px to which a first guess is clipped
LOCAL, QUIET = 20, 6.0  # px over which contrast is evened out; grey levels below which it counts as noise
CHANGE = 2.0  # the difference of two frames is small beside their mean; both should weigh alike when training starts
MULTIPLE = 32  # frames are padded to a multiple of this: two scales, cells of 4 px, two halvings in the U-Net


@dataclass(frozen=True)
class Sizes:
    """products: pairs of filters that are multiplied; filters: those handed on as they are; width: channels of the
    three U-Net levels; cell: px of the frame per cell of the grid; scales: one iteration each, by how much the frames
    are made smaller."""

    products: int = 32
    filters: int = 16
    width: tuple[int, int, int] = (48, 48, 64)
    cell: int = 4
    scales: tuple[int, ...] = (2, 1)


class Mix(nn.Linear):
    """A 1 x 1 convolution, (B, C, H, W) -> (B, D, H, W); as a matrix product, for torch's own are slow on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _conv(inside, outside, stride=1):
    return nn.Conv2d(inside, outside, 3, stride, 1)


def warp(image: Tensor, flow: Tensor, mode: str = "bicubic") -> Tensor:
    """image (B, C, H, W) sampled at x + flow (B, 2, H, W) px, edges repeated: the second frame carried back onto the
    first.
    """
    height, width = image.shape[-2:]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device).view(1, -1, 1)
    x = torch.arange(width, dtype=flow.dtype, device=flow.device).view(1, 1, -1)
    grid = torch.stack([(x + flow[:, 0]) * (2 / (width - 1)) - 1, (y + flow[:, 1]) * (2 / (height - 1)) - 1], dim=-1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=True)


def convex(small: Tensor, mask: Tensor, cell: int) -> Tensor:
    """small (B, C, h, w), mask (B, 9 cell^2, h, w) -> (B, C, cell h, cell w): each fine value is a mean of the 3 x 3
    coarse ones around it, its weights learned."""
    n, c, h, w = small.shape
    weights = mask.reshape(n, 1, 9, cell * cell, h, w).softmax(dim=2).unbind(2)
    around = F.pad(small, (1, 1, 1, 1), mode="replicate")
    fine = sum(
        weights[3 * i + j] * around[:, :, None, i : i + h, j : j + w] for i in range(3) for j in range(3)
    )  # (B, C, cell^2, h, w)
    return F.pixel_shuffle(fine.reshape(n, c * cell * cell, h, w), cell)


def derivatives() -> Tensor:
    """(3, 2, 5, 5) filters on (mean, change): derivative of the mean along x and along y, and the change, all
    equally smoothed.
    """
    side = torch.arange(5, dtype=torch.float32) - 2
    blob = torch.exp(-(side[:, None] ** 2 + side[None] ** 2) / 2)
    blob /= blob.sum()
    bank = torch.zeros(3, 2, 5, 5)
    bank[0, 0], bank[1, 0], bank[2, 1] = blob * side[None], blob * side[:, None], blob
    return bank


@torch.no_grad()
def lucas_kanade(both: Tensor, bank: Tensor, cell: int) -> Tensor:
    """Frames as (mean, CHANGE x difference) (B, 2, H, W) -> (B, 9, H / cell, W / cell): u, v in px and the log of the
    texture, from windows of 1, 3 and 7 cells. Least squares of gradient . flow = -change, a little ridge where there is
    no texture."""
    gx, gy, change = F.conv2d(both, bank, padding=2).split(1, dim=1)
    change = change / CHANGE
    products = F.avg_pool2d(torch.cat([gx * gx, gx * gy, gy * gy, gx * change, gy * change], dim=1), cell)
    found = []
    for reach in WINDOWS:
        window = F.avg_pool2d(products, 2 * reach + 1, 1, reach, count_include_pad=False) if reach else products
        xx, xy, yy, xc, yc = window.split(1, dim=1)
        xx, yy = xx + RIDGE, yy + RIDGE
        area = xx * yy - xy * xy
        found += [
            ((xy * yc - yy * xc) / area).clamp(-FAR, FAR),
            ((xy * xc - xx * yc) / area).clamp(-FAR, FAR),
            area.log() / 4 + 1,
        ]
    return torch.cat(found, dim=1)


class Update(nn.Module):
    """Two frames, the second already warped -> what is still missing. Works on a grid of `cell` px."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.products, self.cell = sizes.products, sizes.cell
        self.register_buffer("bank", derivatives(), persistent=False)
        w0, w1, w2 = sizes.width
        self.see = nn.Conv2d(
            2, 2 * sizes.products + sizes.filters, 2 * sizes.cell, sizes.cell, sizes.cell // 2
        )  # linear: filters, their partners, and some alone
        self.enter = Mix(sizes.products + sizes.filters + 9 + 2 + w0, w0)
        self.first = _conv(w0, w0)
        self.down = nn.ModuleList([_conv(w0, w1, 2), _conv(w1, w2, 2)])
        self.deep = nn.ModuleList([_conv(w1, w1), _conv(w2, w2)])
        self.side = nn.ModuleList([Mix(w1, w0), Mix(w2, w1)])
        self.up = nn.ModuleList([_conv(w0, w0), _conv(w1, w1)])
        self.motion = Mix(
            w0, 4 + len(WINDOWS) + 1
        )  # dx, dy, log error, occlusion; belief in each window's guess, and in none
        self.mask = Mix(w0, 9 * sizes.cell**2)
        nn.init.zeros_(self.motion.weight), nn.init.zeros_(self.motion.bias)
        self.motion.bias.data[-2] = 2.0  # an untrained network weights the widest window most
        self.begin()

    @torch.no_grad()
    def begin(self) -> None:
        """Let the first products be those of Lucas and Kanade: derivative times change, and derivative times
        derivative, at two widths and four places of a cell. From random filters the network needs minutes to find out
        that frames move at all."""
        side = torch.arange(2 * self.cell, dtype=torch.float32) - self.cell + 0.5
        row, quarter = 0, self.cell / 4
        for spread in (0.8, 1.6):
            for dy, dx in ((-quarter, -quarter), (-quarter, quarter), (quarter, -quarter), (quarter, quarter)):
                blob = torch.exp(-((side - dy)[:, None] ** 2 + (side - dx)[None] ** 2) / (2 * spread**2))
                blob /= blob.sum()
                x, y = blob * (side - dx)[None] / spread**2, blob * (side - dy)[:, None] / spread**2
                for one, other, channel in ((x, blob, 1), (y, blob, 1), (x, x, 0), (y, y, 0), (x, y, 0)):
                    if row == self.products:
                        return
                    for place, kernel, seen in ((row, one, 0), (row + self.products, other, channel)):
                        self.see.weight[place].zero_(), self.see.bias[place].zero_()
                        self.see.weight[place, seen] = GAIN * kernel
                    row += 1

    def forward(
        self, first: Tensor, second: Tensor, flow: Tensor, hidden: Tensor | None, last: bool
    ) -> tuple[Tensor, Tensor]:
        """first, second (B, 1, H, W), flow (B, 2, H, W) px so far, hidden (B, w0, h, w) -> ((B, 4, H, W) corrections,
        hidden).

        last: spend the convex upsampling, which only the final answer is worth.
        """
        both = torch.cat([(first + second) / 2, CHANGE * (second - first)], dim=1)
        x = self.see(both.contiguous(memory_format=torch.channels_last))  # (B, 2p + f, h, w)
        one, other, alone = x.split([self.products, self.products, x.shape[1] - 2 * self.products], dim=1)
        if hidden is None:
            hidden = x.new_zeros(len(x), self.first.in_channels, *x.shape[-2:]).contiguous(
                memory_format=torch.channels_last
            )
        guess = lucas_kanade(both, self.bank, self.cell)
        x = torch.cat(
            [part.permute(0, 2, 3, 1) for part in (one * other, alone, guess, F.avg_pool2d(flow, self.cell), hidden)],
            dim=3,
        ).permute(0, 3, 1, 2)
        x = F.relu(self.enter(x))
        x = F.relu(x + self.first(x))  # (B, w0, h, w)
        levels = [x]
        for down, deep in zip(self.down, self.deep):
            x = F.relu(down(x))
            x = F.relu(x + deep(x))
            levels.append(x)
        for level in (1, 0):
            x = levels[level] + F.interpolate(
                self.side[level](x), scale_factor=2.0, mode="bilinear", align_corners=False
            )
            x = F.relu(x + self.up[level](x))
        small, belief = self.motion(x).split((4, len(WINDOWS) + 1), dim=1)
        share = belief.softmax(dim=1)[:, :-1]
        small = small + F.pad(
            (guess.unflatten(1, (len(WINDOWS), 3))[:, :, :2] * share[:, :, None]).sum(1), (0, 0, 0, 0, 0, 2)
        )
        if not last:
            return self.coarse(small), x
        motion, doubt = small.split(2, dim=1)
        return torch.cat([convex(motion, self.mask(x), self.cell), self.coarse(doubt)], dim=1), x

    def coarse(self, small: Tensor) -> Tensor:
        """(B, C, h, w) on the grid -> (B, C, cell h, cell w), bilinear."""
        return F.interpolate(small, scale_factor=float(self.cell), mode="bilinear", align_corners=False)


class MEFlow(nn.Module):
    """`forward(first, second)`: frames (B, 1, H, W) float, any scale -> one (B, 4, H, W) per iteration: u, v in px,
    log error in px, occlusion logit.
    """

    def __init__(self, sizes: Sizes = Sizes()):
        super().__init__()
        self.sizes, self.update = sizes, Update(sizes)

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """first, second: (B, 1, H, W) grey levels -> answers (B, 4, H, W), one per iteration; the last is the best."""
        height, width = first.shape[-2:]
        first, second = self.normalised(first, second)
        answers, flow, hidden = [], None, None
        for number, scale in enumerate(self.sizes.scales):
            a, b = (x if scale == 1 else F.avg_pool2d(x, scale) for x in (first, second))
            if flow is None:
                flow = a.new_zeros(len(a), 2, *a.shape[-2:])
                moved = b
            else:
                if flow.shape[-2:] != a.shape[-2:]:
                    grow = a.shape[-1] / flow.shape[-1]
                    flow = F.interpolate(flow, size=a.shape[-2:], mode="bilinear", align_corners=False) * grow
                    hidden = F.interpolate(hidden, scale_factor=grow, mode="nearest")
                flow = flow.detach()  # as in RAFT: each iteration is taught alone
                moved = warp(b, flow)
            more, hidden = self.update(a, moved, flow, hidden, last=number + 1 == len(self.sizes.scales))
            more, doubt = more.split(2, dim=1)
            flow = flow + more
            answer = torch.cat([flow, doubt], dim=1)
            if scale != 1:
                answer = F.interpolate(answer, size=first.shape[-2:], mode="bilinear", align_corners=False)
                answer = answer * answer.new_tensor([scale, scale, 1.0, 1.0]).view(1, 4, 1, 1)
            answers.append(answer if answer.shape[-2:] == (height, width) else answer[..., :height, :width])
        return answers

    @staticmethod
    def normalised(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Subtract each frame's local mean (light changes), then divide both frames by their common local contrast.

        Even contrast is half of Lucas and Kanade's division: strong edges and faint skin then weigh alike. (B, 1, H, W)
        grey levels -> the same, padded to a multiple of MULTIPLE."""
        height, width = first.shape[-2:]
        both = F.pad(torch.cat([first, second], dim=1), (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")

        def around(x):
            small = F.avg_pool2d(F.avg_pool2d(x, 4), LOCAL // 4, 1, LOCAL // 8, count_include_pad=False)
            return F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)

        both = both - around(both)
        both = both * (around(both.square()).mean(1, keepdim=True) + QUIET**2).rsqrt()
        return both[:, :1], both[:, 1:]


# ---------------------------------------------------------------- use


def load(folder: str | Path) -> MEFlow:
    """The finished network of a folder, ready to predict; kept in memory until the file changes. ValueError: it is
    damaged.
    """
    path = Path(folder) / "model.safetensors"
    return _loaded(path, *runtime.stamp(path))


@lru_cache(maxsize=2)
def _loaded(path: Path, *_changed: int) -> MEFlow:
    if words := cache.damage(path.parent):
        raise ValueError(f"{words}; train MEFlow again (13_meflow)")
    sizes = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["sizes"]
    model = MEFlow(Sizes(**{k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}))
    model.load_state_dict(load_file(path))
    return model.eval().to(memory_format=torch.channels_last)


@lru_cache(maxsize=1)
def untrained() -> MEFlow:
    """The network before any training: it weights the widest window only, so it is iterated Lucas and Kanade. Warns,
    once.
    """
    warnings.warn(
        "MEFlow has not been trained here, least squares answer in its place; run `make reproduce`, or name weights by"
        " $DEFT_MEFLOW",
        RuntimeWarning,
        stacklevel=3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MEFlow().eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def predict(model: MEFlow, first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Predict: everything the network says about one pair of (H, W) uint8 frames, as numpy float32.

    flow (H, W, 2) px first -> second; error (H, W) px, the length of the error it expects; confidence (H, W) in 0..1,
    the probability of an error below NEAR; occluded (H, W) in 0..1, the probability that the point is not seen in
    `second`."""
    frames = (torch.from_numpy(np.array(image, np.float32))[None, None] for image in (first, second))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # clips are spread over threads; a pair is too small to be split among several
    try:
        answer = model(*frames)[-1][0].permute(1, 2, 0).contiguous()
    finally:
        torch.set_num_threads(threads)
    error = answer[..., 2].exp()
    return {
        "flow": answer[..., :2].contiguous().numpy(),
        "error": error.numpy(),
        "confidence": (1 - torch.exp(-NEAR / error)).numpy(),
        "occluded": answer[..., 3].sigmoid().numpy(),
    }
