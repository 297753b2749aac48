"""The layers that PEFT's `target_modules` and patterns select, by PEFT's rules."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from lowland.lora.config import ALL_LINEAR, LoRAConfig, pattern_matches
from lowland.lora.targets import adaptable_layers, is_under, saved_names, target_names


def exact_targets(model: nn.Module, names: Sequence[str]) -> tuple[str, ...] | str:
    """Return targets that select these layers only: their names, or one regular expression.

    PEFT also selects a layer if its name ends with a target. So names are not enough if the name of one layer is
    the end of another's.
    """
    endings = tuple(f".{name}" for name in names)
    if any(name.endswith(endings) for name, _ in model.named_modules()):
        return "|".join(re.escape(name) for name in names)
    return tuple(names)


def shortest_endings(model: nn.Module, names: Sequence[str]) -> tuple[str, ...] | str:
    """Return the shortest ends of these layers' names that select no other module: query and value, for instance.

    They say more to a reader than all names. Where a name is the end of another's, see `exact_targets`.
    """
    chosen, every = set(names), [name for name, _ in model.named_modules()]
    endings: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            ending = ".".join(parts[-length:])
            if ending in endings or all(other in chosen for other in every if _matches(other, [ending])):
                endings[ending] = None
                break
        else:
            return exact_targets(model, names)
    return tuple(endings)


def selected_names(model: nn.Module, peft_config: Mapping[str, Any], entries: Sequence[str]) -> list[str]:
    """Return the names of the layers that PEFT would adapt.

    Args:
        model: the base model.
        peft_config: content of the config file.
        entries: the entries of `modules_to_save` that match a module of the model.
    """
    targets = peft_config["target_modules"]
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        return target_names(model, LoRAConfig(modules_to_save=tuple(entries)))
    saved = saved_names(model, entries)
    return [
        name
        for name in adaptable_layers(model)
        if not is_under(name, saved) and is_selected(name, peft_config)
    ]


def is_selected(name: str, peft_config: Mapping[str, Any]) -> bool:
    """Return whether PEFT would adapt the layer with this name.

    Args:
        name: name of the layer.
        peft_config: content of the config file.
    """
    targets, excluded = peft_config["target_modules"], peft_config.get("exclude_modules")
    if (excluded and _matches(name, excluded)) or not _matches(name, targets):
        return False
    numbers = peft_config.get("layers_to_transform")
    if isinstance(targets, str) or name in targets or numbers in (None, []):
        return True
    return _layer_number(name, peft_config.get("layers_pattern")) in (
        [numbers] if isinstance(numbers, int) else numbers
    )


def _matches(name: str, targets: str | Collection[str]) -> bool:
    """Return whether a layer's name matches a regular expression, or is or ends with one of several names."""
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return name in targets or name.endswith(tuple(f".{target}" for target in targets))


def _layer_number(name: str, patterns: str | Sequence[str] | None) -> int | None:
    """Return the number in a module's name, such as 3 in `encoder.layer.3.query`, or None.

    Args:
        name: name of the module.
        patterns: PEFT's `layers_pattern`: patterns for the name before the number; default: any name.
    """
    patterns = [patterns] if isinstance(patterns, str) else patterns
    rules = [rf"(?:^|.*?\.){pattern}\.(\d+)\." for pattern in patterns or ()] or [r".*?\.[^.]*\.(\d+)\."]
    first = next((match for rule in rules if (match := re.match(rule, name))), None)
    return int(first.group(1)) if first else None


def matching_entries(patterns: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the patterns that match at least one layer; PEFT ignores the others."""
    return {
        key: value for key, value in patterns.items() if any(pattern_matches(key, name) for name in names)
    }
