"""Fitting MEFlow: truth from the simulator, both directions at once, small motions first.

- *Symmetric.* The network estimates every pair forward (onset -> later) and backward. The backward truth needs no
  second rendering: what moved from x by f(x) moves back by -f(x), so the backward estimate is sampled at x + f(x) (the
  consistency that Meister et al., AAAI 2018, use between two estimates, here against the truth).
- *Sub-pixel first.* An error of .1 px is nothing on a motion of 2 px and everything on one of .2, so errors are divided
  by the true length + SOFT. A sequence of answers is weighted as in RAFT: the later, the more.
- *The mean, not the median.* An absolute-error loss makes the network predict the median; most points do not move, so
  under noise the median is no motion. Errors below KNEE are therefore squared (Huber, 1964): the prediction is then the
  mean, which shrinks small motion towards zero but stays right on average over regions and frames, and that is what
  later stages read.
- *Regions, not only points.* Later stages use means over regions. The mean error of every POOL x POOL px counts beside
  the error of every point; it is less noisy than the error of any single pixel.
- *Muscles before the head.* Most moving pixels of a pair move with the head, and a loss per pixel would mostly teach
  the head's motion. Points that move on the face therefore count up to 1 + MUSCLE times.
- *Confidence* is the expected length of the error, fitted by the likelihood of an exponential law. The errors are
  detached: their gradient does not reach the flow, or the network could lower its loss by predicting no motion and
  large doubt. *Occlusion* is a binary classification from the truth.

`Recipe()` trains within a run: half a minute to draw 100 people and a little over two minutes for its steps on 2 cores;
the demo profile stops earlier. The longer recipe, for weights to keep, takes hours: `fit(folder, 2400, 13,
Recipe(people=2000, each=13, steps=60_000, batch=16, crop=128))`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from deft import cache, runtime
from deft.checkpoint import Checkpoint, warm_cosine
from deft.motion.meflow import augment, pairs
from deft.motion.meflow.model import MEFlow, Sizes, warp

SOFT = 1.0  # px: well below this an error counts the same whatever the motion
KNEE = 0.5  # px, where the loss turns from squares to lengths
POOL, REGION = 8, 4.0  # px, weight of mean errors
MUSCLE, FULL = 12.0, 0.3  # extra weight of a point that muscles move by FULL px or more
EARLIER = 0.6  # weight of an answer relative to the next one
# of a batch; threads inside one small convolution gain a seventh, two halves of a batch side by side nearly a half
PARTS = 2
DOUBT, HIDDEN = 0.02, 0.01  # weights of the two side outputs


@dataclass(frozen=True)
class Recipe:
    """people, each: corpus subjects of the training split and clips of each; steps x batch pairs are shown; rate:
    top learning rate.
    """

    people: int = 100
    each: int = 6
    steps: int = 2600
    batch: int = 4  # drawn and looked at in PARTS parts, side by side
    crop: int = 96  # px a side, of 128: a step costs half as much, and no place of the frame means the same twice
    rate: float = 2.5e-3
    decay: float = 1e-4
    seed: int = 7
    keep_every: int = 200  # steps between checkpoints


def batch_of(data: pairs.Pairs, recipe: Recipe, step: int, part: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One part of the pairs of a step, drawn from (seed, step, part) alone -> first, second (B, 1, H, W), flow (B, 2,
    H, W) px, weight (B, 1, H, W), 0 where nothing is known; B = batch / PARTS."""
    rng, drawn = runtime.rng(recipe.seed, "meflow/batch", step * PARTS + part), []
    count = recipe.batch // PARTS
    for row, later in zip(rng.integers(len(data), size=count), rng.integers(2, size=count)):
        weight = data.valid[row, later] * (
            1 + MUSCLE * np.clip(data.muscle[row, later].astype(np.float32) / FULL, 0, 1)
        )
        whole = augment.pair(
            data.frames[row, 0], data.frames[row, 1 + later], data.flow[row, later].astype(np.float32), weight, rng
        )
        y, x = rng.integers(len(weight) - recipe.crop + 1, size=2)
        drawn.append([array[y : y + recipe.crop, x : x + recipe.crop] for array in whole])
    first, second, flow, weight = (np.stack(column) for column in zip(*drawn))
    return (
        torch.from_numpy(first)[:, None].float(),
        torch.from_numpy(second)[:, None].float(),
        torch.from_numpy(flow).permute(0, 3, 1, 2).contiguous(),
        torch.from_numpy(weight)[:, None],
    )


def gradients(
    model: MEFlow, data: pairs.Pairs, recipe: Recipe, step: int, part: int
) -> tuple[list[Tensor], dict[str, float]]:
    """Gradient of one part of a step for every parameter, and the parts of its loss. Changes no parameter, so parts
    run in parallel.
    """
    first, second, flow, known = batch_of(data, recipe, step, part)
    loss, report = loss_of(model(torch.cat([first, second]), torch.cat([second, first])), flow, known)
    return torch.autograd.grad(loss / PARTS, list(model.parameters())), report


def length_of(field: Tensor) -> Tensor:
    """(B, 2, H, W) -> (B, 1, H, W); torch's own norm takes ten times as long over an axis of two."""
    return field.square().sum(1, keepdim=True).add(1e-6).sqrt()


def huber(difference: Tensor) -> Tensor:
    """(B, 2, H, W) px -> (B, 1, H, W): squared below KNEE, in lengths beyond; slope 1 there."""
    length = length_of(difference)
    return torch.where(length < KNEE, length.square() / (2 * KNEE), length - KNEE / 2)


def loss_of(answers: list[Tensor], flow: Tensor, known: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Loss of a batch and its parts. answers: per iteration (2B, 4, H, W), the first B forward (from the onset), the
    others backward; flow: (B, 2, H, W) px, the truth; known: (B, 1, H, W) weight of each point, 0 where the truth does
    not count."""
    count, total = len(flow), 0.0
    truth, valid = torch.cat([flow, -flow]), (known > 0).float().repeat(2, 1, 1, 1)
    weight = known / (length_of(flow) + SOFT)
    weight = (weight / weight.mean()).repeat(2, 1, 1, 1)
    coarse, covered = F.avg_pool2d(weight, POOL), F.avg_pool2d(valid, POOL) + 0.05
    for number, answer in enumerate(reversed(answers)):
        there, back = answer.split(count)
        motion, log_error, hidden = torch.cat([there, warp(back, flow, "bilinear")]).split((2, 1, 1), dim=1)
        difference = motion - truth
        region = F.avg_pool2d(difference * valid, POOL) / covered
        total = total + EARLIER**number * (
            (weight * huber(difference)).mean() + REGION * (coarse * huber(region)).mean()
        )
        if number == 0:
            error = length_of(difference.detach())
            log_error = log_error.clamp(-6, 4)
            doubt = (valid * (error * torch.exp(-log_error) + log_error)).sum() / (valid.sum() + 1)
            unseen = F.binary_cross_entropy_with_logits(hidden[:count], 1 - valid[:count])
    total = total + DOUBT * doubt + HIDDEN * unseen
    epe = float((error * valid)[:count].sum() / (valid[:count].sum() + 1))
    return total, {
        "loss": float(total.detach()),
        "epe": epe,
        "doubt": float(doubt.detach()),
        "occlusion": float(unseen.detach()),
    }


def build(sizes: Sizes, seed: int) -> MEFlow:
    """A fresh network; first weights from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed_of(seed, "weights/meflow"))
        return MEFlow(sizes).to(memory_format=torch.channels_last)


def fit(
    folder: str | Path,
    subjects: int,
    clips: int,
    recipe: Recipe = Recipe(),
    sizes: Sizes = Sizes(),
    data: pairs.Pairs | None = None,
    progress: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train on the corpus of `subjects` people with `clips` clips each (as in 01_clips) into `folder`; returns its
    history.

    A finished folder of the same recipe, corpus and code is kept; a run that was killed goes on from its last
    checkpoint. data: pairs already drawn (tests). progress: called with one dict per checkpoint. Writes
    model.safetensors, history.json, config.json."""
    folder = Path(folder)
    state = cache.fresh(
        folder,
        settings={**asdict(recipe), "sizes": asdict(sizes), "corpus": [subjects, clips], "torch": torch.__version__},
        code="deft.motion.meflow.train",
    )
    if state:
        return runtime.read_json(folder / "history.json")
    began = time.perf_counter()
    if data is None:
        data = pairs.draw(subjects, clips, "train", recipe.people, recipe.each)
    if recipe.batch % PARTS:
        raise ValueError(f"batch is {recipe.batch}: it must be a multiple of {PARTS}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order change the last digits of every weight: the same on any machine
    try:
        model = build(sizes, recipe.seed)
        optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        checkpoint = Checkpoint(folder, state.key)
        history, _ = checkpoint.load(model, optimiser)
        sums: dict[str, float] = {}
        with ThreadPoolExecutor(PARTS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            first = history[-1]["step"] if history else 0
            for step in runtime.bar(range(first, recipe.steps), recipe.steps - first, "MEFlow", "step"):
                asked, reports = zip(
                    *pool.map(lambda part, step=step: gradients(model, data, recipe, step, part), range(PARTS))
                )
                for parameter, *parts in zip(model.parameters(), *asked):
                    parameter.grad = sum(parts)
                loss = sum(report["loss"] for report in reports) / PARTS
                if not math.isfinite(loss):
                    raise RuntimeError(
                        f"MEFlow: the loss became {loss} in step {step + 1}; lower `rate` ({recipe.rate})"
                    )
                for group in optimiser.param_groups:
                    group["lr"] = warm_cosine(step, recipe.steps, recipe.rate, max(1, recipe.steps // 20), 0.01)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                for report in reports:
                    sums = {
                        name: sums.get(name, 0.0) + value / (PARTS * recipe.keep_every)
                        for name, value in report.items()
                    }
                if (step + 1) % recipe.keep_every == 0 or step + 1 == recipe.steps:
                    history.append({"step": step + 1, **sums})
                    sums = {}
                    checkpoint.save(model, optimiser, history)
                    if progress:
                        progress(history[-1])
    finally:
        torch.set_num_threads(threads)
    with runtime.atomic(folder / "model.safetensors") as temporary:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, temporary)
    runtime.write_json(folder / "history.json", history)
    runtime.write_json(folder / "config.json", {"sizes": asdict(sizes)})
    state.seal(seconds=round(time.perf_counter() - began, 1))
    checkpoint.path.unlink(missing_ok=True)
    return history
