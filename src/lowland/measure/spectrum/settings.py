"""Settings of `lowland measure spectrum`. Importing them loads no torch, so that options are fast."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lowland.ground.asked import NotEmpty, Several, Text, Whole
from lowland.ground.mistakes import Mistake
from lowland.measure.settings import ComparedRuns, SampleSettings

SpaceName = Literal["full", "adapter"]
MatrixName = Literal["hessian", "gauss-newton"]


class SpectrumSettings(ComparedRuns):
    """Runs, the matrices whose spectrum is measured, and the work that is done for it."""

    split: Text = "train"
    """part of the data whose mean loss is measured: train, test or another split of the runs"""
    spaces: Annotated[Several[SpaceName], NotEmpty] = ("full", "adapter")
    """spaces of weights: full (the merged linear layers), and adapter (A and B; left out for methods that have none)"""
    matrices: Annotated[Several[MatrixName], NotEmpty] = Field(
        ("hessian", "gauss-newton"), json_schema_extra={"metavar": "MATRIX"}
    )
    """matrices: hessian, and gauss-newton (generalised)"""
    top: Annotated[Whole, Field(ge=1)] = 5
    """number of eigenvalues, the largest first"""
    steps: Annotated[Whole, Field(ge=2)] = 15
    """Lanczos steps for the eigenvalues, each a product with the matrix; more make them more exact"""
    probes: Annotated[Whole, Field(ge=2)] = 3
    """number of random vectors for trace and density; more make them more exact"""
    probe_steps: Annotated[Whole, Field(ge=1)] = 3
    """Lanczos steps from each of these vectors; more make the density finer"""

    @model_validator(mode="after")
    def _check_top(self) -> Self:
        if self.top > self.steps:
            raise Mistake(
                f"top is {self.top} and steps is {self.steps}; Lanczos finds at most one eigenvalue in each step: raise"
                " --steps, best to several times --top"
            )
        return self

    @property
    def products(self) -> int:
        """Number of products with one matrix."""
        return self.steps + self.probes * self.probe_steps


class SpectrumSample(SampleSettings):
    """Examples that the mean loss is taken over."""

    limit: Annotated[Whole, Field(ge=2)] = 32
    """use at most N examples, drawn at random, the same for every run"""
    batch_size: Annotated[Whole, Field(ge=1)] = 8
    """number of examples in a pass; fewer need less memory"""
