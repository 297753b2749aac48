"""Parameters of a model by kind of module, and the memory of AdamW's states for those that are trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from peft import PeftModel
from torch import nn

from lowland.lora.inject import parameter_sizes
from lowland.lora.layer import LoRALayer
from lowland.lora.targets import find_head, is_under

KINDS = ("embeddings", "attention", "MLP", "norms", "head", "adapter", "other")
"""Kinds of modules, in the order of reports."""
ATTENTION = ("attn", "attention")
"""Parts of the names of attention modules."""
STEP_BYTES = 4
"""Bytes of AdamW's count of steps, which it keeps for each parameter."""


def kinds_of_parameters(model: nn.Module) -> dict[str, str]:
    """Return the kind of module that each parameter belongs to, by the parameter's name.

    The adapter's are A and B, or what another tuner of PEFT adds. Attention is known by its name, norms by their class;
    the MLP is what else is linear inside a numbered block. A tied parameter counts once.
    """
    plain: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    prefix = getattr(model.base_model, "prefix", None) if isinstance(model, PeftModel) else None
    head = find_head(plain)
    modules = dict(model.named_modules())
    kinds = {}
    for name, _ in model.named_parameters():
        owner, _, own = name.rpartition(".")
        short = name.removeprefix("base_model.model.")
        layer = modules[owner]
        if (isinstance(layer, LoRALayer) and own in ("lora_A", "lora_B")) or (
            prefix and f".{prefix}" in name
        ):
            kinds[name] = "adapter"
        elif ".original_module." in name:
            continue  # PEFT's copy of a module that it has replaced
        elif is_under(short, head):
            kinds[name] = "head"
        else:
            kinds[name] = _kind_in_backbone(owner, layer)
    return kinds


def _kind_in_backbone(owner: str, layer: nn.Module) -> str:
    """Return the kind of a module of the backbone, by its name and class."""
    parts = owner.lower().split(".")
    if "norm" in type(layer).__name__.lower():
        return "norms"
    if isinstance(layer, nn.Embedding) or any("embed" in part for part in parts):
        return "embeddings"
    if any(word in part for part in parts for word in ATTENTION):
        return "attention"
    return "MLP" if any(part.isdigit() for part in parts) else "other"


def count_by_kind(model: nn.Module, trained: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the numbers of all and of trained parameters of each kind of module.

    Args:
        model: the model.
        trained: names of the trained parameters.
    """
    kinds, names = kinds_of_parameters(model), set(trained)
    sizes = parameter_sizes(model)
    counts = {kind: {"total": 0, "trained": 0} for kind in KINDS if kind in kinds.values()}
    for name, parameter in model.named_parameters():
        if name in kinds:
            counts[kinds[name]]["total"] += sizes[parameter]
            counts[kinds[name]]["trained"] += sizes[parameter] if name in names else 0
    return counts


def adamw_bytes(parameters: Iterable[nn.Parameter]) -> int:
    """Return the bytes of AdamW's states: two moments in each parameter's data type, and a count of steps."""
    return sum(2 * parameter.numel() * parameter.itemsize + STEP_BYTES for parameter in parameters)
