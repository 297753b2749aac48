"""Settings that all measures of runs share. Importing them loads no torch, so that options are fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from lowland.ground.asked import Asked, NotEmpty, Seed, Several, Text, Truth, Whole, check_free
from lowland.ground.records import RunRecord
from lowland.ground.remote_store import EachFromURL
from lowland.ground.store import expand_runs
from lowland.ground.table_files import TableFile


def _training_runs(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    return expand_runs(folders, RunRecord)


Runs = Annotated[Several[Path], NotEmpty, EachFromURL, AfterValidator(_training_runs)]
"""Folders or URLs of finished runs, or the folder or URL that holds them."""


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out repeated names."""
    return tuple(dict.fromkeys(names))


Once = AfterValidator(_once)
"""Names of which repeated ones are left out."""
Splits = Annotated[Several[Text], NotEmpty, Once]
"""Names of parts of the data."""


class ComparedRuns(Asked):
    """Runs to measure and compare, and the file for what is measured."""

    runs: Runs
    """folders or URLs of finished runs of one study, or the folder or URL that holds them"""
    reference: Text | None = None
    """label of the method that the others are compared with; default: lora, else the first"""
    out: TableFile | None = None
    """write all that is measured to this file (.csv, .parquet or .jsonl)"""
    replace_out: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""

    @model_validator(mode="after")
    def _check_out(self) -> Self:
        check_free(self.out, "--out", replace=self.replace_out)
        return self


class SampleSettings(Asked):
    """Examples that runs are measured on."""

    limit: Annotated[Whole, Field(ge=2)] = 256
    """use at most N examples of each split, drawn at random, the same for every run"""
    batch_size: Annotated[Whole, Field(ge=1)] = 16
    """number of examples in a forward pass"""
    seed: Seed = 0
    """seed of the directions and of the noise, the same for every run"""
    data: Path | None = None
    """the data file of the runs, if it has moved"""
    test_data: Path | None = None
    """the file with the test set, if it has moved"""
