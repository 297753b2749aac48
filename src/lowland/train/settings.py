"""Settings of a method, for the training and for the adapter, with their ranges and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from lowland.flat.config import RHO, Rho
from lowland.ground.asked import Asked, FixedMapping, Number, Truth, Whole
from lowland.lora.config import (
    ALPHA,
    DROPOUT,
    RANK,
    TARGETS,
    Alpha,
    AlphaPattern,
    Dropout,
    LoRAConfig,
    Rank,
    RankPattern,
    Targets,
)
from lowland.lora.plus import LR_RATIO, LRRatio

Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(gt=0, lt=1)]
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
    """peak learning rate of AdamW (5e-5 for full, 1e-3 for bitfit, 1e-2 for head, 0.02 for vera and ia3, unless they
    have their own), or of IVON (0.5 for ivon-lora)"""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.01
    """weight decay of AdamW"""
    warmup: Annotated[Number, Field(ge=0, lt=1)] = 0.06
    """share of the steps in which the learning rate rises to its peak"""
    rank: Rank = RANK
    """rank r of the adapters"""
    alpha: Alpha = ALPHA
    """the adapters are scaled by alpha / rank"""
    dropout: Dropout = DROPOUT
    """dropout on the adapters' input"""
    targets: Targets = TARGETS
    """layers to adapt: all-linear, standard (queries and values in attention), extended (all of attention), or names or
    patterns"""
    rslora: Truth = False
    """scale by alpha / sqrt(rank) instead (rsLoRA)"""
    rank_pattern: Annotated[RankPattern, AfterValidator(FixedMapping)] = FixedMapping({})
    """ranks of layers that differ from `rank`, by name or pattern: {query: 4}"""
    alpha_pattern: Annotated[AlphaPattern, AfterValidator(FixedMapping)] = FixedMapping({})
    """alphas of layers that differ from `alpha`, by name or pattern: {query: 32}"""
    lr_ratio: LRRatio = LR_RATIO
    """learning rate of B as a multiple of A's and the head's (LoRA+)"""
    rho: Rho = RHO
    """strength of Flat-LoRA's noise at the end of training"""
    sam_rho: Annotated[Number, Field(ge=0)] = 0.05
    """length of SAM's step uphill, over all parameters that take it together (the paper's default)"""
    ema_decay: Annotated[Number, Field(gt=0, lt=1)] = 0.99
    """decay of the exponential moving average: about 1 / (1 - decay) steps count"""
    swa_share: Annotated[Number, Field(gt=0, le=1)] = 0.25
    """share of the steps, at the training's end, that stochastic weight averaging averages"""
    neftune_alpha: Positive = 5.0
    """alpha, the strength of NEFTune's noise on the embeddings"""
    bar_alpha: Positive = 0.5
    """alpha, the strength of BAR at the first step; it falls linearly to 0"""
    bi_rho: Positive = 0.05
    """rho, the largest norm of the adversarial adapter of Bi-LoRA"""
    efm_rho: Positive = 0.05
    """rho, the norm of EFMLoRA's perturbation of a layer's weight at the first step; it falls as 1 / sqrt(step)"""
    efm_beta: Share = 0.9
    """weight of the newest perturbation in EFMLoRA's moving average"""
    mgpo_rho: Positive = 0.05
    """rho, the size of LoRA-MGPO's perturbation at a gradient norm of 1"""
    mgpo_beta: Share = 0.9
    """weight of the past in LoRA-MGPO's moving average of the gradient's norm"""
    ivon_ess: Positive = 1e6
    """lambda, IVON's effective sample size; a larger one draws closer to the mean"""
    ivon_hess_init: Positive = 1e-3
    """IVON's curvature h at the start"""

    def lora_config(self, modules_to_save: Sequence[str]) -> LoRAConfig:
        """Return the config of LoRA adapters with these settings.

        Args:
            modules_to_save: modules that are trained in full and saved with the adapters.
        """
        return LoRAConfig(
            r=self.rank,
            alpha=self.alpha,
            dropout=self.dropout,
            targets=self.targets,
            rslora=self.rslora,
            modules_to_save=tuple(modules_to_save),
            rank_pattern=self.rank_pattern,
            alpha_pattern=self.alpha_pattern,
        )


TRAINING = ("epochs", "batch_size", "accumulation", "lr", "weight_decay", "warmup")
"""Settings that every method uses."""
