"""The adapted layer: W, frozen, and beside it the two thin matrices that are learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.lora.bases import Linear, adapter_place, keep_readable, shape_of, weight_of
from lowland.lora.fused import Perturbation, adapted_product


class LoRALinear(nn.Module):
    """y = x Wᵀ + b + s · (x Aᵀ) Bᵀ, with W and b frozen, s = alpha / r (Hu et al., 2021, section 4.1, equation 3).

    A (r, in) starts Kaiming-uniform and B (out, r) starts at zero, so that at first the layer answers as its base.
    With `rslora` s = alpha / sqrt(r) (Kalajdzievski, 2023).

    Args:
        base: the layer to adapt, `nn.Linear`, `Conv1D` or a quantised linear layer; it is kept as it is, and frozen.
        r: rank, from 1; above the smaller side of W more of it says nothing more.
        alpha: numerator of the scale s.
        dropout: probability of dropping an entry of the branch's input in training.
        rslora: the other scale.
        generator: the source of A's first values.

    Raises:
        ValueError: if the rank is below 1.
    """

    def __init__(
        self,
        base: Linear,
        r: int,
        alpha: float,
        dropout: float = 0.0,
        rslora: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        keep_readable(base)
        self.base = base.requires_grad_(False)
        self.transposed = isinstance(base, Conv1D)
        self.out_features, self.in_features = shape_of(base)
        if r < 1:
            raise ValueError(f"rank is {r}; it must be at least 1")
        self.r, self.alpha = r, alpha
        self.scaling = alpha / math.sqrt(r) if rslora else alpha / r
        self.dropout = nn.Dropout(dropout)
        place = adapter_place(base)
        self.lora_A = nn.Parameter(torch.empty(r, self.in_features, **place))
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, r, **place))
        if not self.lora_A.is_meta:
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5), generator=generator)
        self._before_merge: tuple[Tensor | nn.Module] | None = None  # a tuple, to be no parameter or child

    @property
    def weight(self) -> Tensor:
        """W (out, in): the frozen weight, or W + s·BA while merged."""
        return weight_of(self.base)

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias b (out,), if there is one."""
        return self.base.bias

    @property
    def merged(self) -> bool:
        """Whether the branch is folded into the weight."""
        return self._before_merge is not None

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        """s·BA (out, in): what the branch adds to W, without dropout, computed in `dtype` (default: its own)."""
        return self.scaling * (self.lora_B.to(dtype=dtype) @ self.lora_A.to(dtype=dtype))

    def branch(self, x: Tensor) -> Tensor:
        """S · (x Aᵀ) Bᵀ for x (..., in) -> (..., out)."""
        x = self.dropout(x).to(self.lora_A.dtype)
        return self.scaling * (x @ self.lora_A.T @ self.lora_B.T)

    def forward(self, x: Tensor) -> Tensor:
        """Y (..., out) for x (..., in): in one function, or in pieces for a compiler, which fuses by itself."""
        if self.merged:
            return self.base(x)
        if torch.compiler.is_compiling() or self.calls_base:
            y = self.base(x)
            return y + self.branch(x).to(y.dtype)
        return self.fused(x)

    def fused(self, x: Tensor, noise: Perturbation | None = None) -> Tensor:
        """The same in one function: the layer's output for x (..., in), with noise on W if there is some."""
        p = self.dropout.p if self.training else 0.0
        return adapted_product(x, self.base, self.lora_A, self.lora_B, self.scaling, p, noise)

    @property
    def calls_base(self) -> bool:
        """Whether the base must be called, and its weight not read: it has hooks, or somebody thawed it.

        Hooks on the base are how offloaded and sharded weights come to be there; a thawed base learns by autograd.
        """
        base = self.base
        forward = base._forward_pre_hooks or base._forward_hooks or hasattr(base, "_hf_hook")
        hooks = forward or base._backward_pre_hooks or base._backward_hooks
        return bool(hooks) or any(one.requires_grad for one in base.parameters(recurse=False))

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"r={self.r}, alpha={self.alpha}, merged={self.merged}"
