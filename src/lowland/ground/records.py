"""Records of runs and stress tests: what a run leaves in its folder. `record_files.py` writes and reads it.

A run's folder holds

- `record.json`: what was asked, the scores, and the data, model and environment (`RunRecord`),
- `predictions.parquet`: one row for each test example (`PREDICTION_COLUMNS`, then the task's own columns),
- `history.jsonl`: one line for each entry of the training log (docs/logging.md),
- `adapter/` or `model/`: the trained weights, if they were kept,
- `README.md`: the model card of a run that kept them, written by the command line.

A stress test's folder holds

- `record.json`: what was asked, and how the test went (`StressRecord`),
- `rows.parquet` and `rows.csv`: one row for each question (`ROW_COLUMNS`),
- `logs/`: Inspect's log, for `inspect view`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RECORD_VERSION = 2
STRESS_RECORD_VERSION = 2

FILES = (
    "README.md", "record.json", "predictions.parquet", "history.jsonl", "adapter", "model", "rows.parquet", "rows.csv",
    "logs",
)  # fmt: skip
"""Names of the files and folders that a run or a stress test has in its folder."""

PREDICTION_COLUMNS = ("split", "example", "group", "category", "score", "text")
"""Columns that the predictions of every task have.

- `split`: name of the test set; `example`: row number in the data, the same in every run;
- `group`: examples of one group are alike (copies, sentences of one template), so they are not independent evidence;
- `category`: category of the example, "" if the data has none;
- `score`: score of the prediction, 0 or 1 or any number; higher is better;
- `text`: what the model read, for people: several inputs are joined by " | ". It is empty in older predictions.

A task appends its own columns: text classification has `label`, `predicted` and `p_<label>`, the probabilities.
"""

ROW_COLUMNS = (
    "eval", "model", "item", "topic", "condition", "level", "rate", "protected", "mitigation", "epoch",
    "prompt", "gold", "reply", "status", "score", "near", "category", "language", "kept", "edits",
)  # fmt: skip
"""Columns of a stress test's rows.

- `eval`: "messy", "multilingual", "adapter" or "behaviour"; `model`: its name, for the latter two the method's label;
- `item`: id of the question, or row number of the test example; `topic`: subject of the question, or the example's
  category, or the capability that is tested;
- `condition`: "clean" or a corruption, or the language, or the test of a suite; `level`: as asked for, "" for undamaged
  text;
- `rate`: edits per character (for emoji, per edge of a word) that the level stands for; `edits`: number of edits made;
- `protected`: whether names and numbers were left unchanged; `mitigation`: "none" or its name; `epoch`: from 1 on;
- `prompt`: the user's text as sent; `gold`: accepted answers, joined by " | "; `reply`: the model's answer;
- `status`: "scored" or "failed"; `score`: 1 or 0, NaN if the row failed; `near`: right only by a near miss;
- `category`: "right", "unsure", "failed" or the kind of error, which is "wrong" for fine-tuned runs; `language`:
  language of the reply, "" if it was not checked;
- `kept`: whether the reply is in the requested language, missing if that could not be decided.
"""


def title_of(model: Mapping[str, Any]) -> str:
    """Return what a person should read for the model of a record: its title, if it has one, else its name."""
    title = model.get("title")
    return title if isinstance(title, str) else str(model.get("name", "unknown model"))


class SearchEntry(BaseModel):
    """Entry `tuning` of a run whose settings were searched."""

    model_config = ConfigDict(strict=True, extra="forbid")

    space: dict[str, list[float]]
    trials: list[dict[str, Any]] = Field(min_length=1)
    best: dict[str, float]
    best_so_far: list[float | None]
    examples: int
    score: str


@dataclass(frozen=True)
class RunRecord:
    """Record of one training run.

    Equal requests on one machine leave equal records, except for `cost` and `when`.

    Attributes:
        key: hash of the request, the data and the model.
        asked: the request as plain values: `task` and `method`, each a mapping with a `name` and its settings,
            `method` also with the `label` that reports use; `seed`, `model` and further settings.
        status: "finished" or "failed"; "unfinished" in the note that a run leaves while it is trained.
        failure: error message of a failed run.
        data: source, SHA-256, sizes of the splits, and what else the task says of its data; what the model `reads`
            ("text" or "image"), and in which columns (`inputs`); `truncated`: by split, the number of examples that are
            longer than the model reads, and by how much.
        model: `name`, `origin`, `revision`, `sha256` of its weights, `files_sha256` of its config and tokenizer, and
            `class`; for a dequantised model also its `title`, and the `terms` of its use.
        parameters: `trainable`, `total`, `share`.
        scores: for each test set its scores by name, the primary score first.
        validation: scores on the validation set after the last epoch.
        chosen: values that the task chose on the validation set, by name: a threshold, for instance.
        baseline: scores of the task's simplest method (for classes: the most frequent label), by its name and test set;
            always the primary score, and others where it has them.
        class_scores: for each test set, scores of each class (or kind of example) by name; empty for a task without.
        tuning: how a sweep chose the settings: `space`, `trials`, `best`, `best_so_far`, `examples` and the name of the
            `score`; empty if they were not searched.
        code: lowland's version and a hash of its source.
        environment: versions, processor, cores, threads, device, number format.
        cost: seconds of training and evaluation, peak memory in bytes.
        when: UTC times of start and end.
        remarks: sentences on what a person should know of the model, the data and the answers.
        files: SHA-256 of each file of the trained weights, by its path in the folder.
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
    chosen: dict[str, float] = field(default_factory=dict)
    baseline: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    class_scores: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    tuning: dict[str, Any] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    when: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
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
        items: source of the items, `sha256` of everything that is sent and of the accepted answers, `count`; with
            languages of the user's own also `accepts` and `profiles`, by which all languages are recognised. For
            fine-tuned runs also `score`, what the mean score is called; for a suite also what it is `about`.
        model: `name`, `requested` (settings), `sent` (settings as found in a request; empty if the provider does not
            show it), `dropped` (settings that were requested but not sent), `described` (what the model says of itself,
            if it does). For fine-tuned runs instead `name`, `title` and `sha256` of the base model, and `runs`.
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
