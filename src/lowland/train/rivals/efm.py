"""EFMLoRA: LoRA at a perturbed B, where the perturbation is estimated from the gradients of earlier steps.

Source: Deng et al., 2025, arXiv 2508.00522v3. SAM's perturbation of the merged weight, E = ρ G / ‖G‖ with the gradient
G of W', is estimated from the gradients of A and B, and carried over to B (equations 10 to 15):

    G   ≈ ½ (∇B (Aᵀ)⁺ + (Bᵀ)⁺ ∇A) / s
    E_B = E A⁺ / s

The gradient of step t is taken at B plus the moving average of the earlier E_B (equation 18, algorithm 2), so a step
has one forward and one backward pass. G (out_features, in_features) is never formed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from lowland.train.rivals.shifting import ShiftingCallback


@torch.no_grad()
def perturbation_of_b(
    a: Tensor, b: Tensor, grad_a: Tensor, grad_b: Tensor, scaling: float, rho: float
) -> Tensor:
    """Return E_B (out_features, r), SAM's perturbation of the merged weight carried over to B.

    With the pseudo-inverses (Aᵀ)⁺ = (A Aᵀ)⁺ A and (Bᵀ)⁺ = B (Bᵀ B)⁺, all products are of r columns or rows:
    G = U V / 2s with U = [∇B (A Aᵀ)⁺, B (Bᵀ B)⁺] and V = [A; ∇A], and ‖U V‖² = sum(UᵀU ∘ VVᵀ).

    Args:
        a: A (r, in_features) where the gradients were taken.
        b: B (out_features, r) where the gradients were taken: with its perturbation.
        grad_a: gradient with respect to A.
        grad_b: gradient with respect to B.
        scaling: the scale s.
        rho: ρ, the norm of the perturbation of the merged weight.
    """
    dtype = b.dtype
    a, b, grad_a, grad_b = (tensor.double() for tensor in (a, b, grad_a, grad_b))
    inverse_a, inverse_b = inverse_gram(a), inverse_gram(b.T)  # (r, r)
    u = torch.cat([grad_b @ inverse_a, b @ inverse_b], dim=1)  # (out, 2r)
    v = torch.cat([a, grad_a])  # (2r, in)
    norm = (u.T @ u).mul_(v @ v.T).sum().clamp_min(0).sqrt()  # 2s ‖G‖
    if norm == 0:
        return torch.zeros_like(b, dtype=dtype)
    return (u @ (v @ (a.T @ inverse_a))).mul_(rho / (scaling * norm)).to(dtype)


def inverse_gram(rows: Tensor) -> Tensor:
    """Return (M Mᵀ)⁺ (r, r) for M (r, n); singular values of M below float32's accuracy count as 0."""
    limit = max(rows.shape) * torch.finfo(torch.float32).eps
    inverse: Tensor = torch.linalg.pinv(rows @ rows.T, rtol=limit**2, hermitian=True)
    return inverse


class EFM(ShiftingCallback):
    """Callback that perturbs B of every LoRA layer by the moving average of earlier perturbations.

    The perturbation of the merged weight has norm ρ / √t in step t = 1, 2, …, in each layer: the paper reduces ρ during
    the training, and this is the one schedule that it writes down (theorem 2).

    Args:
        rho: ρ at the first step.
        beta: weight β of the newest perturbation in the moving average.
    """

    def __init__(self, rho: float, beta: float) -> None:
        self.rho, self.beta = rho, beta
        self.average: dict[str, Tensor] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make the layers ready to be perturbed."""
        super().on_train_begin(args, state, control, **kwargs)
        self.average = {
            name: tensor.to(self.shifts.layers[name].lora_B.device) for name, tensor in self.average.items()
        }

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Perturb B by the average of the steps before; the first step has none."""
        for name, average in self.average.items():
            self.shifts.set(name, b=average)

    @torch.no_grad()
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the new perturbation into the average. Clipping scales both gradients, and so does not change it."""
        rho = self.rho / math.sqrt(state.global_step + 1)
        for name, layer in self.shifts.layers.items():
            a, b = layer.lora_A, layer.lora_B
            if a.grad is None or b.grad is None:
                continue
            before = self.average.get(name)
            at = b if before is None else b + before
            new = perturbation_of_b(a, at, a.grad, b.grad, layer.scaling, rho)
            self.average[name] = new if before is None else before.lerp(new, self.beta)

    def state(self) -> Mapping[str, Tensor]:
        """Return the average perturbation of each layer's B."""
        return self.average

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the averages of a checkpoint."""
        self.average = dict(state)
