"""Settings of `lowland retention` and `lowland rewind`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from lowland.deploy.settings import RunFolder, check_new_folder
from lowland.ground.asked import Asked, LocalPath, NotEmpty, Number, Several, Text, Truth, Whole, check_free
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord
from lowland.ground.remote_store import EachFromURL
from lowland.ground.store import expand_runs
from lowland.ground.table_files import TableFile
from lowland.tasks.readers.separator import Separator

LARGEST_SCALE = 2.0
"""Largest factor of an adapter's scale: beyond it, the adapter is extrapolated far from what was trained."""


def _training_runs(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    return expand_runs(folders, RunRecord)


def _check_scales(scales: tuple[float, ...]) -> tuple[float, ...]:
    """Sort the scales; raise `Mistake` if one is named twice."""
    if repeated := [f"{scale:g}" for scale, count in Counter(scales).items() if count > 1]:
        raise Mistake(f"scale names {', '.join(repeated)} more than once; name each scale once")
    return tuple(sorted(scales))


class ColumnsOfTexts(Asked):
    """Columns and form of a file of texts that models were not tuned on."""

    text_column: Text = "text"
    """in the file of the other task, the column with the texts"""
    label_column: Text | None = None
    """its column with the labels, for a probe; default: label, if the file has it. Without labels, a decoder's loss on
    the texts is measured"""
    separator: Separator | None = None
    """separator of the fields of a .csv file; by default it is recognised from the first line"""
    no_header: Truth = False
    """the file's first line contains data; its columns are named 1, 2, 3 and so on"""
    limit: Annotated[Whole, Field(ge=2)] | None = None
    """use at most N of its texts, drawn at random, always the same"""


class RetentionSettings(Asked):
    """Runs, and data of another task to measure them on."""

    runs: Annotated[Several[Path], NotEmpty, EachFromURL, AfterValidator(_training_runs)]
    """folders or URLs of finished runs of one study, or the folder or URL that holds them"""
    data: Path
    """a file of texts, and maybe labels, that the models were not tuned on: .csv, .tsv, .jsonl, .json, .parquet or
    .xlsx, compressed or not"""
    out: TableFile | None = None
    """write the scores of all texts to this file (.csv, .parquet or .jsonl), for `lowland verdict`"""
    replace_out: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""
    reference: Text | None = None
    """label of the method that the others are compared with, beside the base model; default: lora, else the first"""

    @model_validator(mode="after")
    def _check_out(self) -> Self:
        if self.out is not None and self.out.exists() and self.data.exists() and self.out.samefile(self.data):
            raise Mistake(f"out is {self.out}, which is the file of --data; name another file with --out")
        check_free(self.out, "--out", replace=self.replace_out)
        return self


class RewindSettings(Asked):
    """Run whose adapter is scaled, and the scales to try."""

    run: RunFolder
    """folder or URL of a run of LoRA"""
    scale: Annotated[
        Several[Annotated[Number, Field(ge=0, le=LARGEST_SCALE)]], NotEmpty, AfterValidator(_check_scales)
    ]
    """factors of the adapter's scale to try, from 0 (the base model with the trained head) to 2; 1 is the adapter as
    trained"""
    retention: Path | None = None
    """a file of texts of another task; the retention at each scale is measured on it"""
    out: LocalPath | None = None
    """write a run with the adapter of the best scale to this folder; new, or empty"""
    data: Path | None = None
    """the data file of the run's task, if it has moved"""
    test_data: Path | None = None
    """its file with the test set, if it has moved"""

    @model_validator(mode="after")
    def _check_out(self) -> Self:
        if self.out is not None:
            check_new_folder(self.out)
        return self
