"""What a run leaves: a record, its predictions or rows, its history; and how they are read back.

A run's folder holds

- `record.json`: what was asked, what came out, of what and on what (`RunRecord`),
- `predictions.parquet`: a row a test example (`PREDICTION_COLUMNS`, and `p_<label>` with the probabilities),
- `history.jsonl`: a line an entry of the training log,
- `adapter/` or `model/`: what was learned, where it was kept.

A stress test's folder holds

- `record.json`: what was asked, and how it went (`StressRecord`),
- `rows.parquet` and `rows.csv`: a row a question asked (`ROW_COLUMNS`),
- `logs/`: Inspect's log, for `inspect view`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from lowland.ground.mistakes import Mistake

RECORD_VERSION = 1
STRESS_RECORD_VERSION = 1

PREDICTION_COLUMNS = ("split", "example", "group", "category", "label", "predicted")
"""`example` is a row number of the source; examples of one `group` are no independent evidence."""

ROW_COLUMNS = (
    "eval", "model", "item", "topic", "condition", "level", "rate", "protected", "mitigation", "epoch",
    "prompt", "gold", "reply", "status", "score", "near", "category", "language", "kept", "edits",
)  # fmt: skip
"""Of a stress test's rows.

- `eval`: "messy", "multilingual" or "adapter"; `model`: its name;
- `condition`: "clean" or a corruption, or the language; `level`: as asked for, "" where nothing is corrupted, and
  `rate`, the edits a character it stands for; `protected`: whether names and numbers were left alone; `edits` made;
- `mitigation`: "none", …; `epoch`: from 1 on; `prompt`: the user's text as sent; `gold`: aliases, joined by " | ";
- `reply`; `status`: "scored" or "failed"; `score`: 1 or 0, NaN where it failed; `near`: right by a near miss only;
- `category`: "right", "unsure" or the kind of error; `language`: of the reply, "" where it was not asked; `kept`:
  whether that is the language asked for, none where nobody can say.
"""


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


@dataclass(frozen=True)
class StressRecord:
    """What a stress test left.

    Attributes:
        key: hash of what was asked, with the questions by their content.
        asked: of whom, with what settings, and which questions.
        status: "finished": every row is there and few failed; "incomplete": rows are missing; "failed": all are there,
            and so many of them failed that nothing follows. Asking again goes on from the last two.
        failure: what went wrong, in a sentence.
        items: where they come from, `sha256` of all that is sent and the gold, `count`.
        model: `name`, `requested` (settings), `sent` (settings as they stood in a request; empty where the provider
            does not show it), `dropped` (requested and not sent).
        counts: rows `expected`, `scored` and `failed`; nothing is missing where the last two add up to the first.
        code: lowland's version and a hash of its source.
        environment: versions, system.
        cost: `requests`, `input_tokens`, `output_tokens`, `seconds` of the last command, `dollars` by the price table.
        when: UTC times of the last command's start and end.
        version: of this form.
        kind: tells it from a `RunRecord`.
    """

    key: str
    asked: dict[str, Any]
    status: str
    failure: str | None = None
    items: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    when: dict[str, str] = field(default_factory=dict)
    version: int = STRESS_RECORD_VERSION
    kind: str = "stress"

    @property
    def complete(self) -> bool:
        """Whether every row that was expected was scored, or failed and is told of."""
        return self.counts["expected"] == self.counts["scored"] + self.counts["failed"]


Record = TypeVar("Record", RunRecord, StressRecord)


def write_record(folder: Path, record: RunRecord) -> None:
    """Write `record.json` into a run's folder."""
    _write_json(folder, record)


def write_stress_record(folder: Path, record: StressRecord) -> None:
    """Write `record.json` into a stress test's folder."""
    _write_json(folder, record)


def _write_json(folder: Path, record: RunRecord | StressRecord) -> None:
    text = json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "record.json").write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> RunRecord:
    """The record of a run's folder.

    Raises:
        Mistake: if there is none, it cannot be read, it is a stress test's, or its version is not known here.
    """
    given = _read_json(folder)
    if given.get("kind") == "stress":
        raise Mistake(f"{folder} holds a stress test; name the folder of a training run")
    return _whole(folder, given, RunRecord, RECORD_VERSION)


def read_stress_record(folder: Path) -> StressRecord:
    """The record of a stress test's folder.

    Raises:
        Mistake: if there is none, it cannot be read, it is a training run's, or its version is not known here.
    """
    given = _read_json(folder)
    if "kind" not in given and "method" in (given.get("asked") or {}):
        raise Mistake(f"{folder} holds a training run; name the folder of a stress test")
    return _whole(folder, given, StressRecord, STRESS_RECORD_VERSION)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "record.json"
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Mistake(f"{folder} holds no record.json; name the folder of a run") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Mistake(f"{path} cannot be read as a record ({error}); remove the folder") from None
    return given if isinstance(given, dict) else {}


def _whole(folder: Path, given: dict[str, Any], kind: type[Record], known: int) -> Record:
    path, version = folder / "record.json", given.get("version")
    if version != known:
        raise Mistake(f"{path} is a record of version {version}; this lowland reads version {known}")
    try:
        return kind(**given)
    except TypeError as error:
        raise Mistake(f"{path} is not a whole record ({error}); remove the folder") from None


def write_rows(folder: Path, rows: pd.DataFrame) -> None:
    """Write `rows.parquet`, and `rows.csv` for people; the columns are `ROW_COLUMNS` and any more behind them."""
    missing = [name for name in ROW_COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(f"rows lack the columns {missing}")
    rows.to_parquet(folder / "rows.parquet", index=False)
    rows.to_csv(folder / "rows.csv", index=False, lineterminator="\n")


def read_rows(folder: Path) -> pd.DataFrame:
    """The rows of a stress test."""
    path = folder / "rows.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise Mistake(f"{path} cannot be read ({error}); ask again with --fresh") from None


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
