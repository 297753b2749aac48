"""Embeddings in an adapter's file: those of new tokens, which PEFT saves whole, and single rows that it trained.

PEFT saves the input and output embeddings if the vocabulary was resized (`save_embedding_layers`), and loads them into
the base. It saves the rows of `trainable_token_indices` as `trainable_tokens_delta`, which holds their new values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lowland.ground.mistakes import Mistake
from lowland.lora.peft_weights import is_adapter, read_tensors
from lowland.lora.targets import is_under, saved_names

ROWS = ".token_adapter.trainable_tokens_delta"
WITH_ROWS = ".token_adapter.base_layer.weight"
"""Ends of the names of trained rows, and of the embedding that they belong to."""
COPIES = (WITH_ROWS, ".base_layer.weight", ".weight")
"""Ends of the names of a whole embedding in an adapter's file; the longer ones come first."""


def tied_embeddings(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the input and the output embeddings if they, and no other layer, share one weight."""
    weights = _embeddings(model)
    return tuple(weights) if len(weights) == 2 and len(set(weights.values())) == 1 else ()


def parted_embedding(model: nn.Module, modules: Sequence[str], saved: Mapping[str, Tensor]) -> str | None:
    """Return which of two tied embeddings needs a weight of its own for what a file holds, or None.

    PEFT trains a module of `modules_to_save` apart from a layer that shared its weight, and saves it so.

    Args:
        model: the base model.
        modules: names of the modules that are loaded whole.
        saved: tensors of the adapter's file, by their plain names.
    """
    names = tied_embeddings(model)
    whole = [name for name in names if is_under(name, modules)]
    if len(whole) == 2:
        first, second = (saved[f"{name}.weight"] for name in whole)
        return None if torch.equal(first, second) else whole[1]
    return whole[0] if whole else None


def untie(model: PreTrainedModel, name: str) -> None:
    """Give a tied embedding a weight of its own, with the same values, in place."""
    layer: Any = model.get_submodule(name)
    layer.weight = nn.Parameter(layer.weight.detach().clone())
    model.config.tie_word_embeddings = False


def resize_to_saved(model: PreTrainedModel, folder: Path, tokens: int) -> tuple[str, ...]:
    """Set the size of a model's embeddings to that in an adapter's file, in place, if it has rows for all tokens.

    New rows get the file's values. Nothing is changed if the file holds no embeddings, or cannot be read, which
    `load_adapter` reports.

    Args:
        model: the base model.
        folder: the adapter's folder.
        tokens: number of tokens of the adapter's tokenizer.

    Returns:
        The names of the resized embeddings that the file does not hold: their new rows are random.
    """
    before = {name: len(weight) for name, weight in _embeddings(model).items()}
    try:
        saved = read_tensors(folder)
    except Mistake:
        return ()
    copies = {name: tensor for key, tensor in saved.items() if (name := _layer_of(key)) in before}
    sizes = {len(copy) for copy in copies.values() if copy.dim() == 2}
    if len(sizes) != 1 or sizes == set(before.values()) or (rows := max(sizes)) < tokens:
        return ()
    model.resize_token_embeddings(rows, mean_resizing=False)
    weights = _embeddings(model)
    with torch.no_grad():
        for name, copy in copies.items():
            if copy.shape == weights[name].shape:
                weights[name][before[name] :] = copy[before[name] :]
    held = {weights[name] for name in copies}
    return tuple(name for name, weight in weights.items() if weight not in held)


def settle_embeddings(
    model: nn.Module, peft_config: Mapping[str, Any], saved: Mapping[str, Tensor], folder: Path
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return an adapter's tensors with whole embeddings in place of trained rows, and the embeddings to replace.

    These are the embeddings whose values in the file differ from the model's, without those that are adapted or in
    PEFT's `modules_to_save`. If two layers share the weight, both are named.

    Args:
        model: the base model.
        peft_config: content of the adapter's config.
        saved: tensors of the adapter's file, by their plain names.
        folder: the adapter's folder, for errors.

    Raises:
        Mistake: if an embedding in the file has another number of rows than the model's, or the rows that were trained
            are not in the model.
    """
    weights = _embeddings(model)
    _check_rows(model, saved, folder)
    result = _with_trained_rows(model, peft_config, saved, folder)
    adapted = {name.partition(".lora_")[0] for name in saved if is_adapter(name)}
    replaced = saved_names(model, peft_config.get("modules_to_save") or ())
    whole: dict[str, None] = {}
    for name, own in weights.items():
        copy = result.get(f"{name}.weight")
        if name in adapted or copy is None or is_under(name, replaced) or _same(own, copy):
            continue
        whole[name] = None
        if name + ROWS in saved and not isinstance(model.get_submodule(name), nn.Embedding):
            continue  # PEFT trains these rows of an output layer apart, also where its weight is shared
        for other in [other for other, weight in weights.items() if weight is own]:
            result.setdefault(f"{other}.weight", copy)
            whole[other] = None
    for name in whole:
        for key, tensor in model.get_submodule(name).state_dict().items():
            result.setdefault(f"{name}.{key}", tensor)
    return result, tuple(whole)


def _embeddings(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of a Hugging Face model's input and output embeddings, and of what shares them, by name."""
    if not isinstance(model, PreTrainedModel):
        return {}
    try:
        layers = (model.get_input_embeddings(), model.get_output_embeddings())
    except NotImplementedError:  # so transformers says that a model has none, such as one of images
        return {}
    weights = {id(getattr(layer, "weight", None)) for layer in layers if layer is not None}
    return {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter) and id(module.weight) in weights
    }


def _with_trained_rows(
    model: nn.Module, peft_config: Mapping[str, Any], saved: Mapping[str, Tensor], folder: Path
) -> dict[str, Tensor]:
    """Return the tensors of a file with whole embeddings in place of the rows that `trainable_token_indices` names."""
    result, weights = dict(saved), _embeddings(model)
    field = peft_config.get("trainable_token_indices")
    names = [key.removesuffix(ROWS) for key in saved if key.endswith(ROWS)]
    if field is not None and not names:
        raise Mistake(
            f"{folder} has trainable_token_indices = {field} in its config, and holds no trained rows"
        )
    for name in names:
        rows, copy = result.pop(name + ROWS), result.pop(name + WITH_ROWS, None)
        own = weights.get(name)
        indices = _indices(field, name)
        if own is None or indices is None or rows.shape != (len(indices), own.shape[1]):
            there = "no such embedding" if own is None else f"a weight {tuple(own.shape)}"
            raise Mistake(
                f"{folder} holds {tuple(rows.shape)} trained rows of {name}; its config has trainable_token_indices ="
                f" {indices}, and {type(model).__name__} has {there}"
            )
        if max(indices, default=0) >= len(own):
            raise Mistake(
                f"{folder} holds trained rows of {name} up to row {max(indices)}, and {type(model).__name__} has"
                f" {len(own)} rows; call model.resize_token_embeddings(…) with the number of rows that the adapter was"
                " trained with"
            )
        weight = (own.detach() if copy is None else copy).to("cpu", copy=True)
        weight[torch.tensor(indices, dtype=torch.long)] = rows.to(weight.dtype)
        result[f"{name}.weight"] = weight
    return result


def _check_rows(model: nn.Module, saved: Mapping[str, Tensor], folder: Path) -> None:
    """Check that embeddings in a file have as many rows as the model's; raise `Mistake` otherwise."""
    weights = _embeddings(model)
    for key, tensor in saved.items():
        name = _layer_of(key)
        if name is None or (own := weights.get(name)) is None:
            continue
        if tensor.dim() == own.dim() == 2 and len(tensor) != len(own) and tensor.shape[1] == own.shape[1]:
            raise Mistake(
                f"{folder} holds {key} with {len(tensor)} rows, and {name} of {type(model).__name__} has {len(own)};"
                f" call model.resize_token_embeddings({len(tensor)}) before load_adapter"
            )


def _indices(field: object, name: str) -> list[int] | None:
    """Return the rows of an embedding that PEFT's `trainable_token_indices` names, or None."""
    if isinstance(field, Mapping):
        matching = (value for key, value in field.items() if f".{name}".endswith(f".{key}"))
        field = next(matching, None) or (next(iter(field.values())) if len(field) == 1 else None)
    if isinstance(field, list) and all(isinstance(index, int) and index >= 0 for index in field):
        return field
    return None


def _layer_of(key: str) -> str | None:
    """Return the name of the layer whose whole weight a tensor in an adapter's file is, or None."""
    if is_adapter(key):
        return None
    return next((key.removesuffix(end) for end in COPIES if key.endswith(end)), None)


def _same(own: Tensor, copy: Tensor) -> bool:
    """Return whether a tensor in a file has the values of the model's."""
    return own.shape == copy.shape and torch.equal(own.detach().cpu(), copy.to(own.dtype))
