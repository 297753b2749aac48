"""Matrix product with a perturbed weight; W + eps exists only while the product is computed."""

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
    """Autograd function y = x (W + eps)ᵀ + b; the backward pass builds W + eps again. W and b are frozen or trained."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        noise: LayerNoise,
        base: nn.Module | None,
    ) -> Tensor:
        """Return y (T, out) for x (T, in)."""
        ctx.noise, ctx.base = noise, base
        ctx.save_for_backward(weight, x if ctx.needs_input_grad[1] else None)
        return F.linear(x, _perturbed_weight(weight, noise, base, x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Return dX (T, in), and dW (out, in) and db (out,) if they are trained, for G (T, out)."""
        weight, x = ctx.saved_tensors
        need_x, need_weight, need_bias, _, _ = ctx.needs_input_grad
        dx = g @ _perturbed_weight(weight, ctx.noise, ctx.base, g.dtype) if need_x else None
        dw = (g.T @ x).to(weight.dtype) if need_weight else None
        return dx, dw, g.sum(0) if need_bias else None, None, None


def _perturbed_weight(
    weight: Tensor | None, noise: LayerNoise, base: nn.Module | None, dtype: torch.dtype
) -> Tensor:
    """Return W + eps, or eps alone if there is neither a weight nor a quantised base."""
    if base is not None:
        weight = weight_of(base)
    return noise.eps(dtype) if weight is None else noise.added_to(weight).to(dtype)


def _checkpointed_weight(weight: Tensor | None, noise: LayerNoise) -> Tensor:
    """Return W + eps for a compiler, under a checkpoint; without one the compiler keeps W + eps of all layers."""
    total: Tensor = checkpoint(_sum, weight, noise.scale_of(weight), *noise.blocks, use_reentrant=False)
    return total


def _sum(weight: Tensor | None, scale: Tensor, *blocks: Tensor) -> Tensor:
    heights = [len(block) for block in blocks]
    pairs = zip(scale.split(heights), blocks, strict=True)
    if weight is None:
        return torch.cat([factor * block for factor, block in pairs])
    return torch.cat(
        [torch.addcmul(rows, *pair) for rows, pair in zip(weight.split(heights), pairs, strict=True)]
    )


def noisy_product(x: Tensor, base: nn.Module, noise: LayerNoise) -> Tensor:
    """Return the base layer's output under noise, x (W + eps)ᵀ + b, for x (..., in).

    The product is computed in the dtype that torch would compute it in without noise.
    """
    bias: Tensor | None = base.bias  # type: ignore[assignment]
    weight = None if is_quantised(base) else weight_of(base)
    if torch.compiler.is_compiling() and weight is not None:
        return F.linear(x, _checkpointed_weight(weight, noise).to(weight.dtype), bias)
    y: Tensor = _autograd_product(x, weight, bias, base, noise)
    return y


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _autograd_product(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, base: nn.Module, noise: LayerNoise
) -> Tensor:
    """Return the product from one autograd function. For a quantised base it breaks a compiler's graph."""
    dtype = computing_dtype(x, weight)
    rows = x.reshape(-1, x.shape[-1]).to(dtype)
    bias = None if bias is None else bias.to(dtype)
    y: Tensor = NoisyProduct.apply(  # type: ignore[no-untyped-call]
        rows, weight, bias, noise, base if weight is None else None
    )
    return y.view(*x.shape[:-1], y.shape[-1])


def eps_product(x: Tensor, noise: LayerNoise) -> Tensor:
    """Return the part of a layer's output that comes from the noise: x epsᵀ (..., out) for x (..., in)."""
    if torch.compiler.is_compiling():
        return F.linear(x, _checkpointed_weight(None, noise).to(x.dtype))
    rows = x.reshape(-1, x.shape[-1]).to(computing_dtype(x, None))
    y: Tensor = NoisyProduct.apply(rows, None, None, noise, None)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], y.shape[-1])
