"""Adapters folded into the weight, and the weight brought back bit for bit."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lowland.ground.mistakes import Mistake
from lowland.lora.bases import is_quantised, weight_of
from lowland.lora.inject import LoRALayer, lora_layers
from lowland.lora.linear import LoRALinear

PRECISIONS = (torch.float32, torch.float64)


def merge_lora(
    model: nn.Module,
    *,
    keep: bool = True,
    dtype: torch.dtype | None = None,
    precision: torch.dtype = torch.float32,
) -> nn.Module:
    """Fold every adapter into its layer: W' = W + s·BA, summed in `precision` and rounded once, in place.

    W itself is not written: the layer gets a new weight, and keeps the old one aside. A quantised base gives its
    place to a plain layer that holds the merged, dequantised weight; with a `dtype` quantised layers that have no
    adapter do so, too.

    Args:
        model: with adapters.
        keep: keep the adapters and W, so that `unmerge_lora` can go back. With False plain layers with W' stay,
            fit for `save_pretrained`.
        dtype: what W' is rounded to, and all other parameters with it; default: each W's own. Only with keep=False.
        precision: of the sum, float32 or float64; never less than that of W.

    Raises:
        Mistake: if the model has no adapters, they are merged already, or an argument is out of its range. The model
            is then left as it was.
    """
    layers = _adapters(model, merged=False)
    if precision not in PRECISIONS:
        raise Mistake(f"precision is {precision}; it must be torch.float32 or torch.float64")
    if keep and dtype is not None:
        raise Mistake(f"dtype is {dtype}, which keep=True has no room for; call merge_lora with keep=False")
    for name, layer in layers.items():
        _put(layer, _merged_weight(layer, dtype, precision))
        if not keep:
            model.set_submodule(name, layer.base)
    if not keep:
        del model.lora_config
        if dtype is not None:
            _cast(model, dtype)
    return model


def unmerge_lora(model: nn.Module) -> nn.Module:
    """Put the original weights back, bit for bit; the adapters work beside them again, in place.

    Raises:
        Mistake: if the model has no adapters, or they are not merged.
    """
    for layer in _adapters(model, merged=True).values():
        assert layer._before_merge is not None
        (before,) = layer._before_merge
        if isinstance(before, nn.Module):
            layer.base = cast(nn.Linear, before)
        else:
            layer.base.weight = before
        layer._before_merge = None
    return model


@torch.no_grad()
def _merged_weight(layer: LoRALayer, dtype: torch.dtype | None, precision: torch.dtype) -> torch.Tensor:
    """W' as the base holds it: (out, in), of a Conv1D (in, out)."""
    weight = layer.weight
    wide = torch.promote_types(weight.dtype, precision)
    total = (weight.to(wide) + layer.delta(wide)).to(dtype or weight.dtype)
    return total.T.contiguous() if layer.transposed else total


def _put(layer: LoRALayer, merged: torch.Tensor) -> None:
    """Have a layer hold a merged weight, with what it held before kept aside."""
    base = layer.base
    weight = nn.Parameter(merged, requires_grad=False)
    if isinstance(layer, LoRALinear) and is_quantised(base):  # it cannot hold W'
        layer._before_merge = (base,)
        layer.base = _plain(cast(nn.Linear, base), weight)
    else:
        layer._before_merge = (cast(nn.Parameter, base.weight),)
        base.weight = weight


def _plain(base: nn.Linear, weight: torch.Tensor) -> nn.Linear:
    """The plain layer that a quantised one was, with a weight (out, in): a Conv1D, where it was made of one."""
    was_conv1d = getattr(base, "source_cls", None) is Conv1D
    with torch.device("meta"):
        sizes = base.in_features, base.out_features
        plain: Any = Conv1D(*reversed(sizes)) if was_conv1d else nn.Linear(*sizes)
    held = weight.T.contiguous() if was_conv1d else weight
    plain.weight, plain.bias = nn.Parameter(held, requires_grad=False), base.bias
    return cast(nn.Linear, plain.train(base.training))


def _cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Round all parameters once. Buffers (rotary frequencies, say) stay: models keep them wide on purpose."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and is_quantised(layer):
            model.set_submodule(name, _plain(layer, weight_of(layer)))
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def _adapters(model: nn.Module, *, merged: bool) -> dict[str, LoRALayer]:
    layers = dict(lora_layers(model))
    if not layers:
        raise Mistake("the model has no LoRA layers; add_lora(model, config) adds them")
    if any(layer.merged is not merged for layer in layers.values()):
        state, call = ("not merged", "merge_lora") if merged else ("merged already", "unmerge_lora")
        raise Mistake(f"the adapters are {state}; call {call}(model) first")
    return layers
