"""Adapted layers that train under noise: our own, and PEFT's.

PEFT's classes are known by name, since what a layer that nobody has looked at does with its weight cannot be guessed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.flat.bank import window
from lowland.flat.noise import (
    LayerNoise,
    TokenNoise,
    bank_dtype,
    merged_norms,
    row_norms,
    whole,
    wide,
)
from lowland.flat.perturbed import Gate, Perturbed, arm_module
from lowland.flat.product import noisy_product, shift
from lowland.flat.vectors import vector_noise
from lowland.ground.rng import stream_seed
from lowland.lora.bases import keep_readable, weight_of
from lowland.lora.fused import adapted_product


class PerturbedLinear(Perturbed):
    """An adapted linear layer under noise on its merged weight W'."""

    own: ClassVar[tuple[str, ...]] = (*Perturbed.own, "_shape", "_dtype", "_bias_noise", "_adapters")
    _noise: LayerNoise | TokenNoise | None
    _shape: tuple[int, int]
    _dtype: torch.dtype
    _bias_noise: Tensor | None  # (out,)
    _adapters: list[str] | None  # of PEFT's, that W' was meant with in this step

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """y (..., out) for x (..., in)."""
        noise = self.noise_of_this_pass()
        if noise is None:
            return super().forward(x, *args, **options)
        if isinstance(noise, LayerNoise) and not (args or options):
            y = self.noisy(x, noise)
        else:
            y = super().forward(x, *args, **options)
            y = y + (noise.of(x) if isinstance(noise, TokenNoise) else shift(x, noise)).to(y.dtype)
        return y if self._bias_noise is None else y + self._bias_noise.to(y.dtype)

    def noisy(self, x: Tensor, noise: LayerNoise) -> Tensor:
        """The output under noise. Here for any kind of layer, at the price of one matrix product more."""
        y: Tensor = super().forward(x)
        return y + shift(x, noise).to(y.dtype)

    def norms(self, weight: Tensor | None = None) -> Tensor:
        """‖W'_i‖ (out, 1), with W (out, in) at hand, or read."""
        return row_norms(self.adapted(self.full_weight() if weight is None else weight))

    def adapted(self, weight: Tensor) -> Tensor:
        """W' (out, in), what W is with the adapters that are on. Not called where `norms` needs no W'."""
        return weight

    def full_weight(self) -> Tensor:
        """W (out, in): gathered, and dequantised."""
        return whole(weight_of(base_of(self))).detach()

    def draw(self, sigma: float, seed: int, *, token: bool = False, bias: bool = False) -> None:
        """Take the noise of strength sigma that a seed gives.

        Args:
            sigma: above 0.
            seed: of the layer in this step.
            token: for each token's output, and not on the weight.
            bias: on the bias, too.
        """
        base: Any = base_of(self)
        device = base.weight.device
        self._adapters = None
        strength = sigma / math.sqrt(self._shape[1])
        if token:
            self._noise = TokenNoise(strength * self.norms(), seed)
        else:
            dtype = bank_dtype(self._dtype)
            place = window(self._shape, seed, device, dtype, transposed=isinstance(base, Conv1D))
            self._noise = LayerNoise(strength * place.signs.to(wide(self._dtype)), place.blocks, self.norms)
        if bias and base.bias is not None:
            self._bias_noise = vector_noise(base.bias, sigma, stream_seed(seed, "bias"))


class PerturbedLoRA(PerturbedLinear):
    """Our own LoRA layer."""

    base: nn.Module
    lora_A: Tensor
    lora_B: Tensor
    scaling: float
    merged: bool
    fused: Any
    branch: Any

    def adapter_is_on(self) -> bool:
        """Whether the branch is not folded into the weight."""
        return not self.merged

    def norms(self, weight: Tensor | None = None) -> Tensor:
        """‖W_i + s (BA)_i‖ (out, 1)."""
        weight = self.full_weight() if weight is None else weight
        return merged_norms(weight, whole(self.lora_A), whole(self.lora_B), self.scaling)

    def noisy(self, x: Tensor, noise: LayerNoise) -> Tensor:
        """In one function; in pieces for a compiler, which fuses by itself."""
        if torch.compiler.is_compiling():
            y = noisy_product(x, self.base, noise)
            return y + self.branch(x).to(y.dtype)
        return self.fused(x, noise)


class PerturbedPEFT(PerturbedLinear):
    """A layer of PEFT's: what its tuners have in common."""

    active_adapters: list[str]
    disable_adapters: bool
    merged: bool
    holder: str
    """The attribute that holds an adapter's part, by the adapter's name."""

    def active(self) -> list[str]:
        """The active adapters that this layer has."""
        return [name for name in self.active_adapters if name in getattr(self, self.holder)]

    def adapter_is_on(self) -> bool:
        """Whether an adapter of this layer is active, and none merged."""
        return not self.disable_adapters and not self.merged and bool(self.active())

    def noise_of_this_pass(self) -> Any:
        """As ever; the noise has the size of W' with one choice of adapters.

        Raises:
            RuntimeError: if others are active than in an earlier pass of the step.
        """
        noise = super().noise_of_this_pass()
        if noise is None or torch.compiler.is_compiling():
            return noise
        if self._adapters is None:
            self._adapters = self.active()
        elif self._adapters != self.active():
            raise RuntimeError(
                f"the active adapters were {self._adapters} and are now {self.active()}, within one step of the noise;"
                " call begin_step again after set_adapter (the draw is the same)"
            )
        return noise

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """y (..., out) for x (..., in); a batch of several adapters' examples has no noise: PEFT only answers so."""
        if options.get("adapter_names") is not None:
            return super(PerturbedLinear, self).forward(x, *args, **options)
        return super().forward(x, *args, **options)


class PerturbedPEFTLoRA(PerturbedPEFT):
    """PEFT's LoRA: plain (rsLoRA, PiSSA, OLoRA and their like are, in training), or DoRA."""

    holder = "lora_A"
    lora_A: Any
    lora_B: Any
    lora_dropout: Any
    scaling: Mapping[str, float]
    lora_variant: Mapping[str, Any]
    lora_magnitude_vector: Any

    def norms(self, weight: Tensor | None = None) -> Tensor:
        """‖W_i + s (BA)_i‖ (out, 1), of all active adapters together; DoRA's magnitude is that norm."""
        names = self.active()
        if not names:
            return super().norms(weight)
        if names[0] in self.lora_variant:
            magnitude: Tensor = self.lora_magnitude_vector[names[0]].weight
            return whole(magnitude).abs()[:, None]
        return merged_norms(self.full_weight() if weight is None else weight, *self._thin(names))

    def noisy(self, x: Tensor, noise: LayerNoise) -> Tensor:
        """In one function where the branch is A and B alone; else W + eps first, then PEFT's own branch."""
        names = self.active()
        if any(name in self.lora_variant for name in names):
            return super().noisy(x, noise)
        dropped = any(not isinstance(self.lora_dropout[name], nn.Identity) for name in names)
        biased = any(self.lora_B[name].bias is not None for name in names)
        thin = [part[name] for name in names for part in (self.lora_A, self.lora_B)]
        called = any(one._forward_pre_hooks or one._forward_hooks for one in thin)  # so does FSDP2
        if torch.compiler.is_compiling() or dropped or biased or called:
            return self._in_pieces(x, noise, names)
        return adapted_product(x, base_of(self), *self._thin(names), noise=noise)

    def _in_pieces(self, x: Tensor, noise: LayerNoise, names: list[str]) -> Tensor:
        y = result = noisy_product(x, base_of(self), noise)
        for name in names:  # as PEFT does, with its own dropout: the masks are those without noise
            dropped = self.lora_dropout[name](x.to(self.lora_A[name].weight.dtype))
            result = result + self.lora_B[name](self.lora_A[name](dropped)) * self.scaling[name]
        return result.to(y.dtype)

    def _thin(self, names: list[str]) -> tuple[Tensor, Tensor, float]:
        """A (r, in), B (out, r) and s of one adapter, or of all these together: s in B."""
        pairs = [(whole(self.lora_A[name].weight), whole(self.lora_B[name].weight)) for name in names]
        if len(names) == 1:
            return *pairs[0], self.scaling[names[0]]
        scaled = [self.scaling[name] * b for name, (_, b) in zip(names, pairs, strict=True)]
        return torch.cat([a for a, _ in pairs]), torch.cat(scaled, dim=1), 1.0


class PerturbedVeRA(PerturbedPEFT):
    """PEFT's VeRA."""

    holder = "vera_lambda_d"
    get_delta_weight: Any
    fan_in_fan_out: bool

    def adapted(self, weight: Tensor) -> Tensor:
        """W + ΔW of each."""
        for name in self.active():
            delta: Tensor = self.get_delta_weight(name)
            weight = weight + (delta.T if self.fan_in_fan_out else delta)
        return weight


class PerturbedIA3(PerturbedPEFT):
    """PEFT's (IA)³: W' = W scaled by l along its inputs (feed-forward) or its outputs."""

    holder = "ia3_l"
    ia3_l: Any
    is_feedforward: bool

    def adapted(self, weight: Tensor) -> Tensor:
        """W with its inputs or its outputs scaled."""
        for name in self.active():
            scale: Tensor = self.ia3_l[name].flatten()
            weight = weight * (scale if self.is_feedforward else scale[:, None])
        return weight


KINDS: Mapping[str, type[PerturbedLinear]] = {
    "lowland.lora.linear.LoRALinear": PerturbedLoRA,
    "peft.tuners.lora.layer.Linear": PerturbedPEFTLoRA,
    "peft.tuners.lora.bnb.Linear4bit": PerturbedPEFTLoRA,
    "peft.tuners.lora.bnb.Linear8bitLt": PerturbedPEFTLoRA,
    "peft.tuners.lora.torchao.TorchaoLoraLinear": PerturbedPEFTLoRA,
    "peft.tuners.vera.layer.Linear": PerturbedVeRA,
    "peft.tuners.ia3.layer.Linear": PerturbedIA3,
}
"""The layers that can be armed, by the class that says what they do."""


def kind_of(layer: type[nn.Module]) -> str:
    """The name of the class that says what a layer does: FSDP2 puts one of its own before it."""
    own = (one for one in layer.__mro__ if one.__module__.startswith(("lowland.lora", "peft.")))
    return next((f"{one.__module__}.{one.__qualname__}" for one in own), layer.__qualname__)


def base_of(layer: Any) -> Any:
    """The frozen layer with W."""
    return layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer.base


def arm_linear(layer: nn.Module, gate: Gate) -> PerturbedLinear:
    """Arm an adapted layer, in place."""
    armed: PerturbedLinear = arm_module(layer, KINDS[kind_of(type(layer))], gate)
    keep_readable(base_of(armed))
    weight = armed.full_weight()
    armed._shape, armed._dtype = (len(weight), weight.shape[1]), weight.dtype
    armed._bias_noise = armed._adapters = None
    return armed
