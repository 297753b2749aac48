"""Base class of the adapted layers: `LoRALinear` and `LoRAEmbedding` derive from it."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowland.ground.mistakes import Mistake
from lowland.lora.bases import Adaptable, is_quantised, plain_layer, weight_of
from lowland.lora.config import LoRAConfig

PRECISIONS = (torch.float32, torch.float64)
"""Data types that a merge can sum in."""


@dataclass(frozen=True)
class Origin:
    """Record of how `add_lora` made an adapted layer.

    Attributes:
        config: the config of the whole model; its `modules_to_save` are full module names.
        name: name of the layer in the model that was adapted.
    """

    config: LoRAConfig
    name: str


class LoRALayer(nn.Module):
    """Base class of adapted layers: a frozen layer with weight W, and a low-rank branch that is trained.

    Attributes:
        base: the frozen layer. It holds W, or W + s·BA while the branch is merged.
        lora_A: A (r, in_features); for an embedding (r, num_embeddings).
        lora_B: B (out_features, r); for an embedding (embedding_dim, r).
        r: rank.
        alpha: numerator of the scale.
        scaling: the scale s: alpha / r, or alpha / sqrt(r) with rsLoRA.
        transposed: whether `base` stores its weight transposed, as `Conv1D` does.
        origin: how `add_lora` made the layer; None for a layer that was built by hand.
    """

    base: Any  # an `Adaptable`; its weight may be of any quantised type
    lora_A: nn.Parameter
    lora_B: nn.Parameter
    transposed = False

    def __init__(
        self, base: Adaptable, r: int, alpha: float, dropout: float, rslora: bool, origin: Origin | None
    ) -> None:
        if origin is None:
            LoRAConfig(r=r, alpha=alpha, dropout=dropout)  # checks the ranges
        super().__init__()
        self.base = base.requires_grad_(False)
        self.r, self.alpha = r, alpha
        self.scaling = alpha / math.sqrt(r) if rslora else alpha / r
        self.origin = origin
        self._before_merge: tuple[Tensor | nn.Module] | None = (
            None  # in a tuple, nn.Module does not register it
        )

    @property
    def weight(self) -> Tensor:
        """The frozen weight W, dequantised if needed; W + s·BA while the branch is merged.

        Its shape is (out_features, in_features), or (num_embeddings, embedding_dim) for an embedding.
        """
        return weight_of(self.base)

    @property
    def merged(self) -> bool:
        """Whether the branch is merged into the weight."""
        return self._before_merge is not None

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return A and B as the forward pass uses them; a perturbation of them overrides this."""
        return self.lora_A, self.lora_B

    @abstractmethod
    def delta(self, dtype: torch.dtype | None = None) -> Tensor:
        """Return what the branch adds to W, in the shape of `weight`.

        Args:
            dtype: data type to compute in; default: that of A and B.
        """

    @torch.no_grad()
    def merged_weight(self, precision: torch.dtype, dtype: torch.dtype | None = None) -> Tensor:
        """Return W + s·BA as `base` would store it: (in_features, out_features) for a `Conv1D`.

        Args:
            precision: data type of the sum; the wider one of it and the data type of W is used.
            dtype: data type of the result; default: that of W.
        """
        weight = self.weight
        wide = torch.promote_types(weight.dtype, precision)
        total = (weight.to(wide) + self.delta(wide)).to(dtype or weight.dtype)
        return total.T.contiguous() if self.transposed else total

    def merge(self, *, precision: torch.dtype = torch.float32, dtype: torch.dtype | None = None) -> None:
        """Merge the branch into the weight; `unmerge` restores the weight bit for bit.

        W itself is not overwritten: `base` gets a new parameter, and the layer keeps the old one. A quantised linear
        base cannot hold W + s·BA, so a plain layer takes its place.

        Args:
            precision: data type of the sum W + s·BA: float32 or float64.
            dtype: data type that the sum is rounded to; default: that of W.

        Raises:
            Mistake: if the branch is merged already, or `precision` or `dtype` is not allowed.
        """
        if self.merged:
            raise Mistake("the layer is merged already; call unmerge() first")
        if precision not in PRECISIONS:
            raise Mistake(f"precision is {precision}; it must be torch.float32 or torch.float64")
        if dtype is not None and not dtype.is_floating_point:
            raise Mistake(f"dtype is {dtype}; it must be a floating-point type, such as torch.bfloat16")
        base = self.base
        merged = nn.Parameter(self.merged_weight(precision=precision, dtype=dtype), requires_grad=False)
        if isinstance(base, nn.Linear) and is_quantised(base):
            self._before_merge = (base,)
            self.base = plain_layer(base, merged)
        else:
            self._before_merge = (base.weight,)
            base.weight = merged

    def unmerge(self) -> None:
        """Restore the weight W bit for bit; the branch is computed beside it again.

        Raises:
            Mistake: if the branch is not merged.
        """
        if self._before_merge is None:
            raise Mistake("the layer is not merged; call merge() first")
        (before,) = self._before_merge
        if isinstance(before, nn.Module):
            self.base = before
        else:
            self.base.weight = before
        self._before_merge = None

    def extra_repr(self) -> str:
        """Return the part of `print(model)` that is specific to this layer."""
        return f"r={self.r}, alpha={self.alpha}, merged={self.merged}"
