"""The methods there are: a table of methods, a small one of perturbations, and names that compose them.

A method is a row, not a class: `adapt` says what is trained, `perturb` what noise it is trained under, `optimise` which
parameters learn how fast. A perturbation is a row, too, and goes in front of a method: `flat+dora`, `neftune+full`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.spec import RunSpec
from lowland.train import peft_methods as peft_adapters

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


def flat_noise(spec: RunSpec) -> TrainerCallback:
    """Training under Flat-LoRA's noise on the merged full weight."""
    from lowland.flat import FlatLoRA

    return FlatLoRA(rho=spec.options["rho"], seed=spec.seed)


def embedding_noise(spec: RunSpec) -> TrainerCallback:
    """Training under NEFTune's noise on the input embeddings."""
    from lowland.train.neftune import NEFTune

    return NEFTune(alpha=spec.options["neftune_alpha"], seed=spec.seed)


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
    """A row of the table, or one with perturbations in front.

    Attributes:
        name: in recipes, and in a run's key.
        summary: one line for `lowland methods`.
        adapt: gives the model back, changed in place or wrapped, so that what is trained requires gradients and
            nothing else does. On a model without weights (on the meta device) it says at least what does not fit.
        perturb: names of `PERTURBATIONS`.
        optimise: AdamW's parameter groups; None leaves them to the Trainer.
        options: the recipe's fields that the method uses beside those of `lowland.ground.recipe.TRAINING`.
    """

    name: str
    summary: str
    adapt: Callable[[nn.Module, RunSpec], nn.Module]
    perturb: tuple[str, ...] = ()
    optimise: Callable[[nn.Module, RunSpec], list[dict[str, Any]] | None] = one_rate
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Perturbation:
    """A row of the table of perturbations.

    Attributes:
        name: in front of a method's.
        summary: one line for `lowland methods`.
        callback: the Trainer's callback that puts the noise on and takes it off.
        option: the recipe's field that says how strong it is.
        on_adapters: whether it goes on an adapter's merged weight, and so not with a method that has no adapter.
    """

    name: str
    summary: str
    callback: Callable[[RunSpec], TrainerCallback]
    option: str
    on_adapters: bool = False


BRANCH = ("rank", "alpha", "dropout", "targets", "rank_pattern", "alpha_pattern")
LORA = (*BRANCH, "rslora")

PERTURBATIONS: Mapping[str, Perturbation] = {
    row.name: row
    for row in (
        Perturbation(
            "neftune",
            "uniform noise on the input embeddings (NEFTune; Jain et al., 2023)",
            embedding_noise,
            "neftune_alpha",
        ),
        Perturbation(
            "flat",
            "normal noise on an adapter's merged weight (Flat-LoRA; Li et al., 2025)",
            flat_noise,
            "rho",
            on_adapters=True,
        ),
    )
}
"""In the order in which a name has them."""

_ROWS = (
    Method("full", "full fine-tuning: every parameter is trained", train_everything),
    Method("lora", "LoRA (Hu et al., 2021) on every linear layer", our_lora, options=LORA),
    Method(
        "flat-lora",
        "LoRA under random noise on the merged weight (Flat-LoRA; Li et al., 2025)",
        our_lora,
        perturb=("flat",),
        options=(*LORA, "rho"),
    ),
    Method(
        "rslora",
        "LoRA scaled by alpha / sqrt(rank) (rsLoRA; Kalajdzievski, 2023)",
        partial(our_lora, rslora=True),
        options=BRANCH,
    ),
    Method(
        "lora-plus",
        "LoRA whose B learns lr_ratio times as fast as its A (LoRA+; Hayou et al., 2024)",
        our_lora,
        optimise=lora_plus,
        options=(*LORA, "lr_ratio"),
    ),
    Method(
        "dora",
        "PEFT's DoRA: LoRA on the weight's direction, with a magnitude beside it (Liu et al., 2024)",
        peft_adapters.dora,
        options=BRANCH,
    ),
    Method(
        "pissa",
        "PEFT's PiSSA: A and B start as W's principal part, which is taken out of W itself (Meng et al., 2024)",
        peft_adapters.pissa,
        options=BRANCH,
    ),
    Method(
        "vera",
        "PEFT's VeRA: vectors that scale one random A and B of all layers; wants a high rank (Kopiczko et al., 2024)",
        peft_adapters.vera,
        options=("rank", "dropout", "targets"),
    ),
    Method(
        "ia3",
        "PEFT's (IA)³: vectors that scale keys, values and feed-forward; wants a high lr (Liu et al., 2022)",
        peft_adapters.ia3,
    ),
)

METHODS: Mapping[str, Method] = {row.name: row for row in _ROWS}

SAME = {"flat+lora": "flat-lora"}
"""Compositions that are rows: one thing has one name, and one run key."""


def method_named(name: str) -> Method:
    """The method of a name: a row's, or a row's with perturbations in front, joined by "+".

    The perturbations' order does not count, and what is a row by another name is the row; the method's own name tells.

    Raises:
        Mistake: if a part is unknown, is there twice, or does not go with the row.

    Example:
        >>> method_named("flat+neftune+dora").name, method_named("flat+lora").name
        ('neftune+flat+dora', 'flat-lora')
    """
    *front, last = name.split("+")
    problems = [one_of("perturbation", one, PERTURBATIONS) for one in front if one not in PERTURBATIONS]
    if last in PERTURBATIONS:
        problems.append(f"{last} in '{name}' is a perturbation; put a method behind it, as in {last}+lora")
    elif last not in METHODS:
        problems.append(one_of("method", last, METHODS))
    if problems:
        raise Mistake(*problems)
    method = METHODS[last]
    for one in sorted(front, key=list(PERTURBATIONS).index, reverse=True):
        method = _under(PERTURBATIONS[one], method)
    return method


def perturbers(method: Method, spec: RunSpec) -> list[TrainerCallback]:
    """The Trainer's callbacks that put a method's noise on."""
    return [PERTURBATIONS[one].callback(spec) for one in method.perturb]


def _under(noise: Perturbation, method: Method) -> Method:
    name = f"{noise.name}+{method.name}"
    if noise.name in method.perturb:
        raise Mistake(f"method '{name}' has {noise.name} twice: {method.name} has it already; once is enough")
    if noise.on_adapters and method.adapt is train_everything:
        raise Mistake(
            f"method '{name}' cannot be: {noise.name} puts noise on an adapter's merged weight, and {method.name} has"
            " no adapter; take another method"
        )
    composed = replace(
        method, name=name, perturb=(noise.name, *method.perturb), options=(*method.options, noise.option)
    )
    return METHODS[SAME[name]] if name in SAME else composed
