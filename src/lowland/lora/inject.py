"""Adapters into a model and out of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream_seed
from lowland.lora.bases import Adaptable, Linear, is_quantised, keep_readable, shape_of
from lowland.lora.config import LoRAConfig
from lowland.lora.embedding import LoRAEmbedding
from lowland.lora.layer import LoRALayer, Origin
from lowland.lora.linear import LoRALinear
from lowland.lora.targets import check_config, check_layers, saved_names, target_names

COMPILED = "_orig_mod."
"""Prefix that `torch.compile` puts before the names of a model's modules."""


def add_lora(model: nn.Module, config: LoRAConfig | None = None, *, seed: int = 0) -> nn.Module:
    """Put an adapter around every layer that the config names, and freeze all else, in place.

    What trains afterwards: A and B of each layer, and the config's `modules_to_save`.

    Args:
        model: any module with `nn.Linear`, quantised linear, Hugging Face `Conv1D` or `nn.Embedding` layers, on any
            device.
        config: default `LoRAConfig()`.
        seed: A of a layer is a function of the seed and the layer's name, and the global generator stays as it is.

    Returns:
        The same model.

    Raises:
        Mistake: if nothing matches, a rank does not fit a layer, a pattern names nothing, a weight is tied to one
            that is not adapted, or the model has adapters already. The model is then left as it was.

    Example:
        >>> model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased")
        >>> add_lora(model, LoRAConfig(r=8, targets=["query", "value"], modules_to_save=("classifier",)))
    """
    config = config or LoRAConfig()
    check_bare(model)
    names = target_names(model, config)
    check_config(model, config, names)
    check_layers(model, config, names)
    return attach(model, config, names, seed)


def check_bare(model: nn.Module) -> None:
    """Raise `Mistake` if the model has adapters already."""
    if any(True for _ in lora_layers(model)):
        raise Mistake("the model has LoRA layers already; call remove_lora(model) first")


def attach(model: nn.Module, config: LoRAConfig, names: Sequence[str], seed: int) -> nn.Module:
    """Adapt the layers of these names, which `check_layers` has passed, in place."""
    saved = saved_names(model, config.modules_to_save)
    model.requires_grad_(False)
    for module in model.modules():
        keep_readable(module)
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
    """Take the adapters out again, in place: the base layers come back, bit for bit, and stay frozen.

    Raises:
        Mistake: if there are none, or they are merged (say which you want: `unmerge_lora` first, or
            `merge_lora(model, keep=False)`).
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
    """The adapted layers of a model, with their names."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALayer):
            yield name, module


@dataclass(frozen=True)
class ParameterCount:
    """How many parameters a model has; a tied one counts once."""

    trainable: int
    total: int

    @property
    def share(self) -> float:
        """Trainable parameters as a share of all, in [0, 1]."""
        return self.trainable / self.total if self.total else 0.0


def config_of(model: nn.Module) -> LoRAConfig:
    """Return the config that `add_lora` adapted the model by; its `modules_to_save` are full module names.

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
    """How many numbers each parameter holds; in few bits these are more than the bytes that they are packed in."""
    sizes = {one: one.numel() for one in model.parameters()}
    for module in model.modules():
        if isinstance(module, nn.Linear) and is_quantised(module):
            sizes[cast(nn.Parameter, module.weight)] = math.prod(shape_of(module))
    return sizes


def count_parameters(model: nn.Module) -> ParameterCount:
    """Count a model's parameters: `.trainable`, `.total`, `.share`."""
    sizes = parameter_sizes(model)
    return ParameterCount(
        trainable=sum(size for one, size in sizes.items() if one.requires_grad), total=sum(sizes.values())
    )
