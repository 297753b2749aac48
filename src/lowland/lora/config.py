"""Configuration of LoRA. The types and defaults are shared with recipe files.

This module does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo

from lowland.ground.asked import Asked, Number, Several, Text, Truth, Whole
from lowland.ground.mistakes import Mistake

T = TypeVar("T")

ALL_LINEAR = "all-linear"
"""Target that stands for every linear layer except those of the output head."""
STANDARD = "standard"
"""Target that stands for the projections of queries and values in attention layers (Hu et al., 2021, section 7.1)."""
EXTENDED = "extended"
"""Target that stands for all projections in attention layers."""
NAMED_SETS = (ALL_LINEAR, STANDARD, EXTENDED)

RANK = 8
ALPHA = 16.0
DROPOUT = 0.0
TARGETS = (ALL_LINEAR,)


def check_patterns(patterns: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
    """Check that every key is a valid regular expression."""
    problems = []
    for key in patterns:
        try:
            re.compile(key)
        except re.error as error:
            problems.append(
                f"{info.field_name}: key '{key}' is not a valid regular expression ({error}); give the"
                " end of a layer's name, or a regular expression for it"
            )
    if problems:
        raise Mistake(*problems)
    return patterns


def _check_targets(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check that at least one target is given."""
    if not names:
        raise ValueError("not be empty")
    return names


Rank = Annotated[Whole, Field(ge=1)]
"""Rank r of an adapter."""
Alpha = Annotated[Number, Field(gt=0)]
"""Numerator alpha of the scale s = alpha / r."""
Dropout = Annotated[Number, Field(ge=0, lt=1)]
"""Probability of setting an entry of the branch's input to zero during training."""
Targets = Annotated[Several[Text], AfterValidator(_check_targets)]
"""Names or regular expressions of the layers to adapt."""
RankPattern = Annotated[Mapping[Text, Rank], AfterValidator(check_patterns)]
"""Ranks of single layers, by the end of their name or a regular expression for it."""
AlphaPattern = Annotated[Mapping[Text, Alpha], AfterValidator(check_patterns)]
"""Alphas of single layers, by the end of their name or a regular expression for it."""


class LoRAConfig(Asked):
    """Configuration of LoRA: which layers of a model are adapted, and how.

    Raises:
        Mistake: if a value is out of its range.

    Examples:
        >>> LoRAConfig(r=4, targets=["query", "value"]).replace(alpha=8).rank_of("layer.0.query")
        4
    """

    model_config = ConfigDict(strict=True)

    r: Rank = RANK
    """Rank. Ranks from 1 to 8 suffice in Hu et al. (2021, section 7.2)."""
    alpha: Alpha = ALPHA
    """The branch is scaled by alpha / r."""
    dropout: Dropout = DROPOUT
    """Probability of setting an entry of the branch's input to zero during training."""
    targets: Targets = TARGETS
    """Layers to adapt: "all-linear" (every linear layer except those of the output head), "standard" (queries and
    values of attention layers), "extended" (all projections of attention layers), or one or more names or regular
    expressions. A layer is adapted if its name is the entry, ends with "." and the entry, or is matched whole by it.
    Embeddings are adapted only if they are named."""
    rslora: Truth = False
    """Scale the branch by alpha / sqrt(r) instead (rsLoRA)."""
    modules_to_save: Several[Text] = ()
    """Names of modules that are trained in full and saved with the adapters, such as a new head. As in PEFT, an entry
    stands for all modules whose names end with it."""
    rank_pattern: RankPattern = Field(default_factory=dict)
    """Ranks of single layers, by the end of their name or a regular expression for it. As in PEFT, the first entry
    that matches counts."""
    alpha_pattern: AlphaPattern = Field(default_factory=dict)
    """Alphas of single layers, by the same rule as `rank_pattern`."""

    def rank_of(self, name: str) -> int:
        """Return the rank of the layer with this name."""
        return _first_match(self.rank_pattern, name, self.r)

    def alpha_of(self, name: str) -> float:
        """Return alpha of the layer with this name."""
        return _first_match(self.alpha_pattern, name, self.alpha)


def pattern_matches(pattern: str, name: str) -> bool:
    """Return whether a key of `rank_pattern` or `alpha_pattern` stands for a layer, by PEFT's rule."""
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


def _first_match(patterns: Mapping[str, T], name: str, default: T) -> T:
    """Return the value of the first pattern that matches a layer's name."""
    return next((value for pattern, value in patterns.items() if pattern_matches(pattern, name)), default)
