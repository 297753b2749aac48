"""Settings of prediction, merging and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lowland.ground.asked import (
    Asked,
    LocalPath,
    NotEmpty,
    Number,
    OutputFile,
    Several,
    Text,
    Truth,
    Whole,
    check_free,
)
from lowland.ground.mistakes import Mistake, gathering, plural
from lowland.ground.records import RunRecord
from lowland.ground.remote_store import FromURL
from lowland.ground.store import finished_in
from lowland.tasks.readers.separator import Separator

Dtype = Literal["fp32", "fp16", "bf16", "nf4"]
Precision = Literal["float32", "float64"]

TOLERANCES: dict[Dtype, float] = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 1e-1, "nf4": 1.0}
"""Largest difference of a logit that passes. These are lowland's choice, not a standard, for classifiers with logits of
the order of 1 to 10: 10 to 13 times the machine epsilon in fp16 and bf16, and about 840 times in fp32. Logits of
language models are larger, and may need more. A small model mostly exceeds that of nf4 (docs/merging.md); to accept it
nevertheless, give a tolerance of your own."""


def _one_run(folder: Path) -> Path:
    """Refuse the folder of a whole study, and name the runs in it."""
    if not any(
        (folder / name).exists() for name in ("record.json", "config.json", "adapter_config.json")
    ) and (runs := finished_in(folder, RunRecord)):
        names = ", ".join(run.name for run in runs[:5]) + (", …" if len(runs) > 5 else "")
        raise Mistake(f"{folder} is a folder of {plural(len(runs), 'run')}; name one of them: {names}")
    return folder


def check_new_folder(out: Path) -> None:
    """Check that a folder can be written: it is new, or empty; raise `Mistake` otherwise."""
    if out.exists() and not out.is_dir():
        raise Mistake(f"out is {out}, which is a file; name a folder")
    if out.is_dir() and any(out.iterdir()):
        raise Mistake(f"the folder {out} is not empty; name another one with --out, or empty it")


RunFolder = Annotated[Path, FromURL, AfterValidator(_one_run)]
"""Folder of one run, of an adapter or of a model, or the URL of a run."""
JSON_LINES = ".jsonl"
"""Ending of a file with one JSON object a line."""
ColumnNames = Annotated[Several[Text], NotEmpty]


class PredictSettings(Asked):
    """Texts or images to answer, and the trained model."""

    run: RunFolder
    """folder or URL of a run, or folder of an adapter or of a complete model"""
    text: Annotated[Several[Text], NotEmpty] | None = None
    """texts to predict for, two for each pair of sentences, or a question and its context; write --text=-5% if a
    text begins with a dash"""
    image: Annotated[Several[Text], NotEmpty] | None = None
    """image files to predict for"""
    data: Path | None = None
    """a file of texts: .csv, .tsv, .jsonl, .json, .parquet or .xlsx, compressed or not; its columns are kept. Or a
    folder of images"""
    text_column: ColumnNames | None = None
    """its column of texts, or columns for a task that reads several; default: those that the run was trained on"""
    label_column: Text | None = None
    """its column of labels or answers; the scores of the predictions against them are printed (for a folder of images:
    folder)"""
    separator: Separator | None = None
    """separator of the fields of a .csv file; default: as in training, or recognised from the first line"""
    no_header: Truth = False
    """the file's first line contains data; its columns are named 1, 2, 3 and so on"""
    out: OutputFile | None = None
    """write a CSV file, or a .jsonl file, instead of printing CSV"""
    replace_out: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""
    merge: Truth = False
    """merge the adapter into the base model first"""

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        if problems := [*self._problems_of_source(), *self._problems_of_out()]:
            raise Mistake(*problems)
        return self

    def _problems_of_source(self) -> list[str]:
        """Return what is wrong with where the texts come from."""
        sources = [name for name in ("text", "image", "data") if getattr(self, name) is not None]
        if len(sources) != 1:
            return [
                "give texts with --text, or images with --image, or a file or folder of them with --data; one of these"
            ]
        of_files = ("text_column", "label_column", "separator", "no_header")
        if self.data is None and (file_options := [name for name in of_files if getattr(self, name)]):
            return [
                f"{file_options[0]} speaks of a file; give the file with --data instead of --{sources[0]}"
            ]
        return []

    def _problems_of_out(self) -> list[str]:
        """Return why the predictions cannot be written to `out`: it must not cost the user a file."""
        if self.out is None:
            return []
        if self.out.suffix.casefold() not in ("", ".csv", ".txt", JSON_LINES):
            return [
                f"out is {self.out}, and predictions are written as CSV or JSON lines; name it"
                f" {self.out.with_suffix('.csv').name} or {self.out.with_suffix(JSON_LINES).name}"
            ]
        if not self.out.exists():
            return []
        if self.out.resolve().is_relative_to(self.run.resolve()):
            return [f"out is {self.out}, a file of the run itself; name another file with --out"]
        if self.data is not None and self.data.exists() and self.out.samefile(self.data):
            return [f"out is {self.out}, which is the file of --data; name another file with --out"]
        problems: list[str] = []
        with gathering(problems):
            check_free(self.out, "--out", replace=self.replace_out)
        return problems


class MergeSettings(Asked):
    """Adapter to merge into its base model, and how the result is verified."""

    run: RunFolder
    """folder or URL of a run, or folder of an adapter in PEFT's format"""
    out: LocalPath
    """folder for the merged model; new, or empty"""
    model: Text | None = None
    """the base model; default: the one that the run or the adapter names"""
    dtype: Dtype = "fp32"
    """number format of the merged model: fp32, bf16, fp16 or nf4"""
    precision: Precision = "float32"
    """precision of the sum W + s·BA: float32 or float64"""
    tolerance: Annotated[Number, Field(ge=0)] | None = Field(
        None,
        description="largest difference of a logit that passes"
        f" ({', '.join(f'{dtype}: {value:g}' for dtype, value in TOLERANCES.items())})",
    )
    data: Path | None = None
    """a file of texts, or a folder of images, to compare on, instead of the run's validation examples"""
    text_column: ColumnNames | None = None
    """its column of texts, or columns for a task that reads several; default: those that the run was trained on"""

    @model_validator(mode="after")
    def _check_out(self) -> Self:
        check_new_folder(self.out)
        return self


class CheckSettings(Asked):
    """Model to check LoRA on, with new adapters or with a trained one."""

    model: Text | None = None
    """a model of the hub, a folder, a .gguf file, or gemma-3-270m; default: that of `train`, or the adapter's own"""
    adapter: RunFolder | None = None
    """folder of a trained adapter, or of a run, to check instead of a new adapter"""
    rank: Annotated[Whole, Field(ge=1)] | None = None
    """rank of the new adapters; default: that of LoRAConfig"""
    alpha: Annotated[Number, Field(gt=0)] | None = None
    """the new adapters are scaled by alpha / rank; default: that of LoRAConfig"""
    targets: Annotated[Several[Text], NotEmpty] | None = None
    """layers to adapt: all-linear, standard, extended, or names or patterns; default: all-linear"""

    @model_validator(mode="after")
    def _check_one_adapter(self) -> Self:
        if self.adapter is not None and (new := self.lora_options):
            options = ", ".join(f"--{'rank' if name == 'r' else name}" for name in new)
            raise Mistake(f"--adapter gives the settings of the adapter; leave out {options}")
        return self

    @property
    def lora_options(self) -> dict[str, Any]:
        """The options of `LoRAConfig` that were given."""
        options = {"r": self.rank, "alpha": self.alpha, "targets": self.targets}
        return {name: value for name, value in options.items() if value is not None}
