"""Noise on the norms' weights and biases, too, as the paper's appendix tries: `FlatConfig.vectors`.

A vector v (n,) counts as one row: eps_j ~ N(0, sigma² / n · ‖v‖²). No parameter is written: for the call of its module
alone another tensor stands in its place.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lowland.flat.noise import whole
from lowland.flat.perturbed import Gate, Perturbed, arm_module
from lowland.ground.rng import stream_seed

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class PerturbedNorm(Perturbed):
    """A norm under noise."""

    _noise: dict[str, Tensor] | None

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the norm answers with its parameters perturbed."""
        noise = self.noise_of_this_pass()
        if noise is None:
            return super().forward(*args, **options)
        twin = self.plain.__new__(self.plain)  # the same norm, unarmed
        twin.__dict__ = self.__dict__ | {hooks: {} for hooks in HOOKS}  # which have been called already
        noisy = {name: one + noise[name].to(one.dtype) for name, one in self.named_parameters(recurse=False)}
        return torch.func.functional_call(twin, noisy, args, options)

    def draw(self, sigma: float, seed: int) -> None:
        """Take the noise of strength sigma that a seed gives."""
        vectors = self.named_parameters(recurse=False)
        self._noise = {name: vector_noise(one, sigma, stream_seed(seed, name)) for name, one in vectors}


def vector_noise(vector: Tensor, sigma: float, seed: int) -> Tensor:
    """eps (n,) for a vector (n,), in float32."""
    vector = whole(vector).detach().float()
    numbers = torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
    return sigma / math.sqrt(vector.numel()) * vector.norm() * numbers.to(vector.device)


def arm_norms(model: nn.Module, gate: Gate) -> dict[str, PerturbedNorm]:
    """Arm the model's norms, by name: modules called so, with parameters of their own."""
    norms = {
        name: one
        for name, one in model.named_modules()
        if "Norm" in type(one).__name__ and any(True for _ in one.parameters(recurse=False))
    }
    return {name: arm_module(one, PerturbedNorm, gate) for name, one in norms.items()}
