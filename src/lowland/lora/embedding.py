"""LoRA layer for `nn.Embedding`: the counterpart of `linear.py` for table lookups."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowland.lora.bases import adapter_factory_kwargs
from lowland.lora.layer import LoRALayer, Origin


class LoRAEmbedding(LoRALayer):
    """LoRA layer for `nn.Embedding`: y = W[x] + s · (A[:, x])ᵀ Bᵀ, with W (num_embeddings, embedding_dim) frozen.

    This is the layer of Hu et al. (2021, section 4.1) for one-hot inputs. As in PEFT, A (r, num_embeddings) is
    initialised with zeros and B (embedding_dim, r) from a normal distribution. So the initial output is that of the
    base, and the first step already changes every token in the batch. There is no dropout, since the inputs are token
    ids.

    Args:
        base: the embedding to adapt. It is frozen, and otherwise unchanged.
        r: rank, at least 1.
        alpha: numerator of the scale s = alpha / r.
        rslora: use s = alpha / sqrt(r) instead.
        generator: random generator for the initial values of B; None for torch's global one.
        origin: how `add_lora` made the layer; None for a layer that is built by hand.

    Raises:
        Mistake: if `r` or `alpha` is out of its range.
    """

    def __init__(
        self,
        base: nn.Embedding,
        r: int,
        alpha: float,
        rslora: bool = False,
        generator: torch.Generator | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(base, r, alpha, 0.0, rslora, origin)
        self.num_embeddings, self.embedding_dim = base.weight.shape
        factory_kwargs = adapter_factory_kwargs(base)
        self.lora_A = nn.Parameter(torch.zeros(r, self.num_embeddings, **factory_kwargs))
        self.lora_B = nn.Parameter(torch.empty(self.embedding_dim, r, **factory_kwargs))
        if not self.lora_B.is_meta:
            nn.init.normal_(self.lora_B, generator=generator)

    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return s·(BA)ᵀ (num_embeddings, embedding_dim), which the branch adds to W.

        Args:
            dtype: data type to compute in; default: that of A and B.
        """
        return self.scaling * (self.lora_B.to(dtype=dtype) @ self.lora_A.to(dtype=dtype)).T

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings y (..., embedding_dim) of token ids x (...)."""
        y: Tensor = self.base(x)
        if self.merged:
            return y
        a, b = self.factors()
        scale: Any = getattr(self.base, "embed_scale", 1)  # Gemma and BART scale the output
        rows = F.embedding(x, a.T, padding_idx=self.base.padding_idx)  # (..., r)
        branch: Tensor = self.scaling * scale * (rows @ b.T)
        return y + branch.to(y.dtype)
