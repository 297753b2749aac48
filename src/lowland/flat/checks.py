"""What can be armed, and why something cannot: noise is never left out in silence."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from packaging.version import Version
from torch import nn
from torch.distributed.tensor import DTensor

from lowland.flat.config import FlatConfig
from lowland.flat.layers import KINDS, base_of, kind_of
from lowland.flat.perturbed import Perturbed
from lowland.ground.mistakes import Mistake, one_of
from lowland.lora.bases import why_not
from lowland.lora.targets import is_meant

PEFT_TESTED = ("0.18", "0.22")
"""From, and before: the versions of PEFT whose layers are known to do what is assumed here."""
WITHOUT_NOISE = {
    "lowland.lora.embedding.LoRAEmbedding",
    "peft.tuners.lora.layer.Embedding",
    "peft.tuners.trainable_tokens.layer.TrainableTokensLayer",
}
"""Adapted embeddings: the method perturbs linear layers."""


def perturbed(model: nn.Module, layers: str | Sequence[str] | None = None) -> dict[str, nn.Module]:
    """The adapted linear layers that get noise, by name.

    Args:
        model: with adapters of ours, or of PEFT's.
        layers: as in `FlatConfig`.

    Raises:
        Mistake: if an entry of `layers` names nothing.
    """
    found = {name: layer for name, layer in _adapted(model).items() if _kind(layer) not in WITHOUT_NOISE}
    if layers is None:
        return found
    wanted = (layers,) if isinstance(layers, str) else tuple(layers)
    endings = sorted({name.rsplit(".", 1)[-1] for name in found})
    if missed := [one for one in wanted if not any(is_meant(name, one) for name in found)]:
        raise Mistake(*(one_of("layer to perturb", one, endings) for one in missed))
    return {name: layer for name, layer in found.items() if any(is_meant(name, one) for one in wanted)}


def check(model: nn.Module, config: FlatConfig, total_steps: int | None) -> None:
    """See that a model can be armed; nothing is changed.

    Raises:
        Mistake: naming all that speaks against it.
    """
    problems = []
    if total_steps is not None and total_steps < 1:
        problems.append(f"total_steps is {total_steps}; it must be the optimizer steps of the run")
    layers = perturbed(model, config.layers)
    if not layers:
        problems.append(
            "the model has no LoRA layers to perturb; adapt it first, with add_lora(model, config) or"
            " peft.get_peft_model(model, config)"
        )
    if any(isinstance(one, Perturbed) for one in model.modules()):
        raise Mistake(
            "the model is armed already: take one FlatLoRA callback, or call disarm() on the first noise"
        )
    if any(layer.merged for layer in layers.values() if hasattr(layer, "merged")):
        problems.append(
            "the adapters are merged; unmerge them first (unmerge_lora(model), model.unmerge_adapter())"
        )
    problems += _of_processes(model)
    for name, layer in layers.items():
        if reason := _why_not(model, name, layer):
            problems.append(f"{name} cannot get noise: {reason}")
            break  # one is enough: the others are like it
    if problems:
        raise Mistake(*problems)
    if any(_kind(layer).startswith("peft.") for layer in layers.values()):
        _check_peft()


def _adapted(model: nn.Module) -> dict[str, nn.Module]:
    """Our layers, and PEFT's: whatever wraps a layer of the base model."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if _kind(layer) in KINDS or _kind(layer) in WITHOUT_NOISE or _is_peft(layer)
    }


def _is_peft(layer: nn.Module) -> bool:
    return _kind(layer).startswith("peft.tuners.") and hasattr(layer, "base_layer")


def _kind(layer: nn.Module) -> str:
    return kind_of(layer.plain if isinstance(layer, Perturbed) else type(layer))


def _why_not(model: nn.Module, name: str, layer: nn.Module) -> str | None:
    """Why a layer cannot be armed, or None."""
    if (kind := _kind(layer)) not in KINDS:
        return f"layers of the kind {kind} are not known here; name others with layers=..., or take LoRA"
    base: Any = base_of(layer)
    weight = base.weight
    if hasattr(getattr(layer, "base_layer", None), "base_layer"):
        return "it is adapted twice; merge the first adapter, or take several adapters of one tuner"
    if hasattr(weight, "ds_id"):
        return "DeepSpeed ZeRO-3 holds its weight in parts; train with ZeRO-2, DDP or FSDP2"
    if hasattr(base, "_hf_hook") or hasattr(layer, "_hf_hook") or weight.is_meta:
        return "its weight is offloaded; load the whole model to one device"
    if isinstance(weight, DTensor) and not _is_under_fsdp2(model, name):
        return "its weight is cut for tensor parallelism; train with DDP or FSDP2"
    if base._forward_pre_hooks or base._forward_hooks or base._backward_hooks or base._backward_pre_hooks:
        return "its base has hooks; noise goes to a weight that can be read, so take the hooks off"
    if any(one.requires_grad for one in base.parameters(recurse=False)):
        return "its base is trained; noise goes to frozen weights, so freeze it"
    return why_not(base) or _variant(layer)


def _variant(layer: Any) -> str | None:
    """Why a kind of PEFT's LoRA is not known here, or None: DoRA is, alone; so is all that is plain in training."""
    names = (
        [name for name in getattr(layer, "lora_A", ()) if name in layer.active_adapters]
        if _is_peft(layer)
        else []
    )
    variants = {n: type(layer.lora_variant[n]).__name__ for n in names if n in layer.lora_variant}
    if unknown := [one for one in variants.values() if one != "DoraLinearVariant"]:
        return f"PEFT's {unknown[0]} is not known here; take plain LoRA or DoRA"
    if variants and len(names) > 1:
        return "DoRA with several active adapters is not known here; activate one"
    return None


def _of_processes(model: nn.Module) -> list[str]:
    """What of the model's distribution is not supported."""
    kinds = {type(one).__name__ for one in model.modules()}
    if "FullyShardedDataParallel" in kinds:
        return ["the model is sharded by FSDP1, whose flat parameters have no rows; use FSDP2 (fully_shard)"]
    if "DataParallel" in kinds:
        return ["the model runs under nn.DataParallel, which copies layers at each pass; use DDP"]
    return []


def _is_under_fsdp2(model: nn.Module, name: str) -> bool:
    from torch.distributed.fsdp import FSDPModule

    parts = name.split(".")
    above = [model, *(model.get_submodule(".".join(parts[:i])) for i in range(1, len(parts) + 1))]
    return any(isinstance(one, FSDPModule) for one in above)


def _check_peft() -> None:
    import peft

    first, end = map(Version, PEFT_TESTED)
    if not first <= Version(peft.__version__) < end:
        warnings.warn(
            f"peft is {peft.__version__}; the noise was tested with versions from {first} to before {end}, and a layer"
            " of another may do something else with its weight",
            stacklevel=4,
        )
