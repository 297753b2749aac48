"""Table of prefixes: what can be put in front of a method, as in `flat+dora` and `neftune+full`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lowland.train.rivals.rows import RIVALS
from lowland.train.rows import Method, Prefix
from lowland.train.settings import Settings

if TYPE_CHECKING:
    from transformers import TrainerCallback


def flat_noise(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for Flat-LoRA's noise on the merged full weight, or on weights that are trained in full."""
    from lowland.flat import FlatLoRA

    return FlatLoRA(rho=settings.rho, seed=seed, weights="trained" if method.trains_weights else "adapted")


def ascent(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for SAM in the space of what is trained."""
    from lowland.train.sam import SAM

    return SAM(rho=settings.sam_rho)


def ascent_of_weights(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for SAM over the merged weights."""
    from lowland.train.sam import WeightSAM

    return WeightSAM(rho=settings.sam_rho)


def moving_average(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for the exponential moving average of what is trained."""
    from lowland.train.averages import EMA

    return EMA(decay=settings.ema_decay)


def average_of_last(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for the mean of what is trained over the last steps."""
    from lowland.train.averages import SWA

    return SWA(share=settings.swa_share)


def embedding_noise(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for NEFTune's noise on the input embeddings."""
    from lowland.train.neftune import NEFTune

    return NEFTune(alpha=settings.neftune_alpha, seed=seed)


WITH_GRADIENTS_OF_THEIR_OWN = tuple(row.name for row in RIVALS)
"""Rows that say themselves where the gradient is taken, or change A and B by it."""

_ROWS = (
    Prefix(
        "ema",
        "tests and saves an exponential moving average of what is trained",
        moving_average,
        ("ema_decay",),
        excludes=("swa",),
    ),
    Prefix(
        "swa",
        "tests and saves the mean of what is trained over the last steps (SWA; Izmailov et al., 2018)",
        average_of_last,
        ("swa_share",),
    ),
    Prefix(
        "neftune",
        "uniform noise on the input embeddings (NEFTune; Jain et al., 2023)",
        embedding_noise,
        ("neftune_alpha",),
    ),
    Prefix(
        "sam",
        "gradient one step uphill in the space of what is trained: an adapter, or all (SAM; Foret et al., 2021)",
        ascent,
        ("sam_rho",),
        excludes=WITH_GRADIENTS_OF_THEIR_OWN,
        needs_one_process=True,
    ),
    Prefix(
        "sam-w",
        "gradient one step uphill in the space of an adapter's merged weights (SAM over W; Li et al., 2025)",
        ascent_of_weights,
        ("sam_rho",),
        needs="adapter",
        excludes=("sam", "flat", *WITH_GRADIENTS_OF_THEIR_OWN),
        needs_one_process=True,
        needs_eager=True,
    ),
    Prefix(
        "flat",
        "normal noise on an adapter's merged weight, or on weights trained in full (Flat-LoRA; Li et al., 2025)",
        flat_noise,
        ("rho",),
        needs="weights",
    ),
)

PREFIXES: Mapping[str, Prefix] = {row.name: row for row in _ROWS}
"""In the order in which a method's name lists them."""
