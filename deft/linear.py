"""Linear layers on a CPU: matrix products by oneDNN, and LoRA as one product.

On a CPU torch gives float32 products to MKL, which on processors of other makers than its own takes a slower road;
oneDNN takes the widest instructions that it finds anywhere (`ONEDNN_MAX_CPU_ISA` limits it). On the shapes of this
project one AMD core does 80 GFLOP/s with the one and 200 with the other. Elsewhere (GPU, other number formats, builds
without oneDNN) torch's own product is used.

LoRA is computed as x (W + s B A)^T instead of x W^T + s (x A^T) B^T: the sum of the weights is made once per call, so
that a layer passes over its inputs once. The base is frozen: its gradient is never formed, only those of A and B,
through products as thin as the adapter."""

from __future__ import annotations

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def fits(x: Tensor, weight: Tensor) -> bool:
    """Whether `product` may take these: float32 on a CPU, at least one row."""
    return ONEDNN and x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.numel() > 0


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, I) @ weight (O, I)^T -> (N, O); outside autograd."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "") if fits(x, weight) else x @ weight.T


class _Plain(torch.autograd.Function):
    """x (N, I), weight (O, I) -> (N, O)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        return (
            product(grad, weight.T) if ctx.needs_input_grad[0] else None,
            product(grad.T, x.T) if ctx.needs_input_grad[1] else None,
        )


class _LowRank(torch.autograd.Function):
    """x (N, I), weight (O, I) = frozen + scale * up @ down, down (R, I), up (O, R) -> (N, O); gradients for x, down
    and up.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(x, weight, down, up)
        ctx.scale = scale
        return product(x, weight)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight, down, up = ctx.saved_tensors
        grad = grad.contiguous()
        to_x = product(grad, weight.T) if ctx.needs_input_grad[0] else None
        to_down = product(product(grad, up.T).T, x.T)  # (R, I)
        to_up = product(product(x, down).T, grad.T).T  # (O, R)
        return to_x, None, ctx.scale * to_down, ctx.scale * to_up, None


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1]).contiguous()


def _plain(layer: nn.Linear, x: Tensor) -> Tensor:
    """nn.Linear's forward."""
    if not fits(x, layer.weight):
        return nn.Linear.forward(layer, x)
    said = _Plain.apply(_rows(x), layer.weight).view(*x.shape[:-1], -1)
    return said if layer.bias is None else said + layer.bias


def _lora(layer: LoraLinear, x: Tensor, *args, **kwargs) -> Tensor:
    """peft's forward, as one product where that is the same thing."""
    if layer.merged or layer.disable_adapters or args or kwargs or not fits(x, layer.base_layer.weight):
        return LoraLinear.forward(layer, x, *args, **kwargs)
    (name,) = layer.active_adapters
    down, up, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    with torch.no_grad():
        weight = torch.addmm(layer.base_layer.weight, up, down, alpha=scale)
    said = _LowRank.apply(_rows(x), weight, down, up, scale).view(*x.shape[:-1], -1)
    return said if layer.base_layer.bias is None else said + layer.base_layer.bias


def install(language: nn.Module) -> None:
    """Let the linear layers of `language` compute so, and those with LoRA as one product (one adapter, no dropout,
    no variant).
    """
    for layer in language.modules():
        if type(layer) is nn.Linear:
            layer.forward = _plain.__get__(layer)
        elif (
            type(layer) is LoraLinear
            and isinstance(layer.base_layer, nn.Linear)  # GPT-2's layers hold their weights the other way round
            and len(layer.active_adapters) == 1
            and not layer.lora_variant
            and all(isinstance(drop, nn.Identity) for drop in layer.lora_dropout.values())
        ):
            layer.forward = _lora.__get__(layer)
