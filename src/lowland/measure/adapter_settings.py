"""Settings of `lowland measure adapters` and `lowland measure cost`. Importing them loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lowland.deploy.settings import RunFolder
from lowland.ground.asked import Asked, NotEmpty, Number, Several, Text, Truth, Whole, check_free
from lowland.ground.records import RunRecord
from lowland.ground.remote_store import EachFromURL
from lowland.ground.store import expand_runs
from lowland.ground.table_files import TableFile

Part = Literal["intruders", "overlap", "drift"]
PARTS: tuple[Part, ...] = ("intruders", "overlap", "drift")


def _runs_and_adapters(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Replace each folder of runs by the finished runs in it; adapters stay."""
    expanded: list[Path] = []
    for folder in folders:
        adapter = (folder / "adapter_config.json").is_file() and not (folder / "record.json").is_file()
        expanded += [folder] if adapter else expand_runs((folder,), RunRecord)
    return tuple(dict.fromkeys(expanded))


class AdapterMeasureSettings(Asked):
    """Runs and adapters to measure, and how."""

    runs: Annotated[Several[Path], NotEmpty, EachFromURL, AfterValidator(_runs_and_adapters)]
    """folders or URLs of finished runs, or the folder or URL that holds them; or adapters in PEFT's format"""
    model: Text | None = None
    """the base model of adapters that come without a run; default: the one that each adapter names"""
    parts: Annotated[Several[Part], NotEmpty] = PARTS
    """what to measure beside norms and ranks: intruders (intruder dimensions), overlap (of the subspaces of two runs),
    drift (of the hidden states from those of the base model)"""
    k: Annotated[Whole, Field(ge=1)] = 10
    """number of leading singular vectors of a trained weight that may be intruders"""
    epsilon: Annotated[Number, Field(gt=0, le=1)] = 0.5
    """similarity to the base's singular vectors below which a vector is an intruder"""
    directions: Annotated[Whole, Field(ge=1)] = 4
    """number of leading singular directions of an update whose subspaces are compared"""
    limit: Annotated[Whole, Field(ge=4)] = 256
    """measure the drift on at most N test examples, drawn at random, the same for every run"""
    batch_size: Annotated[Whole, Field(ge=1)] = 16
    """number of examples in a forward pass"""
    data: Path | None = None
    """the data file of the runs, if it has moved"""
    test_data: Path | None = None
    """the file with the test set, if it has moved"""
    retention: Path | None = None
    """a file that lowland retention has written with --out: what each run forgot stands beside its figures"""
    by_layer: Truth = False
    """print the figures of each layer, too"""
    out: TableFile | None = None
    """write all figures, by layer, to this file (.csv, .parquet or .jsonl)"""
    replace_out: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --out if it exists"""
    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print a JSON object with all figures"""

    @model_validator(mode="after")
    def _check_out(self) -> Self:
        check_free(self.out, "--out", replace=self.replace_out)
        return self


class CostSettings(Asked):
    """Run whose cost is measured."""

    run: RunFolder
    """folder or URL of a run"""
    rounds: Annotated[Whole, Field(ge=3)] = 15
    """number of forward passes of each model that are timed"""
    batch_size: Annotated[Whole, Field(ge=1)] = 8
    """number of inputs in a forward pass"""
    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print a JSON object with all figures"""
