"""Adding adapters to a model, finding them, and removing them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from lowland.ground.asked import check_kind
from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed
from lowland.lora.bases import Adaptable, Linear, disable_repacking, is_quantised, shape_of, sharded_names
from lowland.lora.config import LoRAConfig
from lowland.lora.embedding import LoRAEmbedding
from lowland.lora.layer import LoRALayer, Origin
from lowland.lora.linear import LoRALinear
from lowland.lora.targets import check_config, check_layers, saved_names, target_names

COMPILED = "_orig_mod."
"""Prefix that `torch.compile` puts before the names of a model's modules."""


def add_lora(model: nn.Module, config: LoRAConfig | None = None, *, seed: int = 0) -> nn.Module:
    """Add an adapter to every layer that the config targets and freeze all other parameters, in place.

    Only A and B of each adapted layer and the config's `modules_to_save` are trainable afterwards.

    Args:
        model: any module with `nn.Linear`, quantised linear, Hugging Face `Conv1D` or `nn.Embedding` layers, on any
            device.
        config: how to adapt the model; default: `LoRAConfig()`.
        seed: seed of the initial values. Those of a layer depend only on the seed and the layer's name, and the
            global generator is not used.

    Returns:
        The same model.

    Raises:
        Mistake: if a target, a pattern or a module to save matches nothing, a rank exceeds the size of a layer, a layer
            cannot be adapted or a module not be trained (its weight cannot be read, or it is more than its weight), a
            weight is shared with a layer that is not adapted, or the model has adapters already. The model is then left
            unchanged.

    Examples:
        >>> model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased")
        >>> add_lora(model, LoRAConfig(r=8, targets=["query", "value"], modules_to_save=("classifier",)))
    """
    if config is not None:
        check_kind(config, LoRAConfig, "add_lora(model, {})")
    config = config or LoRAConfig()
    check_can_be_adapted(model)
    names = target_names(model, config)
    check_config(model, config, names)
    check_layers(model, config, names)
    return attach(model, config, names, seed)


def check_can_be_adapted(model: nn.Module) -> None:
    """Check that a model has no adapters yet, and is not sharded.

    Raises:
        Mistake: otherwise. The adapters of a sharded model would be outside its shards, and differ between processes.
    """
    if any(True for _ in lora_layers(model)):
        raise Mistake("the model has LoRA layers already; call remove_lora(model) first")
    if sharded := sharded_names(model):
        raise Mistake(
            f"the model is sharded ({sharded[0]}); adapt it first, and call fully_shard(model) afterwards"
        )


def attach(model: nn.Module, config: LoRAConfig, names: Sequence[str], seed: int) -> nn.Module:
    """Adapt the layers of these names, in place; `check_layers` must have accepted them.

    Args:
        model: the model.
        config: how to adapt it.
        names: names of the layers to adapt.
        seed: seed of the initial values.

    Returns:
        The same model.
    """
    saved = saved_names(model, config.modules_to_save)
    model.requires_grad_(False)
    for module in model.modules():
        disable_repacking(module)
    config = config.replace(modules_to_save=saved)
    for name in names:
        base = cast(Adaptable, model.get_submodule(name))
        layer = _adapted_layer(base, Origin(config, name), stream_seed(seed, "adapter", name))
        model.set_submodule(name, layer.train(base.training))
    for name in saved:
        model.get_submodule(name).requires_grad_(True)
    return model


def _adapted_layer(base: Adaptable, origin: Origin, seed: int) -> LoRALayer:
    """Return a new adapted layer around `base`; its initial values depend on the seed alone."""
    config = origin.config
    r, alpha = config.rank_of(origin.name), config.alpha_of(origin.name)
    weight = cast(torch.Tensor, base.weight)
    generator = torch.Generator("cpu" if weight.is_meta else weight.device).manual_seed(seed)
    if isinstance(base, nn.Embedding):
        return LoRAEmbedding(base, r, alpha, config.rslora, generator, origin)
    return LoRALinear(cast(Linear, base), r, alpha, config.dropout, config.rslora, generator, origin)


def remove_lora(model: nn.Module) -> nn.Module:
    """Remove the adapters, in place. The base layers take their places again, unchanged, and stay frozen.

    Returns:
        The same model.

    Raises:
        Mistake: if there are none, or they are merged. Call `unmerge_lora` first; after it `remove_lora` drops the
            adapters with their update, and `merge_lora(model, keep=False)` keeps the update in the weights.
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise Mistake("the model has no LoRA layers to remove; add_lora(model, config) adds them")
    if any(layer.merged for layer in layers.values()):
        raise Mistake("the adapters are merged; call unmerge_lora(model) before remove_lora(model)")
    for name, layer in layers.items():
        model.set_submodule(name, layer.base)
    return model


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALayer]]:
    """Yield the name and the layer of every adapted layer in a model."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALayer):
            yield name, module


@dataclass(frozen=True)
class ParameterCount:
    """Number of parameters of a model. A tied parameter counts once.

    Attributes:
        trainable: number of trainable parameters.
        total: number of all parameters.
    """

    trainable: int
    total: int

    @property
    def share(self) -> float:
        """Fraction of the parameters that is trainable, in [0, 1]."""
        return self.trainable / self.total if self.total else 0.0


def config_of(model: nn.Module) -> LoRAConfig:
    """Return the config with which `add_lora` adapted the model; its `modules_to_save` are full module names.

    Raises:
        Mistake: if the model has no layer that `add_lora` adapted, or if it is only a part of the adapted model or
            contains it.
    """
    name, layer = next(lora_layers(model), ("", None))
    if layer is None or layer.origin is None:
        raise Mistake("the model has no LoRA layers with a config; add_lora(model, config) adds them")
    if name.removeprefix(COMPILED) != layer.origin.name.removeprefix(COMPILED):
        raise Mistake(
            f"add_lora adapted {layer.origin.name}, which is {name} in this {type(model).__name__}; pass the model"
            " that was passed to add_lora"
        )
    return layer.origin.config


def parameter_sizes(model: nn.Module) -> dict[nn.Parameter, int]:
    """Return how many numbers each parameter holds.

    A quantised weight holds more numbers than its tensor has elements, if several are packed into one byte.
    """
    sizes = {parameter: parameter.numel() for parameter in model.parameters()}
    for module in model.modules():
        if isinstance(module, nn.Linear) and is_quantised(module):
            sizes[cast(nn.Parameter, module.weight)] = math.prod(shape_of(module))
    return sizes


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count a model's parameters: `trainable`, `total` and `share` of the result."""
    sizes = parameter_sizes(model)
    trainable = sum(size for parameter, size in sizes.items() if parameter.requires_grad)
    return ParameterCount(trainable=trainable, total=sum(sizes.values()))
