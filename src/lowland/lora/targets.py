"""Which layers of a model are meant, and which of them must not be adapted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

from lowland.ground.mistakes import Mistake, one_of
from lowland.lora.bases import (
    Adaptable,
    is_quantised,
    is_repacked,
    shape_of,
    why_not,
    why_not_its_weight_alone,
)
from lowland.lora.config import ALL_LINEAR, LoRAConfig, pattern_matches

HEAD_NAMES = ("lm_head", "head", "score", "classifier", "classification_head", "qa_outputs")
"""What output heads are called in models that are not Hugging Face's; those say themselves which are theirs."""


def find_head(model: nn.Module) -> tuple[str, ...]:
    """The names of the modules that make up the output head: what "all-linear" skips.

    In a Hugging Face model these are its output embeddings, and the children beside its backbone that hold
    parameters. In another model, or one without a backbone of its own (T5), they are the children of a usual name
    (`HEAD_NAMES`), at any depth down to a Hugging Face model, which has its own. Anywhere a linear layer that shares
    the weight of an embedding is an output head.
    """
    modules = dict(model.named_modules())
    embeddings = {id(one.weight) for one in modules.values() if isinstance(one, nn.Embedding)}
    names = {
        name for name, one in modules.items() if isinstance(one, nn.Linear) and id(one.weight) in embeddings
    }
    if isinstance(model, PreTrainedModel):
        output = model.get_output_embeddings()
        names |= {name for name, child in modules.items() if output is not None and child is output}
    names |= _beside_the_backbone(model)
    return tuple(sorted(name for name in names if not is_under(name, names - {name})))


def _beside_the_backbone(model: nn.Module) -> set[str]:
    children = dict(model.named_children())
    if not isinstance(model, PreTrainedModel):
        named = {name for name in children if name in HEAD_NAMES}
        rest = {name: child for name, child in children.items() if name not in named}
        return named | {f"{name}.{below}" for name, child in rest.items() for below in find_head(child)}
    if model.base_model is model:
        return {name for name in children if name in HEAD_NAMES}
    return {
        name
        for name, child in children.items()
        if child is not model.base_model and any(True for _ in child.parameters())
    }


def target_names(model: nn.Module, config: LoRAConfig) -> list[str]:
    """The names of the layers that a config means, in the model's order.

    Raises:
        Mistake: if there are none, or an entry names nothing.
    """
    saved = saved_names(model, config.modules_to_save)  # trained in full: nothing to adapt
    layers = {name: layer for name, layer in adaptable_layers(model).items() if not is_under(name, saved)}
    if not layers:
        raise Mistake(f"{type(model).__name__} has no linear layer to adapt")
    if config.targets == (ALL_LINEAR,):
        return _all_linear(model, layers)
    unmatched = [target for target in config.targets if not any(is_meant(name, target) for name in layers)]
    if unmatched:
        endings = sorted({name.rsplit(".", 1)[-1] for name in layers})
        raise Mistake(*(one_of("target module", target, [ALL_LINEAR, *endings]) for target in unmatched))
    return [name for name in layers if any(is_meant(name, target) for target in config.targets)]


def saved_names(model: nn.Module, entries: Sequence[str]) -> tuple[str, ...]:
    """The modules that `modules_to_save` means by PEFT's rule, names that end with an entry; none inside another."""
    names: list[str] = []
    for name, _ in model.named_modules():
        if name.endswith(tuple(entries)) and not is_under(name, names):
            names.append(name)
    return tuple(names)


def adaptable_layers(model: nn.Module) -> dict[str, Adaptable]:
    """The layers that can be adapted, by name."""
    return {name: module for name, module in model.named_modules() if name and isinstance(module, Adaptable)}


def is_under(name: str, tops: Iterable[str]) -> bool:
    """Whether a name is one of those, or of something inside one of them."""
    return any(f"{name}.".startswith(f"{top}.") for top in tops)


def check_config(model: nn.Module, config: LoRAConfig, names: Sequence[str]) -> None:
    """Hold a user's config against the layers that it means.

    Raises:
        Mistake: if a rank is larger than a layer, or a pattern or a module to save names nothing.
    """
    problems = _rank_problems(model, config, names) + _pattern_problems(config, names)
    children = [name for name, _ in model.named_children()]
    problems += [
        one_of("module to save", entry, children)
        for entry in config.modules_to_save
        if not saved_names(model, [entry])
    ]
    if problems:
        raise Mistake(*problems)


def check_layers(model: nn.Module, config: LoRAConfig, names: Sequence[str]) -> None:
    """Make sure that layers can be adapted, and `modules_to_save` trained, before anything is changed.

    Raises:
        Mistake: if a weight is tied to one that stays as it is, or a layer cannot be read.
    """
    saved = saved_names(model, config.modules_to_save)
    if problems := _unreadable(model, names, saved) + _tied(model, names, saved):
        raise Mistake(*problems)


def _all_linear(model: nn.Module, layers: Mapping[str, Adaptable]) -> list[str]:
    linear = [
        name
        for name, layer in layers.items()
        if not isinstance(layer, nn.Embedding) and why_not_its_weight_alone(layer) is None
    ]
    if not linear:
        raise Mistake(f"{type(model).__name__} has no linear layer to adapt")
    head = find_head(model)
    names = [name for name in linear if not is_under(name, head)]
    if not names:
        raise Mistake(f"all linear layers of {type(model).__name__} are its output head")
    return names


def is_meant(name: str, target: str) -> bool:
    """Whether a target means a layer: its name, the end of it, or a regular expression for the whole of it."""
    if name == target or name.endswith(f".{target}"):
        return True
    try:
        return re.fullmatch(target, name) is not None
    except re.error:
        return False


def _rank_problems(model: nn.Module, config: LoRAConfig, names: Sequence[str]) -> list[str]:
    for name in names:
        shape, rank = shape_of(model.get_submodule(name)), config.rank_of(name)
        if rank > min(shape):  # one is enough: the others are like it
            sizes = " x ".join(map(str, shape))
            return [f"rank {rank} is larger than layer {name} ({sizes}); it must be at most {min(shape)}"]
    return []


def _pattern_problems(config: LoRAConfig, names: Sequence[str]) -> list[str]:
    endings = sorted({name.rsplit(".", 1)[-1] for name in names})
    return [
        one_of(f"layer in {field}", key, endings)
        for field in ("rank_pattern", "alpha_pattern")
        for key in getattr(config, field)
        if not any(pattern_matches(key, name) for name in names)
    ]


def _unreadable(model: nn.Module, names: Sequence[str], saved: Sequence[str]) -> list[str]:
    repacked = [name for name, module in model.named_modules() if is_repacked(module)]  # adapted or not
    reasons = {name: why_not(model.get_submodule(name)) for name in dict.fromkeys([*names, *repacked])}
    problems = [f"layer {name} cannot be adapted: {why}" for name, why in reasons.items() if why]
    problems += [
        f"{name} is quantised and cannot be trained; take it out of modules_to_save"
        for name, one in model.named_modules()
        if is_under(name, saved)
        and isinstance(getattr(one, "weight", None), nn.Parameter)
        and is_quantised(one)
    ]
    return problems[:10]


def _tied(model: nn.Module, names: Sequence[str], saved: Sequence[str]) -> list[str]:
    """A tied weight is one tensor under several names: what changes one of its layers changes the others."""
    holders: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        holders.setdefault(id(parameter), []).append(name)
    targets, problems = set(names), []
    for shared in (some for some in holders.values() if len(some) > 1):
        layers = [one.rpartition(".")[0] for one in shared]
        if adapted := [one for one in layers if one in targets]:
            other = next(one for one in layers if one != adapted[0])
            problems.append(
                f"{adapted[0]} shares its weight with {other}, so an adapter on one could not be merged without"
                f" changing the other; leave {adapted[0]} out of the targets"
            )
        inside = [is_under(one, saved) for one in shared]
        if any(inside) and not all(inside):
            one, other = layers[inside.index(True)], layers[inside.index(False)]
            problems.append(
                f"{one} in modules_to_save shares its weight with {other}, which is not; training one would change"
                f" the other, so name both, or neither"
            )
    return list(dict.fromkeys(problems))
