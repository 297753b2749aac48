"""Selection of the layers to adapt, and checks that they can be adapted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from torch import nn
from transformers import PreTrainedModel

from lowland.ground.mistakes import Mistake, one_of
from lowland.lora.attention import attention_names
from lowland.lora.bases import (
    Adaptable,
    adaptation_problem,
    custom_forward_problem,
    is_quantised,
    is_repacked,
    shape_of,
)
from lowland.lora.config import ALL_LINEAR, EXTENDED, NAMED_SETS, LoRAConfig, pattern_matches

HEAD_NAMES = ("lm_head", "head", "score", "classifier", "classification_head", "qa_outputs")
"""Usual names of output heads, for models that are not Hugging Face's."""
SHOWN = 10
"""Number of unusable layers that an error lists."""


def find_head(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the modules that make up the output head, which "all-linear" leaves out.

    In a Hugging Face model, these are its output embeddings and the children other than its backbone that have
    parameters. In other models, and in those without a separate backbone (T5), they are the children with a usual name
    (`HEAD_NAMES`); children are searched recursively, down to a Hugging Face model, where its own rule holds. In any
    model, a linear layer that shares its weight with an embedding is an output head.
    """
    modules = dict(model.named_modules())
    embeddings = {id(module.weight) for module in modules.values() if isinstance(module, nn.Embedding)}
    names = {
        name
        for name, module in modules.items()
        if isinstance(module, nn.Linear) and id(module.weight) in embeddings
    }
    if isinstance(model, PreTrainedModel):
        output = model.get_output_embeddings()
        names |= {name for name, module in modules.items() if output is not None and module is output}
    names |= _beside_the_backbone(model)
    return tuple(sorted(name for name in names if not is_under(name, names - {name})))


def _beside_the_backbone(model: nn.Module) -> set[str]:
    """Return the names of the modules that belong to the head by their place or their name."""
    children = dict(model.named_children())
    if not isinstance(model, PreTrainedModel):
        named = {name for name in children if name in HEAD_NAMES}
        others = {name: child for name, child in children.items() if name not in named}
        return named | {f"{name}.{inner}" for name, child in others.items() for inner in find_head(child)}
    if model.base_model is model:
        return {name for name in children if name in HEAD_NAMES}
    return {
        name
        for name, child in children.items()
        if child is not model.base_model and any(True for _ in child.parameters())
    }


def target_names(model: nn.Module, config: LoRAConfig) -> list[str]:
    """Return the names of the layers that a config's targets stand for, in the model's order.

    Raises:
        Mistake: if there are none, or a target matches no layer.
    """
    saved = saved_names(model, config.modules_to_save)  # trained in full, so they are not adapted
    layers = {name: layer for name, layer in adaptable_layers(model).items() if not is_under(name, saved)}
    if not layers:
        raise Mistake(f"{type(model).__name__} has no linear layer to adapt")
    matched = {target: _names_of(model, layers, target) for target in config.targets}
    endings = sorted({name.rsplit(".", 1)[-1] for name in layers})
    if unmatched := [target for target, names in matched.items() if not names]:
        raise Mistake(*(one_of("target module", target, [*NAMED_SETS, *endings]) for target in unmatched))
    chosen = set().union(*matched.values())
    return [name for name in layers if name in chosen]


def _names_of(model: nn.Module, layers: Mapping[str, Adaptable], target: str) -> Collection[str]:
    """Return the names of the layers that one target stands for."""
    if target == ALL_LINEAR:
        return _all_linear(model, layers)
    if target in NAMED_SETS:
        return _attention(model, layers, target)
    return [name for name in layers if matches_target(name, target)]


def saved_names(model: nn.Module, entries: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of the modules that `modules_to_save` stands for.

    By PEFT's rule these are all modules whose names end with an entry. Modules inside a listed module are left out.
    """
    names: list[str] = []
    for name, _ in model.named_modules():
        if name.endswith(tuple(entries)) and not is_under(name, names):
            names.append(name)
    return tuple(names)


def aliased_names(model: nn.Module) -> frozenset[str]:
    """Return the further names of modules that a model holds under several names.

    The embeddings of T5 and BART become such modules when they are resized.
    """
    every = (name for name, _ in model.named_modules(remove_duplicate=False))
    return frozenset(every) - {name for name, _ in model.named_modules()}


def adaptable_layers(model: nn.Module) -> dict[str, Adaptable]:
    """Return the model's linear layers and embeddings by name."""
    return {name: module for name, module in model.named_modules() if name and isinstance(module, Adaptable)}


def is_under(name: str, tops: Iterable[str]) -> bool:
    """Return whether a name is one of `tops`, or the name of something inside one of them."""
    return any(f"{name}.".startswith(f"{top}.") for top in tops)


def matches_target(name: str, target: str) -> bool:
    """Return whether a target stands for a layer: as its name, as the end of it, or as a regular expression for it."""
    if name == target or name.endswith(f".{target}"):
        return True
    try:
        return re.fullmatch(target, name) is not None
    except re.error:
        return False


def check_config(model: nn.Module, config: LoRAConfig, names: Sequence[str]) -> None:
    """Check that a config fits the layers of these names, which its targets stand for.

    Raises:
        Mistake: if a rank exceeds the size of its layer, or a pattern or a module to save matches nothing.
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


def check_layers(
    model: nn.Module, config: LoRAConfig, names: Sequence[str], apart: Collection[str] = ()
) -> None:
    """Check that the layers can be adapted and `modules_to_save` trained, before anything is changed.

    Args:
        model: the model.
        config: how to adapt it.
        names: names of the layers to adapt.
        apart: names of layers that share one weight, and may be adapted or trained apart from each other.

    Raises:
        Mistake: if a weight is shared with a layer that is not adapted or trained, or a weight cannot be read.
    """
    saved = saved_names(model, config.modules_to_save)
    if problems := _unusable(model, names, saved) + _tied(model, names, saved, apart):
        raise Mistake(*problems)


def _all_linear(model: nn.Module, layers: Mapping[str, Adaptable]) -> list[str]:
    """Return the names of the linear layers that "all-linear" stands for."""
    linear = [
        name
        for name, layer in layers.items()
        if not isinstance(layer, nn.Embedding) and custom_forward_problem(layer) is None
    ]
    if not linear:
        raise Mistake(f"{type(model).__name__} has no linear layer to adapt")
    head = find_head(model)
    names = [name for name in linear if not is_under(name, head)]
    if not names:
        raise Mistake(f"all linear layers of {type(model).__name__} belong to its output head; name targets")
    return names


def _attention(model: nn.Module, layers: Mapping[str, Adaptable], target: str) -> Collection[str]:
    """Return the names of the attention's projections that "standard" or "extended" stands for."""
    linear = _all_linear(model, layers)
    names = attention_names(model, linear, all_of_them=target == EXTENDED)
    if not names:
        endings = sorted({name.rsplit(".", 1)[-1] for name in linear})
        raise Mistake(
            f"targets is {target!r}, and no attention layer of {type(model).__name__} is known by the names of its"
            f" projections; its linear layers end with {', '.join(endings)}: name some of them, or use {ALL_LINEAR}"
        )
    return names


def _rank_problems(model: nn.Module, config: LoRAConfig, names: Sequence[str]) -> list[str]:
    """Return a sentence about the first rank that exceeds its layer's size; the same mistake often affects many."""
    for name in names:
        shape, rank = shape_of(model.get_submodule(name)), config.rank_of(name)
        if rank > min(shape):
            sizes = " x ".join(map(str, shape))
            return [f"rank {rank} is larger than layer {name} ({sizes}); it must be at most {min(shape)}"]
    return []


def _pattern_problems(config: LoRAConfig, names: Sequence[str]) -> list[str]:
    """Return a sentence for each pattern that matches no adapted layer."""
    endings = sorted({name.rsplit(".", 1)[-1] for name in names})
    return [
        one_of(f"layer in {field}", pattern, endings)
        for field, patterns in (
            ("rank_pattern", config.rank_pattern),
            ("alpha_pattern", config.alpha_pattern),
        )
        for pattern in patterns
        if not any(pattern_matches(pattern, name) for name in names)
    ]


def _unusable(model: nn.Module, names: Sequence[str], saved: Sequence[str]) -> list[str]:
    """Return a sentence for each layer that cannot be adapted, or not trained in full, up to `SHOWN`."""
    repacked = [name for name, module in model.named_modules() if is_repacked(module)]  # adapted or not
    reasons = {
        name: adaptation_problem(model.get_submodule(name)) for name in dict.fromkeys([*names, *repacked])
    }
    problems = [f"layer {name} cannot be adapted: {reason}" for name, reason in reasons.items() if reason]
    problems += [
        f"{name} is quantised and cannot be trained; take it out of modules_to_save"
        for name, module in model.named_modules()
        if is_under(name, saved)
        and isinstance(getattr(module, "weight", None), nn.Parameter)
        and is_quantised(module)
    ]
    return problems[:SHOWN]


def _tied(model: nn.Module, names: Sequence[str], saved: Sequence[str], apart: Collection[str]) -> list[str]:
    """Return a sentence for each shared weight through which one layer's training would change another layer."""
    targets, aliased = set(names), aliased_names(model)
    problems = [
        problem
        for parameters in _shared_parameters(model)
        if not all(name.rpartition(".")[0] in apart for name in parameters)
        for problem in (_tied_target(parameters, targets), _tied_saved(parameters, saved, aliased))
        if problem
    ]
    return list(dict.fromkeys(problems))


def _shared_parameters(model: nn.Module) -> Iterator[list[str]]:
    """Yield the names of each parameter that has several."""
    names_of: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(parameter), []).append(name)
    return (names for names in names_of.values() if len(names) > 1)


def _tied_target(parameters: Sequence[str], targets: Collection[str]) -> str | None:
    """Return a sentence if the layer of one of a shared parameter's names is adapted."""
    layers = [name.rpartition(".")[0] for name in parameters]
    adapted = next((layer for layer in layers if layer in targets), None)
    other = next((layer for layer in layers if layer != adapted), None)
    if adapted is None or other is None:
        return None
    return (
        f"{adapted} shares its weight with {other}, so an adapter on one could not be merged without changing the"
        f" other; leave {adapted} out of the targets"
    )


def _tied_saved(parameters: Sequence[str], saved: Sequence[str], aliased: Collection[str]) -> str | None:
    """Return a sentence if `modules_to_save` covers some, but not all, of a shared parameter's names."""
    layers = [layer for name in parameters if (layer := name.rpartition(".")[0]) not in aliased]
    inside = [is_under(layer, saved) for layer in layers]
    if all(inside) or not any(inside):
        return None
    trained, other = layers[inside.index(True)], layers[inside.index(False)]
    return (
        f"{trained} in modules_to_save shares its weight with {other}, which is not in it; training one would change"
        " the other, so name both, or neither"
    )
