"""Checks that a model can be armed. A layer that cannot get noise is an error, and never silently left out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.version import Version
from torch import nn
from torch.distributed.tensor import DTensor

from lowland.flat.bank import width_problem
from lowland.flat.config import FlatConfig, Weights
from lowland.flat.layers import PERTURBED_CLASSES, class_name
from lowland.flat.linear import base_of
from lowland.flat.perturbed import Perturbed
from lowland.flat.trained import is_unadapted, reason_without_noise_on_trained, trained_layers
from lowland.ground.mistakes import Mistake, one_of, plural
from lowland.lora.bases import adaptation_problem, forward_is_replaced, shape_of
from lowland.lora.peft_targets import shortest_endings
from lowland.lora.targets import matches_target

PEFT_TESTED = ("0.18", "0.22")
"""Tested versions of PEFT: from the first to before the second."""
SHOWN = 8
"""Number of ends of layers' names that an error lists."""
WITHOUT_NOISE = {
    "lowland.lora.embedding.LoRAEmbedding",
    "peft.tuners.lora.layer.Embedding",
    "peft.tuners.trainable_tokens.layer.TrainableTokensLayer",
}
"""Adapted layers that get no noise: embeddings, since the method perturbs linear layers."""
NO_ADAPTER = (
    "the model has no LoRA layers to perturb; adapt it first, with add_lora(model, config) or"
    " peft.get_peft_model(model, config); or train it in full, and set weights='trained'"
)


def layers_to_perturb(
    model: nn.Module, layers: str | Sequence[str] | None = None, weights: Weights = "adapted"
) -> dict[str, nn.Module]:
    """Return the linear layers that get noise, by name: adapted ones, or trained ones without an adapter.

    Args:
        model: model with adapters of lowland or PEFT, or trained in full.
        layers: names of layers, as in `FlatConfig`.
        weights: which weights get noise, as in `FlatConfig`.

    Raises:
        Mistake: if an entry of `layers` names no layer.
    """
    if weights == "trained":
        linear = trained_layers(model)
    else:
        adapted = _adapted(model)
        linear = {name: layer for name, layer in adapted.items() if _class_of(layer) not in WITHOUT_NOISE}
    if layers is None:
        return linear
    targets = (layers,) if isinstance(layers, str) else tuple(layers)
    endings = sorted({name.rsplit(".", 1)[-1] for name in linear})
    if unmatched := [
        target for target in targets if not any(matches_target(name, target) for name in linear)
    ]:
        raise Mistake(*(one_of("layer to perturb", target, endings) for target in unmatched))
    return {
        name: layer
        for name, layer in linear.items()
        if any(matches_target(name, target) for target in targets)
    }


def check_can_be_armed(model: nn.Module, config: FlatConfig, total_steps: int | None) -> None:
    """Check that a model can be armed. The model is not changed.

    Raises:
        Mistake: with one sentence for each problem.
    """
    problems = []
    if total_steps is not None and total_steps < 1:
        problems.append(f"total_steps is {total_steps}; it must be the number of optimizer steps of the run")
    layers = layers_to_perturb(model, config.layers, config.weights)
    problems += _problems_of_place(model, layers, config.weights)
    if any(isinstance(module, Perturbed) for module in model.modules()):
        raise Mistake(
            "the model is armed already: take one FlatLoRA callback, or call disarm() on the first noise"
        )
    if any(layer.merged for layer in layers.values() if hasattr(layer, "merged")):
        problems.append(
            "the adapters are merged; unmerge them first (unmerge_lora(model), model.unmerge_adapter())"
        )
    problems += _parallelism_problems(model)
    problems += _unsupported_problems(model, layers)
    for name, layer in layers.items():
        if _is_supported(layer) and (reason := reason_without_noise(model, name, layer)):
            problems.append(f"{name} cannot get noise: {reason}")
            break  # the other layers are usually alike: one sentence is enough
    if config.noise != "token":
        widths = (shape_of(base_of(layer))[1] for layer in layers.values() if _is_supported(layer))
        problems += dict.fromkeys(problem for width in widths if (problem := width_problem(width)))
    if problems:
        raise Mistake(*problems)
    if any(_class_of(layer).startswith("peft.") for layer in layers.values()):
        _warn_of_untested_peft()


def _unsupported_problems(model: nn.Module, layers: Mapping[str, nn.Module]) -> list[str]:
    """Return a sentence on the layers of classes without noise, such as convolutions, and how to leave them out."""
    unsupported = [name for name, layer in layers.items() if not _is_supported(layer)]
    if not unsupported:
        return []
    kinds = " and ".join(sorted({_class_of(layers[name]) for name in unsupported}))
    rest = [name for name in layers if name not in unsupported]
    which = unsupported[0]
    if further := len(unsupported) - 1:
        which += (
            f" and {plural(further, 'further layer')} (those that end with {_endings(model, unsupported)})"
        )
    them = "them" if further else "it"
    advice = "adapt linear layers with LoRA"
    if rest:
        advice = (
            f"leave {them} without noise with layers=[{_endings(model, rest)}], which names the others, or do not adapt"
            f" {them}"
        )
    return [f"{which} cannot get noise: noise on {kinds} is not supported; {advice}"]


def _endings(model: nn.Module, names: Sequence[str]) -> str:
    """Return the shortest ends of layers' names in quotes, as many as are shown."""
    endings = shortest_endings(model, names)
    endings = (endings,) if isinstance(endings, str) else endings
    return ", ".join(map(repr, endings[:SHOWN])) + (", …" if len(endings) > SHOWN else "")


def _adapted(model: nn.Module) -> dict[str, nn.Module]:
    """Return lowland's adapted layers, and all modules of PEFT's that wrap a base layer, by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if _class_of(layer) in PERTURBED_CLASSES or _class_of(layer) in WITHOUT_NOISE or _is_peft(layer)
    }


def _problems_of_place(model: nn.Module, layers: Mapping[str, nn.Module], weights: Weights) -> list[str]:
    """Return a sentence if a model has no layers for the noise, or has adapters and weights is "trained"."""
    if weights == "adapted":
        return [] if layers else [NO_ADAPTER]
    if adapted := next(iter(_adapted(model)), None):
        return [
            f"{adapted} is adapted, and weights='trained' perturbs the weights of a model without adapters"
        ]
    if not layers:
        return ["the model trains no linear layer but its output head; train it in full, or adapt it"]
    return []


def _is_supported(layer: nn.Module) -> bool:
    return _class_of(layer) in PERTURBED_CLASSES or is_unadapted(layer)


def _is_peft(layer: nn.Module) -> bool:
    return _class_of(layer).startswith("peft.tuners.") and hasattr(layer, "base_layer")


def _class_of(layer: nn.Module) -> str:
    """Return the full name of the layer's class without noise."""
    return class_name(layer.plain if isinstance(layer, Perturbed) else type(layer))


def reason_without_noise(model: nn.Module, name: str, layer: nn.Module) -> str | None:
    """Return the reason why a layer cannot get noise, or None."""
    if is_unadapted(layer):
        return reason_without_noise_on_trained(layer)
    if (name_of_class := _class_of(layer)) not in PERTURBED_CLASSES:
        return f"noise on {name_of_class} is not supported; name other layers with layers=[...]"
    base: Any = base_of(layer)
    weight = base.weight
    if hasattr(getattr(layer, "base_layer", None), "base_layer"):
        return "it is adapted twice; merge the first adapter, or use several adapters of one tuner"
    if hasattr(weight, "ds_id"):
        return "DeepSpeed ZeRO-3 holds its weight in parts; train with ZeRO-2, DDP or FSDP2"
    if hasattr(base, "_hf_hook") or hasattr(layer, "_hf_hook") or weight.is_meta:
        return "its weight is offloaded; load the whole model to one device"
    if forward_is_replaced(base) or forward_is_replaced(layer):
        return "its forward method was replaced, which the product with the perturbed weight would skip; restore it"
    if isinstance(weight, DTensor) and not _is_under_fsdp2(model, name):
        return "its weight is sharded for tensor parallelism; train with DDP or FSDP2"
    if base._forward_pre_hooks or base._forward_hooks or base._backward_hooks or base._backward_pre_hooks:
        return "its base layer has hooks, which the product with the perturbed weight would skip; remove them"
    if any(parameter.requires_grad for parameter in base.parameters(recurse=False)):
        return "its base layer is trained; noise acts on frozen weights, so freeze it"
    return adaptation_problem(base) or _why_not_variant(layer)


def _why_not_variant(layer: Any) -> str | None:
    """Return the reason why a variant of PEFT's LoRA is not supported, or None.

    DoRA is supported if it is the only active adapter; so is every start of plain LoRA.
    """
    names = (
        [name for name in getattr(layer, "lora_A", ()) if name in layer.active_adapters]
        if _is_peft(layer)
        else []
    )
    variants = [type(layer.lora_variant[name]).__name__ for name in names if name in layer.lora_variant]
    if unknown := [variant for variant in variants if variant != "DoraLinearVariant"]:
        return f"PEFT's {unknown[0]} is not supported; use plain LoRA or DoRA"
    if variants and len(names) > 1:
        return "DoRA with several active adapters is not supported; activate one"
    return None


def _parallelism_problems(model: nn.Module) -> list[str]:
    """Return a sentence if the model is distributed in a way that is not supported."""
    classes = {type(module).__name__ for module in model.modules()}
    if "FullyShardedDataParallel" in classes:
        return ["the model is sharded by FSDP1, whose flat parameters have no rows; use FSDP2 (fully_shard)"]
    if "DataParallel" in classes:
        return ["the model runs under nn.DataParallel, which copies the layers in each pass; use DDP"]
    return []


def _is_under_fsdp2(model: nn.Module, name: str) -> bool:
    """Return whether the layer called `name`, or a module that contains it, is sharded by FSDP2."""
    from torch.distributed.fsdp import FSDPModule

    parts = name.split(".")
    path = [model, *(model.get_submodule(".".join(parts[:i])) for i in range(1, len(parts) + 1))]
    return any(isinstance(module, FSDPModule) for module in path)


def _warn_of_untested_peft() -> None:
    import peft

    first, end = map(Version, PEFT_TESTED)
    if not first <= Version(peft.__version__) < end:
        warnings.warn(
            f"peft is {peft.__version__}; the noise was tested with versions from {first} to before {end}; layers of"
            " other versions may use their weights differently",
            stacklevel=5,  # the caller of `arm`
        )
