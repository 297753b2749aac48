"""Data of a task: its fields, its splits, and encoded examples with what their encoding depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from lowland.ground.asked import Asked, Number, Text, Whole
from lowland.ground.mistakes import Mistake
from lowland.tasks.truncation import Truncation

TRAIN, VALIDATION, TEST = "train", "validation", "test"

Tokenizer = Any
"""A transformers tokenizer or image processor (Any: their classes have no typed base class)."""
Batch = Mapping[str, Any]
"""Tensors by the names that a model's forward pass takes."""
Outputs = Mapping[str, npt.NDArray[np.float64]]
"""A model's outputs by name, a row for each row of the encoded examples; shorter rows end in -100."""
Purpose = Literal["train", "evaluate", "predict"]
"""Purpose of an encoding: training, evaluation with known targets, or prediction without them."""
Share = Annotated[Number, Field(gt=0, lt=1)]


class TaskFields(Asked):
    """Fields of a recipe's task: name, data files and split sizes. A task with more options has a subclass."""

    name: Text
    """the task; `lowland tasks` lists them"""
    data: Text | None = None
    """a file of data: .csv, .tsv, .jsonl, .json, .parquet or .xlsx, compressed or not, or a data set's original file;
    for images, a folder with a folder for each class"""
    test_data: Text | None = None
    """a file with the test set, in the same form as `data`"""
    validation_share: Share = 0.1
    """share of the different examples held out for validation, stratified by label"""
    test_share: Share = 0.2
    """share of the different examples held out for the test, stratified by label"""
    max_train: Annotated[Whole, Field(ge=1)] | None = None
    """number of training examples to use, drawn at random with the split seed, stratified by label;
    default: all"""
    split_seed: Annotated[Whole, Field(ge=0)] = 0
    """seed of the splits, the same for all methods and seeds"""

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.validation_share + self.test_share >= 1:
            raise Mistake(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing"
                " to train on; together they must be under 1"
            )
        return self


@dataclass(frozen=True)
class Split:
    """Some examples of a task, aligned.

    Attributes:
        columns: the task's own columns by name, n values each; for classification `text` and `label`.
        examples: (n,) row numbers in the source: the same example has the same number in every run.
        groups: n names; examples of one group are alike (copies, or made from one template), and so they are not
            independent evidence.
        categories: n names; empty strings if the data has none.
    """

    columns: Mapping[str, tuple[str, ...]]
    examples: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, column: str) -> tuple[str, ...]:
        return self.columns[column]


@dataclass(frozen=True)
class TaskData:
    """The data of a task, split.

    Attributes:
        task: the task's name.
        source: the file, package or hub repository that it came from.
        splits: "train", "validation", "test", and further test sets by their names.
        sha256: hash of all columns and splits, in order: equal data has equal hashes.
        label_names: the classes, sorted; empty for a task without classes.
        dropped: number of rows left out because a later split holds a copy of them.
        remarks: sentences on what a person should know of the data.
    """

    task: str
    source: str
    splits: Mapping[str, Split]
    sha256: str
    label_names: tuple[str, ...] = ()
    dropped: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def test_sets(self) -> tuple[str, ...]:
        """Names of the splits that are used only in the final evaluation, "test" first."""
        return (TEST, *sorted(self.splits.keys() - {TRAIN, VALIDATION, TEST}))

    def describe(self) -> dict[str, Any]:
        """Return the entry for a record: plain values."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "labels": list(self.label_names),
            "sizes": {name: len(split) for name, split in self.splits.items()},
            "dropped_duplicates": self.dropped,
        }


@dataclass(frozen=True)
class Setup:
    """Conditions of encoding, decoding and the model's head: all that they depend on besides the examples.

    Attributes:
        fields: the task's fields, as requested.
        tokenizer: what reads the inputs: the model's tokenizer, or its image processor.
        max_length: number of tokens after which a text is cut off.
        label_names: names of the classes, in the order of the outputs; empty for a task without classes.
        chosen: values that were chosen on validation data, by name (`Task.chosen_on_validation`).
    """

    fields: TaskFields
    tokenizer: Tokenizer
    max_length: int
    label_names: tuple[str, ...] = ()
    chosen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Encoded:
    """Examples as a model reads them.

    Attributes:
        rows: what `Task.collator` takes, by name, m values each.
        examples: (m,) position of the example that each row belongs to, in ascending order. A long example may have
            several rows.
        notes: what `Task.decode` needs to know of each row, by name, m values each.
        truncation: how many examples are longer than the model reads.
    """

    rows: Mapping[str, Sequence[Any]]
    examples: npt.NDArray[np.int64]
    notes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    truncation: Truncation = field(default_factory=Truncation)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {name: values[row] for name, values in self.rows.items()}

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each row; 1 for rows without tokens."""
        return [len(ids) for ids in self.rows.get("input_ids", [[0]] * len(self))]

    @property
    def by_length(self) -> npt.NDArray[np.int64]:
        """Numbers of the rows (m,), the longest first: in this order, batches need little padding."""
        return np.argsort(-np.array(self.lengths), kind="stable")

    def in_order(self, outputs: Mapping[str, Any]) -> Outputs:
        """Return outputs for the rows in the order `by_length` as float64, in the order of the rows themselves."""
        places = np.argsort(self.by_length)
        return {name: np.asarray(values, dtype=np.float64)[places] for name, values in outputs.items()}
