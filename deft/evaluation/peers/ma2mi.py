"""MA2MI (arXiv 2405.16451): pretraining on macro-expressions by reconstructing a near future frame, then tuning on
micro-expressions.

Abstract and summaries say: the future frame is reconstructed in latent space; a position branch P reads one frame, an
action branch A reads what changes. **Gap, losses, sizes and numbers are unknown**, so there is no published form.

We choose: z = P(f_t) is an 8 x 8 map of 8 numbers, batch-normalised so that it cannot collapse; a = A(f_t+k - f_t) has
the same shape; the prediction z + H(z, a) is compared with P(f_t+k), whose gradient is stopped, by cosine; H starts at
0: "nothing changes". Then both branches and a linear head learn the micro-expressions from [onset, apex - onset].

`pretrain` takes the macro clips from its caller, who must take people outside of every test fold; `macro_clips` films
such people. Controls: `build` without `start` (no pretraining), and `pretrain` with labels (supervised macro classes
instead of the future frame).

Checked: with A a future frame of people who were not trained on is predicted better than by copying P(f_t); with A = 0
it is not (`errors`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft import runtime
from deft.clips.facs import EMOTIONS, PROTOTYPES
from deft.clips.simulator import Timing, render_clip, sample_identity
from deft.evaluation.peers.mmnet import frames
from deft.evaluation.peers.training import Form, Recipe, settled
from deft.experts.encoder import conv_block
from deft.faces import align

SIDE, DEPTH = 64, 8  # px of a frame; numbers per place of the latent map
GAIN = 8.0  # grey levels of a difference are few: they are fed eight times as large
PEOPLE = 90_000  # numbers of simulated people from here on: neither benchmark nor corpus has one of them


def branch() -> nn.Sequential:
    """(B, 1, 64, 64) -> (B, 8, 8, 8), each of the 8 numbers with mean 0 and spread 1 over a batch."""
    body = [*conv_block(1, 12, 5, 2), *conv_block(12, 24, 3, 2), *conv_block(24, 24, 3, 2)]
    return nn.Sequential(*body, nn.Conv2d(24, DEPTH, 1), nn.BatchNorm2d(DEPTH, affine=False))


class Ma2mi(nn.Module):
    """(B, 2, 64, 64) [apex - onset, onset] of grey levels over 255 -> (B, classes) logits."""

    def __init__(self, classes: int):
        super().__init__()
        self.position, self.action = branch(), branch()
        self.decide = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(2 * DEPTH * 64, classes))

    def forward(self, pair: Tensor) -> Tensor:
        """(B, 2, 64, 64) -> (B, classes)."""
        return self.decide(torch.cat([self.position(pair[:, 1:]), self.action(GAIN * pair[:, :1])], dim=1))


class Future(nn.Module):
    """The pretraining task around a `Ma2mi`: predict P(f_t+k) from P(f_t) and A(f_t+k - f_t). blind: A is 0."""

    def __init__(self, network: Ma2mi, blind: bool = False):
        super().__init__()
        self.network, self.blind = network, blind
        last = nn.Conv2d(32, DEPTH, 3, padding=1)
        self.predict = nn.Sequential(nn.Conv2d(2 * DEPTH, 32, 3, padding=1), nn.ReLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, now: Tensor, later: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (B, 1, 64, 64) over 255 -> prediction, target, and the copy P(f_t), each (B, 512); no gradient enters
        the target.
        """
        z, a = self.network.position(now), self.network.action(GAIN * (later - now))
        guess = z + self.predict(torch.cat([z, torch.zeros_like(a) if self.blind else a], dim=1))
        with torch.no_grad():
            target = self.network.position(later)
        return guess.flatten(1), target.flatten(1), z.flatten(1)


def pairs(clips: np.ndarray) -> tuple[Tensor, Tensor]:
    """Macro clips (M, T, H, W) uint8 grey, aligned, T >= 2 -> all neighbours (f_t, f_t+1) as two (M (T-1), 1, 64, 64)
    tensors over 255.
    """
    clips = np.asarray(clips)
    if clips.ndim != 4 or clips.shape[1] < 2 or clips.dtype != np.uint8:
        raise ValueError(f"macro clips must be (M, T >= 2, H, W) uint8 grey, got {clips.dtype} {clips.shape}")
    x = torch.from_numpy(clips.astype(np.float32) / 255)
    x = F.interpolate(x, (SIDE, SIDE), mode="area")
    return x[:, :-1].reshape(-1, 1, SIDE, SIDE), x[:, 1:].reshape(-1, 1, SIDE, SIDE)


def pretrain(
    clips: np.ndarray, seed: int, epochs: int = 12, labels: np.ndarray | None = None, blind: bool = False
) -> tuple[dict[str, Tensor], Future]:
    """Train on macro clips (M, T, H, W) of people outside of every test fold -> (weights of both branches for
    `NetworkPeer(start=...)`, the task).

    labels: (M,) class numbers: predict them instead of the future frame (the supervised control). blind: the action
    branch is cut off.
    """
    now, later = pairs(clips)
    target = None if labels is None else torch.as_tensor(np.repeat(labels, clips.shape[1] - 1))
    with settled(seed, "peer/ma2mi/pretrain"):
        task = Future(Ma2mi(len(EMOTIONS) if target is None else int(target.max()) + 1), blind)
        optimiser = torch.optim.AdamW(task.parameters(), lr=2e-3, weight_decay=0.01)
        for _ in range(epochs):
            for rows in torch.randperm(len(now)).tensor_split(math.ceil(len(now) / 16)):
                if target is None:
                    guess, truth, _ = task(now[rows], later[rows])
                    loss = 1 - F.cosine_similarity(guess, truth).mean()
                else:
                    logits = task.network(torch.cat([later[rows] - now[rows], now[rows]], dim=1))
                    loss = F.cross_entropy(logits, target[rows])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
    weights = task.network.state_dict().items()
    return {name: value for name, value in weights if not name.startswith("decide")}, task.eval()


@torch.no_grad()
def errors(task: Future, clips: np.ndarray) -> dict[str, float]:
    """Mean 1 - cosine to P(f_t+k) on clips (M, T, H, W): of the prediction, and of copying P(f_t)."""
    guess, truth, copy = task.eval()(*pairs(clips))
    found = {"predicted": guess, "copied": copy}
    return {name: float(1 - F.cosine_similarity(x, truth).mean()) for name, x in found.items()}


def macro_clips(count: int, seed: int, emotions: Sequence[str] = EMOTIONS) -> tuple[np.ndarray, np.ndarray]:
    """Film `count` macro-expressions of people of neither benchmark nor corpus, one of each emotion per person ->
    (clips (count, 3, 128, 128) uint8 grey, aligned: onset, half way, apex; (count,) number of the emotion). Prototypes
    of the literature at intensities .5 to .9.
    """
    draw, chosen, out = runtime.rng(seed, "peer/ma2mi/macro"), np.arange(count) % len(emotions), []
    for number, emotion in enumerate(chosen):
        share, sets = zip(*PROTOTYPES[emotions[emotion]])
        units = sets[draw.choice(len(sets), p=np.array(share) / sum(share))]
        actions = {str(unit): float(draw.uniform(0.5, 0.9)) for unit in units}
        person = sample_identity(PEOPLE + number // len(emotions), seed)
        times, timing = (0, 150, 300), Timing(300, 100, 400)
        clip = render_clip(person, actions, times_ms=times, timing=timing, seed=number, truth="none")
        out.append(align.align_clip(clip.frames, clip.truth.landmarks[0]).gray)
    return np.stack(out), chosen


FORMS = {"small": Form(Ma2mi, frames(SIDE), (2, SIDE, SIDE), Recipe(epochs=25, rate=1e-3, standardise=False), None)}
UNKNOWN = "gap between the frames, losses, layer sizes and numbers"
