"""MEAN's spotter: a shallow network of three streams that scores every frame of a long video (Liong et al., 2022).

What its public code specifies (it is the baseline of MEGC 2025): flow u, v and strain between frames t and t + k,
each stretched to 0 .. 1; the box of the brows over the box of the mouth, 42 px; per channel a convolution 5 x 5 (3, 3
and 8 kernels), ReLU, batch norm, max-pool 3, dropout .3; joined, convolution 5 x 5 to 8, ReLU, max-pool 2, dropout
.2, one linear output. Target 1 where the window [t, t + k) meets a micro-expression, else 0; five zeros are kept per
one; squared error, Adam 5e-4, batch 32, 10 epochs. k is half the mean length of a micro-expression. At test the score
is smoothed over 2k frames; peaks above mean + .55 (max - mean), at least k apart; the interval is peak +- k.

What we chose: the project's flow without the head's motion, as for every peer; a fixed scale, because stretching
shows the noise of a still face at full contrast (`stretched=True` is as published); no L2 penalty (.1 on the joined
kernels as published would keep so small a set at its mean: expected, not measured). Windows that meet a movement lie
k / 2 before its middle on average: we move the interval there.

Checked: 3,593 trained numbers; the training loss falls; a score with one bump gives its worked interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from scipy.signal import find_peaks
from torch import nn

from deft import runtime
from deft.evaluation.peers.inputs import FULL, strain
from deft.evaluation.spotting import Interval, aligned
from deft.motion import courses, flow, rigid

SIDE, MARGIN, SHARE, ZEROS = 42, 6, 0.55, 5  # px; px around brows and mouth; of max - mean; kept zeros per one


class MeanNet(nn.Module):
    """(B, 3, 42, 42) [u, v, strain] -> (B,) score."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(1, wide, 5, padding=2), nn.ReLU(), nn.BatchNorm2d(wide), nn.MaxPool2d(3), nn.Dropout(0.3)
            )
            for wide in (3, 3, 8)
        )
        self.joined = nn.Sequential(
            nn.Conv2d(14, 8, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(8 * 7 * 7, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.joined(torch.cat([stream(x[:, c : c + 1]) for c, stream in enumerate(self.streams)], 1))[:, 0]


def images(frames: np.ndarray, landmarks: np.ndarray | None, k: int, stretched: bool = False) -> np.ndarray:
    """A video (T, H, W, 3) uint8 -> (T - k, 3, 42, 42) float32: flow t -> t + k, brows above, mouth below."""
    face = aligned(frames, landmarks)
    head, points, out = rigid.Fitter(face.landmarks), face.landmarks, []
    brows, mouth = np.r_[17:27, 36:48], np.r_[48:68]  # the brows' box reaches down to the lower lids
    low, high = ([getattr(points[rows], end)(0).astype(int) for rows in (brows, mouth)] for end in ("min", "max"))
    cuts = [tuple(slice(max(0, a[d] - MARGIN), b[d] + MARGIN) for d in (1, 0)) for a, b in zip(low, high)]
    for first, second in zip(face.gray, face.gray[k:]):
        field = head.remove(flow.estimate(first, second, courses.METHOD))[0]
        planes = np.dstack([field / FULL, 10 * strain(field)])
        small = [cv2.resize(planes[cut], (SIDE, SIDE // 2), interpolation=cv2.INTER_AREA) for cut in cuts]
        small = np.concatenate(small).transpose(2, 0, 1)
        if stretched:
            low, high = small.min((1, 2), keepdims=True), small.max((1, 2), keepdims=True)
            small = (small - low) / np.maximum(high - low, 1e-12)
        out.append(small)
    return np.array(out, np.float32).reshape(-1, 3, SIDE, SIDE)


def targets(count: int, truth: Sequence[Interval], k: int) -> np.ndarray:
    """(count,) float32: 1 where the window [t, t + k) meets an interval, both of whose ends are inclusive."""
    t = np.arange(count)
    met = [(t + k > first) & (t <= last) for first, last, *_ in truth]
    return np.any(met or [np.zeros(count, bool)], axis=0).astype(np.float32)


def intervals(score: np.ndarray, k: int) -> list[Interval]:
    """Score (T - k,) of the windows -> spotted intervals (first, last), frames of the video."""
    if len(score) < 2:
        return []
    box = np.full(2 * k + 1, 1 / (2 * k + 1))  # an odd length, so that a peak stays where it is
    smooth = np.convolve(score, box)[k : k + len(score)]  # mode="same" gives more where the box is the longer one
    height = smooth.mean() + SHARE * (smooth.max() - smooth.mean())
    centres = find_peaks(smooth, height=height, distance=max(1, k))[0] + k // 2
    return [(max(0, int(c) - k), min(len(score) + k - 1, int(c) + k)) for c in centres]


class MeanSpotter:
    """`deft.evaluation.spotting.Spotter` that learns from videos. losses: mean squared error of every epoch; half: k
    in seconds; parameters: trained numbers.
    """

    def __init__(self, seed: int = 0, epochs: int = 10, stretched: bool = False, rate: float = 5e-4) -> None:
        self.rate, self.seed, self.epochs, self.stretched, self.half, self.losses = (
            rate,
            seed,
            epochs,
            stretched,
            0.0,
            [],
        )

    def fit(self, videos: Sequence[tuple[np.ndarray, float, np.ndarray | None, Sequence[Interval]]]) -> MeanSpotter:
        """videos: (frames, fps, landmarks of frame 0, true intervals) each. ValueError when no video shows a
        micro-expression.
        """
        lengths = [(last - first + 1) / fps for _, fps, _, truth in videos for first, last, *_ in truth]
        if not lengths:
            raise ValueError("no training video holds a micro-expression: the length of MEAN's window comes from them")
        self.half = float(np.mean(lengths)) / 2
        x, y = [], []
        for frames, fps, points, truth in videos:
            x.append(images(frames, points, self._k(fps), self.stretched))
            y.append(targets(len(x[-1]), truth, self._k(fps)))
        x, y = np.concatenate(x), np.concatenate(y)
        draw = runtime.rng(self.seed, "mean/zeros")
        zeros = np.flatnonzero(y == 0)
        keep = np.r_[np.flatnonzero(y == 1), draw.permutation(zeros)[: ZEROS * int(y.sum())]]
        x, y = torch.from_numpy(x[keep]), torch.from_numpy(y[keep])
        with torch.random.fork_rng():
            torch.manual_seed(runtime.seed_of(self.seed, "mean/weights"))
            self.net, self.losses = MeanNet(), []
            optimiser = torch.optim.Adam(self.net.parameters(), self.rate)
            for _ in range(self.epochs):
                total = 0.0
                for batch in torch.from_numpy(draw.permutation(len(y))).split(32):
                    loss = nn.functional.mse_loss(self.net(x[batch]), y[batch])
                    optimiser.zero_grad(), loss.backward(), optimiser.step()
                    total += loss.item() * len(batch)
                self.losses.append(total / len(y))
        self.net.eval()
        self.parameters = sum(p.numel() for p in self.net.parameters())
        return self

    def spot(self, frames: np.ndarray, fps: float, landmarks: np.ndarray | None = None) -> list[Interval]:
        """See `deft.evaluation.spotting.Spotter`. RuntimeError before `fit`."""
        if not self.losses:
            raise RuntimeError("this spotter has learned nothing yet: call fit(videos) first")
        k = self._k(fps)
        with torch.no_grad():
            score = self.net(torch.from_numpy(images(frames, landmarks, k, self.stretched))).numpy()
        return intervals(score, k)

    def _k(self, fps: float) -> int:
        return max(1, round(self.half * fps))
