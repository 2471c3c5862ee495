"""Muon: matrices are moved along their orthogonalised momentum, everything else by AdamW.

Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the step length of
J. Liu et al., "Muon is scalable for LLM training" (arXiv 2502.16982), which makes AdamW's rates fit. torch has one too
(`torch.optim.Muon`), but iterates in bfloat16: on a processor without bfloat16 products a step of our base takes it
.7 s, this one .03 s, and the step that it serves .2 s. Text pretraining reaches with it in half the steps what AdamW
reaches (docs/decisions.md#text-pretraining).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)  # Newton-Schulz: coefficients of Jordan et al.
ROUNDS = 3  # theirs: 5; as good here in two fifths less time (docs/decisions.md#text-pretraining)
LENGTH = 0.2  # root mean square of a step's entries at rate 1: that of AdamW (Liu et al.)


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, m, n), m <= n -> the same with singular values near 1 (.7 to 1.2), by Newton-Schulz iteration."""
    a, b, c = QUINTIC
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


class Muon(torch.optim.AdamW):
    """One optimizer of two kinds of groups. model: whose 2-dimensional weights outside `apart` (tables of words) are
    moved by Muon at rate `lr`, all other parameters by AdamW at rate `others`."""

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        others: float,
        apart: tuple[nn.Module, ...] = (),
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        weight_decay: float = 0.01,
    ):
        tables = {id(p) for layer in apart for p in layer.parameters()}
        learned = [p for p in model.parameters() if p.requires_grad]
        matrices = [p for p in learned if p.ndim == 2 and id(p) not in tables]
        chosen = {id(p) for p in matrices}
        groups = [
            {"params": matrices, "lr": lr, "momentum": momentum},
            {"params": [p for p in learned if id(p) not in chosen], "lr": others},
        ]
        super().__init__(groups, lr=others, betas=betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step of both kinds of groups."""
        groups = self.param_groups
        for group in groups:
            if "momentum" in group:
                self._move(group)
        self.param_groups = [group for group in groups if "momentum" not in group]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _move(self, group: dict) -> None:
        """Matrices of like shape are orthogonalised together."""
        alike = defaultdict(list)
        for p in group["params"]:
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:  # a count of steps: AdamW looks for one in every state that it loads
                state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(p)}
            state["step"] += 1
            mean = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
            ahead = p.grad.lerp(mean, group["momentum"])  # Nesterov's
            tall = p.shape[0] > p.shape[1]
            alike[min(p.shape), max(p.shape)].append((p, ahead.mT if tall else ahead, tall))
        for (_, longer), found in alike.items():
            moved = orthogonal(torch.stack([ahead for _, ahead, _ in found]))
            for (p, _, tall), direction in zip(found, moved):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(direction.mT if tall else direction, alpha=-group["lr"] * LENGTH * longer**0.5)
