"""Disentangling: removing a factor from a representation while an expert is trained, by gradient reversal.

What is left of a factor is measured by `deft.experts.probes`. Source: Ganin and Lempitsky (2015), domain-adversarial
training. The paper names the goal, not the tool."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


def reverse(x: Tensor, strength: float = 1.0) -> Tensor:
    """Gradient reversal (Ganin and Lempitsky 2015): identity in the forward pass, gradient times -strength in the
    backward pass.

    The layers behind it (the adversary) learn to predict a factor from x; the layers before it (the encoder) are pushed
    to remove from x what the adversary can predict. x: any shape."""
    return _Reverse.apply(x, strength)


class Adversary(nn.Module):
    """A small network behind a gradient reversal: tokens (B, K, D) -> `outputs` numbers or class logits."""

    def __init__(self, tokens: int, width: int, outputs: int, hidden: int = 64):
        super().__init__()
        self.read = nn.Sequential(nn.Linear(tokens * width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, tokens: Tensor, strength: float) -> Tensor:
        """(B, K, D) -> (B, outputs); strength: of the reversal."""
        return self.read(reverse(tokens.flatten(1), strength))
