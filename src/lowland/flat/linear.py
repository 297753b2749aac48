"""Linear layers under noise on their merged weight, and lowland's LoRA layer among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.flat.ascent import WeightGradient, WeightStep
from lowland.flat.bank import window
from lowland.flat.noise import (
    LayerNoise,
    TokenNoise,
    at_least_float32,
    bank_dtype,
    merged_norms,
    row_norms,
)
from lowland.flat.perturbed import ForwardPassGate, Perturbed
from lowland.flat.product import eps_product, noisy_product
from lowland.flat.vectors import vector_noise
from lowland.ground.rng import stream_seed
from lowland.lora.bases import disable_repacking, gathered, is_quantised, weight_of
from lowland.lora.fused import computing_dtype


class PerturbedLinear(Perturbed):
    """Linear layer under noise on its weight W': merged with its adapters, or trained itself."""

    added_attributes: ClassVar[tuple[str, ...]] = (
        *Perturbed.added_attributes,
        "_shape",
        "_dtype",
        "_bias_noise",
    )
    _noise: LayerNoise | TokenNoise | WeightGradient | WeightStep | None
    _shape: tuple[int, int]  # of W
    _dtype: torch.dtype  # of W, dequantised
    _bias_noise: Tensor | None  # (out,)

    def start_noiseless(self, gate: ForwardPassGate) -> None:
        """Set the attributes of an armed layer, and keep its weight readable."""
        super().start_noiseless(gate)
        disable_repacking(base_of(self))
        weight = self.full_weight()
        self._shape, self._dtype = (len(weight), weight.shape[1]), weight.dtype
        self._bias_noise = None

    @property
    def bias_noise(self) -> Tensor | None:
        """The noise (out,) on the bias in the current optimizer step, or None."""
        return self._bias_noise

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """Return y (..., out) for x (..., in)."""
        y: Tensor
        noise = self.noise_of_this_pass()
        if noise is None:
            y = super().forward(x, *args, **options)
            return y
        if isinstance(noise, WeightGradient):
            return noise.watch(x, super().forward(x, *args, **options))
        if isinstance(noise, WeightStep):
            return self.stepped(x, noise, *args, **options)
        if isinstance(noise, LayerNoise) and not (args or options):
            y = self.noisy(x, noise)
        else:
            y = super().forward(x, *args, **options)
            y = y + (noise.for_input(x) if isinstance(noise, TokenNoise) else eps_product(x, noise)).to(
                y.dtype
            )
        return y if self._bias_noise is None else y + self._bias_noise.to(y.dtype)

    def noisy(self, x: Tensor, noise: LayerNoise) -> Tensor:
        """Return the output under noise. This version works for any layer, and costs one more matrix product."""
        y: Tensor = super().forward(x)
        return y + eps_product(x, noise).to(y.dtype)

    def stepped(self, x: Tensor, step: WeightStep, *args: Any, **options: Any) -> Tensor:
        """Return the output at W' + e. This version works for any layer, and costs one more matrix product."""
        y: Tensor = super().forward(x, *args, **options)
        return y + step.product(x, y.dtype)

    def norms(self, weight: Tensor | None = None) -> Tensor:
        """Return ‖W'_i‖ (out, 1). W (out, in) is read from the layer if it is not given."""
        return row_norms(self.adapted(self.full_weight() if weight is None else weight))

    def adapted(self, weight: Tensor) -> Tensor:
        """Return W' (out, in): W with the active adapters. Subclasses whose `norms` needs no W' leave it out."""
        return weight

    def full_weight(self) -> Tensor:
        """Return W (out, in), gathered and dequantised."""
        return gathered(weight_of(base_of(self))).detach()

    def draw(self, sigma: float, seed: int, *, token: bool = False, bias: bool = False) -> None:
        """Draw the noise of strength sigma from a seed.

        Args:
            sigma: above 0.
            seed: of this layer in this optimizer step.
            token: draw for each token's output instead of the weight.
            bias: perturb the bias, too.
        """
        base: Any = base_of(self)
        strength = sigma / math.sqrt(self._shape[1])
        if token:
            self._noise = TokenNoise(strength * self.norms(), seed)
        else:
            device, dtype = base.weight.device, bank_dtype(self._dtype)
            place = window(self._shape, seed, device, dtype, transposed=isinstance(base, Conv1D))
            signed = strength * place.signs.to(at_least_float32(self._dtype))
            self._noise = LayerNoise(signed, place.blocks, self.norms)
        if bias and base.bias is not None:
            self._bias_noise = vector_noise(base.bias, sigma, stream_seed(seed, "bias"))

    def watch_gradient(self) -> WeightGradient:
        """Sum up dL/dW' in the passes that follow, in place of noise, and return the sum."""
        self._noise = WeightGradient()
        return self._noise

    def step(self, step: Tensor) -> None:
        """Add a step e (out, in) to W' in the passes that follow, in place of noise."""
        self._noise = WeightStep(step)

    @torch.no_grad()
    def noise_norm(self) -> float:
        """Return the Frobenius norm sqrt(E‖eps‖²) = sqrt(n) · ‖scale‖ of the current step's noise; 0 without noise.

        Nothing is drawn, and W is not read: the scale (out, 1) is that of the step's first forward pass.
        """
        noise = self.drawn_noise
        return 0.0 if noise is None else math.sqrt(self._shape[1]) * float(noise.scale.float().norm())

    def drop_noise(self) -> None:
        """Drop the noise of the current optimizer step, also that on the bias."""
        super().drop_noise()
        self._bias_noise = None


class PerturbedLoRA(PerturbedLinear):
    """lowland's LoRA layer under noise."""

    base: nn.Module
    lora_A: Tensor
    lora_B: Tensor
    scaling: float
    merged: bool
    fused: Callable[[Tensor, LayerNoise | WeightStep], Tensor]
    branch: Callable[[Tensor], Tensor]

    def adapter_is_on(self) -> bool:
        """Return whether the adapter is not merged."""
        return not self.merged

    def norms(self, weight: Tensor | None = None) -> Tensor:
        """Return ‖W_i + s (BA)_i‖ (out, 1)."""
        weight = self.full_weight() if weight is None else weight
        return merged_norms(weight, gathered(self.lora_A), gathered(self.lora_B), self.scaling)

    def noisy(self, x: Tensor, noise: LayerNoise) -> Tensor:
        """Return the output under noise from one autograd function, or in pieces for a compiler to fuse."""
        if torch.compiler.is_compiling():
            y = noisy_product(x, self.base, noise)
            return y + self.branch(x).to(y.dtype)
        return self.fused(x, noise)

    def stepped(self, x: Tensor, step: WeightStep, *args: Any, **options: Any) -> Tensor:
        """Return the output at W' + e, in 32 bits from one autograd function."""
        weight = None if is_quantised(self.base) else weight_of(self.base)
        if computing_dtype(x, weight).itemsize < 4:
            return super().stepped(x, step)
        return self.fused(x, step)


def base_of(layer: Any) -> Any:
    """Return the layer that holds W: the frozen base layer, or a trained layer itself."""
    return layer.get_base_layer() if hasattr(layer, "get_base_layer") else getattr(layer, "base", layer)
