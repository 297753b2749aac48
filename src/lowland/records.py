"""What a run leaves: a record, its predictions, its history; and how they are read back.

A run's folder holds

- `record.json`: what was asked, what came out, of what and on what (`RunRecord`),
- `predictions.parquet`: a row a test example (`PREDICTION_COLUMNS`, and `p_<label>` with the probabilities),
- `history.jsonl`: a line an entry of the training log,
- `adapter/` or `model/`: what was learned, where it was kept.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.mistakes import Mistake

RECORD_VERSION = 1

PREDICTION_COLUMNS = ("split", "example", "group", "category", "label", "predicted")
"""`example` is a row number of the source; examples of one `group` are no independent evidence."""


@dataclass(frozen=True)
class RunRecord:
    """What one run left. Equal requests on one machine leave equal records, but for `cost` and `when`.

    Attributes:
        key: hash of what was asked, of the data and of the model.
        asked: the `RunSpec` as plain values.
        status: "finished" or "failed".
        failure: what went wrong, where it failed.
        data: source, SHA-256, label names, sizes of the splits.
        model: name, where it was loaded from, SHA-256 of its weights, class.
        parameters: `trainable`, `total`, `share`.
        scores: for each test set `accuracy`, `macro_f1`, `weighted_f1`, in [0, 1].
        validation: the same for the validation set, after the last epoch.
        code: lowland's version and a hash of its source.
        environment: versions, processor, cores, threads, device, number format.
        cost: seconds of training and evaluation, peak memory in bytes.
        when: UTC times of start and end.
        version: of this form.
    """

    key: str
    asked: dict[str, Any]
    status: str
    failure: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, float] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    when: dict[str, str] = field(default_factory=dict)
    version: int = RECORD_VERSION

    @property
    def method(self) -> str:
        """The name of the method."""
        return str(self.asked["method"])

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.asked["seed"])


def write_record(folder: Path, record: RunRecord) -> None:
    """Write `record.json` into a run's folder."""
    text = json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "record.json").write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> RunRecord:
    """The record of a run's folder.

    Raises:
        Mistake: if there is none, it cannot be read, or its version is not known here.
    """
    path = folder / "record.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Mistake(f"{folder} holds no record.json; name the folder of a run") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"{path} cannot be read as a record ({error}); remove the folder") from None
    version = given.get("version") if isinstance(given, dict) else None
    if version != RECORD_VERSION:
        raise Mistake(f"{path} is a record of version {version}; this lowland reads version {RECORD_VERSION}")
    try:
        return RunRecord(**given)
    except TypeError as error:
        raise Mistake(f"{path} is not a whole record ({error}); remove the folder") from None


def write_predictions(folder: Path, predictions: pd.DataFrame) -> None:
    """Write `predictions.parquet`; the columns are `PREDICTION_COLUMNS` and one `p_<label>` a label."""
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise ValueError(f"predictions lack the columns {missing}")
    predictions.to_parquet(folder / "predictions.parquet", index=False)


def read_predictions(folder: Path) -> pd.DataFrame:
    """The predictions of a run, a row a test example."""
    path = folder / "predictions.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise Mistake(f"{path} cannot be read ({error}); run it again with --fresh") from None


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write `history.jsonl`, a line an entry; a number that is not finite is null, as JSON has none."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    entries = [{name: plain(value) for name, value in entry.items()} for entry in history]
    lines = [json.dumps(entry, sort_keys=True, allow_nan=False) for entry in entries]
    (folder / "history.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
