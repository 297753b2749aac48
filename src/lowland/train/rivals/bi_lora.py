"""Bi-LoRA: a second, adversarial adapter that ascends the loss while the first descends.

Source: Liu et al., 2025, arXiv 2508.19564v2, section 3, algorithm 1. The merged weight in training is
W + s (B1 A1 + B2 A2). One backward pass gives the gradients of both: A1 and B1 descend, A2 and B2 ascend, by the same
optimizer with the same learning rate (equation 9, appendix Q). After each update the second adapter is scaled so that
the norm of s B2 A2 over all layers is at most ρ (equation 10). It is dropped after the training, and does not act in
evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import TrainerControl, TrainerState, TrainingArguments

from lowland.ground.rng import stream_seed
from lowland.lora import LoRALinear, lora_layers
from lowland.lora.swapped import Swapped
from lowland.models.load import LoadedModel
from lowland.train.adapted import AdaptedModel, ParameterGroups
from lowland.train.method_callback import MethodCallback
from lowland.train.parts import our_lora
from lowland.train.rivals.groups import groups_apart
from lowland.train.settings import Settings

AUXILIARY = ("auxiliary_A", "auxiliary_B")
"""Names of A2 and B2 in a layer."""


class BiLoRALinear(Swapped):
    """LoRA layer with a second adapter of the same rank and scale, which acts in training mode.

    Attributes:
        auxiliary_A: A2 (r, in_features), initialised as A1.
        auxiliary_B: B2 (out_features, r), initialised with zeros.
    """

    added_attributes: ClassVar[tuple[str, ...]] = ()
    lora_A: nn.Parameter
    lora_B: nn.Parameter
    auxiliary_A: nn.Parameter
    auxiliary_B: nn.Parameter
    scaling: float

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return [A1; A2] (2r, in) and [B1, B2] (out, 2r) in training mode, A1 and B1 in evaluation."""
        factors: tuple[Tensor, Tensor] = super().factors()  # type: ignore[misc]  # that of LoRALinear
        if not self.training:
            return factors
        a, b = factors
        return torch.cat([a, self.auxiliary_A]), torch.cat([b, self.auxiliary_B], dim=1)


def bi_lora(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    """Train LoRA adapters and a second, adversarial adapter beside each, which is dropped after the training.

    Raises:
        Mistake: as `our_lora`.
    """
    adapted = our_lora(loaded, settings, seed)
    for name, layer in lora_layers(adapted.model):
        if isinstance(layer, LoRALinear):
            add_auxiliary(layer, stream_seed(seed, "adapter", name, "auxiliary"))
    return adapted


def add_auxiliary(layer: LoRALinear, seed: int) -> None:
    """Give a layer its second adapter, in place: A2 is Kaiming-uniform and B2 is 0."""
    a, b = nn.Parameter(torch.empty_like(layer.lora_A)), nn.Parameter(torch.zeros_like(layer.lora_B))
    if not a.is_meta:
        generator = torch.Generator(a.device).manual_seed(seed)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
    for name, part in zip(AUXILIARY, (a, b), strict=True):
        layer.register_parameter(name, part)
    BiLoRALinear.swap(layer)


def bi_layers(model: nn.Module) -> Iterator[BiLoRALinear]:
    """Yield the layers with a second adapter."""
    for module in model.modules():
        if isinstance(module, BiLoRALinear):
            yield module


def bi_lora_groups(model: nn.Module, settings: Settings) -> ParameterGroups:
    """Return AdamW's parameter groups: A2 and B2 ascend, without weight decay; all others descend as in LoRA."""
    second = {"weight_decay": 0.0, "maximize": True}
    return groups_apart(model, set(AUXILIARY), second, settings.weight_decay)


@torch.no_grad()
def clip_auxiliary(layers: Iterable[BiLoRALinear], rho: float) -> None:
    """Scale A2 and B2 of all layers by √(ρ / c) if c > ρ, with c the norm of s B2 A2 over all layers (equation 10).

    ‖B2 A2‖² = sum(B2ᵀB2 ∘ A2A2ᵀ), so no product is larger than (r, r).
    """
    layers = list(layers)
    squares = [_squared_norm(layer.auxiliary_A, layer.auxiliary_B) * layer.scaling**2 for layer in layers]
    total = math.sqrt(sum(squares))
    if total > rho:
        factor = math.sqrt(rho / total)
        for layer in layers:
            layer.auxiliary_A.mul_(factor)
            layer.auxiliary_B.mul_(factor)


def _squared_norm(a: Tensor, b: Tensor) -> float:
    """Return ‖B A‖², computed in float64."""
    a, b = a.double(), b.double()
    return max(0.0, float(((b.T @ b) * (a @ a.T)).sum()))


class BiLoRA(MethodCallback):
    """Callback that clips the second adapters after each update, and drops them after the training.

    Their values are parameters of the model, so they are saved with each checkpoint.

    Args:
        rho: ρ, the largest norm of s B2 A2 over all layers.
    """

    def __init__(self, rho: float) -> None:
        self.rho = rho

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Scale the second adapters down to a norm of at most ρ."""
        clip_auxiliary(bi_layers(kwargs["model"]), self.rho)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop the second adapters: the model is one with LoRA."""
        for layer in list(bi_layers(kwargs["model"])):
            for name in AUXILIARY:
                delattr(layer, name)
            layer.take_out(BiLoRALinear)
