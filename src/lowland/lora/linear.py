"""The LoRA layer: a frozen linear layer and a trainable branch of low rank beside it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

Linear = nn.Linear | Conv1D
"""What can be adapted. Conv1D is GPT-2's linear layer; it holds its weight transposed, (in, out)."""


class LoRALinear(nn.Module):
    """y = x Wᵀ + b + s · (x Aᵀ) Bᵀ, with W and b frozen, s = alpha / r (Hu et al., 2021, section 4.1, equation 3).

    A (r, in) starts Kaiming-uniform and B (out, r) starts at zero, so that at first the layer answers as its base.
    With `rslora` s = alpha / sqrt(r) (Kalajdzievski, 2023).

    Args:
        base: the layer to adapt, `nn.Linear` or `Conv1D`; it is kept as it is, and frozen.
        r: rank, from 1 to the smaller side of W.
        alpha: numerator of the scale s.
        dropout: probability of dropping an entry of the branch's input in training.
        rslora: the other scale.
        generator: the source of A's first values.

    Raises:
        ValueError: if the rank does not fit the layer.
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
        self.base = base.requires_grad_(False)
        self.transposed = isinstance(base, Conv1D)
        self.out_features, self.in_features = self.weight.shape
        if not 1 <= r <= min(self.in_features, self.out_features):
            raise ValueError(
                f"rank {r} does not fit a layer of {self.out_features} x {self.in_features};"
                f" it must be from 1 to {min(self.in_features, self.out_features)}"
            )
        self.r, self.alpha = r, alpha
        self.scaling = alpha / math.sqrt(r) if rslora else alpha / r
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(self.weight.new_empty(r, self.in_features))
        self.lora_B = nn.Parameter(self.weight.new_zeros(self.out_features, r))
        if not self.lora_A.is_meta:
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5), generator=generator)
        self._before_merge: tuple[nn.Parameter] | None = None

    @property
    def weight(self) -> Tensor:
        """W (out, in): the frozen weight, or W + s·BA while merged."""
        return self.base.weight.T if self.transposed else self.base.weight

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
        """Y (..., out) for x (..., in)."""
        y = self.base(x)
        return y if self.merged else y + self.branch(x).to(y.dtype)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"r={self.r}, alpha={self.alpha}, merged={self.merged}"
