"""Settings of `lowland measure sharpness`. Importing them loads no torch, so that options are fast."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lowland.ground.asked import NotEmpty, Number, Several, Whole
from lowland.ground.mistakes import Mistake
from lowland.measure.settings import ComparedRuns, Once, SampleSettings, Splits

SpaceName = Literal["full", "adapter"]
Size = Annotated[Number, Field(gt=0)]


def _rising(sigmas: tuple[float, ...]) -> tuple[float, ...]:
    """Sort the sigmas; raise `Mistake` if one is named twice."""
    if repeated := [f"{sigma:g}" for sigma, count in Counter(sigmas).items() if count > 1]:
        raise Mistake(f"sigmas names {', '.join(repeated)} more than once; name each sigma once")
    return tuple(sorted(sigmas))


class SharpnessSettings(ComparedRuns):
    """Runs, and the sizes of the changes to their weights."""

    splits: Splits = ("train", "test")
    """parts of the data to measure on"""
    spaces: Annotated[Several[SpaceName], NotEmpty, Once] = ("full", "adapter")
    """spaces of weights to move in: full (the merged linear layers), and adapter (A and B; left out for methods that
    have none)"""
    sigmas: Annotated[Several[Size], NotEmpty, AfterValidator(_rising)] = (0.02, 0.05, 0.1, 0.2)
    """strengths of the noise of expected sharpness, as --rho of Flat-LoRA; the ladder of a run ends at the first one at
    which its loss is not finite"""
    draws: Annotated[Whole, Field(ge=2)] = 3
    """number of draws of the noise, each taken with both signs; the same for every run"""
    radius: Size = 0.05
    """radius of the ball of worst-case sharpness, as SAM's rho"""
    adaptive_radius: Size = 0.001
    """radius of adaptive m-sharpness: the share of its size by which each weight may change"""
    m: Annotated[Whole, Field(ge=1)] = 8
    """number of examples over which each maximum of adaptive m-sharpness is taken"""
    steps: Annotated[Whole, Field(ge=1)] = 3
    """steps of ascent to each maximum; the first is SAM's"""


class SharpnessSample(SampleSettings):
    """Examples that sharpness is measured on."""

    limit: Annotated[Whole, Field(ge=2)] = 48
    """use at most N examples of each split, drawn at random, the same for every run"""
