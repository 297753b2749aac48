"""Merging of a model's adapters into its weights, and back."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from lowland.ground.mistakes import Mistake
from lowland.lora.bases import is_quantised, plain_layer, sharded_names, weight_of
from lowland.lora.inject import lora_layers
from lowland.lora.layer import LoRALayer


def merge_lora(
    model: nn.Module,
    *,
    keep: bool = True,
    dtype: torch.dtype | None = None,
    precision: torch.dtype = torch.float32,
) -> nn.Module:
    """Merge every adapter into its layer, in place: W' = W + s·BA, summed in `precision` and rounded once.

    W itself is not overwritten: each layer gets a new weight and keeps the old one. A quantised base is replaced by a
    plain layer that holds the merged, dequantised weight. With a `dtype`, quantised layers without an adapter are
    replaced by dequantised ones, too.

    Args:
        model: a model with adapters.
        keep: whether to keep the adapters and W, so that `unmerge_lora` can restore them. With False, plain layers
            with W' remain, and the model can be saved with `save_pretrained`.
        dtype: data type that W' and all other parameters are rounded to; default: each parameter keeps its own. It
            needs keep=False.
        precision: data type of the sum: float32 or float64. If the data type of W is wider, that is used.

    Returns:
        The same model.

    Raises:
        Mistake: if the model has no adapters, if they are merged already, or if an argument is not allowed. The model
            is then left unchanged.
    """
    layers = _adapted_layers(model, merged=False)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise Mistake(f"dtype is {dtype!r}; it must be a data type of torch, such as torch.bfloat16")
    if keep and dtype is not None:
        raise Mistake(f"dtype is {dtype}, but keep=True keeps each dtype; call merge_lora with keep=False")
    for name, layer in layers.items():
        layer.merge(precision=precision, dtype=dtype)
        if not keep:
            model.set_submodule(name, layer.base)
    if not keep:
        _untie(model)
    if dtype is not None:
        _cast_parameters(model, dtype)
    return model


def unmerge_lora(model: nn.Module) -> nn.Module:
    """Restore the original weights bit for bit, in place; the adapters are computed beside them again.

    Returns:
        The same model.

    Raises:
        Mistake: if the model has no adapters, or they are not merged.
    """
    for layer in _adapted_layers(model, merged=True).values():
        layer.unmerge()
    return model


def _untie(model: nn.Module) -> None:
    """Have a Hugging Face model's config say that its embeddings are not tied, if a merge has given one its own weight.

    Otherwise `save_pretrained` and `from_pretrained` would tie them again.
    """
    if not isinstance(model, PreTrainedModel) or not getattr(model.config, "tie_word_embeddings", False):
        return
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    weights = [getattr(layer, "weight", None) for layer in layers]
    if None not in weights and weights[0] is not weights[1]:
        model.config.tie_word_embeddings = False


def _cast_parameters(model: nn.Module, dtype: torch.dtype) -> None:
    """Round all parameters once. Buffers are left alone: models keep some in a wide dtype (rotary frequencies)."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and is_quantised(layer):
            model.set_submodule(name, plain_layer(layer, weight_of(layer)))
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def _adapted_layers(model: nn.Module, *, merged: bool) -> dict[str, LoRALayer]:
    """Return the model's adapted layers by name; raise `Mistake` unless all of them are merged, or none is.

    A sharded model is refused: its forward pass gathers the shards that `fully_shard` made, and no new weight.
    """
    if sharded := sharded_names(model):
        raise Mistake(
            f"the model is sharded ({sharded[0]}); call save_adapter(model, folder) in every process, and merge the"
            " adapter into a model that is not sharded"
        )
    layers = dict(lora_layers(model))
    if not layers:
        raise Mistake("the model has no LoRA layers; add_lora(model, config) adds them")
    if any(layer.merged is not merged for layer in layers.values()):
        state, call = ("not merged", "merge_lora") if merged else ("merged already", "unmerge_lora")
        raise Mistake(f"the adapters are {state}; call {call}(model) first")
    return layers
