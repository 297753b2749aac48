"""Options of the noise, with their ranges and defaults. This module needs no torch."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypedDict

from pydantic import Field, PlainValidator, field_validator

from lowland.flat.schedule import SCHEDULES, Schedule, ScheduleName
from lowland.ground.asked import Asked, Number, Seed, Several, Text, Truth, Whole
from lowland.ground.mistakes import Mistake, one_of

Rho = Annotated[Number, Field(ge=0)]
"""Type of rho, the strength of the noise."""
RHO = 0.05
"""Default of rho: the value in the authors' own commands."""
Redraw = Literal["step", "micro-batch"]
NoiseKind = Literal["weight", "token"]
Weights = Literal["adapted", "trained"]
Share = Annotated[Number, Field(gt=0)]
"""Type of the rise of the loss that rho="auto" allows, as a share of the loss."""
SHARE = 0.1
DRAWS = 2
LADDER = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Strengths that rho="auto" tries."""


class PlaceOptions(TypedDict, total=False):
    """Options of `FlatConfig` that say where the noise acts, for type checkers."""

    layers: str | Sequence[str] | None
    vectors: bool
    noise: NoiseKind
    weights: Weights


class RunOptions(PlaceOptions, total=False):
    """Options of `FlatConfig` without rho and seed, for type checkers."""

    schedule: ScheduleName | Schedule
    every: int
    redraw: Redraw
    per_rank: bool


class FlatOptions(RunOptions, total=False):
    """All options of `FlatConfig`, for type checkers."""

    rho: float
    seed: int


def _schedule(value: Any) -> Any:
    if callable(value) or (isinstance(value, str) and value in SCHEDULES):
        return value
    raise Mistake(one_of("schedule", value, [*SCHEDULES, "a function"]))


class FlatConfig(Asked):
    """Options of Flat-LoRA's noise.

    Raises:
        Mistake: with one sentence for each value that is out of its range.
    """

    rho: Rho = RHO
    """Strength of the noise when the schedule is 1: sigma, relative to the norms of the weight's rows. The authors'
    commands use 0.05; 0 is LoRA to the bit."""
    schedule: Annotated[ScheduleName | Schedule, PlainValidator(_schedule)] = "cosine"
    """Schedule of sigma / rho over the training's progress from 0 to 1: "cosine" (the paper's ramp, ½ (1 − cos)),
    "linear" (a ramp, too), "constant", or a function of the progress."""
    every: Annotated[Whole, Field(ge=1)] = 1
    """Add noise at every k-th optimizer step; the steps between are LoRA's."""
    layers: Several[Text] | None = None
    """Layers that get noise: names, their last parts, or regular expressions for whole names; None for all."""
    vectors: Truth = False
    """Perturb the norms' weights and biases and the adapted layers' biases, too."""
    redraw: Redraw = "step"
    """When to draw: "step", one draw for all micro-batches of an optimizer step, as in the paper; or "micro-batch", a
    draw for each."""
    per_rank: Truth = False
    """Under data parallelism, draw different noise in each process."""
    noise: NoiseKind = "weight"
    """Kind of noise: "weight", the paper's; or "token", drawn for each token's output with the same variance (local
    reparameterisation: Kingma et al., 2015). "token" is meant for experiments: it is slower, and keeps its outputs in
    memory."""
    weights: Weights = "adapted"
    """Weights that get noise: "adapted", the merged weights of adapted layers; or "trained", those of the linear layers
    of a model that is trained in full, but its output head."""
    seed: Seed = 0
    """Seed of the noise."""

    def strength(self, progress: float) -> float:
        """Return the schedule's value at a progress in [0, 1].

        Raises:
            Mistake: if the user's function does not return a finite number of at least 0.
        """
        schedule = self.schedule if callable(self.schedule) else SCHEDULES[self.schedule]
        value = schedule(min(progress, 1.0))
        if not _is_number(value) or not (value >= 0 and math.isfinite(value)):
            raise Mistake(
                f"the schedule returned {value} at progress {progress:g}; it must return finite numbers of at least 0"
            )
        return float(value)


class RhoSearch(Asked):
    """Options of the search for rho; see `auto_rho`."""

    share: Share = SHARE
    """Rise of the loss that the noise may cause, as a share of the loss without noise."""
    ladder: tuple[Number, ...] = LADDER
    """Strengths to try, from small to large."""
    draws: Annotated[Whole, Field(ge=1)] = DRAWS
    """Draws of the noise, each used for all batches."""

    @field_validator("ladder")
    @classmethod
    def _rises_from_above_zero(cls, ladder: tuple[float, ...]) -> tuple[float, ...]:
        if not ladder or ladder[0] <= 0 or any(a >= b for a, b in itertools.pairwise(ladder)):
            raise Mistake(f"ladder is {list(ladder)}; it must hold strengths above 0, from small to large")
        return ladder


def warn_of_much_noise(rho: float, effect: str = "") -> None:
    """Warn if rho is above 1.

    Args:
        rho: strength of the noise.
        effect: effect of the noise on the loss, to be named in brackets: " (…)".
    """
    if rho > 1:
        warnings.warn(
            f"rho is {rho:g}: the noise on each layer's output is larger than the output itself{effect}; usual values"
            " are 0.01 to 0.2",
            stacklevel=4,  # the caller of `arm`
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
