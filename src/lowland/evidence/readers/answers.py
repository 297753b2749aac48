"""Reader of runs for error analysis: what each method and seed predicted for the same test examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.evidence.core.arrays import ROUNDING
from lowland.evidence.core.metrics import Floats
from lowland.evidence.readers.runs import TEST
from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.record_files import read_predictions
from lowland.ground.records import RunRecord
from lowland.ground.visible import visible

EXPECTED = ("label", "completion", "target", "answers")
"""Columns of predictions that hold the right answer; a task has one of them."""
RIGHT = 0.5
"""Least score of a prediction that counts as right; scores of classes are 0 or 1."""


@dataclass(frozen=True)
class MethodAnswers:
    """Predictions of one method for N test examples, with S seeds.

    Attributes:
        seeds: the S seeds, in ascending order.
        scores: (S, N) scores of the predictions.
        predicted: (S, N) predicted classes or texts; None if the runs' predictions name none.
        probabilities: (S, N, K) probabilities of the classes; None if the runs' predictions hold none.
    """

    seeds: tuple[int, ...]
    scores: Floats
    predicted: npt.NDArray[np.object_] | None
    probabilities: Floats | None

    @property
    def right(self) -> Floats:
        """(S, N) 1 where a prediction is right, else 0."""
        return (self.scores >= RIGHT).astype(np.float64)

    @property
    def confidence(self) -> Floats | None:
        """(S, N) largest probability of each prediction; None without probabilities."""
        return None if self.probabilities is None else self.probabilities.max(axis=2)


@dataclass(frozen=True)
class Answers:
    """Predictions of the runs of one study for one test set.

    Attributes:
        examples: N rows with the columns `example`, `group`, `category`, `text` and `label`, the right answer, for a
            task with classes its class; text, category and label are empty where they are not known.
        labels: the K classes, in the order of the probabilities; empty for a task without classes.
        methods: predictions of each method.
        task: name of the task.
    """

    examples: pd.DataFrame
    labels: tuple[str, ...]
    methods: Mapping[str, MethodAnswers]
    task: str

    @property
    def has_texts(self) -> bool:
        """Whether texts of the examples are known."""
        return bool((self.examples["text"] != "").any())


def read_answers(runs: Mapping[Path, RunRecord], split: str = TEST) -> Answers:
    """Read the predictions of runs, aligned by example.

    Args:
        runs: records of finished runs, by folder.
        split: name of the test set.

    Raises:
        Mistake: if the runs have no such test set, were tested on different examples, are several of one method and
            seed, or hold predictions that cannot be right.
    """
    tables = {folder: _read(folder, record, split) for folder, record in runs.items()}
    first_folder, first = next(iter(tables.items()))
    record = runs[first_folder]
    for folder, table in tables.items():
        same_data = runs[folder].data.get("sha256") == record.data.get("sha256")
        same_rows = table["group"].equals(first["group"]) and all(
            table[name].equals(first[name]) for name in ("label",) if name in table and name in first
        )
        if not same_data or not same_rows:
            raise Mistake(
                f"{folder} and {first_folder} were tested on different examples; give the runs of one study"
            )
    methods = {}
    labels = tuple(record.data.get("labels") or ())
    for method in dict.fromkeys(record.method for record in runs.values()):
        chosen = {folder: record for folder, record in runs.items() if record.method == method}
        seeds = [record.seed for record in chosen.values()]
        if len(set(seeds)) < len(seeds):
            raise Mistake(
                f"several runs of {method} have one seed, and differ in their settings; give the runs of one study"
            )
        ordered = sorted(chosen, key=lambda folder: runs[folder].seed)
        methods[method] = _answers([tables[folder] for folder in ordered], tuple(sorted(seeds)), labels)
    about = pd.DataFrame(
        {
            "example": first.index,
            "group": first["group"].to_numpy(),
            **{name: _texts(first, name) for name in ("category", "text")},
            "label": _expected(first),
        }
    )
    return Answers(about, labels, methods, record.task)


def _read(folder: Path, record: RunRecord, split: str) -> pd.DataFrame:
    """Return the predictions for one test set, in the order of the examples' numbers."""
    if split not in record.scores:
        raise Mistake(one_of("test set", split, list(record.scores)))
    table = read_predictions(folder)
    table = table[table["split"] == split].set_index("example").sort_index()
    labels = list(record.data.get("labels") or ())
    for problem in _problems(table, labels):
        raise Mistake(
            f"{folder / 'predictions.parquet'} is damaged: {problem}; run it again with --fresh, or leave it out"
        )
    mean, recorded = table["score"].mean(), record.scores[split].get("accuracy")
    if labels and recorded is not None and abs(mean - recorded) > ROUNDING:
        raise Mistake(
            f"{folder}: the predictions have an accuracy of {mean:.4f} on {split}, and record.json says {recorded:.4f};"
            " they are not of one run: run it again with lowland compare --fresh, or leave it out"
        )
    return table


def _problems(table: pd.DataFrame, labels: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the predictions for a test set, the worst first.

    Args:
        table: the predictions.
        labels: classes of the task; empty for a task without.
    """
    if table.empty:
        yield "it holds no predictions for the test set"
        return
    if not np.isfinite(table["score"].to_numpy(np.float64)).all():
        yield "a score is no finite number"
    if not labels:
        return
    classes = [name for name in ("label", "predicted") if name in table]
    for name in classes:
        if unknown := sorted(set(map(str, table[name])) - set(labels)):
            yield f"{name} holds {visible(unknown[0])!r:.60}, which is none of the record's labels"
    if len(classes) == 2 and ((table["score"] == 1) != (table["label"] == table["predicted"])).any():
        yield "a score disagrees with its label and prediction"
    columns = [f"p_{label}" for label in labels]
    if known := [column for column in columns if column in table]:
        if missing := sorted(set(columns) - set(known)):
            yield f"it lacks the column {visible(missing[0])}"
        values = table[known].to_numpy(np.float64)
        if not ((values >= -ROUNDING) & (values <= 1 + ROUNDING)).all():
            yield "a probability is not between 0 and 1"


def _texts(table: pd.DataFrame, name: str) -> npt.NDArray[np.object_]:
    """Return a column as texts; empty ones if the table does not have it."""
    if name not in table:
        return np.full(len(table), "", dtype=object)
    return table[name].fillna("").astype(str).to_numpy(dtype=object)


def _expected(table: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return the right answer of each example as text: its class, its text, or the accepted answers to a question."""
    name = next((name for name in EXPECTED if name in table), "label")
    texts = _texts(table, name)
    return texts if name != "answers" else np.array([_accepted(text) for text in texts], dtype=object)


def _accepted(text: str) -> str:
    """Return the accepted answers to a question, of the JSON that predictions hold."""
    try:
        answers = parse_json(text)
        names = dict.fromkeys(str(answer["text"]) for answer in answers)
    except (NotJSON, Mistake, TypeError, KeyError):
        return text
    return " / ".join(names) or "no answer"


def _answers(tables: Sequence[pd.DataFrame], seeds: tuple[int, ...], labels: Sequence[str]) -> MethodAnswers:
    named = all("predicted" in table for table in tables)
    columns = [f"p_{label}" for label in labels]
    known = bool(columns) and all(set(columns) <= set(table.columns) for table in tables)
    return MethodAnswers(
        seeds=seeds,
        scores=np.stack([table["score"].to_numpy(np.float64) for table in tables]),
        predicted=np.stack([_texts(table, "predicted") for table in tables]) if named else None,
        probabilities=np.stack([table[columns].to_numpy(np.float64) for table in tables]) if known else None,
    )
