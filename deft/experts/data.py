"""Training data of the experts: one set's pairs as arrays, mirrored and jittered by draws from (seed, epoch, index).

Inputs come from the stages before (faces, motion); targets from the truth of simulated clips. An expert is passed only
the inputs that it names: an input that it must not use is not masked but absent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deft import runtime
from deft.clips import keyframes
from deft.clips.facs import FURROWS, REGIONS
from deft.clips.store import ClipStore
from deft.experts import frozen as elsewhere
from deft.experts.frozen import Frozen
from deft.faces import regions
from deft.motion import envelope

INPUTS = {"structure": ("onset",), "texture": ("residual",), "motion": ("peak", "regions"), "rgb": ("pair",)}
TARGETS = {
    "structure": ("landmarks",),
    "texture": ("units", "furrows", "region_true", "look"),
    "motion": ("units", "region_true", "look"),
    "rgb": ("units", "landmarks", "region_true"),
}
NAMES = tuple(INPUTS)


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class Pairs:
    """One set. index: one row per clip. arrays: (N, ...) each, images (N, C, 64, 64) uint8 or float16, the rest
    float32. frozen: the encoder from elsewhere whose features are among them (float16), if there is one.
    """

    index: pd.DataFrame
    arrays: dict[str, np.ndarray]
    frozen: Frozen | None = None

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of the clips of a split ("train", "validation"); ValueError where there are none."""
        found = np.flatnonzero(self.index["split"].to_numpy() == split)
        if not len(found):
            raise ValueError(
                f"no clip has split '{split}' (found {sorted(set(self.index['split']))}); the corpus needs training and"
                " validation subjects, make it again (01_clips)"
            )
        return found

    def fingerprint(self) -> str:
        """16 hex digits over clips, splits and all arrays: another one as soon as any of them changes."""
        digest = hashlib.sha256("\n".join(self.index["clip"].astype(str) + self.index["split"].astype(str)).encode())
        for name in sorted(self.arrays):
            digest.update(name.encode() + str(self.arrays[name].shape).encode())
            digest.update(np.ascontiguousarray(self.arrays[name]).view(np.uint8))
        return digest.hexdigest()[:16]


def _halve(images: np.ndarray) -> np.ndarray:
    """(N, 128, 128, 3) uint8 -> (N, 3, 64, 64) float32 by 2x2 means: the camera's noise halves, the motion stays
    subpixel.
    """
    n, height, width, channels = images.shape
    out = np.empty((n, channels, height // 2, width // 2), np.float32)
    for start in range(0, n, 64):  # a block that stays in the processor's cache
        block = images[start : start + 64].astype(np.uint16)  # four of 255 are more than a byte holds
        rows = block[:, ::2] + block[:, 1::2]
        out[start : start + 64] = (rows[:, :, ::2] + rows[:, :, 1::2]).transpose(0, 3, 1, 2)
    out *= 0.25
    return out


def region_inputs(courses: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """courses (N, T-1, 36, 5), noise (N,) px -> (N, 181): vectors at the peak by the filter of all flows, the rest by
    the mean of apex and hold (lengths and shares are never negative, so noise does not cancel in them), and the noise
    of the vectors."""
    peak = keyframes.peak_mean(courses, axis=1)  # (N, 36, 5)
    peak[..., :2], share = envelope.at_peak(courses[..., :2], axis=1)
    return np.concatenate([peak.reshape(len(peak), -1), share * np.asarray(noise)[:, None]], axis=1).astype(np.float32)


def _truth(store: ClipStore, work: Path, name: str, which: str) -> np.ndarray:
    if name == "region_true":
        return np.asarray(runtime.load_array(work / "motion" / which, "region_true"), np.float32)
    if name == "landmarks":  # truth of the onset frame, through the same alignment as the pixels
        matrix = runtime.load_array(work / "faces" / which, "matrix")
        truth = store.array("landmarks_true")[:, 0].astype(np.float32)
        return np.einsum("nij,npj->npi", matrix[:, :, :2], truth).astype(np.float32) + matrix[:, None, :, 2].astype(
            np.float32
        )
    if name == "look":
        return store.index["look"].to_numpy(np.float32)
    return store.array({"units": "units_true", "furrows": "furrows_true"}[name]).astype(np.float32)


def inputs(
    keys: Sequence[str], stored: Callable[[str], np.ndarray], frozen: Frozen | None = None
) -> dict[str, np.ndarray]:
    """What an expert sees, by name. stored: name -> array (N, ...) of stages 02 (`rgb`: onset, apex, hold) and 03
    (peak, residual, courses, noise). frozen: the encoder from elsewhere that it reads, if it does.
    """
    arrays: dict[str, np.ndarray] = {}
    for key in keys:
        if key == "onset":
            arrays[key] = _halve(stored("rgb")[:, 0]).round().astype(np.uint8)
        elif key == "pair":
            rgb = stored("rgb")
            peak = (_halve(rgb[:, 1]) + _halve(rgb[:, 2])) / 2
            arrays[key] = np.concatenate([_halve(rgb[:, 0]), peak], axis=1).round().astype(np.uint8)
        elif key == "peak":
            arrays[key] = np.ascontiguousarray(stored("peak").transpose(0, 3, 1, 2))
        elif key == "residual":
            arrays[key] = np.asarray(stored("residual"))
        elif key == "regions":
            arrays[key] = region_inputs(np.asarray(stored("courses")), np.asarray(stored("noise")))
        elif key in elsewhere.SOURCES:
            arrays[key] = frozen.see(key, stored(elsewhere.SOURCES[key]))
    return arrays


def read(work: Path, which: str, name: str, targets: bool = True, frozen: Frozen | None = None) -> Pairs:
    """The pairs of set `which` as expert `name` sees them; `targets=False` reads inputs only. frozen: the encoder from
    elsewhere that it reads, whose features come along.
    """
    if name not in INPUTS:
        raise ValueError(f"unknown expert {name!r}; choose among {', '.join(NAMES)}")
    work = Path(work)
    store = ClipStore(work / "clips" / which)
    faces, motion = work / "faces" / which, work / "motion" / which
    where = lambda key: faces if key == "rgb" else motion  # noqa: E731
    stored = lambda key: runtime.load_array(where(key), key)  # noqa: E731
    arrays = inputs(INPUTS[name], stored)
    if frozen:
        key, source = elsewhere.SEEN[name], elsewhere.SOURCES[elsewhere.SEEN[name]]
        arrays[key] = elsewhere.cached(work, which, key, frozen, where(source) / f"{source}.npy", stored)
    if targets:
        arrays |= {key: _truth(store, work, key, which) for key in TARGETS[name]}
    for key, array in arrays.items():
        if len(array) != len(store):
            raise ValueError(f"{which}/{key} has {len(array)} rows for {len(store)} clips; run its stage again")
    return Pairs(store.index, arrays, frozen)


# ---------------------------------------------------------------- tensors

IMAGES, BYTES = ("onset", "pair", "residual", "peak"), ("onset", "pair")


def tensor(key: str, array: np.ndarray) -> Tensor:
    """A block of one array as the network takes it: float32, RGB in [0, 1]."""
    block = torch.from_numpy(np.ascontiguousarray(array).astype(np.float32))
    return block / 255 if key in BYTES else block


# ---------------------------------------------------------------- mirror and jitter


def _swapped(names: tuple) -> list[int]:
    """For every name the position of its mirror image: side L <-> R, midline stays."""
    other = {"L": "R", "R": "L"}

    def mirror(name):
        if isinstance(name, tuple):
            return name[0], other.get(name[1], "")
        return name[:-1] + other[name[-1]] if name[-2:] in ("_L", "_R") else name

    return [names.index(mirror(name)) for name in names]


REGION_MIRROR = _swapped(REGIONS)  # 36
FURROW_MIRROR = _swapped(FURROWS)  # 10


def mirror(key: str, x: Tensor, width: int = 128) -> Tensor:
    """The same array for the mirrored face: left and right change places, horizontal motion changes sign."""
    if key in ("onset", "pair", "residual"):
        return x.flip(-1)
    if key in elsewhere.SOURCES:
        return x.flip(1)  # features of the face and of its mirror image
    if key == "peak":
        x = x.flip(-1)
        return torch.cat([-x[:, :1], x[:, 1:]], dim=1)
    if key == "regions":
        table = x[:, :-1].view(len(x), len(REGIONS), -1)[:, REGION_MIRROR].clone()
        table[..., 0] *= -1
        return torch.cat([table.flatten(1), x[:, -1:]], dim=1)
    if key in ("region_true", "direction"):
        table = x.view(len(x), len(REGIONS), 2)[:, REGION_MIRROR] * torch.tensor([-1.0, 1.0])
        return table.view(x.shape)
    if key == "units":
        return x.flip(-1)
    if key == "furrows":
        return x[:, FURROW_MIRROR]
    if key == "landmarks":
        x = x[:, regions.MIRROR]
        return torch.stack([width - 1 - x[..., 0], x[..., 1]], dim=-1)
    return x


@dataclass(frozen=True)
class Jitter:
    """What a pair may turn into without changing what it shows. Sizes are standard deviations or half ranges."""

    mirror: float = 0.5  # probability
    gain: float = 0.25  # log amplitude of motion and residuals
    light: float = 0.15  # log contrast of RGB, the same for both moments
    shift: int = 1  # px at 64, images
    noise: float = 0.1  # of a channel's spread
    drop: float = 0.0  # share of regions whose numbers are withheld


STILL = Jitter(gain=0.0, light=0.0, shift=0, noise=0.0)  # of features of pictures: mirror images have theirs, no more


def draws(jitter: Jitter, count: int, seed: int, epoch: int) -> dict[str, np.ndarray]:
    """One row per clip index, drawn from (seed, epoch) alone: batch order, batch size and resuming do not matter; for
    noise they do, whose seed is that of a batch's first clip.
    """
    r = runtime.rng(seed, "jitter", epoch)
    return {
        "mirror": r.random(count) < jitter.mirror,
        "gain": np.exp(r.uniform(-jitter.gain, jitter.gain, count)).astype(np.float32),
        "light": np.exp(r.uniform(-jitter.light, jitter.light, count)).astype(np.float32),
        "shift": r.integers(-jitter.shift, jitter.shift + 1, (count, 2)),
        "noise": r.integers(0, 2**62, count),
    }


def _moved(x: Tensor, shift: Tensor) -> Tensor:
    """x (B, C, H, W) moved by whole px (B, 2) [dx, dy], edges repeated."""
    size = x.shape[-1]
    place = torch.arange(size)
    columns, rows = ((place[None] - shift[:, i : i + 1]).clamp(0, size - 1) for i in (0, 1))
    return x[torch.arange(len(x))[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def augment(
    batch: dict[str, Tensor], draw: dict[str, np.ndarray], jitter: Jitter, spread: dict[str, Tensor]
) -> dict[str, Tensor]:
    """batch: (B, ...) tensors; draw: the rows of `draws` for these clips; spread: (C,) standard deviation per
    channel of an image input.
    """
    flip = torch.from_numpy(draw["mirror"])
    gain, light, shift = (torch.from_numpy(draw[key]) for key in ("gain", "light", "shift"))
    generator = torch.Generator().manual_seed(int(draw["noise"][0]))
    out = {}
    for key, x in batch.items():
        if x.is_floating_point() and bool(flip.any()):
            x = torch.where(flip.view(-1, *(1,) * (x.ndim - 1)), mirror(key, x), x)
        if key in IMAGES:
            x = _moved(x, shift)
            if key in BYTES:
                middle = x.mean((1, 2, 3), keepdim=True)
                x = (x - middle) * light.view(-1, 1, 1, 1) + middle
            else:
                x = x * gain.view(-1, 1, 1, 1)
            if jitter.noise:
                x = x + torch.randn(x.shape, generator=generator) * (jitter.noise * spread[key]).view(1, -1, 1, 1)
        elif key == "regions":
            table = x[:, :-1].view(len(x), len(REGIONS), -1)
            scale = gain.view(-1, 1, 1) * torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0]) + torch.tensor(
                [0.0, 0.0, 0.0, 1.0, 0.0]
            )
            table = table * scale  # coherence is a share, not an amplitude
            if jitter.noise:
                table = table + torch.randn(table.shape, generator=generator) * jitter.noise * spread[key][:-1].view(
                    1, len(REGIONS), -1
                )
            if jitter.drop:
                table = table * (torch.rand(len(x), len(REGIONS), 1, generator=generator) >= jitter.drop)
            x = torch.cat([table.flatten(1), x[:, -1:]], dim=1)
        elif key in ("region_true", "direction", "furrows"):
            x = x * gain.view(-1, *(1,) * (x.ndim - 1))
        elif key == "landmarks":
            x = x + 2.0 * shift.float()[:, None]  # px of 128
        out[key] = x
    return out
