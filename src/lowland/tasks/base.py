"""A task: everything about training and testing that depends on the kind of data.

A task owns its data's fields, readers and splits, the model's head, the encoding, the scores, and the table of
predictions. Training, studies and reports use this interface alone; what a label means is the task's own business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.models.load import LoadedModel, load_tokenizer
from lowland.tasks.examples import (
    Batch,
    Encoded,
    Outputs,
    Purpose,
    Setup,
    Split,
    TaskData,
    TaskFields,
    Tokenizer,
)
from lowland.tasks.readers.cells import problem_with_text
from lowland.tasks.readers.raw_table import RawTable

if TYPE_CHECKING:
    from torch import Tensor


class Task(ABC):
    """One kind of task, or one data set of that kind: a row of `TASKS`. A new kind is a subclass in a file of its own.

    Attributes:
        name: name in recipes, records and on the command line.
        summary: one line for `lowland tasks`.
        fields: the `TaskFields` class with its data's options.
        input_columns: the columns that the model reads.
        damaged_columns: those of them that a stress test damages; empty for all.
        reads: what the values in these columns are, for sentences: "text" or "image".
        context_columns: further columns that it reads where they are known, as the earlier turns of a chat; a user need
            not give them, and a stress test leaves them as they are.
        scores: names of its scores, the primary one first; of that, higher is better (of a perplexity, lower).
        chosen_on_validation: names of the values that `choose` returns.
        has_classes: whether its targets are labels of a fixed set.
        target_column: the column with what the model should predict.
        mean_score: what the mean of `score_examples` is called.
        targets_are_texts: whether a target's cell in a file is a text or a label, and nothing else.
        usual_length: number of tokens after which an input is cut off, unless a recipe says otherwise.
    """

    name: str
    summary: str
    fields: ClassVar[type[TaskFields]] = TaskFields
    input_columns: ClassVar[tuple[str, ...]] = ("text",)
    damaged_columns: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "text"
    context_columns: ClassVar[tuple[str, ...]] = ()
    scores: ClassVar[tuple[str, ...]]
    chosen_on_validation: ClassVar[tuple[str, ...]] = ()
    has_classes: ClassVar[bool] = False
    target_column: ClassVar[str] = "label"
    mean_score: ClassVar[str] = "accuracy"
    targets_are_texts: ClassVar[bool] = True
    usual_length: ClassVar[int] = 128

    @property
    def columns_to_read(self) -> tuple[str, ...]:
        """All columns that the model reads where they are known."""
        return (*self.input_columns, *self.context_columns)

    @property
    def columns_to_damage(self) -> tuple[str, ...]:
        """The input columns that a stress test damages."""
        return self.damaged_columns or self.input_columns

    def input_names(self, fields: TaskFields | None = None) -> dict[str, str]:
        """Return the names that the input columns have in a user's file: by the fields, else the columns' own."""
        return {column: getattr(fields, f"{column}_column", column) for column in self.input_columns}

    @abstractmethod
    def peft_task_type(self, fields: TaskFields) -> str:
        """Return PEFT's name for the kind of model, as in adapter files."""

    @abstractmethod
    def load(self, fields: TaskFields) -> TaskData:
        """Read and split the data.

        Raises:
            Mistake: if a file is missing, cannot be read, or does not hold what the task needs.
        """

    def load_reader(self, folder: Path) -> Tokenizer:
        """Load what reads the inputs from a model's folder: its tokenizer.

        Raises:
            Mistake: if the folder holds none.
        """
        return load_tokenizer(folder)

    def input_problem(self, value: Any) -> str | None:
        """Return why a value cannot be an input, as the end of the sentence "the text …"; None if it can."""
        return problem_with_text(value)

    def sample_inputs(self) -> tuple[Mapping[str, Sequence[Any]], str] | None:
        """Return inputs to try a model on, and where they come from; None for the embedded texts."""
        return None

    def chats_in(self, table: RawTable, names: Mapping[str, str]) -> pd.DataFrame | None:
        """Return the examples in a file of chats, to predict for; None for a file of texts, or another task.

        Args:
            table: the file's cells.
            names: names of columns in the file: `prompt`, and `completion`.

        Returns:
            The columns to read, and the target column, which is None where the file has no target.

        Raises:
            Mistake: if a chat cannot be read.
        """
        return None

    @abstractmethod
    def load_model(self, folder: Path, setup: Setup) -> LoadedModel:
        """Load a pretrained model with this task's head, in float32.

        What the checkpoint lacks is drawn from torch's global generator.

        Raises:
            Mistake: if the folder holds no model for this task.
        """

    def with_head(self, model: Any, setup: Setup) -> Any:
        """Return a loaded model with this task's way to answer, which its files do not say."""
        return model

    @abstractmethod
    def outline(self, folder: Path, fields: TaskFields) -> LoadedModel:
        """Build the model on the meta device, without weights, to check whether a method fits it.

        Raises:
            Mistake: if the folder holds no model for this task.
        """

    @abstractmethod
    def encode(self, columns: Mapping[str, Sequence[str]], setup: Setup, purpose: Purpose) -> Encoded:
        """Turn examples into token ids and masks, without padding, and with `labels` unless the purpose is "predict".

        Args:
            columns: the task's columns; for "predict" only `input_columns`, and perhaps `context_columns`.
            setup: tokenizer, length and fields.
            purpose: what the examples are encoded for.

        Raises:
            Mistake: if the model cannot be trained on an example.
        """

    @abstractmethod
    def collator(self, setup: Setup, model: Any = None) -> Callable[[list[dict[str, Any]]], Batch]:
        """Return the function that pads encoded rows to a batch, for a model if its arguments matter."""

    def infer(self, model: Any, batch: Batch, setup: Setup) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Run a model on a batch; return the mean loss (None for a batch without labels), and outputs row by row."""
        answer = model(**batch)
        return answer.get("loss"), {"logits": answer.logits}

    def choose(self, split: Split, outputs: Outputs, encoded: Encoded, setup: Setup) -> dict[str, float]:
        """Return values that the task chooses on validation data, such as a threshold."""
        return {}

    @abstractmethod
    def decode(self, outputs: Outputs, encoded: Encoded, setup: Setup) -> pd.DataFrame:
        """Turn a model's outputs into predictions, a row for each example.

        Args:
            outputs: outputs of `infer`, row by row.
            encoded: the encoded examples.
            setup: label names and values chosen on validation data.

        Returns:
            The column `predicted`, and columns of the task's own.
        """

    @abstractmethod
    def score_examples(self, split: Split, answers: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return a score (n,) for each prediction; higher is better. Methods are compared by these."""

    @abstractmethod
    def summarise(self, split: Split, answers: pd.DataFrame) -> dict[str, float]:
        """Return the scores of a split by the names in `scores`, in that order."""

    def baseline(self, train: Split, split: Split) -> tuple[str, pd.DataFrame] | None:
        """Return the name and the answers of the simplest method to compare with; None if the task has none.

        Args:
            train: the training examples, which the baseline may learn from.
            split: the examples that it answers.
        """
        return None

    def summarise_classes(self, split: Split, answers: pd.DataFrame) -> dict[str, dict[str, float]]:
        """Return scores by class (or kind of example) and name; empty for a task without."""
        return {}

    def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:
        """Return sentences on suspicious predictions, such as the same prediction for every example."""
        return ()

    def gold(self, split: Split) -> list[str]:
        """Return the targets of each example as one text, for people."""
        targets = [values for name, values in split.columns.items() if name not in self.columns_to_read]
        return [" | ".join(row) for row in zip(*targets, strict=True)]

    def texts(self, split: Split) -> list[str]:
        """Return the inputs of each example as one text, for people."""
        inputs = [split[name] for name in self.input_columns]
        return [" | ".join(row) for row in zip(*inputs, strict=True)]

    def targets(
        self, cells: Sequence[Any], columns: Mapping[str, Sequence[str]], setup: Setup
    ) -> dict[str, tuple[str, ...]]:
        """Return the columns of targets that the cells of a user's file stand for, to score predictions against.

        Args:
            cells: a target for each example, as the file has it.
            columns: the examples' inputs.
            setup: label names and fields.

        Raises:
            Mistake: if a cell holds no target of this task.
        """
        return {self.target_column: tuple(str(cell) for cell in cells)}

    def predictions(self, name: str, split: Split, answers: pd.DataFrame) -> pd.DataFrame:
        """Return the table of predictions that a record keeps, a row for each example of a split.

        The columns are those of `lowland.ground.records.PREDICTION_COLUMNS`, the task's targets, and its answers.
        """
        columns: dict[str, Any] = {
            "split": name,
            "example": split.examples,
            "group": list(split.groups),
            "category": list(split.categories),
            "score": self.score_examples(split, answers),
            "text": self.texts(split),
        }
        targets = {name: list(split[name]) for name in split.columns if name not in self.columns_to_read}
        return pd.DataFrame({**columns, **targets, **{str(name): answers[name] for name in answers}})
