"""Arithmetic of an adapted layer as one autograd function, which moves less memory than separate operations.

With x (T, in_features), W (out_features, in_features), b (out_features,), A (r, in_features), B (out_features, r), the
scale s, and G the gradient with respect to y,

    y  = x Wᵀ + b + s (d Aᵀ) Bᵀ        d = M ∘ x / (1 - p): x after dropout with the mask M
    dX = G W + s M ∘ (G B A) / (1 - p)
    dA = s (G B)ᵀ d
    dB = s Gᵀ (d Aᵀ)

(the derivatives of equation 3 in Hu et al., 2021, arXiv 2106.09685, section 4.1). For the backward pass only x and
d Aᵀ (T, r) are saved. There the mask is drawn again from its seed, and W is read, dequantised or perturbed again.
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
"""Tokens per unit of the product's inner dimension from which W + s·BA is computed, see `merges`."""
MERGE_NOISY_FROM = 1
"""The same threshold for layers with noise, for which W + eps is computed in any case."""
MASK_BITS = 16
"""Random bits per entry of a dropout mask: the probability p is exact to within 2^-17."""


def merges(tokens: int, width: int, dtype: torch.dtype, p: float, least: float = MERGE_FROM) -> bool:
    """Return whether to compute W + s·BA and one matrix product, rather than the branch beside W.

    The branch costs one more pass over the product's result (tokens, n), and W + s·BA one pass over W, which has
    width · n entries. The branch stays separate in 16 bits, where the sum would round away a small BA, and with
    dropout, which applies to the branch alone.

    Args:
        tokens: rows of the product's left factor.
        width: inner dimension of the product: in_features in the forward pass, out_features in the backward pass.
        dtype: data type of the computation.
        p: dropout probability.
        least: tokens per unit of `width` from which W + s·BA is computed.
    """
    return tokens >= least * width and p == 0 and dtype in (torch.float32, torch.float64)


def computing_dtype(x: Tensor, weight: Tensor | None) -> torch.dtype:
    """Return the data type that torch would compute x Wᵀ in.

    It is that of autocast if that is enabled, else that of W, or that of x if W is quantised (`weight` is None).
    """
    device = x.device.type
    autocast = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if autocast and x.dtype != torch.float64:  # autocast does not cast float64
        return torch.get_autocast_dtype(device)
    return (x if weight is None else weight).dtype


class WeightNoise(Protocol):
    """Noise eps that is added to W; it is the same in the forward and the backward pass."""

    def added_to(self, weight: Tensor) -> Tensor:
        """Return W + eps (out_features, in_features); it has to be used before the next call."""
        ...

    def add_to_merged(self, merged: Tensor) -> Tensor:
        """Add eps in place to W' = W + s·BA (out_features, in_features), and return it."""
        ...


@dataclass(frozen=True)
class Plan:
    """Everything but tensors that the arithmetic of an adapted layer needs for one forward and backward pass.

    Attributes:
        scaling: the scale s.
        p: probability of dropping an entry of the branch's input; 0 in evaluation mode.
        seed: seed of the dropout mask.
        noise: noise that is added to W.
        quantised: the base layer, if W has to be dequantised.
    """

    scaling: float
    p: float = 0.0
    seed: int = 0
    noise: WeightNoise | None = None
    quantised: nn.Module | None = None

    @property
    def branch_scaling(self) -> float:
        """Scale of the branch after dropout: s / (1 - p)."""
        return self.scaling / (1 - self.p)

    def full_weight(self, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Return W, or W + eps, in the data type of the computation."""
        weight = self._read(weight)
        return (weight if self.noise is None else self.noise.added_to(weight)).to(dtype)

    def merged_weight(self, weight: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        """Return W + s·BA, or W + s·BA + eps, in the data type of A and B; valid until the next call."""
        if torch.is_grad_enabled():  # for second derivatives
            return self.full_weight(weight, a.dtype).addmm(b, a, alpha=self.scaling)
        weight = self._read(weight).to(a.dtype)
        merged = torch.addmm(weight, b, a, alpha=self.scaling, out=scratch(weight))
        return merged if self.noise is None else self.noise.add_to_merged(merged)

    def merged_weight_again(self, weight: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
        """Return the result of `merged_weight` in the backward pass.

        There eps is known without W + s·BA, which saves a pass over the weight.
        """
        if self.noise is None or torch.is_grad_enabled():
            return self.merged_weight(weight, a, b)
        return self.noise.added_to(self._read(weight).to(a.dtype)).addmm_(b, a, alpha=self.scaling)

    def _read(self, weight: Tensor | None) -> Tensor:
        """Return W, dequantised if `weight` is None."""
        if weight is None:
            assert self.quantised is not None
            weight = weight_of(self.quantised)
        return weight

    def merges(self, tokens: int, width: int, dtype: torch.dtype) -> bool:
        """Return whether to compute W + s·BA, see the function `merges`; noise lowers the threshold."""
        return merges(tokens, width, dtype, self.p, MERGE_FROM if self.noise is None else MERGE_NOISY_FROM)

    def drops(self, x: Tensor) -> Tensor | None:
        """Return where M is 0, (T, in_features), or None without dropout.

        It depends on the seed and the shape of x alone, and is the same in every call.
        """
        if self.p == 0:
            return None
        generator = torch.Generator(x.device).manual_seed(self.seed)
        words = torch.empty(-(-x.numel() * MASK_BITS // 64), dtype=torch.int64, device=x.device)
        bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)
        least = min(round((self.p - 0.5) * 2**MASK_BITS), 2 ** (MASK_BITS - 1) - 1)
        drops: Tensor = bits[: x.numel()].view(x.shape) < least
        return drops

    def dropped(self, x: Tensor) -> Tensor:
        """Return M ∘ x."""
        return _without(x, self.drops(x))


class AdaptedLinear(torch.autograd.Function):
    """Autograd function y = x Wᵀ + b + s · (dropout(x) Aᵀ) Bᵀ, with W and b frozen; x, b, A and B share one dtype."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, a: Tensor, b: Tensor, plan: Plan
    ) -> Tensor:
        """Return y (T, out_features) for x (T, in_features)."""
        xa = plan.dropped(x) @ a.T  # (T, r)
        ctx.plan = plan
        ctx.save_for_backward(x, weight, a, b, xa)
        if plan.merges(len(x), x.shape[1], x.dtype):
            return F.linear(x, plan.merged_weight(weight, a, b), bias)
        y = F.linear(x, plan.full_weight(weight, x.dtype), bias)
        return y.addmm_(xa, b.T, alpha=plan.branch_scaling)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, Tensor | None, Tensor | None, None]:
        """Return dX (T, in_features), dA (r, in_features) and dB (out_features, r) for G (T, out_features)."""
        x, weight, a, b, xa = ctx.saved_tensors
        plan, (need_x, _, _, need_a, need_b, _) = ctx.plan, ctx.needs_input_grad
        gb = g @ b  # (T, r)
        drops = plan.drops(x) if need_x or need_a or torch.is_grad_enabled() else None
        dx = _input_gradient(g, gb, weight, a, b, plan, drops) if need_x else None
        dropped = _without(x, drops) if need_a or torch.is_grad_enabled() else x
        if torch.is_grad_enabled():
            xa = dropped @ a.T  # computed again, since second derivatives flow through it
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
    noise: WeightNoise | None = None,
) -> Tensor:
    """Return an adapted layer's output (..., out_features), in the data type that torch would compute in.

    Args:
        x: input (..., in_features) of any data type.
        base: the frozen layer with W and b.
        a: A (r, in_features).
        b: B (out_features, r).
        scaling: the scale s.
        p: dropout probability for the branch's input; the seed of the mask is drawn from the global generator.
        noise: noise that is added to W.
    """
    weight = None if is_quantised(base) else weight_of(base)
    dtype = computing_dtype(x, weight)
    bias: Any = base.bias
    seed = (
        int(torch.randint(2**62, ())) if p else 0
    )  # gradient checkpointing restores the generator, and so the seed
    y: Tensor = AdaptedLinear.apply(  # type: ignore[no-untyped-call]
        x.reshape(-1, x.shape[-1]).to(dtype),
        weight,
        None if bias is None else bias.to(dtype),
        a.to(dtype),
        b.to(dtype),
        Plan(scaling, p, seed, noise, base if weight is None else None),
    )
    return y.view(*x.shape[:-1], y.shape[-1])


def _without(x: Tensor, drops: Tensor | None) -> Tensor:
    """Return M ∘ x, from where M is 0."""
    return x if drops is None else x.masked_fill(drops, 0)


def _input_gradient(
    g: Tensor, gb: Tensor, weight: Tensor | None, a: Tensor, b: Tensor, plan: Plan, drops: Tensor | None
) -> Tensor:
    """Return dX = G W + s · M ∘ (G B A) / (1 - p), (T, in_features)."""
    if plan.merges(len(g), g.shape[1], g.dtype):
        return g @ plan.merged_weight_again(weight, a, b)
    full = plan.full_weight(weight, g.dtype)
    if drops is None:
        return (g @ full).addmm_(gb, a, alpha=plan.scaling)
    return (g @ full).add_(_without(gb @ a, drops), alpha=plan.branch_scaling)
