"""LoRA+ (Hayou et al., 2024, arXiv 2402.12354): B learns faster than A."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from lowland.ground.mistakes import Mistake

NEVER_DECAYED = ("bias", "layernorm", "rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)")
"""Names of parameters without weight decay, as Hugging Face's Trainer has them."""


def lora_plus_groups(
    model: nn.Module, lr: float, ratio: float = 16.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Parameter groups for any torch optimizer: B of every adapter learns at lr * ratio, all else at lr.

    With one rate for both, A and B of a wide layer do not both learn features: B starts at zero and its update must
    be the larger (section 4, theorem 1). The paper's default ratio is 16 (section 5); it finds that `lr` should then
    be somewhat smaller than LoRA's.

    Args:
        model: with LoRA adapters, lowland's or PEFT's. What is frozen is left out.
        lr: of A, the head, and whatever else is trained.
        ratio: B's learning rate as a multiple of `lr`.
        weight_decay: of all but biases and norms.

    Raises:
        Mistake: if the model has no B that is trained, or a value is out of its range.

    Example:
        >>> add_lora(model, LoRAConfig(r=8))
        >>> optimizer = torch.optim.AdamW(lora_plus_groups(model, lr=2e-4))
    """
    from transformers.trainer_pt_utils import get_parameter_names

    problems = [
        f"{name} is {value}; it must be a finite number above 0"
        for name, value in (("lr", lr), ("ratio", ratio))
        if not 0 < value < math.inf
    ]
    if problems:
        raise Mistake(*problems)
    decayed = set(get_parameter_names(model, [nn.LayerNorm], list(NEVER_DECAYED)))
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, one in model.named_parameters():
        if one.requires_grad:
            groups.setdefault((_is_b(name), name in decayed), []).append(one)
    if not any(is_b for is_b, _ in groups):
        raise Mistake("the model has no LoRA layers that are trained; add_lora(model, config) adds them")
    return [
        {"params": some, "lr": lr * ratio if is_b else lr, "weight_decay": weight_decay if decays else 0.0}
        for (is_b, decays), some in groups.items()
    ]


def _is_b(name: str) -> bool:
    """Of lowland: `….lora_B`; of PEFT: `….lora_B.default.weight`, `….lora_embedding_B.default`."""
    return not {"lora_B", "lora_embedding_B"}.isdisjoint(name.split("."))
