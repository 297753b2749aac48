"""Table of methods. A method is a row, not a class: `adapt` selects what is trained, `prefixes` what changes that."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lowland.train import peft_methods
from lowland.train.adapted import ParameterGroups
from lowland.train.parts import our_lora, train_biases, train_everything, train_head
from lowland.train.rivals.rows import RIVALS
from lowland.train.rows import BRANCH, LORA, Method
from lowland.train.settings import Settings

if TYPE_CHECKING:
    from torch import nn


def lora_plus(model: nn.Module, settings: Settings) -> ParameterGroups | None:
    """Return LoRA+'s parameter groups, with a higher learning rate for B."""
    from lowland.lora.plus import lora_plus_groups

    return lora_plus_groups(model, settings.lr, settings.lr_ratio, settings.weight_decay)


_ROWS = (
    Method(
        "full",
        "full fine-tuning: every parameter is trained; lr 5e-5 unless it has its own",
        train_everything,
        defaults={"lr": 5e-5},
        has_adapter=False,
        trains_weights=True,
    ),
    Method("lora", "LoRA (Hu et al., 2021) on every linear layer but the head", our_lora, options=LORA),
    Method(
        "flat-lora",
        "LoRA under random noise on the merged weight (Flat-LoRA; Li et al., 2025)",
        our_lora,
        prefixes=("flat",),
        options=(*LORA, "rho"),
    ),
    Method(
        "sam-lora",
        "LoRA by SAM over A and B: the gradient is taken one step uphill, in two passes (Foret et al., 2021)",
        our_lora,
        prefixes=("sam",),
        options=(*LORA, "sam_rho"),
    ),
    Method(
        "sam-full",
        "LoRA by SAM over the merged weight W + s·BA, in two passes (Li et al., 2025, table 6)",
        our_lora,
        prefixes=("sam-w",),
        options=(*LORA, "sam_rho"),
    ),
    Method(
        "flat-full",
        "full fine-tuning under Flat-LoRA's noise on the linear layers; lr 5e-5 unless it has its own",
        train_everything,
        prefixes=("flat",),
        options=("rho",),
        defaults={"lr": 5e-5},
        has_adapter=False,
        trains_weights=True,
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
    *RIVALS,
)

METHODS: dict[str, Method] = {row.name: row for row in _ROWS}

ALIASES = {
    "flat+lora": "flat-lora",
    "flat+full": "flat-full",
    "sam+lora": "sam-lora",
    "sam-w+lora": "sam-full",
}
"""Compositions that are rows already: each method has one name, and one run key."""
