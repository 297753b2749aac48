"""Adapters to disk and back, in PEFT's file format: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lowland.ground.mistakes import Mistake, reason_of
from lowland.lora.bases import READABLE, shape_of
from lowland.lora.config import LoRAConfig
from lowland.lora.embedding import LoRAEmbedding
from lowland.lora.inject import attach, check_not_adapted, config_of, lora_layers
from lowland.lora.peft_config import CONFIG_FILE, config_for, describe, read_config
from lowland.lora.targets import check_layers, saved_names

WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT writes before every name."""
SHOWN = 10
"""How many names a message lists."""


def save_adapter(
    model: nn.Module, folder: str | Path, *, base_model: str | None = None, overwrite: bool = False
) -> Path:
    """Write a model's adapters and its `modules_to_save` in PEFT's file format.

    `PeftModel.from_pretrained(base, folder)` reads them. A new folder is there whole, or not at all.

    Args:
        model: one that `add_lora` adapted.
        folder: where to; it is made.
        base_model: name of the base model, for the config; default: what the model's own config says.
        overwrite: replace an adapter that lies there already; other files stay.

    Raises:
        Mistake: if the model has no adapters, or the folder is not empty.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile's
    names = [name for name, _ in lora_layers(model)]
    if not names:
        raise Mistake("the model has no LoRA layers to save; add_lora(model, config) adds them")
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise Mistake(f"{place} is a file; name a folder to save the adapter in")
    if place.is_dir() and any(place.iterdir()) and not overwrite:
        raise Mistake(f"{place} is not empty; name a new folder, or call save_adapter(…, overwrite=True)")
    text = json.dumps(describe(model, config_of(model), names, base_model), indent=2)
    tensors = {PREFIX + name: one.detach().to("cpu", copy=True).contiguous() for name, one in _learned(model)}
    _write(place, {WEIGHTS_FILE: save(tensors, metadata={"format": "pt"}), CONFIG_FILE: f"{text}\n".encode()})
    return place


def load_adapter(model: nn.Module, folder: str | Path) -> nn.Module:
    """Adapt a model as a folder in PEFT's format says, and load what it learned, in place.

    The adapters are trainable then, as `add_lora` leaves them, and in float32 at least, whatever the file's type.

    Args:
        model: the base model, without adapters.
        folder: with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        Mistake: if the folder holds no LoRA adapter, a file is damaged, or its tensors do not fit the model; it says
            which. The model is then left as it was.
    """
    folder = Path(folder)
    check_not_adapted(model)
    given = read_config(folder)
    saved = _read_tensors(folder)
    config, names = config_for(model, given, folder / CONFIG_FILE)
    _check_architecture(model, names, saved, folder)
    check_layers(model, config, names)
    _check_tensors(model, config, names, saved, folder)
    attach(model, config, names, seed=0)
    with torch.no_grad():
        for name, tensor in _learned(model):
            tensor.copy_(saved[name])
    return model


def _learned(model: nn.Module) -> list[tuple[str, Tensor]]:
    """What the adapters and the modules to save learned, by the names that PEFT gives, without its prefix."""
    named: list[tuple[str, Tensor]] = []
    for name, layer in lora_layers(model):
        keys = _keys(name, isinstance(layer, LoRAEmbedding))
        named += zip(keys, (layer.lora_A, layer.lora_B), strict=True)
    return named + _saved_whole(model, config_of(model).modules_to_save)


def _keys(name: str, embedding: bool) -> tuple[str, str]:
    """PEFT's names for A and B."""
    if embedding:
        return f"{name}.lora_embedding_A", f"{name}.lora_embedding_B"
    return f"{name}.lora_A.weight", f"{name}.lora_B.weight"


def _saved_whole(model: nn.Module, modules: Sequence[str]) -> list[tuple[str, Tensor]]:
    states = {name: model.get_submodule(name).state_dict(keep_vars=True) for name in modules}
    return [(f"{name}.{key}", tensor) for name, state in states.items() for key, tensor in state.items()]


def _write(place: Path, files: Mapping[str, bytes]) -> None:
    """Write files beside their folder first, and move them when they are whole; the config comes last."""
    aim = place.resolve()
    partial = aim.with_name(f".{aim.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, content in files.items():
            with (partial / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if not aim.exists():
            partial.rename(aim)
            return
        (aim / CONFIG_FILE).unlink(missing_ok=True)  # new weights never lie beside an old config
        for name in files:
            (partial / name).replace(aim / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS_FILE
    try:
        tensors = load(path.read_bytes())
    except FileNotFoundError:
        pickled = (folder / "adapter_model.bin").exists()
        hint = "; adapter_model.bin is a pickle, which is not read: let PEFT save it anew" if pickled else ""
        raise Mistake(f"{folder} holds no {WEIGHTS_FILE}{hint}") from None
    except (SafetensorError, OSError) as error:
        raise Mistake(f"{path} is damaged ({reason_of(error)})") from None
    saved = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    if odd := [name for name, one in saved.items() if _is_adapter(name) and one.dtype not in READABLE]:
        raise Mistake(
            f"{path} is damaged: {_some(odd)} should be floating-point numbers, not {saved[odd[0]].dtype}"
        )
    if bad := [name for name, one in saved.items() if one.is_floating_point() and not one.isfinite().all()]:
        raise Mistake(f"{path} has NaN or infinity in {_some(bad)}; the training that wrote it has diverged")
    return saved


def _check_architecture(
    model: nn.Module, names: Sequence[str], saved: Mapping[str, Tensor], folder: Path
) -> None:
    layers = {name.partition(".lora_")[0] for name in saved if _is_adapter(name)}
    if not layers:
        raise Mistake(
            f"{folder / WEIGHTS_FILE} holds no A and B of any layer; only PEFT's LoRA can be loaded"
        )
    if layers.isdisjoint(names):
        raise Mistake(
            f"the adapter in {folder} is for another architecture: it adapts {min(layers)}, and"
            f" {type(model).__name__} has no such layer to adapt"
        )


def _check_tensors(
    model: nn.Module, config: LoRAConfig, names: Sequence[str], saved: Mapping[str, Tensor], folder: Path
) -> None:
    """Hold a file's tensors against those that the config and the model ask for."""
    wanted = _wanted_shapes(model, config, names)
    whole = dict(_saved_whole(model, saved_names(model, config.modules_to_save)))
    shapes = {**wanted, **{name: tuple(one.shape) for name, one in whole.items()}}
    problems = []
    if missing := sorted(shapes.keys() - saved.keys()):
        problems.append(f"{folder} lacks tensors that its config and the model ask for: {_some(missing)}")
    if extra := _without_place(model, saved, shapes):
        problems.append(f"{folder} holds tensors that have no place in the model: {_some(extra)}")
    shared = [name for name in shapes if name in saved]
    if odd := [name for name in shared if tuple(saved[name].shape) != shapes[name]]:
        here = f"{odd[0]} is {tuple(saved[odd[0]].shape)} in the file, and {shapes[odd[0]]}"
        more = f" ({len(odd) - 1} more differ)" if len(odd) > 1 else ""
        problems.append(
            f"the adapter in {folder} is for a model of another size: {here} by its config and the model{more}"
        )
    if kinds := [
        name
        for name, one in whole.items()
        if name in saved and one.is_floating_point() != saved[name].is_floating_point()
    ]:
        problems.append(f"{folder} is damaged: {_some(kinds)} is of another type than the model's")
    problems += [] if problems else _torn_apart(whole, saved, folder)
    if problems:
        raise Mistake(*problems)


def _wanted_shapes(model: nn.Module, config: LoRAConfig, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        base, r = model.get_submodule(name), config.rank_of(name)
        rows, columns = shape_of(base)
        embedding = isinstance(base, nn.Embedding)
        a, b = _keys(name, embedding)
        shapes[a], shapes[b] = ((r, rows), (columns, r)) if embedding else ((r, columns), (rows, r))
    return shapes


def _without_place(model: nn.Module, saved: Mapping[str, Tensor], wanted: Mapping[str, object]) -> list[str]:
    """What a file holds beside the adapter, but for the base's own embeddings, which PEFT adds where they are adapted.

    Such a copy says nothing new, or the adapter was trained on another base.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    extra = []
    for name in sorted(saved.keys() - wanted.keys()):
        copied = own.get(name.replace(".base_layer.", "."))
        if copied is None:
            extra.append(name)
        elif copied.shape != saved[name].shape or not torch.equal(copied.cpu(), saved[name].to(copied.dtype)):
            extra.append(f"{name} (another one than the model's: the adapter was trained on another base)")
    return extra


def _torn_apart(whole: Mapping[str, Tensor], saved: Mapping[str, Tensor], folder: Path) -> list[str]:
    """Tensors that are one in the model, and two in a file."""
    first: dict[int, str] = {}
    torn = [
        (other, name)
        for name, one in whole.items()
        if (other := first.setdefault(id(one), name)) != name and not torch.equal(saved[other], saved[name])
    ]
    return [
        f"{folder} holds two values for {one} and {other}, which are one tensor in the model"
        for one, other in torn
    ]


def _is_adapter(name: str) -> bool:
    return ".lora_" in name


def _some(names: Sequence[str]) -> str:
    """Names for a message: all, up to ten."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
