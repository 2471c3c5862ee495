"""The parts every expert shares: standardisation, a convolutional trunk that keeps the place, a decoder, the token
contract.

Faces are aligned, so *where* something happens is half of *what* happens: the last 8x8 map is flattened, not averaged.
The paper does not say which backbones it uses at this size; we use plain convolutions because two cores must train them
in minutes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft.clips.facs import REGIONS, UNITS
from deft.experts.data import TARGETS, Jitter, Pairs, inputs, mirror, tensor
from deft.experts.frozen import CELLS, SEEN, Frozen

TOKENS, WIDTH = 4, 64  # K, D: what every expert hands to the language model
SIDE = 64  # px: every image enters an expert at 64x64 of the aligned face


class Standardise(nn.Module):
    """x -> (x - mean) / scale along axis 1, with statistics (C,) of the training clips stored beside the weights."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))

    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation per channel from x (N, C, ...), the training clips."""
        axes = [0, *range(2, x.ndim)]
        self.mean.copy_(x.mean(dim=axes))
        self.scale.copy_(x.std(dim=axes).clamp_min(1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape, mean 0 and standard deviation 1 per channel on the training clips."""
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x - self.mean.view(shape)) / self.scale.view(shape)


def conv_block(inward: int, outward: int, size: int, stride: int) -> list[nn.Module]:
    """Convolution (kernel `size`, padded to keep the place), batch norm, ReLU: (B, inward, H, W) -> (B, outward, H /
    stride, W / stride).
    """
    return [
        nn.Conv2d(inward, outward, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outward),
        nn.ReLU(inplace=True),
    ]


class Trunk(nn.Module):
    """(B, C, 64, 64) -> (B, features): three halvings, then a narrow 8x8 map laid out flat."""

    def __init__(self, channels: int):
        super().__init__()
        a, b, c, narrow = 16, 32, 48, 6
        self.features = narrow * (SIDE // 8) ** 2
        self.body = nn.Sequential(
            *conv_block(channels, a, 5, 2),  # (B, a, 32, 32)
            *conv_block(a, b, 3, 2),
            *conv_block(b, b, 3, 1),  # (B, b, 16, 16)
            *conv_block(b, c, 3, 2),
            *conv_block(c, c, 3, 1),  # (B, c, 8, 8)
            *conv_block(c, narrow, 1, 1),  # (B, narrow, 8, 8)
            nn.Flatten(),
        ).to(memory_format=torch.channels_last)  # a quarter faster on a CPU

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, 64, 64) -> (B, features)."""
        return self.body(image.contiguous(memory_format=torch.channels_last))  # (B, features)


class Reading(nn.Module):
    """In place of a trunk, where a frozen encoder looks: its features (B, W, 7, 7), standardised -> (B, features).

    A projection of each cell, learned on the corpus' training people with the rest of the expert, laid out flat: where
    in the face a cell lies stays known."""

    def __init__(self, width: int, narrow: int = 16):
        super().__init__()
        self.features = narrow * CELLS**2
        self.body = nn.Sequential(*conv_block(width, narrow, 1, 1), nn.Flatten())

    def forward(self, seen: Tensor) -> Tensor:
        """(B, W, 7, 7) -> (B, features)."""
        return self.body(seen.clamp(-6, 6))  # some encoders have single features of a hundred deviations


class Components(nn.Module):
    """A linear reading beside the trunk: (B, C, 64, 64) at half size, in its `count` principal components -> (B,
    TOKENS * WIDTH).

    Faint, fixed places (a furrow of two grey levels under noise of four) are found best by one template over the whole
    face, which the trunk's few local filters cannot form. The components are a statistic of the training clips, fitted
    with mirror images; weak ones, mostly noise, are left out, as a ridge would."""

    def __init__(self, channels: int, count: int = 128, dropout: float = 0.3):
        super().__init__()
        features = channels * (SIDE // 2) ** 2
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("basis", torch.zeros(features, count))
        self.read = nn.Sequential(nn.Dropout(dropout), nn.Linear(count, TOKENS * WIDTH))

    def fit(self, image: Tensor) -> None:
        """Take mean and components from the training clips (N, C, 64, 64); the components have a common spread of 1."""
        flat = F.avg_pool2d(torch.cat([image, image.flip(-1)]), 2).flatten(1)
        self.mean.copy_(flat.mean(0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            count = self.basis.shape[1]
            _, _, basis = torch.pca_lowrank(flat - self.mean, q=min(count, *flat.shape), center=False, niter=3)
        self.basis.zero_()
        self.basis[:, : basis.shape[1]] = basis / ((flat - self.mean) @ basis).std()

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, 64, 64) -> (B, TOKENS * WIDTH)."""
        return self.read((F.avg_pool2d(image, 2).flatten(1) - self.mean) @ self.basis)


class Decoder(nn.Module):
    """Tokens (B, 4, 64) -> a low-resolution picture (B, C, 16, 16), for reconstruction losses."""

    width = 12

    def __init__(self, channels: int):
        super().__init__()
        width = self.width
        self.lift = nn.Linear(TOKENS * WIDTH, width * 16)
        self.draw = nn.Sequential(
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 4, 64) -> (B, C, 16, 16)."""
        return self.draw(self.lift(tokens.flatten(1)).view(-1, self.width, 4, 4))  # (B, C, 16, 16)


class UnitHead(nn.Module):
    """Tokens (B, 4, 64) -> logits (B, 17, 2) of every unit on the person's left and right."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(TOKENS * WIDTH, len(UNITS) * 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 4, 64) -> logits (B, 17, 2)."""
        return self.read(tokens.flatten(1)).view(-1, len(UNITS), 2)


class Expert(nn.Module):
    """The contract: `forward(inputs) -> tokens (B, 4, 64)`; `loss(inputs, targets, generator) -> (total, parts)`.

    `keys` names the inputs of an expert. Nothing else is passed to it, so what it must be blind to cannot reach it.
    What it learns from, and how it is judged, it says itself: the loop (`deft.experts.pretrain`) knows no expert by
    name."""

    name: str
    keys: tuple[str, ...]
    jitter = Jitter()  # what a training clip may turn into
    has_units = False  # whether it says units
    frozen: Frozen | None = None  # the encoder from elsewhere that a trained one reads

    @classmethod
    def words(cls) -> list[str]:
        """The vocabulary of the texts that it learns from; empty for most."""
        return []

    @classmethod
    def sizes(cls, data: Pairs, rows: np.ndarray, words: list[str], strength: float | None = None) -> dict:
        """Keyword arguments of the class that training clips `rows` decide; strength: of the adversaries, None for
        the default. width: of a frozen encoder's features, where there are some.
        """
        seen = data.arrays.get(SEEN.get(cls.name, ""))
        sizes = {} if seen is None else {"width": seen.shape[2]}
        if "look" not in TARGETS[cls.name]:
            return sizes
        sizes |= {"subjects": data.index["subject"].iloc[rows].nunique(), "looks": int(data.arrays["look"].max()) + 1}
        return sizes if strength is None else {**sizes, "strength": strength}

    @classmethod
    def targets(
        cls, data: Pairs, rows: np.ndarray, seed: int, words: list[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(targets of every clip (N, ...), constants of the loss). rows: the training clips."""
        arrays = {key: torch.from_numpy(np.array(data.arrays[key])) for key in TARGETS[cls.name]}
        if "look" in arrays:
            arrays["look"] = arrays["look"].long()
            names = {subject: i for i, subject in enumerate(sorted(set(data.index["subject"].iloc[rows])))}
            arrays["subject"] = torch.tensor(
                [names.get(subject, 0) for subject in data.index["subject"]]
            )  # validation rows never ask
        return arrays, {}

    @classmethod
    def mirrored(cls, batch: dict[str, Tensor], flip: Tensor, words: list[str]) -> dict[str, Tensor]:
        """A batch whose clips `flip` (B,) bool were mirrored, with the targets turned that `data.mirror` does not
        know.
        """
        return batch

    def shown(self, stored: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
        """Its inputs of clips, by name (`data.inputs`); a frozen encoder that it reads looks at them here."""
        return inputs(self.keys, stored, self.frozen)

    def prepare(self, inputs: dict[str, Tensor], targets: dict[str, Tensor] | None = None) -> None:
        """Fit what is a statistic, not a weight, on inputs and targets of the training clips."""

    def measure(self, data: Pairs, rows: np.ndarray) -> dict[str, float]:
        """What is measured on clips `rows` after every epoch beside the units; without units it holds `score`,
        higher is better.
        """
        return {}

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Inputs by name (`keys`), each (B, ...) float32 -> tokens (B, 4, 64)."""
        raise NotImplementedError

    def units(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 4, 64) -> unit logits (B, 17, 2), last axis the person's left and right; an expert without a
        unit head raises.
        """
        if not self.has_units:
            raise NotImplementedError(f"the {self.name} expert says nothing about units")
        return self.unit_head(tokens)

    def regions(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 4, 64) -> predicted true motion of the regions (B, 36, 2), px of 128; of experts with a
        `region_head`.
        """
        return self.region_head(tokens.flatten(1)).view(-1, len(REGIONS), 2)

    def loss(
        self, inputs: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """The training objective of one batch -> (scalar to minimise, its parts by name). generator: of every random
        draw inside.
        """
        raise NotImplementedError


def parameter_count(model: nn.Module) -> int:
    """Number of weights of an expert. Adversaries serve training only and are not counted."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith("adversary"))


def mean_shape(landmarks: Tensor) -> Tensor:
    """(N, 68, 2) px -> (68, 2), the mean over the faces and their mirror images."""
    return (landmarks.mean(0) + mirror("landmarks", landmarks).mean(0)) / 2


@torch.no_grad()
def landmark_error(model: Expert, data: Pairs, rows: np.ndarray) -> tuple[float, float]:
    """Mean distance in px (of 128) between predicted and true landmarks, and that of the mean shape."""
    model.eval()
    truth = data.arrays["landmarks"][rows]
    found = np.concatenate(
        [
            model.landmarks({key: tensor(key, data.arrays[key][block]) for key in model.keys}).numpy()
            for block in np.array_split(rows, math.ceil(len(rows) / 256))
        ]
    )
    distance = lambda shape: float(np.linalg.norm(shape - truth, axis=-1).mean())  # noqa: E731
    return distance(found), distance(model.mean_shape.numpy()[None])
