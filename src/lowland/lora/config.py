"""How a model is adapted: what was asked, held against its ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lowland.ground.mistakes import Mistake

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class LoRAConfig:
    """How to adapt a model.

    Attributes:
        r: rank; 8 and alpha 16 are common for classifiers of this size (Hu et al., 2021, section 7.2: 1 to 8 do).
        alpha: the branch is scaled by alpha / r.
        dropout: on the branch's input, in training.
        targets: "all-linear" (every linear layer but the output head), or one or several names or regular
            expressions: a layer is meant if its name is the entry, ends with "." and the entry, or matches it whole.
            Embeddings are adapted only where they are named.
        rslora: scale by alpha / sqrt(r) instead.
        modules_to_save: names of modules that are trained in full beside the adapters, and saved with them: a new
            head. As in PEFT, a module is meant if its name ends with the entry.
        rank_pattern: other ranks for some layers, by name or regular expression of the name's end; as in PEFT the
            first that matches counts.
        alpha_pattern: the same for alpha.

    Raises:
        Mistake: if a value is out of its range.
    """

    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: str | tuple[str, ...] | list[str] = ALL_LINEAR
    rslora: bool = False
    modules_to_save: tuple[str, ...] = ()
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold every value against its range."""
        problems = _scalar_problems(self)
        for name in ("rank_pattern", "alpha_pattern"):
            problems += _pattern_problems(name, getattr(self, name))
        one = isinstance(self.modules_to_save, str)
        saved = (self.modules_to_save,) if one else self.modules_to_save
        for name, names in (("targets", self.targets), ("modules_to_save", saved)):
            if not _are_names(names):
                problems.append(f"{name} is {names!r}; it must be names of layers")
        if self.targets in ("", (), []):
            problems.append("targets is empty; name layers, or say 'all-linear'")
        if problems:
            raise Mistake(*problems)
        object.__setattr__(self, "modules_to_save", tuple(saved))

    def rank_of(self, name: str) -> int:
        """The rank of the layer of that name."""
        return _first(self.rank_pattern, name, self.r)

    def alpha_of(self, name: str) -> float:
        """Alpha of the layer of that name."""
        return _first(self.alpha_pattern, name, self.alpha)


def pattern_means(pattern: str, name: str) -> bool:
    """Whether a key of `rank_pattern` or `alpha_pattern` means a layer: PEFT's rule."""
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


def _first(patterns: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    return next((value for key, value in patterns.items() if pattern_means(key, name)), otherwise)


def _scalar_problems(config: LoRAConfig) -> list[str]:
    problems = []
    if not _is_rank(config.r):
        problems.append(f"r is {config.r!r}; it must be a whole number of at least 1")
    if not _is_alpha(config.alpha):
        problems.append(f"alpha is {config.alpha!r}; it must be a finite number above 0")
    if not _is_number(config.dropout) or not 0 <= config.dropout < 1:
        problems.append(f"dropout is {config.dropout!r}; it must be in [0, 1)")
    return problems


def _pattern_problems(name: str, patterns: Any) -> list[str]:
    if not isinstance(patterns, Mapping):
        return [f"{name} is {patterns!r}; it must map names of layers to numbers"]
    fits, wanted = {
        "rank_pattern": (_is_rank, "a whole number of at least 1"),
        "alpha_pattern": (_is_alpha, "a finite number above 0"),
    }[name]
    problems = []
    for key, value in patterns.items():
        if not fits(value):
            problems.append(f"{name} gives {key} {value!r}; it must be {wanted}")
        try:
            re.compile(key)
        except (re.error, TypeError):
            problems.append(f"{key!r} in {name} is no name and no regular expression")
    return problems


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_alpha(value: Any) -> bool:
    return _is_number(value) and 0 < value < math.inf


def _are_names(given: Any) -> bool:
    return isinstance(given, str) or (
        isinstance(given, Sequence) and all(isinstance(one, str) and one for one in given)
    )
