"""The other way to train under Flat-LoRA's noise, from the paper's description (section 3.3), to compare with.

Before the forward pass eps is added to the frozen weight in place; after the backward pass it is drawn again from its
seed and subtracted. What is kept between is the seed and the rows' norms. In floating point (W + eps) - eps is not W.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class AddAndSubtract:
    """The noise of one training run on a PEFT model's plain LoRA layers."""

    def __init__(self, model: nn.Module, rho: float) -> None:
        self.rho = rho
        self.layers = [
            one for one in model.modules() if hasattr(one, "lora_A") and hasattr(one, "base_layer")
        ]
        self._kept: list[Tensor] = []

    @torch.no_grad()
    def begin_step(self, step: int) -> None:
        """W + eps, in place."""
        self._seed, self._kept = step, []
        generator = torch.Generator().manual_seed(step)
        for layer in self.layers:
            weight = layer.base_layer.weight
            merged = weight + layer.get_delta_weight("default")
            self._kept.append(
                self.rho / math.sqrt(weight.shape[1]) * merged.norm(dim=1, keepdim=True)
            )  # (out, 1)
            weight += self._eps(weight, self._kept[-1], generator)

    @torch.no_grad()
    def end_step(self) -> None:
        """(W + eps) - eps, in place."""
        generator = torch.Generator().manual_seed(self._seed)
        for layer, scale in zip(self.layers, self._kept, strict=True):
            weight = layer.base_layer.weight
            weight -= self._eps(weight, scale, generator)

    def _eps(self, weight: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(weight.shape, generator=generator).mul_(scale).to(weight.dtype)
