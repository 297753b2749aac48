"""Rows of the rivals in the table of methods. This module does not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowland.models.load import LoadedModel
from lowland.train.adapted import AdaptedModel, ParameterGroups
from lowland.train.parts import our_lora
from lowland.train.rows import LORA, Method
from lowland.train.settings import Settings

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from transformers import TrainerCallback


def _balancing(settings: Settings, seed: int) -> TrainerCallback:
    from lowland.train.rivals.bar import BAR

    return BAR(settings.bar_alpha)


def _efm(settings: Settings, seed: int) -> TrainerCallback:
    from lowland.train.rivals.efm import EFM

    return EFM(settings.efm_rho, settings.efm_beta)


def _mgpo(settings: Settings, seed: int) -> TrainerCallback:
    from lowland.train.rivals.mgpo import MGPO

    return MGPO(settings.mgpo_rho, settings.mgpo_beta)


def _two_adapters(loaded: LoadedModel, settings: Settings, seed: int) -> AdaptedModel:
    from lowland.train.rivals.bi_lora import bi_lora

    return bi_lora(loaded, settings, seed)


def _two_directions(model: nn.Module, settings: Settings) -> ParameterGroups:
    from lowland.train.rivals.bi_lora import bi_lora_groups

    return bi_lora_groups(model, settings)


def _clipping(settings: Settings, seed: int) -> TrainerCallback:
    from lowland.train.rivals.bi_lora import BiLoRA

    return BiLoRA(settings.bi_rho)


def _drawn_factors(model: nn.Module, settings: Settings) -> ParameterGroups:
    from lowland.train.rivals.ivon import ivon_groups

    return ivon_groups(model, settings)


def _ivon(groups: ParameterGroups, settings: Settings) -> Optimizer:
    from lowland.train.rivals.ivon import ivon

    return ivon(groups, settings)


def _drawing(settings: Settings, seed: int) -> TrainerCallback:
    from lowland.train.rivals.ivon import DrawFactors

    return DrawFactors(seed)


RIVALS = (
    Method(
        "bar",
        "LoRA with A and B driven towards equal norms (balancedness-aware regularisation, nBAR; Li et al., 2024)",
        our_lora,
        callback=_balancing,
        options=(*LORA, "bar_alpha"),
    ),
    Method(
        "bi-lora",
        "LoRA against an adversarial second adapter, which is dropped after training (Bi-LoRA; Liu et al., 2025)",
        _two_adapters,
        parameter_groups=_two_directions,
        callback=_clipping,
        options=(*LORA, "bi_rho"),
    ),
    Method(
        "efm-lora",
        "LoRA at a B perturbed by earlier steps' estimates of the full gradient (EFMLoRA; Deng et al., 2025)",
        our_lora,
        callback=_efm,
        options=(*LORA, "efm_rho", "efm_beta"),
    ),
    Method(
        "mgpo",
        "LoRA at A and B perturbed along the optimizer's momentum (LoRA-MGPO; Chang et al., 2025)",
        our_lora,
        callback=_mgpo,
        options=(*LORA, "mgpo_rho", "mgpo_beta"),
    ),
    Method(
        "ivon-lora",
        "a normal distribution over A and B, learned by IVON; lr 0.5 unless it has its own (Cong et al., 2025)",
        our_lora,
        parameter_groups=_drawn_factors,
        callback=_drawing,
        optimizer=_ivon,
        options=(*LORA, "ivon_ess", "ivon_hess_init"),
        defaults={"lr": 0.5, "weight_decay": 1e-4},  # see docs/rivals.md
        clips_gradient=False,
    ),
)
