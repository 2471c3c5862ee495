"""What all network peers share: one training loop, so that two systems differ in network and recipe and in nothing
else.

No clip of a test subject is ever seen in `fit`. The weights of the last epoch answer; where a recipe says `choose`,
those of the epoch with the least balanced loss on the validation part of the training subjects (`Inputs.may_choose`)
do. Public codes of HTNet, CausalNet, MMNet and MER-CLIP choose on the test fold instead; nothing here can. Every draw
(first weights, order of clips, dropout, augmentation) comes from (seed, name).

Recipes of the small forms are ours: a fold of 340 clips must be learned within about ten seconds of one core, and the
training loss must arrive. No score of a test fold chose them. Recipes of published forms are those of their sources,
but for the class-balanced loss that all systems have.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft import runtime
from deft.evaluation.peers.inputs import Inputs, flow_images
from deft.experts.encoder import Standardise

Reader = Callable[[Inputs, bool], np.ndarray]  # (clips, whether flow images are stretched) -> (N, ...) float32
Change = Callable[[Tensor, torch.Generator], Tensor]  # augmentation of a batch (B, ...), same shape


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. anneal: the rate falls to 0 along a cosine, else it stays. standardise: inputs to mean
    0 and spread 1 per channel, statistics of the training clips. optimiser: 'adamw', 'adam', or 'sgd' with momentum .9.
    """

    epochs: int = 30
    rate: float = 2e-3
    batch: int = 32
    decay: float = 0.01
    optimiser: str = "adamw"
    anneal: bool = True
    standardise: bool = True
    choose: bool = False

    def rate_at(self, epoch: int) -> float:
        """The rate of epoch 1, 2 ..."""
        return self.rate * (0.5 * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) if self.anneal else 1.0)

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser over all weights of `model` that are trained; ValueError for an unknown name."""
        kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        if self.optimiser not in kinds:
            raise ValueError(f"unknown optimiser {self.optimiser!r}; choose one of {', '.join(kinds)}")
        trained, more = [p for p in model.parameters() if p.requires_grad], {}
        if self.optimiser == "sgd":
            more["momentum"] = 0.9
        return kinds[self.optimiser](trained, lr=self.rate, weight_decay=self.decay, **more)


@dataclass(frozen=True)
class Form:
    """One form of a system. make: number of classes -> network; read: what it is fed; shape: of one clip of that;
    stretched: whether flow images are fed stretched per image unless a caller says otherwise, None for a system that
    reads no flow image; change: augmentation in training.
    """

    make: Callable[[int], nn.Module]
    read: Reader
    shape: tuple[int, ...]
    recipe: Recipe = Recipe()
    stretched: bool | None = False
    change: Change | None = None


def flow_reader(side: int = 28, channels: Sequence[int] = (0, 1, 2), full: float = 1.0) -> Reader:
    """A reader of flow images [u, v, strain] onset -> apex, (N, len(channels), side, side). full: what a stretched
    image's 1 becomes (255: 8 bits).
    """
    return lambda inputs, stretched: (
        flow_images(inputs.rise, side, stretched)[:, list(channels)] * np.float32(full if stretched else 1.0)
    )


def examined(inputs: Inputs) -> Inputs:
    """The same inputs; ValueError, naming array and clip, where a shape does not fit or a number is not finite."""
    count, rank = len(inputs), {"gray": 4, "landmarks": 3, "courses": 4, "rise": 4, "fall": 4, "may_choose": 1}
    for field in fields(inputs):
        name, array = field.name, np.asarray(getattr(inputs, field.name))
        if array.ndim != rank[name] or len(array) != count:
            raise ValueError(f"inputs.{name} is {array.shape}; expected {count} clips and {rank[name]} axes")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            clip = np.argwhere(~np.isfinite(array))[0][0]
            raise ValueError(f"inputs.{name} of clip {clip} holds a number that is not finite; prepare it again")
    if inputs.rise.shape != inputs.fall.shape or inputs.rise.shape[-1] != 2:
        raise ValueError(f"inputs.rise {inputs.rise.shape} and fall {inputs.fall.shape} must both be (N, H, W, 2)")
    return inputs


@contextmanager
def settled(seed: int, what: str) -> Iterator[None]:
    """One thread, and torch's generator seeded from (seed, what), inside the block; both as they were after it.

    One thread, because sums in another order change the last digits of every weight, and because peers run side by
    side (in processes: the generator and the number of threads belong to the whole process).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(runtime.seed_of(seed, what))
            yield
    finally:
        torch.set_num_threads(threads)


class NetworkPeer:
    """A `Peer` around any network: what it reads is `form.read`. start: weights by name to begin with (pretraining);
    the others are drawn.

    history: one row per epoch (loss and accuracy in training; of the validation clips after the last epoch, or after
    every one if they choose). chosen: the epoch whose weights answer. seconds: of `fit`, reading included.
    """

    def __init__(
        self,
        name: str,
        form: Form,
        classes: Sequence[str],
        seed: int,
        stretched: bool | None = None,
        start: dict[str, Tensor] | None = None,
    ):
        if len(set(classes)) != len(classes) or len(classes) < 2:
            raise ValueError(f"{name}: classes {list(classes)} must be two or more different names")
        if stretched is not None and form.stretched is None:
            raise ValueError(f"{name} reads no flow image: `stretched` does not apply")
        self.name, self.form, self.classes, self.seed, self.start = name, form, tuple(classes), seed, start
        self.stretched = bool(form.stretched if stretched is None else stretched)
        with torch.device("meta"):  # counted without memory
            self.parameters = sum(p.numel() for p in form.make(len(classes)).parameters() if p.requires_grad)
        self.network: nn.Module | None = None
        self.history: list[dict[str, float]] = []
        self.chosen, self.seconds = 0, 0.0

    def fit(self, inputs: Inputs, labels: np.ndarray) -> NetworkPeer:
        """See `inputs.Peer.fit`. ValueError for inputs that do not fit, an unknown label, or a class without a training
        clip; FloatingPointError where the loss is no number any more.
        """
        began, labels, learns = time.perf_counter(), np.asarray(labels), ~np.asarray(inputs.may_choose, bool)
        self._check(inputs, labels, learns)
        x, truth = self._read(inputs), torch.tensor([self.classes.index(name) for name in labels.tolist()])
        with settled(self.seed, f"peer/{self.name}"):
            self._train(x, truth, torch.from_numpy(learns))
        self.seconds = time.perf_counter() - began
        return self

    def scores(self, inputs: Inputs) -> np.ndarray:
        """See `inputs.Peer.scores`. RuntimeError before `fit`."""
        if self.network is None:
            raise RuntimeError(f"{self.name} has learned nothing yet: call fit first")
        return _logits(self.network, self._read(inputs)).double().softmax(dim=1).numpy()

    def _check(self, inputs: Inputs, labels: np.ndarray, learns: np.ndarray) -> None:
        if labels.shape != (len(inputs),) or learns.shape != labels.shape:
            raise ValueError(f"{self.name}: labels {labels.shape}, may_choose {learns.shape} for {len(inputs)} clips")
        if len(odd := np.flatnonzero(~np.isin(labels, self.classes))):
            known = ", ".join(self.classes)
            raise ValueError(
                f"{self.name}: label {str(labels[odd[0]])!r} of clip {odd[0]} is none of the classes {known}"
            )
        if missing := [name for name in self.classes if not (labels[learns] == name).any()]:
            words = f"{', '.join(missing)}; merge classes or give the fold more subjects"
            raise ValueError(f"{self.name}: no training clip of {words}")
        if self.form.recipe.choose and learns.all():
            raise ValueError(f"{self.name}: validation clips shall choose the epoch, but inputs.may_choose marks none")

    def _read(self, inputs: Inputs) -> Tensor:
        x = np.ascontiguousarray(self.form.read(examined(inputs), self.stretched), np.float32)
        if x.shape[1:] != self.form.shape:
            raise ValueError(f"{self.name} reads clips of shape {x.shape[1:]}; its network takes {self.form.shape}")
        return torch.from_numpy(x)

    def _train(self, x: Tensor, truth: Tensor, learns: Tensor) -> None:
        recipe, network, entry = self.form.recipe, self.form.make(len(self.classes)), nn.Identity()
        if self.start and (odd := network.load_state_dict(self.start, strict=False).unexpected_keys):
            raise ValueError(f"{self.name} has no weights named {', '.join(odd)}: `start` is of another network")
        if recipe.standardise:
            entry = Standardise(self.form.shape[0])
            entry.fit(x[learns])
        whole, mine, check = nn.Sequential(entry, network), learns.nonzero()[:, 0], (~learns).nonzero()[:, 0]
        count = torch.bincount(truth[mine], minlength=len(self.classes))
        weight = len(mine) / (len(self.classes) * count.float())  # every class weighs the same
        draw = torch.Generator().manual_seed(runtime.seed_of(self.seed, f"peer/{self.name}/order"))
        optimiser, best, kept = recipe.optimiser_of(whole), math.inf, None
        self.history, self.chosen = [], recipe.epochs
        for epoch in range(1, recipe.epochs + 1):
            optimiser.param_groups[0]["lr"] = recipe.rate_at(epoch)
            row = {"epoch": epoch, **_epoch(whole, optimiser, self._batches(x, truth, mine, draw), weight)}
            if not math.isfinite(row["loss"]):
                raise FloatingPointError(
                    f"{self.name}: no finite loss in epoch {epoch}; lower its rate {recipe.rate:g}"
                )
            if len(check) and (recipe.choose or epoch == recipe.epochs):
                logits = _logits(whole, x[check])
                row["validation_loss"] = F.cross_entropy(logits, truth[check], weight).item()
                row["validation_accuracy"] = float((logits.argmax(1) == truth[check]).float().mean())
                if recipe.choose and row["validation_loss"] < best:
                    best, kept, self.chosen = row["validation_loss"], copy.deepcopy(whole.state_dict()), epoch
            self.history.append(row)
        if kept is not None:
            whole.load_state_dict(kept)
        self.network = whole

    def _batches(
        self, x: Tensor, truth: Tensor, mine: Tensor, draw: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        order = mine[torch.randperm(len(mine), generator=draw)]
        for rows in order.tensor_split(
            math.ceil(len(mine) / self.form.recipe.batch)
        ):  # never one clip alone: batch norm
            yield self.form.change(x[rows], draw) if self.form.change else x[rows], truth[rows]


def _epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batches: Iterable[tuple[Tensor, Tensor]],
    weight: Tensor,
) -> dict[str, float]:
    network.train()
    total, right, count = 0.0, 0, 0
    for x, truth in batches:
        logits = network(x)
        loss = F.cross_entropy(logits, truth, weight)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total, count = total + loss.item() * len(truth), count + len(truth)
        right += int((logits.argmax(1) == truth).sum())
    return {"loss": total / count, "accuracy": right / count}


@torch.no_grad()
def _logits(network: nn.Module, x: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(block) for block in x.split(128)])
