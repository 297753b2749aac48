"""Models in 4 or 8 bits: compute with them in float32, turn them into plain ones, and make them.

Packages that quantise are imported only when such a model appears, by transformers or here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from lowland.ground.mistakes import Mistake
from lowland.lora import LoRALinear, find_head
from lowland.lora.bases import disable_repacking, is_quantised, quantised_by
from lowland.lora.inject import config_of

NF4 = "nf4"
INSTALLED_BY: Mapping[str, str] = {"bitsandbytes": "'lowland[quantised]'", "torchao": "torchao"}
"""Packages whose models can be read, and their names for pip."""
BLOCK = 64
"""Number of weights that share a scale in NF4 (Dettmers et al., 2023, section 3)."""


def quantised_with(config: Any) -> str | None:
    """Return the package that quantised a model, according to its config; None for a plain model."""
    quantisation = getattr(config, "quantization_config", None)
    if not quantisation:
        return None
    values = quantisation if isinstance(quantisation, dict) else quantisation.to_dict()
    name = values.get("quant_method") or "bitsandbytes"  # whose early versions left the name out
    return str(getattr(name, "value", name))


def check_readable(config: Any, folder: Path) -> None:
    """Check that a model, if it is quantised, can be read.

    Raises:
        Mistake: if it is quantised in a way that is not supported, or its package is missing.
    """
    package = quantised_with(config)
    if package is None:
        return
    if package not in INSTALLED_BY:
        raise Mistake(
            f"the model in {folder} is quantised by {package}, which is not supported; give the model that it was"
            f" made from with --model, or one quantised by {' or '.join(INSTALLED_BY)}"
        )
    check_installed(package, f"the model in {folder}")


def check_installed(package: str, purpose: str) -> None:
    """Check that a package is installed.

    Args:
        package: name of the package.
        purpose: what needs it, for the error.

    Raises:
        Mistake: if it is missing.
    """
    if importlib.util.find_spec(package) is None:
        raise Mistake(f"{purpose} needs {package}; pip install {INSTALLED_BY[package]}")


def compute_in_float32(model: Any) -> Any:
    """Make a model compute in float32, in place. A quantised model is also moved to the CPU.

    Layers in 4 bits dequantise to float32, and are not repacked for arithmetic in bf16. Layers in 8 bits still round
    their inputs, unless they have an adapter (`rounds_inputs`).
    """
    quantised = [module for module in model.modules() if _in_few_bits(module)]
    if not getattr(model, "is_quantized", False):
        return model.float()
    for layer in quantised:
        disable_repacking(layer)
        if quantised_by(layer.weight) == "4bit":
            layer.compute_dtype, layer.compute_type_is_set = torch.float32, True
            layer.weight.quant_state.dtype = torch.float32
    for parameter in model.parameters():  # transformers leaves the other parameters as they were stored
        if parameter.is_floating_point() and quantised_by(parameter) is None:
            parameter.data = parameter.data.float()
    return model.to("cpu")


def rounds_inputs(model: nn.Module) -> bool:
    """Return whether a model has layers that round their inputs to 8 bits; an adapted layer does not."""
    adapted = {id(module.base) for module in model.modules() if isinstance(module, LoRALinear)}
    return any(
        _in_few_bits(module) and quantised_by(module.weight) == "8bit" and id(module) not in adapted  # type: ignore[arg-type]
        for module in model.modules()
    )


def forget_quantisation(model: Any) -> Any:
    """Remove the marks of quantisation from a merged model, in place, so that it is saved as a plain one.

    Raises:
        Mistake: if a part of it is still quantised.
    """
    if left := [name for name, module in model.named_modules() if _in_few_bits(module)]:
        raise Mistake(
            f"{left[0]} is quantised and not a linear layer; it cannot be turned into a plain layer"
        )
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer.remove_quantization_config(model)
        model._weight_conversions = None  # save_pretrained would undo the conversions of reading
    return model


def in_nf4(model: Any, adapted: nn.Module, folder: Path) -> Any:
    """Return a merged model with its linear layers in NF4 and all else in float32.

    Heads and the modules that the adapter saved in full stay in float32. So do layers whose row length is not a
    multiple of `BLOCK`, which bitsandbytes cannot run on some processors.

    Args:
        model: merged model, in float32.
        adapted: the model before merging.
        folder: folder for a temporary copy of the model.

    Raises:
        Mistake: if no layer can be stored in NF4.
    """
    linear = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)
    }
    odd = {name for name, layer in linear.items() if _inputs(layer) % BLOCK}
    stay = {*find_head(model), *config_of(adapted).modules_to_save, *odd}
    if not [name for name in linear if not any(f"{name}.".startswith(f"{top}.") for top in stay)]:
        raise Mistake(f"the model has no layer to put in NF4: none has rows of a multiple of {BLOCK} weights")
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=sorted(stay),
    )
    with TemporaryDirectory(dir=folder) as plain:
        model.save_pretrained(plain)
        return type(model).from_pretrained(
            plain, dtype=torch.float32, device_map="cpu", quantization_config=nf4
        )


def _in_few_bits(module: nn.Module) -> bool:
    """Return whether a module stores its weight in 4 or 8 bits."""
    return "weight" in dict(module.named_parameters(recurse=False)) and is_quantised(module)


def _inputs(layer: nn.Module) -> int:
    weight: Any = layer.weight
    return int(weight.shape[0] if isinstance(layer, Conv1D) else weight.shape[1])
