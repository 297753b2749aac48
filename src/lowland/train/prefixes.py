"""Table of prefixes: what can be put in front of a method, as in `flat+dora` and `neftune+full`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lowland.train.rows import Method, Prefix
from lowland.train.settings import Settings

if TYPE_CHECKING:
    from transformers import TrainerCallback


def flat_noise(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for Flat-LoRA's noise on the merged full weight."""
    from lowland.flat import FlatLoRA

    return FlatLoRA(rho=settings.rho, seed=seed)


def embedding_noise(method: Method, settings: Settings, seed: int) -> TrainerCallback:
    """Return the callback for NEFTune's noise on the input embeddings."""
    from lowland.train.neftune import NEFTune

    return NEFTune(alpha=settings.neftune_alpha, seed=seed)


_ROWS = (
    Prefix(
        "neftune",
        "uniform noise on the input embeddings (NEFTune; Jain et al., 2023)",
        embedding_noise,
        ("neftune_alpha",),
    ),
    Prefix(
        "flat",
        "normal noise on an adapter's merged weight (Flat-LoRA; Li et al., 2025)",
        flat_noise,
        ("rho",),
        needs="adapter",
    ),
)

PREFIXES: Mapping[str, Prefix] = {row.name: row for row in _ROWS}
"""In the order in which a method's name lists them."""
