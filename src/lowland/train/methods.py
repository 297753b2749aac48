"""Table of methods, table of perturbations, and names that combine them.

A method is a row, not a class: `adapt` selects what is trained, `perturb` names the noise, and `parameter_groups` sets
learning rates. A perturbation is a row, too, and goes in front of a method: `flat+dora`, `neftune+full`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.names import nearest
from lowland.models.load import LoadedModel
from lowland.train import peft_methods
from lowland.train.adapted import AdaptedModel, ParameterGroups
from lowland.train.parts import our_lora, train_biases, train_everything, train_head
from lowland.train.settings import TRAINING, Settings

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainerCallback

Adapt = Callable[[LoadedModel, Settings, int], AdaptedModel]


def flat_noise(settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for Flat-LoRA's noise on the merged full weight."""
    from lowland.flat import FlatLoRA

    return FlatLoRA(rho=settings.rho, seed=seed)


def embedding_noise(settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for NEFTune's noise on the input embeddings."""
    from lowland.train.neftune import NEFTune

    return NEFTune(alpha=settings.neftune_alpha, seed=seed)


def one_rate(model: nn.Module, settings: Settings) -> ParameterGroups | None:
    """Leave the parameter groups to the Trainer: one learning rate for all."""
    return None


def lora_plus(model: nn.Module, settings: Settings) -> ParameterGroups | None:
    """Return LoRA+'s parameter groups, with a higher learning rate for B."""
    from lowland.lora.plus import lora_plus_groups

    return lora_plus_groups(model, settings.lr, settings.lr_ratio, settings.weight_decay)


@dataclass(frozen=True)
class Method:
    """A row of the table of methods, or a row with perturbations in front.

    Attributes:
        name: name in recipes, and in a run's key.
        summary: one line for `lowland methods`.
        adapt: function that returns the model, changed in place or wrapped; only the parameters to train require
            gradients afterwards. On a model on the meta device it raises Mistake for what does not fit.
        perturb: names of `PERTURBATIONS`.
        parameter_groups: function that returns AdamW's parameter groups; None leaves them to the Trainer.
        options: settings that the method uses in addition to those of `TRAINING`.
        defaults: settings whose default differs for this method.
        has_adapter: whether it adds an adapter, whose merged weight can take noise.
        counts_words: whether it is the bag of words, which trains no network and ignores the model.
    """

    name: str
    summary: str
    adapt: Adapt = train_everything
    perturb: tuple[str, ...] = ()
    parameter_groups: Callable[[nn.Module, Settings], ParameterGroups | None] = one_rate
    options: tuple[str, ...] = ()
    defaults: Mapping[str, float] = field(default_factory=dict)
    has_adapter: bool = True
    counts_words: bool = False

    @property
    def uses(self) -> tuple[str, ...]:
        """Names of all settings that the method uses."""
        return self.options if self.counts_words else (*TRAINING, *self.options)


@dataclass(frozen=True)
class Perturbation:
    """A row of the table of perturbations.

    Attributes:
        name: prefix of a composed name, as in `flat+dora`.
        summary: one line for `lowland methods`.
        callback: function that returns the Trainer's callback that adds the noise.
        option: setting for the strength of the noise.
        on_adapters: whether it needs an adapter's merged weight, and so a method with an adapter.
    """

    name: str
    summary: str
    callback: Callable[[Settings, int], TrainerCallback]
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
"""In the order in which a method's name lists them."""

_ROWS = (
    Method(
        "full",
        "full fine-tuning: every parameter is trained; lr 5e-5 unless it has its own",
        train_everything,
        defaults={"lr": 5e-5},
        has_adapter=False,
    ),
    Method("lora", "LoRA (Hu et al., 2021) on every linear layer but the head", our_lora, options=LORA),
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
        "LoRA with a learning rate of B that is lr_ratio times that of A (LoRA+; Hayou et al., 2024)",
        our_lora,
        parameter_groups=lora_plus,
        options=(*LORA, "lr_ratio"),
    ),
    Method(
        "head",
        "a new output layer on the frozen model; lr 1e-2 unless it has its own",
        train_head,
        defaults={"lr": 1e-2},
        has_adapter=False,
    ),
    Method(
        "bitfit",
        "the biases and the output layer (BitFit; Ben Zaken et al., 2022); lr 1e-3 unless it has its own",
        train_biases,
        defaults={"lr": 1e-3},
        has_adapter=False,
    ),
    Method(
        "bag-of-words",
        "logistic regression on TF-IDF of words and pairs of words, without the model: what fine-tuning should beat",
        has_adapter=False,
        counts_words=True,
    ),
    Method(
        "dora",
        "PEFT's DoRA: LoRA on the weight's direction, with a trained magnitude (Liu et al., 2024)",
        peft_methods.dora,
        options=BRANCH,
    ),
    Method(
        "pissa",
        "PEFT's PiSSA: A and B start as the principal part of W, and W is replaced by the residual (Meng et al., 2024)",
        peft_methods.pissa,
        options=BRANCH,
    ),
    Method(
        "vera",
        "PEFT's VeRA: trained vectors scale one frozen random A and B (Kopiczko et al., 2024)",
        peft_methods.vera,
        options=("rank", "dropout", "targets"),
        defaults={"lr": 2e-2, "rank": 256},  # see docs/lora.md
    ),
    Method(
        "ia3",
        "PEFT's (IA)³: vectors that scale keys, values and feed-forward (Liu et al., 2022)",
        peft_methods.ia3,
        defaults={"lr": 2e-2},
    ),
)

METHODS: dict[str, Method] = {row.name: row for row in _ROWS}

ALIASES = {"flat+lora": "flat-lora"}
"""Compositions that are rows already: each method has one name, and one run key."""


def method_named(name: str) -> Method:
    """Return the method of a name: a row, or a row with perturbations in front, joined by "+".

    The order of the perturbations does not matter. `flat+lora` is the row `flat-lora`.

    Raises:
        Mistake: if a part of the name is unknown or repeated, or cannot be combined with the method.

    Example:
        >>> method_named("flat+neftune+dora").name, method_named("flat+lora").name
        ('neftune+flat+dora', 'flat-lora')
    """
    *front, row = name.split("+")
    if problem := _problem_with_name(name, front, row):
        raise Mistake(problem)
    method = METHODS[row]
    for part in sorted(front, key=list(PERTURBATIONS).index, reverse=True):
        method = _perturbed(PERTURBATIONS[part], method)
    return method


def users_of(setting: str) -> str:
    """Return the methods that use a setting, in words: rows of the table, and prefixes such as `flat+…`."""
    rows = [row.name for row in METHODS.values() if setting in row.uses]
    return ", ".join(
        rows + [f"{noise.name}+…" for noise in PERTURBATIONS.values() if noise.option == setting]
    )


def _problem_with_name(name: str, front: Sequence[str], row: str) -> str | None:
    """Return what is wrong with the parts of a method's name, in one sentence with the name that is meant."""
    if len(names := re.split(r"[,\s]+", name.strip(" ,"))) > 1:
        return (
            f"'{name}' names {len(names)} methods; give one, or several separated by spaces where several can be given"
            f" (lowland compare --methods {' '.join(names)})"
        )
    rows = [part for part in (*front, row) if part in METHODS]
    noises = [part for part in (*front, row) if part in PERTURBATIONS]
    if not front and noises:
        return f"{row} in '{name}' is a perturbation; put a method behind it, as in {row}+lora"
    if len(rows) > 1 and len(rows) + len(noises) == len(front) + 1:
        return f"'{name}' joins the methods {' and '.join(rows)}; give one method, or list them one by one"
    if front and len(rows) == 1 and len(noises) == len(front):
        right = "+".join((*noises, *rows))
        return None if rows == [row] else f"'{name}' has the method first; write {right}"
    if front and not rows and len(noises) > len(front):
        return f"'{name}' has no method; put one behind the perturbations, as in {name}+lora"
    if not front and row in METHODS:
        return None
    return _unknown_name(name, front, row)


def _unknown_name(name: str, front: Sequence[str], row: str) -> str:
    """Return the sentence for a name with an unknown part, with the nearest name as a whole."""
    if not front:
        return one_of("method", name, METHODS)
    meant = [nearest(part, PERTURBATIONS) for part in front] + [nearest(row, METHODS)]
    hint = "" if None in meant else f"did you mean '{'+'.join(filter(None, meant))}'? "
    before = ", ".join(f"{noise}+" for noise in PERTURBATIONS)
    return f"unknown method '{name}'; {hint}Allowed: {', '.join(METHODS)}; in front of them {before}"


def noise_callbacks(method: Method, settings: Settings, seed: int) -> list[TrainerCallback]:
    """Return the Trainer's callbacks that add a method's noise."""
    return [PERTURBATIONS[name].callback(settings, seed) for name in method.perturb]


def _perturbed(noise: Perturbation, method: Method) -> Method:
    """Return a method under one perturbation more."""
    name = f"{noise.name}+{method.name}"
    if noise.name in method.perturb:
        raise Mistake(f"method '{name}' has {noise.name} twice: {method.name} has it already; once is enough")
    if method.counts_words:
        raise Mistake(
            f"method '{name}' cannot be used: {method.name} trains no network that noise could be added to"
        )
    if noise.on_adapters and not method.has_adapter:
        raise Mistake(
            f"method '{name}' cannot be used: {noise.name} adds noise to an adapter's merged weight, and"
            f" {method.name} has no adapter; use a method with an adapter"
        )
    composed = replace(
        method, name=name, perturb=(noise.name, *method.perturb), options=(*method.options, noise.option)
    )
    return METHODS[ALIASES[name]] if name in ALIASES else composed
