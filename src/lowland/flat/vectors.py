"""Noise on the weights and biases of norms, as in the paper's appendix: `FlatConfig.vectors`.

A vector v (n,) counts as one row: eps_j ~ N(0, sigma² / n · ‖v‖²). No parameter is written: for one call of the module
the perturbed vectors stand in for its parameters.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lowland.flat.perturbed import ForwardPassGate, Perturbed
from lowland.ground.rng import stream_seed
from lowland.lora.bases import gathered

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class PerturbedNorm(Perturbed):
    """Norm under noise on its weight and bias."""

    _noise: dict[str, Tensor] | None

    def forward(self, *args: Any, **options: Any) -> Any:
        """Return the norm's output with perturbed parameters."""
        noise = self.noise_of_this_pass()
        if noise is None:
            return super().forward(*args, **options)
        unarmed = self.plain.__new__(self.plain)  # the same norm without noise
        unarmed.__dict__ = self.__dict__ | {
            hooks: {} for hooks in HOOKS
        }  # the hooks have been called already
        noisy = {name: v + noise[name].to(v.dtype) for name, v in self.named_parameters(recurse=False)}
        return torch.func.functional_call(unarmed, noisy, args, options)

    def draw(self, sigma: float, seed: int) -> None:
        """Draw the noise of strength sigma from a seed."""
        vectors = self.named_parameters(recurse=False)
        self._noise = {name: vector_noise(v, sigma, stream_seed(seed, name)) for name, v in vectors}


def vector_noise(vector: Tensor, sigma: float, seed: int) -> Tensor:
    """Return eps (n,) for a vector (n,), in float32."""
    vector = gathered(vector).detach().float()
    numbers = torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
    eps: Tensor = sigma / math.sqrt(vector.numel()) * vector.norm() * numbers.to(vector.device)
    return eps


def arm_norms(model: nn.Module, gate: ForwardPassGate) -> dict[str, PerturbedNorm]:
    """Arm the model's norms and return them by name.

    A norm is a module whose class has "Norm" in its name and that has parameters of its own.
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if "Norm" in type(module).__name__ and any(True for _ in module.parameters(recurse=False))
    }
    return {name: PerturbedNorm.arm(norm, gate) for name, norm in norms.items()}
