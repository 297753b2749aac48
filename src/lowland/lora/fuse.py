"""Fuse: lowland's arithmetic on PEFT's LoRA layers, which saves time and memory, and changes nothing else.

PEFT's layer computes x Wᵀ + b, and then the branch in five further operations; for the backward pass it keeps x in two
data types, the branch's input after dropout, and its output. Here the layer is one autograd function
(`lowland.lora.fused`), which keeps x and x Aᵀ.

The layers' class is changed, and nothing is replaced: files, pickles, names, merging, and switching adapters work as
before. Passes that the function does not cover go PEFT's way: merged or disabled adapters, batches that mix adapters,
DoRA and other variants, adapters with a bias, hooks inside the layer, and torch.compile, which fuses by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lowland.ground.mistakes import Mistake
from lowland.lora.bases import gathered
from lowland.lora.fused import adapted_product
from lowland.lora.swapped import Swapped

FUSIBLE = ("peft.tuners.lora.layer.Linear",)
"""Full names of PEFT's classes whose layers can be fused."""


class FusedPEFTLoRA(Swapped):
    """PEFT's LoRA layer, computed by one autograd function."""

    active_adapters: list[str]
    disable_adapters: bool
    merged: bool
    lora_A: Any
    lora_B: Any
    lora_dropout: Any
    scaling: Mapping[str, float]
    lora_variant: Mapping[str, Any]
    get_base_layer: Any

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """Return y (..., out) for x (..., in)."""
        y: Tensor
        name = None if args or options else self._fusible()
        if name is None:
            y = super().forward(x, *args, **options)
            return y
        dropout = self.lora_dropout[name]
        p = dropout.p if self.training and isinstance(dropout, nn.Dropout) else 0.0
        factors = gathered(self.lora_A[name].weight), gathered(self.lora_B[name].weight)
        return adapted_product(x, self.get_base_layer(), *factors, self.scaling[name], p)

    def _fusible(self) -> str | None:
        """Return the active adapter if this pass can be fused, else None."""
        if self.disable_adapters or self.merged or torch.compiler.is_compiling():
            return None
        active = [name for name in self.active_adapters if name in self.lora_A]
        if len(active) != 1 or active[0] in self.lora_variant:
            return None
        (name,) = active
        base, a, b = self.get_base_layer(), self.lora_A[name], self.lora_B[name]
        plain = (
            type(base) in (nn.Linear, Conv1D)
            and b.bias is None
            and isinstance(self.lora_dropout[name], nn.Identity | nn.Dropout)
            and not any(value.requires_grad for value in base.parameters())
            and not any(part._forward_hooks or part._forward_pre_hooks for part in (base, a, b))
        )
        return name if plain else None


class Fusion:
    """A fused model; a context manager that unfuses it at the end.

    Attributes:
        layers: number of fused layers.
    """

    def __init__(self, model: nn.Module, layers: int) -> None:
        self._model, self.layers = model, layers

    def unfuse(self) -> None:
        """Let all layers compute as PEFT's again."""
        unfuse(self._model)

    def __repr__(self) -> str:
        return f"Fusion(layers={self.layers})"

    def __enter__(self) -> Fusion:
        return self

    def __exit__(self, *error: object) -> None:
        self.unfuse()


def fuse(model: nn.Module) -> Fusion:
    """Let the LoRA layers of a PEFT model compute by one autograd function, in place.

    Outputs and gradients are PEFT's up to rounding. With adapters in float32 on a base in 16 bits, PEFT computes the
    branch in float32; a fused layer computes it in 16 bits, as PEFT does with `autocast_adapter_dtype=False`. The masks
    of a dropout have the same distribution, but other draws.

    Args:
        model: model that PEFT has adapted by LoRA; layers that are fused already stay so.

    Raises:
        Mistake: if no layer can be fused.

    Examples:
        >>> model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM"))
        >>> lowland.fuse(model)  # train as usual, in any loop or Trainer
    """
    if not isinstance(model, nn.Module):
        raise Mistake(f"fuse takes a model of PEFT, and was given {type(model).__name__}")
    layers = [module for module in model.modules() if _is_fusible(module)]
    if not layers:
        raise Mistake(
            f"{type(model).__name__} has no linear layer of PEFT's LoRA to fuse; give a model of get_peft_model with a"
            " LoraConfig (layers of lowland's add_lora compute like this already)"
        )
    for layer in layers:
        if not isinstance(layer, Swapped):  # fused already, or under noise, which is fused, too
            FusedPEFTLoRA.swap(layer)
    return Fusion(model, len(layers))


def unfuse(model: nn.Module) -> nn.Module:
    """Let the layers of a fused model compute as PEFT's again, in place; return the model."""
    for module in model.modules():
        if isinstance(module, FusedPEFTLoRA):
            module.take_out(FusedPEFTLoRA)
    return model


def _is_fusible(module: nn.Module) -> bool:
    """Return whether a layer is of a class in `FUSIBLE`, swapped or not."""
    return f"{type(module).__module__}.{type(module).__qualname__}" in FUSIBLE
