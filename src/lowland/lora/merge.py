"""Adapters folded into the weight, and the weight brought back bit for bit."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from lowland.lora.inject import lora_layers
from lowland.lora.linear import LoRALinear
from lowland.mistakes import Mistake


def merge_lora(model: nn.Module, *, keep: bool = True) -> nn.Module:
    """Fold every adapter into its layer: W' = W + s·BA, summed in float32 at least and rounded once, in place.

    W itself is not written: the layer gets a new weight, and keeps the old one aside.

    Args:
        model: with adapters.
        keep: keep the adapters and W, so that `unmerge_lora` can go back. With False plain layers with W' stay,
            fit for `save_pretrained`.

    Raises:
        Mistake: if the model has no adapters, or they are merged already.
    """
    layers = _adapters(model, merged=False)
    for name, layer in layers.items():
        merged = _merged_weight(layer)
        layer._before_merge = (cast(nn.Parameter, layer.base.weight),)
        layer.base.weight = nn.Parameter(merged, requires_grad=False)
        if not keep:
            model.set_submodule(name, layer.base)
    if not keep:
        del model.lora_config
    return model


def unmerge_lora(model: nn.Module) -> nn.Module:
    """Put the original weights back, bit for bit; the adapters work beside them again, in place.

    Raises:
        Mistake: if the model has no adapters, or they are not merged.
    """
    for layer in _adapters(model, merged=True).values():
        assert layer._before_merge is not None
        (layer.base.weight,) = layer._before_merge
        layer._before_merge = None
    return model


@torch.no_grad()
def _merged_weight(layer: LoRALinear) -> torch.Tensor:
    weight = layer.base.weight
    dtype = torch.promote_types(weight.dtype, torch.float32)
    delta = layer.delta(dtype)
    total = weight.to(dtype) + (delta.T if layer.transposed else delta)
    return total.to(weight.dtype)


def _adapters(model: nn.Module, *, merged: bool) -> dict[str, LoRALinear]:
    layers = dict(lora_layers(model))
    if not layers:
        raise Mistake("the model has no LoRA layers; add_lora(model, config) adds them")
    if any(layer.merged is not merged for layer in layers.values()):
        state, call = ("not merged", "merge_lora") if merged else ("merged already", "unmerge_lora")
        raise Mistake(f"the adapters are {state}; call {call}(model) first")
    return layers
