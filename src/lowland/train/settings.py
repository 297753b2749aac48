"""Settings of a method: those of the training and those of the adapter, with their ranges and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from lowland.ground.asked import Asked, NotEmpty, Number, Several, Text, Truth, Whole

Positive = Annotated[Number, Field(gt=0)]
Count = Annotated[Whole, Field(ge=1)]


class Settings(Asked):
    """Settings of one run's training. A method uses those in `TRAINING`, and those that its row names."""

    epochs: Count = 3
    """passes over the training data"""
    batch_size: Count = 16
    """examples in a forward pass"""
    accumulation: Count = 1
    """forward passes in an optimizer step"""
    lr: Positive = 5e-4
    """peak learning rate of AdamW (5e-5 for full, unless it has its own)"""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.01
    """weight decay of AdamW"""
    warmup: Annotated[Number, Field(ge=0, lt=1)] = 0.06
    """share of the steps in which the learning rate rises to its peak"""
    rank: Count = 8
    """rank r of the adapters"""
    alpha: Positive = 16.0
    """the adapters are scaled by alpha / rank"""
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """dropout on the adapters' input"""
    targets: Annotated[Several[Text], NotEmpty] = ("all-linear",)
    """layers to adapt: all-linear, or names or patterns"""
    rslora: Truth = False
    """scale by alpha / sqrt(rank) instead (rsLoRA)"""
    rank_pattern: Mapping[str, Count] = {}
    """ranks of layers that differ from `rank`, by name or pattern: {query: 4}"""
    alpha_pattern: Mapping[str, Positive] = {}
    """alphas of layers that differ from `alpha`, by name or pattern: {query: 32}"""
    lr_ratio: Annotated[Number, Field(ge=1)] = 16.0
    """learning rate of B as a multiple of A's and the head's (LoRA+)"""
    rho: Annotated[Number, Field(ge=0)] = 0.05
    """strength of Flat-LoRA's noise at the end of training"""
    neftune_alpha: Positive = 5.0
    """alpha, the strength of NEFTune's noise on the embeddings"""


TRAINING = ("epochs", "batch_size", "accumulation", "lr", "weight_decay", "warmup")
"""Settings that every method uses."""
