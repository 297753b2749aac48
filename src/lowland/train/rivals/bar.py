"""Balancedness-aware regularisation (BAR): LoRA whose A and B are driven towards equal norms, layer by layer.

Source: Li, Zhang and He, 2024, arXiv 2410.14802. SAM keeps the balancedness ½ (‖B‖² - ‖A‖²) of a layer small; BAR does
so without SAM's second gradient, by a factor on A and B that costs as much as weight decay. Of the paper's two variants
this is nBAR (algorithm 2), which it derives for problems of LoRA's kind (section 5.2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from lowland.lora import lora_layers
from lowland.train.method_callback import MethodCallback


@torch.no_grad()
def balance(a: Tensor, b: Tensor, grad_a: Tensor, grad_b: Tensor, factor: float) -> None:
    """Scale up the factor with the larger gradient, and the other down, in place: nBAR's step (algorithm 2).

    If ‖∇B‖ ≥ ‖∇A‖, B ← (1 + αη) B and A ← (1 - αη) A; otherwise the other way round. The optimizer's step follows.

    Args:
        a: A (r, in_features).
        b: B (out_features, r).
        grad_a: gradient of the loss with respect to A.
        grad_b: gradient of the loss with respect to B.
        factor: αη, the strength times the learning rate.
    """
    sign = 1.0 if grad_b.norm() >= grad_a.norm() else -1.0
    b.mul_(1 + sign * factor)
    a.mul_(1 - sign * factor)


class BAR(MethodCallback):
    """Callback that applies nBAR to every LoRA layer before each optimizer step.

    The strength falls linearly from `alpha` to 0 over the training; the paper's schedules are linear, cosine and
    constant (section 5.2, table 6). It keeps no state.

    Args:
        alpha: strength at the first step.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def strength(self, step: int, steps: int) -> float:
        """Return α_t = alpha · (1 - t / T) for optimizer step t of T."""
        return self.alpha * (1 - step / steps)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Scale A and B of each layer by the step's gradients; clipping does not change which is larger."""
        lr: float = kwargs["optimizer"].param_groups[0]["lr"]
        factor = self.strength(state.global_step, state.max_steps) * lr
        for _, layer in lora_layers(kwargs["model"]):
            a, b = layer.lora_A, layer.lora_B
            if a.grad is not None and b.grad is not None:
                balance(a, b, a.grad, b.grad, factor)
