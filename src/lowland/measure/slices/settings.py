"""Settings of `lowland measure slices`. Importing them loads no torch, so that options are fast."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from lowland.deploy.settings import check_new_folder
from lowland.ground.asked import Asked, LocalPath, Number, Truth, Whole
from lowland.ground.mistakes import Mistake
from lowland.measure.settings import Runs, SampleSettings, Splits

MOST_PLACES = 3
"""A plane goes through three places."""


class SlicesSettings(Asked):
    """Runs, and the lines and planes through their weights."""

    runs: Runs
    """folders or URLs of one to three finished runs with the same base model and data"""
    out: LocalPath
    """folder for the losses and the pictures; new, or empty"""
    base: Truth = False
    """also take the base model, with the head that the first run began with, as a place"""
    splits: Splits = ("train", "test")
    """parts of the data to measure on"""
    points: Annotated[Whole, Field(ge=3)] = 11
    """number of points on a line"""
    grid: Annotated[Whole, Field(ge=3)] = 9
    """number of points along each side of a plane"""
    reach: Annotated[Number, Field(gt=0)] = 0.5
    """around a single run, how far to go: 1 changes each row of a weight by its own norm"""

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        check_new_folder(self.out)
        if len(self.runs) + self.base > MOST_PLACES:
            with_base = " and the base model" if self.base else ""
            raise Mistake(
                f"{len(self.runs)} runs{with_base} are given; a plane goes through {MOST_PLACES} places, so give at"
                f" most {MOST_PLACES - self.base} runs"
            )
        return self


class SlicesSample(SampleSettings):
    """Examples that the loss is measured on."""

    limit: Annotated[Whole, Field(ge=2)] = 48
    """use at most N examples of each split, drawn at random, the same for every run"""
