"""Models in 4 or 8 bits: computed in float32, made plain for good, and made.

The packages that quantise are imported where such a model is met, by transformers or here.
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
from lowland.lora.bases import is_quantised, keep_readable, quantised_by
from lowland.lora.inject import config_of

NF4 = "nf4"
INSTALLED_BY: Mapping[str, str] = {"bitsandbytes": "'lowland[quantised]'", "torchao": "torchao"}
"""The packages whose models can be read, and what pip calls them."""
BLOCK = 64
"""Weights that share a scale in NF4 (Dettmers et al., 2023, section 3)."""


def quantised_with(config: Any) -> str | None:
    """The package that quantised a model, by its config; None for a plain model."""
    given = getattr(config, "quantization_config", None)
    if not given:
        return None
    told = given if isinstance(given, dict) else given.to_dict()
    name = told.get("quant_method") or "bitsandbytes"  # which did not say so at first
    return str(getattr(name, "value", name))


def check_readable(config: Any, folder: Path) -> None:
    """Raise `Mistake` if a model is quantised in a way that is not known here, or its package is missing."""
    package = quantised_with(config)
    if package is None:
        return
    if package not in INSTALLED_BY:
        raise Mistake(
            f"the model in {folder} is quantised by {package}, which is not known here; give the model that it was"
            f" made from with --model, or one quantised by {' or '.join(INSTALLED_BY)}"
        )
    check_installed(package, f"the model in {folder}")


def check_installed(package: str, what: str) -> None:
    """Raise `Mistake` if a package is missing that something needs."""
    if importlib.util.find_spec(package) is None:
        raise Mistake(f"{what} needs {package}; pip install {INSTALLED_BY[package]}")


def compute_in_float32(model: Any) -> Any:
    """Have a model compute in float32, on the CPU, in place: its quantised layers, too, as far as they can.

    Layers in 4 bits dequantise to float32, and are not repacked for arithmetic in bf16. Layers in 8 bits go on to
    round what comes in, unless an adapter is on them (`rounds_inputs`).
    """
    quantised = [one for one in model.modules() if _in_few_bits(one)]
    if not getattr(model, "is_quantized", False):
        return model.float()
    for layer in quantised:
        keep_readable(layer)
        if quantised_by(layer.weight) == "4bit":
            layer.compute_dtype, layer.compute_type_is_set = torch.float32, True
            layer.weight.quant_state.dtype = torch.float32
    for one in model.parameters():  # transformers leaves what it reads beside them as it was stored
        if one.is_floating_point() and quantised_by(one) is None:
            one.data = one.data.float()
    return model.to("cpu")


def rounds_inputs(model: nn.Module) -> bool:
    """Whether a model has layers that round what comes in to 8 bits; an adapted layer does not."""
    adapted = {id(one.base) for one in model.modules() if isinstance(one, LoRALinear)}
    return any(
        _in_few_bits(one) and quantised_by(one.weight) == "8bit" and id(one) not in adapted  # type: ignore[arg-type]
        for one in model.modules()
    )


def forget_quantisation(model: Any) -> Any:
    """Leave nothing that says that a merged model was quantised, in place; it is then saved as a plain one.

    Raises:
        Mistake: if something of it is still quantised.
    """
    if left := [name for name, one in model.named_modules() if _in_few_bits(one)]:
        raise Mistake(f"{left[0]} is quantised, and no linear layer, and cannot be made plain")
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer.remove_quantization_config(model)
        model._weight_conversions = None  # how it was read, which save_pretrained would undo
    return model


def in_nf4(model: Any, adapted: nn.Module, folder: Path) -> Any:
    """A merged model in float32, read anew with its linear layers in NF4, all else in float32.

    Heads and what the adapter saved whole stay, and so do layers whose rows are no whole blocks: on some processors
    bitsandbytes cannot run them.

    Args:
        model: merged.
        adapted: the model before.
        folder: there is room for the model in it.
    """
    linear = {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear | Conv1D)}
    odd = {name for name, one in linear.items() if _inputs(one) % BLOCK}
    stay = {*find_head(model), *config_of(adapted).modules_to_save, *odd}
    if not [name for name in linear if not any(f"{name}.".startswith(f"{top}.") for top in stay)]:
        raise Mistake(f"the model has no layer to put in NF4: none has rows of a multiple of {BLOCK} weights")
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=sorted(stay),
    )
    with TemporaryDirectory(dir=folder) as plain:
        model.save_pretrained(plain)
        return type(model).from_pretrained(
            plain, dtype=torch.float32, device_map="cpu", quantization_config=how
        )


def _in_few_bits(module: nn.Module) -> bool:
    return "weight" in dict(module.named_parameters(recurse=False)) and is_quantised(module)


def _inputs(layer: nn.Module) -> int:
    weight: Any = layer.weight
    return int(weight.shape[0] if isinstance(layer, Conv1D) else weight.shape[1])
