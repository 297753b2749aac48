"""Records of runs and stress tests: the content of a run's folder, and functions that write and read it.

A run's folder holds

- `record.json`: what was asked, the scores, and the data, model and environment (`RunRecord`),
- `predictions.parquet`: one row for each test example (`PREDICTION_COLUMNS`, then the task's own columns),
- `history.jsonl`: one line for each entry of the training log,
- `adapter/` or `model/`: the trained weights, if they were kept.

A stress test's folder holds

- `record.json`: what was asked, and how the test went (`StressRecord`),
- `rows.parquet` and `rows.csv`: one row for each question (`ROW_COLUMNS`),
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

RECORD_VERSION = 2
STRESS_RECORD_VERSION = 2

RENEW = "run it again with --fresh, which replaces it, or remove its folder"
"""What to do with a damaged record."""

PREDICTION_COLUMNS = ("split", "example", "group", "category", "score")
"""Columns that the predictions of every task have.

- `split`: name of the test set; `example`: row number in the data, the same in every run;
- `group`: examples of one group are alike (copies, sentences of one template), so they are not independent evidence;
- `category`: category of the example, "" if the data has none;
- `score`: score of the prediction, 0 or 1 or any number; higher is better.

A task appends its own columns: text classification has `label`, `predicted` and `p_<label>`, the probabilities.
"""

ROW_COLUMNS = (
    "eval", "model", "item", "topic", "condition", "level", "rate", "protected", "mitigation", "epoch",
    "prompt", "gold", "reply", "status", "score", "near", "category", "language", "kept", "edits",
)  # fmt: skip
"""Columns of a stress test's rows.

- `eval`: "messy", "multilingual" or "adapter"; `model`: its name, for "adapter" the method's label;
- `item`: id of the question, or row number of the test example; `topic`: subject of the question, or the example's
  category;
- `condition`: "clean" or a corruption, or the language; `level`: as asked for, "" for undamaged text;
- `rate`: edits per character (for emoji, per edge of a word) that the level stands for; `edits`: number of edits made;
- `protected`: whether names and numbers were left unchanged; `mitigation`: "none" or its name; `epoch`: from 1 on;
- `prompt`: the user's text as sent; `gold`: accepted answers, joined by " | "; `reply`: the model's answer;
- `status`: "scored" or "failed"; `score`: 1 or 0, NaN if the row failed; `near`: right only by a near miss;
- `category`: "right", "unsure", "failed" or the kind of error, which is "wrong" for "adapter"; `language`: language of
  the reply, "" if it was not checked;
- `kept`: whether the reply is in the requested language, missing if that could not be decided.
"""


@dataclass(frozen=True)
class RunRecord:
    """Record of one training run.

    Equal requests on one machine leave equal records, except for `cost` and `when`.

    Attributes:
        key: hash of the request, the data and the model.
        asked: the request as plain values: `task` and `method`, each a mapping with a `name` and its settings,
            `method` also with the `label` that reports use; `seed`, `model` and further settings.
        status: "finished" or "failed".
        failure: error message of a failed run.
        data: source, SHA-256, sizes of the splits, and what else the task says of its data; `truncated`: by split, the
            number of examples that are longer than the model reads, and by how much.
        model: `name`, `origin`, `revision`, `sha256` of its weights, `files_sha256` of its config and tokenizer, and
            `class`.
        parameters: `trainable`, `total`, `share`.
        scores: for each test set its scores by name, the primary score first.
        validation: scores on the validation set after the last epoch.
        baseline: scores of the task's simplest method (for classes: the most frequent label), by its name and test set.
        class_scores: for each test set, scores of each class by name; empty for a task without classes.
        code: lowland's version and a hash of its source.
        environment: versions, processor, cores, threads, device, number format.
        cost: seconds of training and evaluation, peak memory in bytes.
        when: UTC times of start and end.
        remarks: sentences on what a person should know of the model, the data and the answers.
        version: version of the record format.
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
    baseline: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    class_scores: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    when: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    version: int = RECORD_VERSION

    @property
    def task(self) -> str:
        """Return the name of the task."""
        return str(self.asked["task"]["name"])

    @property
    def method(self) -> str:
        """Return the label of the method: its name, or the label that the recipe gives it."""
        return str(self.asked["method"]["label"])

    @property
    def seed(self) -> int:
        """Return the seed of the run."""
        return int(self.asked["seed"])

    @property
    def primary_score(self) -> str:
        """Return the name of the first score of the first test set."""
        return next(iter(next(iter(self.scores.values()))))


@dataclass(frozen=True)
class StressRecord:
    """Record of one stress test.

    Attributes:
        key: hash of the request, which covers the content of the questions.
        asked: the request as plain values: model, settings, and which questions.
        status: "finished": every row is there and few failed; "incomplete": rows are missing; "failed": every row is
            there, but too many failed to draw conclusions. Asking again resumes an incomplete or failed test.
        failure: what went wrong, in a sentence.
        items: source of the items, `sha256` of everything that is sent and of the accepted answers, `count`.
        model: `name`, `requested` (settings), `sent` (settings as found in a request; empty if the provider does not
            show it), `dropped` (settings that were requested but not sent), `described` (what the model says of itself,
            if it does). For fine-tuned runs instead `name` and `sha256` of the base model, and `runs`.
        counts: number of rows `expected`, `scored` and `failed`.
        code: lowland's version and a hash of its source.
        environment: versions, system.
        cost: `requests`, `input_tokens`, `output_tokens`, and `dollars` according to the price table: sums over all
            commands; `seconds` of the last command. For fine-tuned runs `requests` and `seconds`, sums over all runs.
        when: UTC times of the last command's start and end.
        version: version of the record format.
        kind: "stress"; distinguishes the record from a `RunRecord`.
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
        """Return whether every expected row is there, scored or failed."""
        return self.counts["expected"] == self.counts["scored"] + self.counts["failed"]


class UnreadableRecord(Mistake):
    """Record that is missing, damaged or of another version.

    Attributes:
        reason: what is wrong with it, without what to do.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason = reason


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
    """Return the record in a run's folder.

    Raises:
        Mistake: if the folder has no record, or the record cannot be read, is that of a stress test, or has another
            version.
    """
    content = _read_json(folder)
    if content.get("kind") == "stress":
        raise Mistake(f"{folder} holds a stress test; name the folder of a training run")
    return _parse_record(folder, content, RunRecord, RECORD_VERSION)


def read_stress_record(folder: Path) -> StressRecord:
    """Return the record in a stress test's folder.

    Raises:
        Mistake: if the folder has no record, or the record cannot be read, is that of a training run, or has another
            version.
    """
    content = _read_json(folder)
    if "kind" not in content and "method" in (content.get("asked") or {}):
        raise Mistake(f"{folder} holds a training run; name the folder of a stress test")
    return _parse_record(folder, content, StressRecord, STRESS_RECORD_VERSION)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "record.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreadableRecord(f"{folder} holds no record.json", "name the folder of a run") from None
    except json.JSONDecodeError as error:
        raise UnreadableRecord(f"{path} is damaged in line {error.lineno}", RENEW) from None
    except UnicodeDecodeError:
        raise UnreadableRecord(f"{path} is damaged", RENEW) from None
    return content if isinstance(content, dict) else {}


def _parse_record(folder: Path, content: dict[str, Any], kind: type[Record], known: int) -> Record:
    path = folder / "record.json"
    _check_version(path, content.get("version"), known)
    fields = dataclasses.fields(kind)
    unknown = [repr(name) for name in content if name not in {entry.name for entry in fields}]
    needed = [entry.name for entry in fields if entry.default is entry.default_factory is dataclasses.MISSING]
    missing = [repr(name) for name in needed if name not in content]
    wrong = [f"has the unknown entry {name}" for name in unknown] + [f"lacks {name}" for name in missing]
    if not wrong and not isinstance(content["asked"], dict):
        wrong = [f"holds {content['asked']!r} for 'asked'"]
    if wrong:
        raise UnreadableRecord(f"{path} is damaged: it {' and '.join(wrong)}", RENEW)
    return kind(**content)


def _check_version(path: Path, version: object, known: int) -> None:
    if version == known:
        return
    if isinstance(version, int) and 0 < version < known:
        advice = "run it again with --fresh, or read it with the version of lowland that wrote it"
    elif isinstance(version, int) and version > known:
        advice = "update lowland, or run it again with --fresh"
    else:
        advice = "run it again with --fresh"
    raise UnreadableRecord(
        f"{path} is a record of version {version}, and this lowland reads version {known}", advice
    )


def write_rows(folder: Path, rows: pd.DataFrame) -> None:
    """Write `rows.parquet`, and `rows.csv` for people; columns are `ROW_COLUMNS`, others may follow.

    Raises:
        ValueError: if a column is missing.
    """
    missing = [name for name in ROW_COLUMNS if name not in rows.columns]
    if missing:
        raise ValueError(f"rows lack the columns {missing}")
    rows.to_parquet(folder / "rows.parquet", index=False)
    rows.to_csv(folder / "rows.csv", index=False, lineterminator="\n")


def read_rows(folder: Path) -> pd.DataFrame:
    """Return the rows of a stress test.

    Raises:
        Mistake: if they cannot be read.
    """
    path = folder / "rows.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):
        raise Mistake(f"{path} is missing or damaged; ask again with --fresh") from None


def write_predictions(folder: Path, predictions: pd.DataFrame) -> None:
    """Write `predictions.parquet`; columns are `PREDICTION_COLUMNS`, then those of the task.

    Raises:
        ValueError: if a column is missing.
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise ValueError(f"predictions lack the columns {missing}")
    predictions.to_parquet(folder / "predictions.parquet", index=False)


def read_predictions(folder: Path) -> pd.DataFrame:
    """Return the predictions of a run, one row for each test example.

    Raises:
        Mistake: if they cannot be read.
    """
    path = folder / "predictions.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):
        raise Mistake(f"{path} is missing or damaged; run it again with --fresh") from None


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write `history.jsonl`, one line for each entry; NaN and infinity become null, since JSON has neither."""

    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    entries = [{name: plain(value) for name, value in entry.items()} for entry in history]
    lines = [json.dumps(entry, sort_keys=True, allow_nan=False) for entry in entries]
    (folder / "history.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
