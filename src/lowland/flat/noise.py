"""Noise on the merged full weight, as an input of the forward pass. W is never written.

With W' = W + s·BA (out, in), the noise of Flat-LoRA (Li et al., 2025) is

    eps_ij ~ N(0, sigma² / n · ‖W'_i‖²),    n = in_features, row i = one output unit,

so a layer adds about sigma times its output's own size, whatever its width. Each optimizer step has one draw, a pure
function of (seed, step, layer name): it is read from a bank (`bank.py`) in the forward pass and again in the backward
pass, and there is nothing to keep and nothing to subtract.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from lowland.flat.bank import Window, window
from lowland.flat.schedule import cosine_ramp
from lowland.lora import LoRALinear, lora_layers
from lowland.mistakes import Mistake
from lowland.rng import stream_seed


@dataclass
class Gate:
    """Whether the model's forward pass was entered with gradients on.

    Reentrant gradient checkpointing runs its first forward pass without gradients inside a training pass, while a
    reference pass (DPO) has none from the start: only the way in tells the two apart.
    """

    gradients_on_entry: bool = False

    def note(self, model: nn.Module, inputs: Any) -> None:
        """A forward pre-hook of the whole model."""
        self.gradients_on_entry = torch.is_grad_enabled()


@dataclass
class LayerNoise:
    """One layer's noise of one optimizer step: eps = scale · E, with E standard normal from the bank.

    Attributes:
        scale: (out, 1), ± sigma / sqrt(n) · ‖W'_i‖; the sign is that of the row of E.
        window: where E lies in the bank.
    """

    scale: Tensor
    window: Window

    def added_to(self, weight: Tensor) -> Tensor:
        """W + eps (out, in), a new tensor, summed in float32 at least and rounded once to the dtype of W."""
        rows = self.window.rows
        pairs = zip(weight.split(rows), self.scale.split(rows), self.window.blocks(weight), strict=True)
        parts = [torch.addcmul(block, scale, normal) for block, scale, normal in pairs]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(weight.dtype)

    def draw(self, like: Tensor) -> Tensor:
        """eps (out, in) alone, in float32 at least."""
        return self.added_to(torch.zeros_like(like, dtype=self.scale.dtype))


_fused = torch.compiler.disable(LoRALinear.fused)
"""A compiler leaves it alone: it would build the noise of every layer and step anew."""


class FlatLoRALinear(LoRALinear):
    """A `LoRALinear` that trains under noise: y = x (W + eps)ᵀ + b + s · (x Aᵀ) Bᵀ.

    `arm` turns a model's LoRA layers into this class and `disarm` turns them back; nothing else of them changes, so
    saving, merging and copying work as ever.
    """

    _gate: Gate
    _noise: LayerNoise | None

    @property
    def noisy(self) -> bool:
        """Whether a forward pass now would meet noise: only one that trains does."""
        gradients = torch.is_grad_enabled() or self._gate.gradients_on_entry
        return self._noise is not None and self.training and gradients and not self.merged

    def forward(self, x: Tensor) -> Tensor:
        """y (..., out) for x (..., in)."""
        if not self.noisy:
            return super().forward(x)
        return _fused(self, x, self._noise)


class Noise:
    """The noise of one training run; `arm` makes one.

    Call `begin_step(t)` before optimizer step t (its forward passes, one or several under accumulation, share the
    draw), `end_step()` after it, and `disarm()` at the end. It works as a context manager that disarms.
    """

    def __init__(self, model: nn.Module, rho: float, total_steps: int, seed: int) -> None:
        self.rho, self.total_steps, self.seed = rho, total_steps, seed
        gate = Gate()
        self._hook = model.register_forward_pre_hook(gate.note)
        self.layers: dict[str, FlatLoRALinear] = {}
        for name, layer in perturbed(model):
            layer.__class__ = FlatLoRALinear
            self.layers[name] = cast(FlatLoRALinear, layer)
        for noisy in self.layers.values():
            noisy._gate, noisy._noise = gate, None

    def sigma(self, step: int) -> float:
        """Rho · ½ (1 − cos(pi · t / T)): the noise's strength at optimizer step t of T."""
        return self.rho * cosine_ramp(step / self.total_steps)

    @torch.no_grad()
    def begin_step(self, step: int) -> None:
        """Give each layer its noise of optimizer step `step`, counted from 0.

        With sigma 0 there is none at all, so that rho = 0 is LoRA to the bit.
        """
        sigma = self.sigma(step)
        for name, layer in self.layers.items():
            if sigma == 0:
                layer._noise = None
                continue
            weight = layer.weight
            place = window(weight.shape, weight.device, stream_seed(self.seed, "noise", step, name))
            dtype = torch.promote_types(weight.dtype, torch.float32)
            norms = (weight.to(dtype) + layer.delta(dtype)).norm(dim=1, keepdim=True)  # (out, 1)
            layer._noise = LayerNoise(sigma / math.sqrt(layer.in_features) * place.signs * norms, place)

    def end_step(self) -> None:
        """Take the noise away until the next step begins."""
        for layer in self.layers.values():
            layer._noise = None

    def disarm(self) -> None:
        """Turn the layers back into what they were."""
        self._hook.remove()
        for layer in self.layers.values():
            del layer._gate, layer._noise
            layer.__class__ = LoRALinear  # type: ignore[assignment]
        self.layers = {}

    def __enter__(self) -> Noise:
        return self

    def __exit__(self, *error: object) -> None:
        self.disarm()


def perturbed(model: nn.Module) -> list[tuple[str, LoRALinear]]:
    """The adapted linear layers, with their names: those get noise; an adapted embedding gets none."""
    return [(name, layer) for name, layer in lora_layers(model) if isinstance(layer, LoRALinear)]


def arm(model: nn.Module, *, rho: float = 0.05, total_steps: int, seed: int = 0) -> Noise:
    """Make a model's LoRA layers ready to train under noise.

    Args:
        model: one that `add_lora` adapted.
        rho: the noise's strength at the end of training; 0 is LoRA. 0.05 is what the authors' own
            commands use.
        total_steps: optimizer steps of the whole run, T.
        seed: of the noise.

    Raises:
        Mistake: if there is no layer to perturb, the model is armed already, or a value is out of its range.

    Example:
        >>> with arm(model, rho=0.05, total_steps=len(batches)) as noise:
        ...     for step, batch in enumerate(batches):
        ...         noise.begin_step(step)
        ...         model(**batch).loss.backward()
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        ...         noise.end_step()
    """
    problems = []
    if not (rho >= 0 and math.isfinite(rho)):
        problems.append(f"rho is {rho}; it must be a number of at least 0")
    if total_steps < 1:
        problems.append(f"total_steps is {total_steps}; it must be the optimizer steps of the run")
    layers = [layer for _, layer in perturbed(model)]
    if not layers:
        problems.append("the model has no LoRA layers to perturb; add_lora(model, config) adds them")
    if any(isinstance(layer, FlatLoRALinear) for layer in layers):
        problems.append("the model is armed already; call disarm() on its noise first")
    if called := [name for name, layer in perturbed(model) if layer.calls_base]:
        problems.append(
            f"the base of {called[0]} has hooks (an offloaded weight, say) or is trained; noise goes to frozen weights"
            " that can be read, so take the hooks off, or freeze it"
        )
    if any(layer.merged for layer in layers):
        problems.append("the adapters are merged; call unmerge_lora(model) first")
    if problems:
        raise Mistake(*problems)
    return Noise(model, rho, total_steps, seed)
