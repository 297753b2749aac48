"""LoRA+ (Hayou et al., 2024, arXiv 2402.12354): a higher learning rate for B than for A.

This module does not import torch before `lora_plus_groups` is called.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from lowland.ground.asked import Number
from lowland.ground.mistakes import Mistake

if TYPE_CHECKING:
    from torch import nn

LR_RATIO = 16.0
"""Learning rate of B as a multiple of that of A: the default of Hayou et al. (2024, section 5)."""
LRRatio = Annotated[Number, Field(ge=1)]
"""Learning rate of B as a multiple of that of A, in a recipe; `lora_plus_groups` takes any ratio above 0."""

NO_DECAY = ("bias", "layernorm", "rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)")
"""Patterns for the names of parameters without weight decay, as in Hugging Face's Trainer."""


def lora_plus_groups(
    model: nn.Module, lr: float, ratio: float = LR_RATIO, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Return parameter groups for a torch optimizer: lr * ratio for B of every adapter, lr for all other parameters.

    With a single learning rate, A and B of a wide layer cannot both learn features efficiently: B starts at zero, and
    its updates have to be larger (section 4, theorem 1). The paper's default ratio is 16 (section 5); it finds that
    `lr` should then be somewhat smaller than in LoRA.

    Args:
        model: a model with adapters of lowland or PEFT. Frozen parameters are left out.
        lr: learning rate of A, the head and all other trained parameters; above 0.
        ratio: learning rate of B as a multiple of `lr`; above 0.
        weight_decay: weight decay of all parameters but biases and norms; at least 0.

    Raises:
        Mistake: if no B in the model is trained, or a value is out of its range.

    Examples:
        >>> add_lora(model, LoRAConfig(r=8))
        >>> optimizer = torch.optim.AdamW(lora_plus_groups(model, lr=2e-4))
    """
    from torch import nn
    from transformers.trainer_pt_utils import get_parameter_names

    _check_numbers(lr, ratio, weight_decay)
    decayed = set(get_parameter_names(model, [nn.LayerNorm], list(NO_DECAY)))
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((_is_b(name), name in decayed), []).append(parameter)
    if not any(is_b for is_b, _ in groups):
        raise Mistake("the model has no LoRA layers that are trained; add_lora(model, config) adds them")
    return [
        {
            "params": parameters,
            "lr": lr * ratio if is_b else lr,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (is_b, decays), parameters in groups.items()
    ]


def _check_numbers(lr: float, ratio: float, weight_decay: float) -> None:
    """Raise `Mistake` with one sentence for each value that is out of its range."""
    problems = [
        f"{name} is {value}; it must be a finite number above 0"
        for name, value in (("lr", lr), ("ratio", ratio))
        if not 0 < value < math.inf
    ]
    if not 0 <= weight_decay < math.inf:
        problems.append(f"weight_decay is {weight_decay}; it must be a finite number of at least 0")
    if problems:
        raise Mistake(*problems)


def _is_b(name: str) -> bool:
    """Return whether a parameter's name is that of a matrix B.

    lowland's names end with `.lora_B`; PEFT's with `.lora_B.default.weight` or `.lora_embedding_B.default`.
    """
    return not {"lora_B", "lora_embedding_B"}.isdisjoint(name.split("."))
