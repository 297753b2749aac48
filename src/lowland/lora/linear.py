"""LoRA layer for linear layers: the frozen weight W, and two low-rank matrices that are trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.lora.bases import (
    Linear,
    adapter_factory_kwargs,
    disable_repacking,
    forward_is_replaced,
    shape_of,
)
from lowland.lora.fused import WeightNoise, adapted_product
from lowland.lora.layer import LoRALayer, Origin


class LoRALinear(LoRALayer):
    """LoRA layer for linear layers: y = x Wᵀ + b + s · (x Aᵀ) Bᵀ, with W and b frozen and s = alpha / r.

    This is equation 3 of Hu et al. (2021, section 4.1). A (r, in_features) is initialised Kaiming-uniform and
    B (out_features, r) with zeros, so that the initial output is that of the base. With `rslora`, s = alpha / sqrt(r)
    (Kalajdzievski, 2023).

    Args:
        base: the layer to adapt: `nn.Linear`, `Conv1D` or a quantised linear layer. It is frozen, and otherwise
            unchanged.
        r: rank, at least 1. A rank above min(in_features, out_features) adds no capacity.
        alpha: numerator of the scale s.
        dropout: probability of setting an entry of the branch's input to zero during training.
        rslora: use s = alpha / sqrt(r).
        generator: random generator for the initial values of A; None for torch's global one.
        origin: how `add_lora` made the layer; None for a layer that is built by hand.

    Raises:
        Mistake: if `r`, `alpha` or `dropout` is out of its range.
    """

    def __init__(
        self,
        base: Linear,
        r: int,
        alpha: float,
        dropout: float = 0.0,
        rslora: bool = False,
        generator: torch.Generator | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(base, r, alpha, dropout, rslora, origin)
        disable_repacking(base)
        self.transposed = isinstance(base, Conv1D)
        self.out_features, self.in_features = shape_of(base)
        self.dropout = nn.Dropout(dropout)
        factory_kwargs = adapter_factory_kwargs(base)
        self.lora_A = nn.Parameter(torch.empty(r, self.in_features, **factory_kwargs))
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, r, **factory_kwargs))
        if not self.lora_A.is_meta:
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5), generator=generator)

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias b (out_features,), or None."""
        bias: Tensor | None = self.base.bias
        return bias

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return s·BA (out_features, in_features), which the branch adds to W. Dropout is not applied.

        Args:
            dtype: data type to compute in; default: that of A and B.
        """
        return self.scaling * (self.lora_B.to(dtype=dtype) @ self.lora_A.to(dtype=dtype))

    def branch(self, x: Tensor) -> Tensor:
        """Return the branch's output s · (x Aᵀ) Bᵀ (..., out_features) for x (..., in_features)."""
        a, b = self.factors()
        x = self.dropout(x).to(a.dtype)
        return self.scaling * (x @ a.T @ b.T)

    def forward(self, x: Tensor) -> Tensor:
        """Return y (..., out_features) for x (..., in_features).

        `fused` computes it, except under `torch.compile`, which fuses operations itself, and where the base has to be
        called (see `calls_base`): there the base and the branch are computed separately.
        """
        if self.merged:
            y: Tensor = self.base(x)
            return y
        if torch.compiler.is_compiling() or self.calls_base:
            y = self.base(x)
            return y + self.branch(x).to(y.dtype)
        return self.fused(x)

    def fused(self, x: Tensor, noise: WeightNoise | None = None) -> Tensor:
        """Return y (..., out_features) for x (..., in_features), computed by one autograd function.

        Args:
            x: the layer's input.
            noise: noise that is added to W.
        """
        p = self.dropout.p if self.training else 0.0
        return adapted_product(x, self.base, *self.factors(), self.scaling, p, noise)

    @property
    def calls_base(self) -> bool:
        """Whether the base layer must be called, rather than its weight be read.

        This is so if the base has hooks, which fetch offloaded or sharded weights, if its forward method was replaced,
        or if its own parameters are trained, whose gradients come from autograd.
        """
        base = self.base
        forward = base._forward_pre_hooks or base._forward_hooks or forward_is_replaced(base)
        hooks = forward or base._backward_pre_hooks or base._backward_hooks
        return bool(hooks) or any(parameter.requires_grad for parameter in base.parameters(recurse=False))
