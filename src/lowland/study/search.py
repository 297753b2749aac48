"""Search of a sweep: the settings of each method, their ranges, and the number of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from lowland.ground.asked import Asked, NotEmpty, Seed, Text, Truth, Whole
from lowland.study.ablation import ALPHA_PER_RANK
from lowland.train.choice import MethodChoice
from lowland.train.rows import Method
from lowland.train.settings import Settings

Searched = Literal[
    "lr", "rho", "sam_rho", "bar_alpha", "bi_rho", "efm_rho", "mgpo_rho", "ivon_ess", "rank", "dropout"
]
DECADES = 10
"""The learning rate is searched from a tenth of the method's default to ten times the default."""
RHO = (0.0, 0.3)
"""Range of the strength of Flat-LoRA's noise, and of the length of SAM's step."""
BAR_ALPHA, MGPO_RHO, IVON_ESS = (0.05, 2.0), (1e-3, 0.5), (1e5, 1e9)
"""Ranges of the rivals' strengths, on a logarithmic scale."""
RADIUS = (0.005, 0.5)
"""Range of the radius of Bi-LoRA (Liu et al., 2025, appendix R) and of EFMLoRA, on a logarithmic scale."""
RANKS, DROPOUTS = (4, 8, 16, 32), (0.0, 0.05, 0.1)


class Search(Asked):
    """Request to search settings. Every method gets the same number of trials, on the same training examples."""

    trials: Annotated[Whole, Field(ge=1)] = 20
    """number of trials of each method; the first one has the recipe's own settings"""
    search: Annotated[
        tuple[Searched, ...], NotEmpty, AfterValidator(lambda names: tuple(dict.fromkeys(names)))
    ] = ("lr", "rho", "sam_rho", "bar_alpha", "bi_rho", "efm_rho", "mgpo_rho", "ivon_ess")
    """the settings that are searched, where a method uses them: lr, the strengths (rho, sam_rho, bar_alpha, bi_rho,
    efm_rho, mgpo_rho, ivon_ess), rank (with alpha twice the rank), dropout"""
    search_seed: Seed = 0
    """seed of the search and of its training runs; it must not be one of the study's seeds"""
    storage: Text | None = None
    """where trials are kept: an Optuna URL such as sqlite:///trials.db or postgresql://…, which several machines can
    share; default: a file in the folder of the runs"""
    prune: Truth = False
    """stop trials that are worse than the median of the earlier ones after the same epoch; methods then differ in the
    number of examples that they were trained on"""


@dataclass(frozen=True)
class Range:
    """Values of a setting that a sweep may choose.

    Attributes:
        low: smallest value.
        high: largest value.
        log: whether values are drawn uniformly on a logarithmic scale.
        choices: the values, if they are a list; `low` and `high` mean nothing then.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[float, ...] = ()

    def describe(self) -> list[float]:
        """Return the bounds, or the list of values, as plain values for a record."""
        return list(self.choices) if self.choices else [self.low, self.high]

    def with_value(self, value: float) -> Range:
        """Return the range, wide enough for a value."""
        if self.choices:
            return replace(self, choices=tuple(sorted({*self.choices, value})))
        return replace(self, low=min(self.low, value), high=max(self.high, value))


def space_of(choice: MethodChoice, search: Search) -> dict[str, Range]:
    """Return the range of each searched setting that a method uses; empty if it uses none.

    A range is wide enough for the recipe's own value.
    """
    method = choice.method
    lr = method.defaults.get("lr", Settings().lr)
    ranges = {
        "lr": Range(lr / DECADES, lr * DECADES, log=True),
        "rho": Range(*RHO),
        "sam_rho": Range(*RHO),
        "bar_alpha": Range(*BAR_ALPHA, log=True),
        "bi_rho": Range(*RADIUS, log=True),
        "efm_rho": Range(*RADIUS, log=True),
        "mgpo_rho": Range(*MGPO_RHO, log=True),
        "ivon_ess": Range(*IVON_ESS, log=True),
        "rank": Range(choices=RANKS),
        "dropout": Range(choices=DROPOUTS),
    }
    return {
        name: ranges[name].with_value(getattr(choice.settings, name))
        for name in search.search
        if name in method.uses
    }


def settings_of(values: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """Return the settings that a trial's values stand for: alpha is twice a searched rank."""
    if "rank" in values and "alpha" in method.uses:
        return {**values, "alpha": ALPHA_PER_RANK * values["rank"]}
    return dict(values)
