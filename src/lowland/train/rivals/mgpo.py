"""LoRA-MGPO: LoRA at A and B that are perturbed along the optimizer's momentum.

Source: Chang et al., 2025, Findings of EMNLP, pages 648-659 (arXiv 2502.14538v3), section 2.2. SAM's perturbation needs
a gradient of its own; MGPO takes the momentum of the step before for its direction (equation 3):

    E_t = ρ · m_{t-1} / ‖m_{t-1}‖ · 1 / ḡ_{t-1}        ḡ_t = β ḡ_{t-1} + (1 - β) ‖∇L(θ_t + E_t)‖

with θ all A and B together, and m AdamW's first moment. The first step has no momentum, and no perturbation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from lowland.flat.ascent import total_norm
from lowland.train.rivals.shifting import ShiftingCallback


class MGPO(ShiftingCallback):
    """Callback that perturbs A and B of all LoRA layers along the optimizer's momentum.

    All forward passes of an optimizer step share the perturbation. The paper does not say where ḡ starts; here it
    starts at the first step's gradient norm, since a start at 0 would make the first perturbations 1 / (1 - β) times
    too large.

    Args:
        rho: ρ, the size of the perturbation at a gradient norm of 1.
        beta: β of the average of the gradient's norm.
    """

    def __init__(self, rho: float, beta: float) -> None:
        self.rho, self.beta = rho, beta
        self.mean_norm: Tensor | None = None

    @torch.no_grad()
    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Set the perturbation of the optimizer step that begins."""
        moments = kwargs["optimizer"].state
        momentum = [moments[part]["exp_avg"] for part in self._parts() if "exp_avg" in moments.get(part, ())]
        if self.mean_norm is None or not momentum:
            return
        size = total_norm(momentum) * self.mean_norm
        for name, layer in self.shifts.layers.items():
            parts = [moments.get(part, {}).get("exp_avg") for part in (layer.lora_A, layer.lora_B)]
            a, b = (
                None if part is None or size == 0 else self.rho * part / size.to(part.device)
                for part in parts
            )
            self.shifts.set(name, a, b)

    @torch.no_grad()
    def before_clipping(self) -> None:
        """Update the average of the norm of the gradient with respect to A and B, before it is clipped."""
        grads = [part.grad for part in self._parts() if part.grad is not None]
        if grads:
            norm = total_norm(grads)
            mean = norm if self.mean_norm is None else self.mean_norm.to(norm.device)
            self.mean_norm = self.beta * mean + (1 - self.beta) * norm

    def state(self) -> Mapping[str, Tensor]:
        """Return ḡ; the momentum is the optimizer's."""
        return {} if self.mean_norm is None else {"mean_norm": self.mean_norm}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take ḡ from a checkpoint."""
        self.mean_norm = state.get("mean_norm")

    def _parts(self) -> list[nn.Parameter]:
        """Return A and B of all layers."""
        return [part for layer in self.shifts.layers.values() for part in (layer.lora_A, layer.lora_B)]
