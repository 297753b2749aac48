"""PEFT's linear layers under noise on their merged weight: LoRA, VeRA and (IA)³."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lowland.flat.linear import PerturbedLinear, base_of
from lowland.flat.noise import (
    LayerNoise,
    merged_norms,
)
from lowland.flat.perturbed import ForwardPassGate
from lowland.flat.product import noisy_product
from lowland.lora.bases import gathered
from lowland.lora.fused import adapted_product


class PerturbedPEFT(PerturbedLinear):
    """Base class of PEFT's layers under noise."""

    active_adapters: list[str]
    disable_adapters: bool
    merged: bool
    holder: str
    """Name of the attribute that holds each adapter's parameters, by the adapter's name."""
    added_attributes: ClassVar[tuple[str, ...]] = (*PerturbedLinear.added_attributes, "_adapters_of_step")
    _adapters_of_step: list[str] | None  # active in the step's first pass, which sets the noise's size

    def start_noiseless(self, gate: ForwardPassGate) -> None:
        """Set the attributes of an armed layer."""
        super().start_noiseless(gate)
        self._adapters_of_step = None

    def draw(self, sigma: float, seed: int, *, token: bool = False, bias: bool = False) -> None:
        """Draw the noise of a step, in whose first pass the active adapters are noted."""
        self._adapters_of_step = None
        super().draw(sigma, seed, token=token, bias=bias)

    def active(self) -> list[str]:
        """Return the names of the active adapters that this layer has."""
        return [name for name in self.active_adapters if name in getattr(self, self.holder)]

    def adapter_is_on(self) -> bool:
        """Return whether an adapter of this layer is active and none is merged."""
        return not self.disable_adapters and not self.merged and bool(self.active())

    def noise_of_this_pass(self) -> Any:
        """Return the noise that acts in the current forward pass, or None.

        Raises:
            RuntimeError: if the active adapters are not those of an earlier pass of the step, for which the noise's
                size was computed.
        """
        noise = super().noise_of_this_pass()
        if noise is None or torch.compiler.is_compiling():
            return noise
        if self._adapters_of_step is None:
            self._adapters_of_step = self.active()
        elif self._adapters_of_step != self.active():
            raise RuntimeError(
                f"the active adapters were {self._adapters_of_step} and are now {self.active()}, within one step of the"
                " noise; call begin_step again after set_adapter (the draw is the same)"
            )
        return noise

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """Return y (..., out) for x (..., in); without noise for a batch that mixes adapters (`adapter_names`).

        PEFT supports such batches for inference only.
        """
        if options.get("adapter_names") is not None:
            y: Tensor = super(PerturbedLinear, self).forward(x, *args, **options)
            return y
        return super().forward(x, *args, **options)


class PerturbedPEFTLoRA(PerturbedPEFT):
    """PEFT's LoRA layer under noise: plain (in training rsLoRA, PiSSA and OLoRA are, too) or DoRA."""

    holder = "lora_A"
    lora_A: Any
    lora_B: Any
    lora_dropout: Any
    scaling: Mapping[str, float]
    lora_variant: Mapping[str, Any]
    lora_magnitude_vector: Any

    def norms(self, weight: Tensor | None = None) -> Tensor:
        """Return ‖W_i + s (BA)_i‖ (out, 1), over all active adapters together; DoRA's magnitude is that norm."""
        names = self.active()
        if not names:
            return super().norms(weight)
        if names[0] in self.lora_variant:
            magnitude: Tensor = self.lora_magnitude_vector[names[0]].weight
            return gathered(magnitude).abs()[:, None]
        return merged_norms(self.full_weight() if weight is None else weight, *self._factors(names))

    def noisy(self, x: Tensor, noise: LayerNoise) -> Tensor:
        """Return the output from one function if the branch is only A and B, else with PEFT's own branch."""
        names = self.active()
        if any(name in self.lora_variant for name in names):
            return super().noisy(x, noise)
        dropped = any(not isinstance(self.lora_dropout[name], nn.Identity) for name in names)
        biased = any(self.lora_B[name].bias is not None for name in names)
        factors = [part[name] for name in names for part in (self.lora_A, self.lora_B)]
        hooked = any(f._forward_pre_hooks or f._forward_hooks for f in factors)  # FSDP2 hooks them
        if torch.compiler.is_compiling() or dropped or biased or hooked:
            return self._in_pieces(x, noise, names)
        return adapted_product(x, base_of(self), *self._factors(names), noise=noise)

    def _in_pieces(self, x: Tensor, noise: LayerNoise, names: list[str]) -> Tensor:
        """Return x (W + eps)ᵀ + b with the branch of each adapter added."""
        y = result = noisy_product(x, base_of(self), noise)
        for name in names:  # as in PEFT, with its dropout, so that the masks are those without noise
            dropped = self.lora_dropout[name](x.to(self.lora_A[name].weight.dtype))
            result = result + self.lora_B[name](self.lora_A[name](dropped)) * self.scaling[name]
        return result.to(y.dtype)

    def _factors(self, names: list[str]) -> tuple[Tensor, Tensor, float]:
        """Return A (r, in), B (out, r) and s of one adapter; or of several, stacked, with s in B."""
        pairs = [(gathered(self.lora_A[name].weight), gathered(self.lora_B[name].weight)) for name in names]
        if len(names) == 1:
            return *pairs[0], self.scaling[names[0]]
        scaled = [self.scaling[name] * b for name, (_, b) in zip(names, pairs, strict=True)]
        return torch.cat([a for a, _ in pairs]), torch.cat(scaled, dim=1), 1.0


class PerturbedVeRA(PerturbedPEFT):
    """PEFT's VeRA layer under noise."""

    holder = "vera_lambda_d"
    get_delta_weight: Any
    fan_in_fan_out: bool

    def adapted(self, weight: Tensor) -> Tensor:
        """Return W + ΔW of each active adapter (out, in)."""
        for name in self.active():
            delta: Tensor = self.get_delta_weight(name)
            weight = weight + (delta.T if self.fan_in_fan_out else delta)
        return weight


class PerturbedIA3(PerturbedPEFT):
    """PEFT's (IA)³ layer under noise: W' is W scaled by l along its inputs (feed-forward) or its outputs."""

    holder = "ia3_l"
    ia3_l: Any
    is_feedforward: bool

    def adapted(self, weight: Tensor) -> Tensor:
        """Return W with its inputs or its outputs scaled (out, in)."""
        for name in self.active():
            scale: Tensor = self.ia3_l[name].flatten()
            weight = weight * (scale if self.is_feedforward else scale[:, None])
        return weight
