"""The methods there are: a table. A method is a row, not a class.

`adapt` says what is trained, `perturb` what noise it is trained under, `optimise` which parameters learn how fast.
They may be combined freely, and a new method is a new row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lowland.spec import RunSpec
from lowland.train import peft_adapters

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerCallback


def train_everything(model: nn.Module, spec: RunSpec) -> nn.Module:
    """Full fine-tuning: every parameter is trained."""
    return model.requires_grad_(True)


def our_lora(model: nn.Module, spec: RunSpec, rslora: bool = False) -> nn.Module:
    """LoRA: adapters, the head, and what else the checkpoint lacked are trained; all else is frozen."""
    from lowland.lora import LoRAConfig, add_lora, find_head

    asked = spec.options
    patterns = {name: dict(asked[name]) for name in ("rank_pattern", "alpha_pattern") if asked[name]}
    config = LoRAConfig(
        r=asked["rank"],
        alpha=asked["alpha"],
        dropout=asked["dropout"],
        targets=asked["targets"],
        rslora=rslora or asked["rslora"],
        modules_to_save=(*find_head(model), *getattr(model, "fresh_modules", ())),
        **patterns,
    )
    return add_lora(model, config, seed=spec.seed)


def no_noise(spec: RunSpec) -> list[TrainerCallback]:
    """Plain training."""
    return []


def flat_noise(spec: RunSpec) -> list[TrainerCallback]:
    """Training under Flat-LoRA's noise on the merged full weight."""
    from lowland.flat import FlatLoRA

    return [FlatLoRA(rho=spec.options["rho"], seed=spec.seed)]


def one_rate(model: nn.Module, spec: RunSpec) -> list[dict[str, Any]] | None:
    """One learning rate for all, in the Trainer's own parameter groups."""
    return None


def lora_plus(model: nn.Module, spec: RunSpec) -> list[dict[str, Any]] | None:
    """LoRA+'s parameter groups: B learns faster."""
    from lowland.lora.plus import lora_plus_groups

    asked = spec.training
    return lora_plus_groups(model, asked["lr"], spec.options["lr_ratio"], asked["weight_decay"])


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        summary: one line for `lowland methods`.
        adapt: gives the model back, changed in place or wrapped, so that what is trained requires gradients and
            nothing else does. On a model without weights (on the meta device) it says at least what does not fit.
        perturb: the Trainer's callbacks that put noise on the weights.
        optimise: AdamW's parameter groups; None leaves them to the Trainer.
        options: the recipe's fields that the method uses beside those of `lowland.recipe.TRAINING`.
    """

    summary: str
    adapt: Callable[[nn.Module, RunSpec], nn.Module]
    perturb: Callable[[RunSpec], list[TrainerCallback]] = no_noise
    optimise: Callable[[nn.Module, RunSpec], list[dict[str, Any]] | None] = one_rate
    options: tuple[str, ...] = ()


BRANCH = ("rank", "alpha", "dropout", "targets", "rank_pattern", "alpha_pattern")
LORA = (*BRANCH, "rslora")

METHODS: Mapping[str, Method] = {
    "full": Method("full fine-tuning: every parameter is trained", train_everything),
    "lora": Method("LoRA (Hu et al., 2021) on every linear layer", our_lora, options=LORA),
    "flat-lora": Method(
        "LoRA under random noise on the merged weight (Flat-LoRA; Li et al., 2025)",
        our_lora,
        flat_noise,
        options=(*LORA, "rho"),
    ),
    "rslora": Method(
        "LoRA scaled by alpha / sqrt(rank) (rsLoRA; Kalajdzievski, 2023)",
        partial(our_lora, rslora=True),
        options=BRANCH,
    ),
    "lora-plus": Method(
        "LoRA whose B learns lr_ratio times as fast as its A (LoRA+; Hayou et al., 2024)",
        our_lora,
        optimise=lora_plus,
        options=(*LORA, "lr_ratio"),
    ),
    "dora": Method(
        "PEFT's DoRA: LoRA on the weight's direction, with a magnitude beside it (Liu et al., 2024)",
        peft_adapters.dora,
        options=BRANCH,
    ),
    "pissa": Method(
        "PEFT's PiSSA: A and B start as W's principal part, which is taken out of W itself (Meng et al., 2024)",
        peft_adapters.pissa,
        options=BRANCH,
    ),
    "vera": Method(
        "PEFT's VeRA: vectors that scale one random A and B of all layers; wants a high rank (Kopiczko et al., 2024)",
        peft_adapters.vera,
        options=("rank", "dropout", "targets"),
    ),
    "ia3": Method(
        "PEFT's (IA)³: vectors that scale keys, values and feed-forward; wants a high lr (Liu et al., 2022)",
        peft_adapters.ia3,
    ),
}
