"""Ascent step of SAM over the merged weight: dL/dW' of a layer, and a step e that is an input of the forward pass.

SAM (Foret et al., 2021, arXiv 2010.01412, equation 2) takes the gradient at W' + e, with

    e = rho · G / ‖G‖,    G = dL/dW',    ‖G‖ over all layers together.

A layer's W' = W + s·BA is in no tensor, and e is added to none: y = x W'ᵀ + x eᵀ. With g (T, out) the gradient of a
layer's output for inputs x (T, in), G = gᵀ x. Both passes are those of an armed layer (`linear.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lowland.flat.noise import at_least_float32
from lowland.lora.scratch import scratch


class WeightGradient:
    """Sum of dL/dW' of one layer over the passes of an optimizer step.

    Attributes:
        total: G (out, in) in float32 or wider; None before the first backward pass.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def watch(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the layer's output y (..., out) for x (..., in) unchanged; its backward pass adds to the sum."""
        watched: Tensor = _Watched.apply(y, x, self)  # type: ignore[no-untyped-call]
        return watched

    def add(self, g: Tensor, x: Tensor) -> None:
        """Add gᵀ x for g (..., out) and x (..., in); the product is computed in the dtype of g."""
        part = g.reshape(-1, g.shape[-1]).T @ x.reshape(-1, x.shape[-1]).to(g.dtype)
        if self.total is None:
            self.total = part.to(at_least_float32(part.dtype))
        else:
            self.total += part


class _Watched(torch.autograd.Function):
    """Autograd function y -> y; its backward pass tells a `WeightGradient` of the gradient."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, gradient: WeightGradient) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(x)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            ctx.gradient.add(g, x)
        return g, None, None


class WeightStep:
    """Step e (out, in) on a layer's merged weight.

    In 16 bits W + e would round e away, which is some thousand times smaller than W. There x eᵀ is a product of its
    own.

    Args:
        step: e, in float32 or wider.
    """

    def __init__(self, step: Tensor) -> None:
        self.step = step

    def product(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Return x eᵀ (..., out) for x (..., in), computed in `dtype`; e is kept in that dtype from then on."""
        self.step = self.step.to(dtype)
        return F.linear(x.to(dtype), self.step)

    def added_to(self, weight: Tensor) -> Tensor:
        """Return W + e (out, in), in scratch memory that the next call overwrites."""
        total: Tensor = torch.add(weight, self.step, out=scratch(weight, at_least_float32(weight.dtype)))
        return total

    def add_to_merged(self, merged: Tensor) -> Tensor:
        """Add e to W' (out, in) in place and return it."""
        return merged.add_(self.step)


def total_norm(tensors: list[Tensor]) -> Tensor:
    """Return the Frobenius norm () of all tensors together, in float32 or wider."""
    norms = [torch.linalg.vector_norm(tensor, dtype=at_least_float32(tensor.dtype)) for tensor in tensors]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


def ascent_steps(gradients: list[Tensor], rho: float) -> list[Tensor]:
    """Return e = rho · g / ‖g‖ for each tensor of a gradient g, with one norm for all; zeros if the norm is 0."""
    norm = total_norm(gradients)
    factor = torch.where(norm > 0, rho / norm, torch.zeros_like(norm))
    return [gradient * factor.to(gradient.dtype) for gradient in gradients]
