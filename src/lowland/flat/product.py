"""The product with a perturbed weight, where W + eps lives for that product alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lowland.flat.noise import LayerNoise
from lowland.lora.bases import is_quantised, weight_of
from lowland.lora.fused import computing_dtype


class NoisyProduct(torch.autograd.Function):
    """y = x (W + eps)ᵀ + b for frozen W and b; W + eps is built again for the backward pass and not kept."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        noise: LayerNoise,
        base: nn.Module | None,
    ) -> Tensor:
        """x (T, in) -> y (T, out)."""
        ctx.noise, ctx.base = noise, base
        ctx.save_for_backward(weight)
        return F.linear(x, _full(weight, noise, base, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        """G (T, out) -> dX (T, in)."""
        (weight,) = ctx.saved_tensors
        dx = g @ _full(weight, ctx.noise, ctx.base, g.dtype) if ctx.needs_input_grad[0] else None
        return dx, None, None, None, None


def _full(weight: Tensor | None, noise: LayerNoise, base: nn.Module | None, dtype: torch.dtype) -> Tensor:
    """W + eps; eps alone where there is neither a weight nor a quantised base."""
    if base is not None:
        weight = weight_of(base)
    return noise.draw(dtype) if weight is None else noise.added_to(weight).to(dtype)


def _rebuilt(weight: Tensor | None, noise: LayerNoise) -> Tensor:
    """W + eps for a compiler, to be built again for the backward pass: left to itself it keeps that of all layers."""
    total: Tensor = checkpoint(_sum, weight, noise.scale_of(weight), *noise.blocks, use_reentrant=False)
    return total


def _sum(weight: Tensor | None, scale: Tensor, *blocks: Tensor) -> Tensor:
    heights = [len(block) for block in blocks]
    pairs = zip(scale.split(heights), blocks, strict=True)
    if weight is None:
        return torch.cat([one * block for one, block in pairs])
    return torch.cat(
        [torch.addcmul(rows, *pair) for rows, pair in zip(weight.split(heights), pairs, strict=True)]
    )


def noisy_product(x: Tensor, base: nn.Module, noise: LayerNoise) -> Tensor:
    """The base's output for x (..., in) under noise, x (W + eps)ᵀ + b, in the dtype that torch would compute in."""
    bias: Tensor | None = base.bias  # type: ignore[assignment]
    weight = None if is_quantised(base) else weight_of(base)
    if torch.compiler.is_compiling() and weight is not None:
        return F.linear(x, _rebuilt(weight, noise).to(weight.dtype), bias)
    return _apart(x, weight, bias, base, noise)


@torch.compiler.disable
def _apart(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, base: nn.Module, noise: LayerNoise
) -> Tensor:
    """In one function of autograd's; for a quantised base it breaks a compiler's graph."""
    dtype = computing_dtype(x, weight)
    rows = x.reshape(-1, x.shape[-1]).to(dtype)
    bias = None if bias is None else bias.to(dtype)
    y: Tensor = NoisyProduct.apply(rows, weight, bias, noise, base if weight is None else None)
    return y.view(*x.shape[:-1], y.shape[-1])


def shift(x: Tensor, noise: LayerNoise) -> Tensor:
    """What the noise alone adds to an output: x epsᵀ (..., out) for x (..., in)."""
    if torch.compiler.is_compiling():
        return F.linear(x, _rebuilt(None, noise).to(x.dtype))
    rows = x.reshape(-1, x.shape[-1]).to(computing_dtype(x, None))
    y: Tensor = NoisyProduct.apply(rows, None, None, noise, None)
    return y.view(*x.shape[:-1], y.shape[-1])
