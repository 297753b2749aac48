"""Scaling of a trained adapter: W + f·s·BA for a factor f, in a model and in PEFT's files."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from lowland.ground.mistakes import Mistake
from lowland.lora.inject import lora_layers
from lowland.lora.peft_config import CONFIG_FILE, read_config
from lowland.lora.peft_weights import WEIGHTS_FILE


@contextmanager
def scaled_lora(model: nn.Module, factor: float) -> Iterator[None]:
    """Multiply the scale s of every adapter by a factor within the block: W + factor·s·BA.

    Only the layers' `scaling` changes: no weight is written, so the model is afterwards what it was, bit for bit. With
    factor 0 the layers compute what their bases do. Modules in `modules_to_save` keep their trained weights.

    Args:
        model: a model with adapters that are not merged.
        factor: a finite number; 1 leaves the model as it is.

    Raises:
        Mistake: if the model has no adapters, they are merged, or the factor is not finite.

    Examples:
        >>> with scaled_lora(model, 0.5):
        ...     logits = model(**batch).logits
    """
    layers = [layer for _, layer in lora_layers(model)]
    if not math.isfinite(factor):
        raise Mistake(f"factor is {factor}; it must be finite")
    if not layers:
        raise Mistake("the model has no LoRA layers; add_lora(model, config) adds them")
    if any(layer.merged for layer in layers):
        raise Mistake("the adapters are merged into the weights; call unmerge_lora(model) first")
    scales = [layer.scaling for layer in layers]
    try:
        for layer in layers:
            layer.scaling *= factor
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scaling = scale


def copy_scaled(source: Path, target: Path, factor: float) -> None:
    """Copy an adapter in PEFT's format, with its scale multiplied by a factor.

    `lora_alpha` and `alpha_pattern` are multiplied. A, B and the modules that were saved in full are copied byte for
    byte.

    Args:
        source: folder with a LoRA or rsLoRA adapter.
        target: folder to write; it is made.
        factor: factor of the scale.

    Raises:
        Mistake: if the folder holds no such adapter.
    """
    config = read_config(source)
    config["lora_alpha"] = _scaled(config["lora_alpha"], factor)
    patterns = config.get("alpha_pattern") or {}
    config["alpha_pattern"] = {name: _scaled(alpha, factor) for name, alpha in patterns.items()}
    target.mkdir(parents=True)
    shutil.copyfile(source / WEIGHTS_FILE, target / WEIGHTS_FILE)
    (target / CONFIG_FILE).write_text(f"{json.dumps(config, indent=2)}\n", encoding="utf-8")


def _scaled(alpha: Any, factor: float) -> float:
    """Return alpha times the factor; a whole number as PEFT writes it, without a decimal point."""
    product = float(alpha) * factor
    return int(product) if product.is_integer() else product
