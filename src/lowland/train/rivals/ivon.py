"""IVON-LoRA: a normal distribution over A and B is learned by IVON (Improved Variational Online Newton).

Sources: Shen et al., 2024, arXiv 2402.17641, algorithm 1, for the optimizer; Cong et al., 2025, arXiv 2506.14280, for
IVON in the place of AdamW on LoRA's A and B. Predictions are made at the mean.

Mean m and variance σ² = 1 / (λ (h + δ)) of each entry are learned. In each step the loss is computed at θ = m + σ z,
with z standard normal, and its gradient ĝ gives

    ĥ = ĝ (θ - m) / σ²
    g ← β1 g + (1 - β1) ĝ
    h ← β2 h + (1 - β2) ĥ + ½ (1 - β2)² (h - ĥ)² / (h + δ)
    m ← m - lr · clip((g / (1 - β1ᵗ) + δ m) / (h + δ), ξ)

The package `ivon-opt` does not serve here: it draws from torch's global generator, the step t is not in its state, so
that a resumed run differs, and it writes each draw into the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from lowland.ground.rng import stream_seed
from lowland.train.adapted import ParameterGroups
from lowland.train.rivals.groups import groups_apart
from lowland.train.rivals.shifting import ShiftingCallback
from lowland.train.settings import Settings

CLIP_RADIUS = 1e-3
"""ξ, the largest size of an entry's Newton step; lr · ξ is an entry's largest change in a step."""
BETA1, BETA2 = 0.9, 0.99999


class IVON(torch.optim.AdamW):
    """IVON for the parameter groups with `drawn`, and AdamW for all others.

    In each optimizer step, call `deviation` once for each drawn parameter, compute the gradients at the parameter plus
    its deviation (all forward passes under accumulation share it), and call `step`. The weight decay of a drawn group
    is δ, and has to be above 0.

    Args:
        groups: parameter groups; those whose "drawn" is true are learned by IVON.
        ess: λ, the effective sample size.
        hess_init: h at the start.
        **options: options of AdamW, and the learning rate.
    """

    def __init__(self, groups: ParameterGroups, *, ess: float, hess_init: float, **options: Any) -> None:
        super().__init__([{"drawn": False, **group} for group in groups], **options)
        self.ess, self.hess_init = ess, hess_init
        self._deviations: dict[nn.Parameter, Tensor] = {}

    @torch.no_grad()
    def deviation(self, parameter: nn.Parameter, z: Tensor) -> Tensor:
        """Return θ - m = σ z for a standard normal z of the parameter's shape, and keep it for `step`."""
        (delta,) = (
            group["weight_decay"]
            for group in self.param_groups
            if any(parameter is part for part in group["params"])
        )
        hessian = self.state[parameter].get("hessian", self.hess_init)
        self._deviations[parameter] = z * (self.ess * (hessian + delta)) ** -0.5
        return self._deviations[parameter]

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update the distributions by the gradients at the drawn values, and the other parameters by AdamW.

        Raises:
            RuntimeError: if a parameter has a gradient and no deviation was drawn.
        """
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["drawn"]]
        try:
            loss: float | None = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            for parameter in group["params"] if group["drawn"] else ():
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["weight_decay"])
        self._deviations = {}
        return loss

    @torch.no_grad()
    def _update(self, parameter: nn.Parameter, grad: Tensor, lr: float, delta: float) -> None:
        """Update one parameter's mean and variance; see the module's formulas."""
        if parameter not in self._deviations:
            raise RuntimeError("IVON has drawn nothing for this step; call deviation(parameter, z) before it")
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["momentum"] = torch.zeros_like(parameter)
            state["hessian"] = torch.full_like(parameter, self.hess_init)
        state["step"] += 1
        h = state["hessian"]
        h_hat = grad * self._deviations[parameter] * (self.ess * (h + delta))
        correction = 0.5 * (1 - BETA2) ** 2 * (h - h_hat).square() / (h + delta)
        h.add_(h_hat - h, alpha=1 - BETA2).add_(correction)
        state["momentum"].lerp_(grad, 1 - BETA1)
        mean = state["momentum"] / (1 - BETA1 ** float(state["step"]))
        newton = (mean + delta * parameter) / (h + delta)
        parameter.sub_(newton.clamp_(-CLIP_RADIUS, CLIP_RADIUS), alpha=lr)


class DrawFactors(ShiftingCallback):
    """Callback that draws A and B of all LoRA layers from IVON's distributions, once in each optimizer step.

    Args:
        seed: seed of the draws, which depend on it, the step, the layer's name and the state of IVON alone.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draw A and B for the optimizer step that begins."""
        optimizer = kwargs["optimizer"]
        optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        assert isinstance(optimizer, IVON)
        for name, layer in self.shifts.layers.items():
            drawn = []
            for factor, parameter in (("A", layer.lora_A), ("B", layer.lora_B)):
                seed = stream_seed(self.seed, "ivon", state.global_step, name, factor)
                generator = torch.Generator(parameter.device).manual_seed(seed)
                z = torch.randn(
                    parameter.shape, generator=generator, device=parameter.device, dtype=parameter.dtype
                )
                drawn.append(optimizer.deviation(parameter, z))
            self.shifts.set(name, *drawn)


def ivon_groups(model: nn.Module, settings: Settings) -> ParameterGroups:
    """Return the parameter groups: A and B for IVON, and all other trained parameters, such as the head, for AdamW.

    The others learn at lr · ξ, which is the largest step of IVON and about the step of AdamW. δ of A and B is the
    setting for weight decay.
    """
    drawn = {"drawn": True, "lr": settings.lr, "weight_decay": settings.weight_decay}
    return groups_apart(
        model, {"lora_A", "lora_B"}, drawn, settings.weight_decay, lr=settings.lr * CLIP_RADIUS
    )


def ivon(groups: ParameterGroups, settings: Settings) -> IVON:
    """Return the optimizer for these parameter groups."""
    return IVON(groups, ess=settings.ivon_ess, hess_init=settings.ivon_hess_init, lr=settings.lr)
