"""The tasks there are, a row each. A new data set is a new row, and a reader if its form is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.tasks.classification import TextData
from lowland.tasks.readers import (
    phrasebank_from_hub,
    read_embedded,
    read_phrasebank,
    read_sms,
    read_table,
    sms_from_hub,
)
from lowland.tasks.splits import make_splits

Table = pd.DataFrame


@dataclass(frozen=True)
class Task:
    """A row of the table.

    Attributes:
        summary: one line for `lowland tasks`.
        read: from a file and the recipe's task fields to a table with the columns text, label, perhaps split and
            category; None for a task that takes no file.
        fetch: where the data comes from when no file is given; it returns the table and its source.
    """

    summary: str
    read: Callable[[Path, Mapping[str, Any]], Table] | None = None
    fetch: Callable[[], tuple[Table, str]] | None = None


TASKS: Mapping[str, Task] = {
    "financial-demo": Task(
        "three-way sentiment of company news, written for this project; comes with it",
        fetch=lambda: read_embedded("financial_demo.csv"),
    ),
    "financial-phrasebank": Task(
        "three-way sentiment of financial news (Malo et al., 2014); from the hub,"
        " or --data Sentences_50Agree.txt",
        read=read_phrasebank,
        fetch=phrasebank_from_hub,
    ),
    "sms-spam": Task(
        "spam or ham (Almeida & Hidalgo, 2011); from the hub, or --data SMSSpamCollection",
        read=read_sms,
        fetch=sms_from_hub,
    ),
    "classification": Task(
        "your own texts: --data FILE --text-column NAME --label-column NAME (.csv, .tsv, .jsonl, .parquet)",
        read=read_table,
    ),
}


def load_task(name: str, data: Mapping[str, Any]) -> TextData:
    """The data of a task, split.

    Args:
        name: of a row of `TASKS`.
        data: the task's fields of the recipe (`lowland.ground.recipe.DATA`).

    Raises:
        Mistake: if a file is missing, cannot be read, or does not hold what the task needs.
    """
    task = TASKS[name]
    given = [data["data"], data["test_data"]]
    if task.read is None and any(one is not None for one in given):
        raise Mistake(
            f"task {name} brings its own data and takes no data file; for yours use --task classification"
        )
    if data["data"] is not None:
        return make_splits(name, *_from_files(task, data), data)
    if data["test_data"] is not None:
        raise Mistake("test_data is given without data; name the file to train on with --data")
    if task.fetch is None:
        raise Mistake(f"task {name} needs a file: --data FILE (.csv, .tsv, .jsonl or .parquet)")
    return make_splits(name, *task.fetch(), data)


def _from_files(task: Task, data: Mapping[str, Any]) -> tuple[Table, str]:
    assert task.read is not None
    path = Path(data["data"])
    if data["test_data"] is None:
        return task.read(path, data), path.name
    if data["split_column"] is not None:
        raise Mistake("test_data and split_column both say what the test set is; give one of them")
    test_path = Path(data["test_data"])
    parts = [
        task.read(path, data).assign(split="train"),
        task.read(test_path, data).assign(split="test"),
    ]
    return pd.concat(parts, ignore_index=True), f"{path.name} + {test_path.name}"
