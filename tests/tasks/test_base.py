"""The interface of tasks: examples as a model reads them, and what holds for every row of the table."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lowland.tasks.examples import Encoded, Setup, Split, TaskFields
from lowland.tasks.table import TASKS, task_fields
from lowland.tasks.truncation import Truncation


def test_rows_of_encoded_examples() -> None:
    encoded = Encoded({"input_ids": [[1, 2], [3]], "labels": [0, 1]}, np.array([0, 0]))
    assert len(encoded) == 2  # rows, not examples
    assert encoded[1] == {"input_ids": [3], "labels": 1}
    assert encoded.lengths == [2, 1]
    assert Encoded({"pixels": ["a", "b"]}, np.arange(2)).lengths == [1, 1]
    assert (encoded.notes, encoded.truncation) == ({}, Truncation())


def test_by_default_the_outputs_are_logits_and_nothing_is_chosen() -> None:
    task, setup = TASKS["classification"], Setup(task_fields("classification"), None, 8)
    logits = torch.ones(2, 3)

    class Answer(SimpleNamespace):
        def get(self, name: str) -> object:
            return getattr(self, name, None)

    loss, outputs = task.infer(lambda **batch: Answer(logits=logits, loss=torch.tensor(0.5)), {}, setup)
    assert loss is not None
    assert float(loss) == 0.5
    assert outputs == {"logits": logits}
    assert task.infer(lambda **batch: Answer(logits=logits), {}, setup)[0] is None
    split = Split({"text": (), "label": ()}, np.arange(0), (), ())
    assert task.choose(split, {}, Encoded({}, np.arange(0)), setup) == {}
    assert (setup.label_names, setup.chosen) == ((), {})


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_reads_writes_and_scores(name: str) -> None:
    task = TASKS[name]
    assert issubclass(task.fields, TaskFields)
    assert task.scores
    assert task.mean_score
    assert task.input_columns
    assert not set(task.input_columns) & set(task.context_columns)
    assert set(task.columns_to_damage) <= set(task.input_columns)
    assert task.columns_to_read == (*task.input_columns, *task.context_columns)
    assert task.target_column not in task.columns_to_read
    assert set(task.input_names(task_fields(name))) == set(task.input_columns)


def test_names_in_a_file_come_from_the_fields() -> None:
    fields = task_fields("instruction", prompt_column="question", completion_column="answer")
    assert TASKS["instruction"].input_names(fields) == {"prompt": "question"}
    assert TASKS["instruction"].input_names() == {"prompt": "prompt"}


def test_what_a_model_reads_is_no_target() -> None:
    task = TASKS["instruction"]
    columns = {"prompt": ("a",), "history": ("[]",), "completion": ("b",)}
    split = Split(columns, np.array([7]), ("g",), ("c",))
    assert task.gold(split) == ["b"]
    table = task.predictions("test", split, pd.DataFrame({"predicted": ["b"]}))
    assert list(table) == [
        "split",
        "example",
        "group",
        "category",
        "score",
        "text",
        "completion",
        "predicted",
    ]
    assert table.to_numpy().tolist() == [["test", 7, "g", "c", 1.0, "a", "b", "b"]]
