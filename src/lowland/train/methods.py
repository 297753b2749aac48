"""The methods there are: a table. A method is a row, not a class.

`adapt` says what is trained (it changes the model in place), `perturb` what noise it is trained under. Both may be
combined freely, and a new method is a new row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowland.recipe import RunSpec

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerCallback


def train_everything(model: nn.Module, spec: RunSpec) -> None:
    """Full fine-tuning: every parameter is trained."""
    model.requires_grad_(True)


def our_lora(model: nn.Module, spec: RunSpec) -> None:
    """LoRA: adapters, the head, and what else the checkpoint lacked are trained; all else is frozen."""
    from lowland.lora import LoRAConfig, add_lora, find_head

    config = LoRAConfig(
        r=spec.options["rank"],
        alpha=spec.options["alpha"],
        dropout=spec.options["dropout"],
        targets=spec.options["targets"],
        rslora=spec.options["rslora"],
        modules_to_save=(*find_head(model), *getattr(model, "fresh_modules", ())),
    )
    add_lora(model, config, seed=spec.seed)


def no_noise(spec: RunSpec) -> list[TrainerCallback]:
    """Plain training."""
    return []


def flat_noise(spec: RunSpec) -> list[TrainerCallback]:
    """Training under Flat-LoRA's noise on the merged full weight."""
    from lowland.flat import FlatLoRA

    return [FlatLoRA(rho=spec.options["rho"], seed=spec.seed)]


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        summary: one line for `lowland methods`.
        adapt: changes the model in place, so that what is trained requires gradients and nothing else does.
        perturb: the Trainer's callbacks that put noise on the weights.
        options: the recipe's fields that the method uses beside those of `lowland.recipe.TRAINING`.
    """

    summary: str
    adapt: Callable[[nn.Module, RunSpec], None]
    perturb: Callable[[RunSpec], list[TrainerCallback]] = no_noise
    options: tuple[str, ...] = ()


LORA = ("rank", "alpha", "dropout", "targets", "rslora")

METHODS: Mapping[str, Method] = {
    "full": Method("full fine-tuning: every parameter is trained", train_everything),
    "lora": Method("LoRA (Hu et al., 2021) on every linear layer", our_lora, options=LORA),
    "flat-lora": Method(
        "LoRA under random noise on the merged weight (Flat-LoRA; Li et al., 2025)",
        our_lora,
        flat_noise,
        options=(*LORA, "rho"),
    ),
}
