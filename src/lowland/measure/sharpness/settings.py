"""Settings of `lowland measure sharpness`. Importing them loads no torch, so that options are fast."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lowland.ground.asked import Asked, NotEmpty, Number, Several, Text, Truth, Whole, check_free
from lowland.ground.mistakes import Mistake
from lowland.ground.table_files import TableFile
from lowland.measure.settings import Once, Runs, SampleSettings, Splits

SpaceName = Literal["full", "adapter"]
Size = Annotated[Number, Field(gt=0)]


def _rising(sigmas: tuple[float, ...]) -> tuple[float, ...]:
    """Sort the sigmas; raise `Mistake` if one is named twice."""
    if repeated := [f"{sigma:g}" for sigma, count in Counter(sigmas).items() if count > 1]:
        raise Mistake(f"sigmas names {', '.join(repeated)} more than once; name each sigma once")
    return tuple(sorted(sigmas))


class SharpnessSettings(Asked):
    """Runs, and the sizes of the changes to their weights."""

    runs: Runs
    """folders or URLs of finished runs of one study, or the folder or URL that holds them"""
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
    reference: Text | None = None
    """label of the method that the others are compared with; default: lora, else the first"""
    out: TableFile | None = None
    """write the rise of each example's loss to this file (.csv, .parquet or .jsonl)"""
    replace_out: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""

    @model_validator(mode="after")
    def _check_out(self) -> Self:
        check_free(self.out, "--out", replace=self.replace_out)
        return self


class SharpnessSample(SampleSettings):
    """Examples that sharpness is measured on."""

    limit: Annotated[Whole, Field(ge=2)] = 48
    """use at most N examples of each split, drawn at random, the same for every run"""
