"""Saving and loading of adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save
from torch import Tensor, distributed, nn
from transformers import PreTrainedModel

from lowland.ground.mistakes import Mistake
from lowland.lora.bases import gathered, shape_of, sharded_names
from lowland.lora.config import LoRAConfig
from lowland.lora.embedding import LoRAEmbedding
from lowland.lora.inject import attach, check_can_be_adapted, config_of, lora_layers
from lowland.lora.peft_config import CONFIG_FILE, config_for, describe, read_config
from lowland.lora.peft_weights import PREFIX, WEIGHTS_FILE, is_adapter, listed, read_tensors
from lowland.lora.targets import check_layers, saved_names
from lowland.lora.vocabulary import parted_embedding, settle_embeddings, tied_embeddings, untie


def save_adapter(
    model: nn.Module, folder: str | Path, *, base_model: str | None = None, overwrite: bool = False
) -> Path:
    """Save a model's adapters and its `modules_to_save` in PEFT's file format.

    `PeftModel.from_pretrained(base, folder)` can load them. A new folder is written completely or not at all.
    If the model is sharded (FSDP2), every process must call this function: the tensors are gathered one by one, and the
    process of rank 0 writes them. Under data parallelism (DDP), call it in one process.

    Args:
        model: a model that `add_lora` or `load_adapter` adapted; it may be compiled.
        folder: the folder to write; it is created if it does not exist.
        base_model: name of the base model, for PEFT's config; default: the name in the model's own config.
        overwrite: whether to replace an adapter in the folder. Other files in it are kept.

    Returns:
        The folder.

    Raises:
        Mistake: if the model has no adapters, or the folder is not empty.
    """
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    names = [name for name, _ in lora_layers(model)]
    if not names:
        raise Mistake("the model has no LoRA layers to save; add_lora(model, config) adds them")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise Mistake(f"{folder} is a file; name a folder to save the adapter in")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise Mistake(f"{folder} is not empty; name a new folder, or call save_adapter(…, overwrite=True)")
    sharded = bool(sharded_names(model))
    text = json.dumps(describe(model, config_of(model), names, base_model), indent=2)
    tensors = {
        PREFIX + name: gathered(tensor.detach()).to("cpu", copy=True).contiguous()
        for name, tensor in _learned(model)
    }
    try:
        if not sharded or distributed.get_rank() == 0:
            weights = save(tensors, metadata={"format": "pt"})
            _write(folder, {WEIGHTS_FILE: weights, CONFIG_FILE: f"{text}\n".encode()})
    finally:
        if sharded:
            distributed.barrier()  # so that the folder is complete in every process
    return folder


def load_adapter(model: nn.Module, folder: str | Path) -> nn.Module:
    """Add the adapters that a folder in PEFT's format describes to a model, and load their tensors, in place.

    The adapters are trainable afterwards, as after `add_lora`. Their data type is at least float32, whatever that of
    the file is. Embeddings that the file holds, such as those of new tokens, are loaded as `modules_to_save` are: they
    replace the model's values, are trainable, and `save_adapter` saves them whole. As in PEFT, what was
    trained for one of two tied embeddings leaves the other one as it is: if the file holds one of them alone, or two
    different ones, they are no longer tied in the model.

    Args:
        model: the base model, without adapters, and with its embeddings resized as they were for the training.
        folder: a folder with `adapter_config.json` and `adapter_model.safetensors`.

    Returns:
        The same model.

    Raises:
        Mistake: if the folder holds no LoRA adapter, a file is damaged, or a tensor does not fit the model. The model
            is then left unchanged.
    """
    folder = Path(folder)
    check_can_be_adapted(model)
    peft_config = read_config(folder)
    saved, embeddings = settle_embeddings(model, peft_config, read_tensors(folder), folder)
    config, names = config_for(model, peft_config, folder / CONFIG_FILE, embeddings)
    _check_architecture(model, names, saved, folder)
    check_layers(model, config, names, apart=tied_embeddings(model))
    _check_tensors(model, config, names, saved, folder)
    if parted := parted_embedding(model, saved_names(model, config.modules_to_save), saved):
        untie(cast(PreTrainedModel, model), parted)
    attach(model, config, names, seed=0)
    with torch.no_grad():
        for name, tensor in _learned(model):
            tensor.copy_(saved[name])
    return model


def _learned(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the tensors of the adapters and the modules to save, by PEFT's names without its prefix."""
    named: list[tuple[str, Tensor]] = []
    for name, layer in lora_layers(model):
        keys = _keys(name, isinstance(layer, LoRAEmbedding))
        named += zip(keys, (layer.lora_A, layer.lora_B), strict=True)
    return named + _saved_whole(model, config_of(model).modules_to_save)


def _keys(name: str, embedding: bool) -> tuple[str, str]:
    """Return PEFT's names for A and B of a layer."""
    if embedding:
        return f"{name}.lora_embedding_A", f"{name}.lora_embedding_B"
    return f"{name}.lora_A.weight", f"{name}.lora_B.weight"


def _saved_whole(model: nn.Module, modules: Sequence[str]) -> list[tuple[str, Tensor]]:
    """Return the name and the tensor of every parameter and buffer in the modules that are saved in full."""
    states = {name: model.get_submodule(name).state_dict(keep_vars=True) for name in modules}
    return [(f"{name}.{key}", tensor) for name, state in states.items() for key, tensor in state.items()]


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a temporary folder, and move them into theirs once they are complete; the config comes last."""
    target = folder.resolve()
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, content in files.items():
            with (partial / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if not target.exists():
            partial.rename(target)
            return
        (target / CONFIG_FILE).unlink(missing_ok=True)  # so that new weights are never beside an old config
        for name in files:
            (partial / name).replace(target / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_architecture(
    model: nn.Module, names: Sequence[str], saved: Mapping[str, Tensor], folder: Path
) -> None:
    """Check that the file adapts at least one of the given layers; raise `Mistake` otherwise."""
    layers = sorted({name.partition(".lora_")[0] for name in saved if is_adapter(name)})
    if not layers:
        raise Mistake(
            f"{folder / WEIGHTS_FILE} holds no A and B of any layer; only PEFT's LoRA can be loaded"
        )
    if not set(layers).isdisjoint(names):
        return
    modules = dict(model.named_modules())
    if not any(layer in modules for layer in layers):
        raise Mistake(
            f"the adapter in {folder} adapts {layers[0]}, and {type(model).__name__} has no layer of that name; load"
            " it into a model of the architecture that it was trained on"
        )
    selected = listed(names) or "no layer"
    raise Mistake(
        f"{folder / CONFIG_FILE} selects {selected} of {type(model).__name__}, and {WEIGHTS_FILE} holds A and B of"
        f" {listed(layers)}; correct target_modules in {CONFIG_FILE}"
    )


def _check_tensors(
    model: nn.Module, config: LoRAConfig, names: Sequence[str], saved: Mapping[str, Tensor], folder: Path
) -> None:
    """Check that a file holds the tensors that config and model require; raise `Mistake` with every problem."""
    whole = dict(_saved_whole(model, saved_names(model, config.modules_to_save)))
    shapes = _adapter_shapes(model, config, names) | {
        name: tuple(tensor.shape) for name, tensor in whole.items()
    }
    problems = []
    if missing := sorted(shapes.keys() - saved.keys()):
        problems.append(f"{folder} lacks tensors that its config and the model require: {listed(missing)}")
    if extra := _extra_tensors(model, saved, shapes):
        problems.append(f"{folder} holds tensors that have no place in the model: {listed(extra)}")
    shared = [name for name in shapes if name in saved]
    if differing := [name for name in shared if tuple(saved[name].shape) != shapes[name]]:
        first = differing[0]
        here = f"{first} is {tuple(saved[first].shape)} in the file, and {shapes[first]}"
        more = f" ({len(differing) - 1} more differ)" if len(differing) > 1 else ""
        problems.append(
            f"the adapter in {folder} has tensors of another size than required: {here} by its config and the"
            f" model{more}"
        )
    if mistyped := [
        name
        for name, tensor in whole.items()
        if name in saved and tensor.is_floating_point() != saved[name].is_floating_point()
    ]:
        problems.append(f"{folder} is damaged: {listed(mistyped)} is of another type than the model's")
    apart = {f"{name}.weight" for name in tied_embeddings(model)}
    tied = {name: tensor for name, tensor in whole.items() if name not in apart}
    problems += [] if problems else _tied_problems(tied, saved, folder)
    if problems:
        raise Mistake(*problems)


def _adapter_shapes(model: nn.Module, config: LoRAConfig, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of A and B of every layer, by PEFT's names without its prefix."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        base, r = model.get_submodule(name), config.rank_of(name)
        rows, columns = shape_of(base)
        embedding = isinstance(base, nn.Embedding)
        a, b = _keys(name, embedding)
        shapes[a], shapes[b] = ((r, rows), (columns, r)) if embedding else ((r, columns), (rows, r))
    return shapes


def _extra_tensors(
    model: nn.Module, saved: Mapping[str, Tensor], required: Mapping[str, object]
) -> list[str]:
    """Return the names of tensors in a file that have no place in the model.

    PEFT adds the base's own embeddings if they are adapted. Such a copy is accepted if it equals the model's weight.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    extra = []
    for name in sorted(saved.keys() - required.keys()):
        own = parameters.get(name.replace(".base_layer.", "."))
        if own is None:
            extra.append(name)
        elif own.shape != saved[name].shape:
            extra.append(f"{name} (it is {tuple(saved[name].shape)}, and {tuple(own.shape)} in the model)")
        elif rows := _differing_rows(own, saved[name]):
            extra.append(f"{name} (it differs from the model's in {rows}; copy it into the model first)")
    return extra


def _differing_rows(own: Tensor, copy: Tensor) -> str | None:
    """Return in words how many rows of a tensor in a file differ from the model's, or None if no row does."""
    differ = (own.detach().cpu() != copy.to(own.dtype)).flatten(1 if own.dim() > 1 else 0)
    rows = (differ.any(1) if differ.dim() > 1 else differ).nonzero().flatten().tolist()
    return f"{len(rows)} of {len(own)} rows, the first of which is row {rows[0]}" if rows else None


def _tied_problems(whole: Mapping[str, Tensor], saved: Mapping[str, Tensor], folder: Path) -> list[str]:
    """Return a sentence for each tensor that has two names in the model and two different values in the file."""
    first_names: dict[int, str] = {}
    pairs = [(first_names.setdefault(id(tensor), name), name) for name, tensor in whole.items()]
    return [
        f"{folder} holds two values for {first} and {second}, which are one tensor in the model"
        for first, second in pairs
        if first != second and not torch.equal(saved[first], saved[second])
    ]
