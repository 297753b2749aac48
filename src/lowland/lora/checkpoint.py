"""Adapters to disk and back, in PEFT's file format: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lowland.lora.inject import LoRAConfig, add_lora, config_of, lora_layers, remove_lora
from lowland.mistakes import Mistake

PREFIX = "base_model.model."
"""What PEFT writes before every name."""


def save_adapter(model: nn.Module, folder: str | Path, *, base_model: str | None = None) -> Path:
    """Write a model's adapters and its `modules_to_save` in PEFT's file format.

    `PeftModel.from_pretrained(base, folder)` reads them.

    Args:
        model: one that `add_lora` adapted.
        folder: where to; it is made.
        base_model: name of the base model, for the config.

    Raises:
        Mistake: if the model has no adapters.
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise Mistake("the model has no LoRA layers to save; add_lora(model, config) adds them")
    config = config_of(model)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_peft_config(config, layers, base_model), indent=2)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    tensors = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in _learned(model)}
    (folder / "adapter_model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    return folder


def load_adapter(model: nn.Module, folder: str | Path) -> nn.Module:
    """Adapt a model as a folder in PEFT's format says, and load what it learned, in place.

    Args:
        model: the base model, without adapters.
        folder: with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        Mistake: if the folder holds no LoRA adapter, a file is damaged, or its tensors do not fit the model; it says
            which. The model is then left as it was.
    """
    folder = Path(folder)
    config = _read_config(folder)
    saved = _read_tensors(folder)
    trained = {name: one.requires_grad for name, one in model.named_parameters()}
    add_lora(model, config)
    wanted = dict(_learned(model))
    problems = [f"{folder} lacks {name}" for name in sorted(wanted.keys() - saved.keys())]
    problems += [
        f"{folder} holds {name}, which the model has not" for name in sorted(saved.keys() - wanted.keys())
    ]
    problems += [
        f"{name} in {folder} is {tuple(saved[name].shape)}; the model's is {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in saved and saved[name].shape != tensor.shape
    ]
    if problems:
        remove_lora(model)
        for name, one in model.named_parameters():
            one.requires_grad_(trained[name])
        raise Mistake(*problems)
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(saved[name])
    return model


def _learned(model: nn.Module) -> list[tuple[str, Tensor]]:
    """What the adapters and the modules to save learned, by the names that PEFT gives, without its prefix."""
    named: list[tuple[str, Tensor]] = []
    for name, layer in lora_layers(model):
        named += [(f"{name}.lora_A.weight", layer.lora_A), (f"{name}.lora_B.weight", layer.lora_B)]
    for name in config_of(model).modules_to_save:
        state = model.get_submodule(name).state_dict(keep_vars=True)
        named += [(f"{name}.{key}", tensor) for key, tensor in state.items()]
    return named


def _peft_config(config: LoRAConfig, layers: dict[str, Any], base_model: str | None) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "r": config.r,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": list(layers),
        "modules_to_save": list(config.modules_to_save) or None,
        "use_rslora": config.rslora,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": all(layer.transposed for layer in layers.values()),
        "init_lora_weights": True,
    }


def _read_config(folder: Path) -> LoRAConfig:
    path = folder / "adapter_config.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Mistake(f"{folder} holds no adapter_config.json; name an adapter's folder") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"{path} is damaged ({error})") from None
    if not isinstance(given, dict):
        raise Mistake(f"{path} is damaged (no JSON object)")
    refused = [name for name in ("use_dora", "rank_pattern", "alpha_pattern") if given.get(name)]
    if given.get("peft_type") != "LORA" or refused:
        kind = ", ".join(refused) or given.get("peft_type")
        raise Mistake(f"{folder} holds an adapter with {kind}; plain LoRA and rsLoRA can be loaded")
    try:
        return LoRAConfig(
            r=given["r"],
            alpha=given["lora_alpha"],
            dropout=given.get("lora_dropout", 0.0),
            targets=given["target_modules"],
            rslora=given.get("use_rslora", False),
            modules_to_save=tuple(given.get("modules_to_save") or ()),
        )
    except (KeyError, TypeError) as error:
        raise Mistake(f"{path} is damaged ({error} is missing or of another kind)") from None


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / "adapter_model.safetensors"
    try:
        tensors = load(path.read_bytes())
    except FileNotFoundError:
        raise Mistake(f"{folder} holds no adapter_model.safetensors") from None
    except SafetensorError as error:
        raise Mistake(f"{path} is damaged ({error})") from None
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
