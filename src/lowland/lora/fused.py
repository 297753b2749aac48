"""The arithmetic of an adapted layer as one autograd function: fewer passes over less memory than in pieces.

With x (T, in), W (out, in), b (out,), A (r, in), B (out, r), the scale s, and G the gradient of y,

    y  = x Wᵀ + b + s (d Aᵀ) Bᵀ        d = M ∘ x / (1 - p): dropout, M the mask
    dX = G W + s M ∘ (G B A) / (1 - p)
    dA = s (G B)ᵀ d
    dB = s Gᵀ (d Aᵀ)

(Hu et al., 2021, arXiv 2106.09685, section 4.1, differentiated.) For the backward pass only x and d Aᵀ (T, r) are kept:
the mask is drawn again from its seed, and W is read again, or dequantised again, or perturbed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowland.lora.bases import is_quantised, weight_of
from lowland.lora.scratch import scratch

MERGE_FROM = 4
"""Tokens for each column of W from which W + s·BA is built, see `merges`."""
MERGE_NOISY_FROM = 1
"""The same where W + eps has been built already."""
MASK_BITS = 16
"""Random bits for an entry of a dropout mask: p is met to within 2^-17."""


def merges(tokens: int, width: int, dtype: torch.dtype, p: float, least: float = MERGE_FROM) -> bool:
    """The one rule for the form: whether W + s·BA is built for one matrix product, or a branch computed beside W.

    A branch goes once more over the product's result, (tokens, columns of it); W + s·BA goes once over W, (width,
    columns). In 16 bits a small BA would be rounded away in the sum, and dropout acts on the branch alone: both keep
    the branch apart.

    Args:
        tokens: rows of the product's left side.
        width: its inner dimension: in_features forward, out_features backward.
        dtype: that it is computed in.
        p: of the dropout.
        least: tokens for each column.
    """
    return tokens >= least * width and p == 0 and dtype in (torch.float32, torch.float64)


def computing_dtype(x: Tensor, weight: Tensor | None) -> torch.dtype:
    """What torch would compute x Wᵀ in: the dtype of autocast, else of W, else (W is quantised) of x."""
    device = x.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if autocast and x.dtype != torch.float64:  # which autocast leaves alone
        return torch.get_autocast_dtype(device)
    return (x if weight is None else weight).dtype


class Perturbation(Protocol):
    """What is added to W: the same in the forward and the backward pass."""

    def added_to(self, weight: Tensor) -> Tensor:
        """W + eps (out, in), to be used at once."""
        ...

    def add_to_merged(self, merged: Tensor) -> Tensor:
        """W' + eps (out, in), in place of W' = W + s·BA."""
        ...


@dataclass(frozen=True)
class Plan:
    """What an adapted layer's arithmetic needs beside its tensors.

    Attributes:
        scaling: s.
        p: probability of dropping an entry of the branch's input; 0 outside training.
        seed: of the dropout's mask.
        noise: what is added to W.
        quantised: the base layer, where W must be dequantised.
    """

    scaling: float
    p: float = 0.0
    seed: int = 0
    noise: Perturbation | None = None
    quantised: nn.Module | None = None

    @property
    def branch_scaling(self) -> float:
        """S / (1 - p)."""
        return self.scaling / (1 - self.p)

    def full_weight(self, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
        """W, or W + eps, in the dtype of the computation."""
        weight = self._read(weight)
        return (weight if self.noise is None else self.noise.added_to(weight)).to(dtype)

    def merged_weight(self, weight: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        """W + s·BA, or W + s·BA + eps, in the dtype of A and B; to be used at once."""
        if torch.is_grad_enabled():  # for second derivatives
            return self.full_weight(weight, a.dtype).addmm(b, a, alpha=self.scaling)
        weight = self._read(weight).to(a.dtype)
        merged = torch.addmm(weight, b, a, alpha=self.scaling, out=scratch(weight))
        return merged if self.noise is None else self.noise.add_to_merged(merged)

    def merged_weight_again(self, weight: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        """The same for the backward pass, where eps needs no W' any more: a pass over the weight less."""
        if self.noise is None or torch.is_grad_enabled():
            return self.merged_weight(weight, a, b)
        return self.noise.added_to(self._read(weight).to(a.dtype)).addmm_(b, a, alpha=self.scaling)

    def _read(self, weight: Tensor | None) -> Tensor:
        if weight is None:
            assert self.quantised is not None
            weight = weight_of(self.quantised)
        return weight

    def merges(self, tokens: int, width: int, dtype: torch.dtype) -> bool:
        """The one rule for the form, see `merges`; with noise, W + eps is built anyhow."""
        return merges(tokens, width, dtype, self.p, MERGE_FROM if self.noise is None else MERGE_NOISY_FROM)

    def dropped(self, x: Tensor) -> Tensor:
        """M ∘ x: the same mask at every call, a function of the seed and of the shape of x alone."""
        if self.p == 0:
            return x
        generator = torch.Generator(x.device).manual_seed(self.seed)
        words = torch.empty(-(-x.numel() * MASK_BITS // 64), dtype=torch.int64, device=x.device)
        bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)
        least = min(round((self.p - 0.5) * 2**MASK_BITS), 2 ** (MASK_BITS - 1) - 1)
        return x.masked_fill(bits[: x.numel()].view(x.shape) < least, 0)


class AdaptedLinear(torch.autograd.Function):
    """y = x Wᵀ + b + s · (dropout(x) Aᵀ) Bᵀ for frozen W and b; x, b, A and B have one dtype."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, a: Tensor, b: Tensor, plan: Plan
    ) -> Tensor:
        """x (T, in) -> y (T, out)."""
        xa = plan.dropped(x) @ a.T  # (T, r)
        ctx.plan = plan
        ctx.save_for_backward(x, weight, a, b, xa)
        if plan.merges(len(x), x.shape[1], x.dtype):
            return F.linear(x, plan.merged_weight(weight, a, b), bias)
        y = F.linear(x, plan.full_weight(weight, x.dtype), bias)
        return y.addmm_(xa, b.T, alpha=plan.branch_scaling)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, Tensor | None, Tensor | None, None]:
        """G (T, out) -> dX (T, in), dA (r, in), dB (out, r)."""
        x, weight, a, b, xa = ctx.saved_tensors
        plan, (need_x, _, _, need_a, need_b, _) = ctx.plan, ctx.needs_input_grad
        gb = g @ b  # (T, r)
        dx = _input_gradient(g, gb, weight, a, b, plan) if need_x else None
        dropped = plan.dropped(x) if need_a or torch.is_grad_enabled() else x
        if torch.is_grad_enabled():
            xa = dropped @ a.T  # once more for second derivatives, which flow through it
        da = plan.branch_scaling * (gb.T @ dropped) if need_a else None
        db = plan.branch_scaling * (xa.T @ g).T if need_b else None  # (gᵀ @ xa takes twice as long on CPUs)
        return dx, None, None, da, db, None


def adapted_product(
    x: Tensor,
    base: nn.Module,
    a: Tensor,
    b: Tensor,
    scaling: float = 1.0,
    p: float = 0.0,
    noise: Perturbation | None = None,
) -> Tensor:
    """An adapted layer's output for x (..., in), in the dtype that torch would compute in.

    Args:
        x: of any dtype.
        base: the frozen layer with W and b.
        a: A (r, in).
        b: B (out, r).
        scaling: s.
        p: of dropout on the branch's input; the mask's seed is drawn from the global generator.
        noise: on W.
    """
    weight = None if is_quantised(base) else weight_of(base)
    dtype = computing_dtype(x, weight)
    bias: Any = base.bias
    seed = int(torch.randint(2**62, ())) if p else 0  # checkpointing gives the same one again
    y: Tensor = AdaptedLinear.apply(
        x.reshape(-1, x.shape[-1]).to(dtype),
        weight,
        None if bias is None else bias.to(dtype),
        a.to(dtype),
        b.to(dtype),
        Plan(scaling, p, seed, noise, base if weight is None else None),
    )
    return y.view(*x.shape[:-1], y.shape[-1])


def _input_gradient(g: Tensor, gb: Tensor, weight: Tensor | None, a: Tensor, b: Tensor, plan: Plan) -> Tensor:
    """G W + s · M ∘ (G B A) / (1 - p), (T, in)."""
    if plan.merges(len(g), g.shape[1], g.dtype):
        return g @ plan.merged_weight_again(weight, a, b)
    full = plan.full_weight(weight, g.dtype)
    if plan.p == 0:
        return (g @ full).addmm_(gb, a, alpha=plan.scaling)
    return (g @ full).add_(plan.dropped(gb @ a), alpha=plan.branch_scaling)
