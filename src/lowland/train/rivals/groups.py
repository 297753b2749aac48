"""Parameter groups of the rivals: some parameters apart, and all others as in the Trainer's AdamW."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from torch import nn
from transformers.trainer_pt_utils import get_parameter_names

from lowland.lora.plus import NO_DECAY
from lowland.train.adapted import ParameterGroups


def groups_apart(
    model: nn.Module, apart: Set[str], options: dict[str, Any], weight_decay: float, **others: Any
) -> ParameterGroups:
    """Return three parameter groups: the parameters apart, and the others with and without weight decay.

    Args:
        model: the model; frozen parameters are left out.
        apart: last parts of the names of the parameters apart.
        options: options of their group.
        weight_decay: weight decay of the others; biases and norms have none.
        **others: further options of both groups of the others.
    """
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    decayed = set(get_parameter_names(model, [nn.LayerNorm], list(NO_DECAY)))
    chosen = {name for name in trained if name.rpartition(".")[2] in apart}
    rest = trained.keys() - chosen
    return [
        {"params": [value for name, value in trained.items() if name in names], **group}
        for names, group in (
            (chosen, options),
            (rest & decayed, {"weight_decay": weight_decay, **others}),
            (rest - decayed, {"weight_decay": 0.0, **others}),
        )
    ]
