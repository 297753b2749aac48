"""The adapted embedding: as `linear.py`, for rows that are looked up."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowland.lora.bases import adapter_place


class LoRAEmbedding(nn.Module):
    """y = W[x] + s · (A[:, x])ᵀ Bᵀ, with W (words, width) frozen (Hu et al., 2021, section 4.1, for one-hot inputs).

    A (r, words) starts at zero and B (width, r) normal, as PEFT has it, so that at first the layer answers as its base
    and each word that is met learns at once. There is no dropout: the input is words.

    Args:
        base: the layer to adapt; it is kept as it is, and frozen.
        r: rank, from 1.
        alpha: numerator of the scale s = alpha / r.
        rslora: s = alpha / sqrt(r) instead.
        generator: the source of B's first values.

    Raises:
        ValueError: if the rank is below 1.
    """

    transposed = False

    def __init__(
        self,
        base: nn.Embedding,
        r: int,
        alpha: float,
        rslora: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.num_embeddings, self.embedding_dim = base.weight.shape
        if r < 1:
            raise ValueError(f"rank is {r}; it must be at least 1")
        self.r, self.alpha = r, alpha
        self.scaling = alpha / math.sqrt(r) if rslora else alpha / r
        place = adapter_place(base)
        self.lora_A = nn.Parameter(torch.zeros(r, self.num_embeddings, **place))
        self.lora_B = nn.Parameter(torch.empty(self.embedding_dim, r, **place))
        if not self.lora_B.is_meta:
            nn.init.normal_(self.lora_B, generator=generator)
        self._before_merge: tuple[Tensor | nn.Module] | None = None  # a tuple, to be no parameter or child

    @property
    def weight(self) -> Tensor:
        """W (words, width): the frozen weight, or W + s·(BA)ᵀ while merged."""
        return self.base.weight

    @property
    def merged(self) -> bool:
        """Whether the branch is folded into the weight."""
        return self._before_merge is not None

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        """s·(BA)ᵀ (words, width): what the branch adds to W, computed in `dtype` (default: its own)."""
        return self.scaling * (self.lora_B.to(dtype=dtype) @ self.lora_A.to(dtype=dtype)).T

    def forward(self, x: Tensor) -> Tensor:
        """y (..., width) for word numbers x (...)."""
        y = self.base(x)
        if self.merged:
            return y
        scale: Any = getattr(self.base, "embed_scale", 1)  # that some embeddings multiply all they give with
        rows = F.embedding(x, self.lora_A.T, padding_idx=self.base.padding_idx)  # (..., r)
        return y + (self.scaling * scale * (rows @ self.lora_B.T)).to(y.dtype)

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"r={self.r}, alpha={self.alpha}, merged={self.merged}"
