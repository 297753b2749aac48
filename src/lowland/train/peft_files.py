"""Files of PEFT's adapters, with the modules that were trained in full."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER = "default"
"""PEFT's name for the first adapter."""


def save_peft(
    model: Any, folder: Path, base_model: str, pissa_start: Mapping[str, Tensor] | None = None
) -> None:
    """Save a wrapped model's adapter and the modules trained in full, for `PeftModel.from_pretrained`.

    Args:
        model: a model that a function of `peft_methods` wrapped.
        folder: folder to write to; it is made.
        base_model: name of the base model, for the config.
        pissa_start: PiSSA's initial A and B; the saved adapter is the difference to them.
    """
    config = model.peft_config[ADAPTER]
    config.base_model_name_or_path = base_model
    if pissa_start is None:
        model.save_pretrained(folder, save_embedding_layers=False)
    else:
        _save_difference(model, folder, pissa_start)


def _save_difference(model: Any, folder: Path, pissa_start: Mapping[str, Tensor]) -> None:
    """Save what PiSSA learned as plain LoRA on the original W: s(BA - B₀A₀) = s [B, -B₀] [A; A₀].

    PEFT's own conversion leaves the modules trained in full out of the file.
    """
    import torch
    from safetensors.torch import save_file

    state = peft_state(model)
    for name, start in pissa_start.items():
        down = ".lora_A" in name
        state[name] = torch.cat(
            [state[name], start if down else -start], dim=0 if down else 1
        )  # (2r, in), (out, 2r)
    config = copy.deepcopy(model.peft_config[ADAPTER])
    config.init_lora_weights, config.inference_mode = True, True
    config.r, config.lora_alpha = 2 * config.r, 2 * config.lora_alpha
    config.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {name: 2 * alpha for name, alpha in config.alpha_pattern.items()}
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def peft_state(model: Any) -> dict[str, Tensor]:
    """Return the tensors that PEFT saves, by its names."""
    from peft import get_peft_model_state_dict

    return dict(get_peft_model_state_dict(model, save_embedding_layers=False))
