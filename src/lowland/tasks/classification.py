"""Text classification: one text, one label of several, a head with one output for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.ground.asked import Text, Truth
from lowland.ground.mistakes import Mistake
from lowland.models.load import LoadedModel, load_classifier, outline_classifier
from lowland.tasks.base import (
    Batch,
    Encoded,
    Outputs,
    Purpose,
    Setup,
    Split,
    Task,
    TaskData,
    TaskFields,
)
from lowland.tasks.readers.files import FetchedTable, TablesOfFiles, read_tables
from lowland.tasks.readers.separator import Separator
from lowland.tasks.readers.tables import CellMistake, read_table
from lowland.tasks.splits import Roles, make_splits
from lowland.tasks.truncation import count_truncated

FEW = 10
"""Number of examples below which equal predictions for all of them mean little."""


class OwnTableFields(TaskFields):
    """A user's own table with labels."""

    label_column: Text = "label"
    """the column with the label"""
    split_column: Text | None = None
    """a column that says train, validation or test; rows with another name form a further test set of that name"""
    separator: Separator | None = None
    """separator of the fields of a .csv file; by default it is recognised from the first line"""
    no_header: Truth = False
    """the file's first line contains data; its columns are named 1, 2, 3 and so on"""


class TableFields(OwnTableFields):
    """A user's own table of texts and labels."""

    text_column: Text = "text"
    """the column with the text"""


@dataclass(frozen=True)
class Classification(Task):
    """Classification of texts, with accuracy and F1.

    Args:
        name: name of the data set.
        summary: one line for `lowland tasks`.
        read: function that reads a data file into a table with the columns `text` and `label`, perhaps `split`,
            `group` and `category`; None for data that takes no file.
        fetch: function that returns the table and its source if no file is given; None if a file is needed.
    """

    name: str
    summary: str
    read: TablesOfFiles | None = None
    fetch: FetchedTable | None = None

    scores: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "weighted_f1")
    has_classes: ClassVar[bool] = True
    own_task: ClassVar[str] = "classification"

    def peft_task_type(self, fields: TaskFields) -> str:
        """Return PEFT's name for classifiers of sequences."""
        return "SEQ_CLS"

    def load(self, fields: TaskFields) -> TaskData:
        """Read a table and split it, stratified by label."""
        try:
            table, source = self.read_tables(fields)
        except CellMistake as mistake:
            further = self._problems_of_splits(mistake.rest, fields)
            raise Mistake(*mistake.problems, *further) from None
        return make_splits(table, source, fields, roles=Roles(self.input_columns))

    def _problems_of_splits(self, table: pd.DataFrame, fields: TaskFields) -> Sequence[str]:
        """Return the reasons why a table cannot be split."""
        try:
            make_splits(table, Path(fields.data or "").name, fields, roles=Roles(self.input_columns))
        except Mistake as mistake:
            return mistake.problems
        return ()

    def load_model(self, folder: Path, setup: Setup) -> LoadedModel:
        """Load a sequence classifier with one output for each label."""
        return load_classifier(folder, setup.label_names, setup.tokenizer)

    def outline(self, folder: Path, fields: TaskFields) -> LoadedModel:
        """Build a sequence classifier on the meta device, without weights."""
        return outline_classifier(folder)

    def encode(self, columns: Mapping[str, Sequence[str]], setup: Setup, purpose: Purpose) -> Encoded:
        """Tokenize the input columns together: one text, or a pair. A label (n,) is an index into `label_names`."""
        texts = [list(columns[name]) for name in self.input_columns]
        rows = dict(setup.tokenizer(*texts, truncation=True, max_length=setup.max_length))

        def whole(positions: list[int]) -> list[int]:
            chosen = [[column[position] for position in positions] for column in texts]
            return [
                len(ids) for ids in setup.tokenizer(*chosen, truncation=False, verbose=False)["input_ids"]
            ]

        truncation = count_truncated([len(ids) for ids in rows["input_ids"]], setup.max_length, whole)
        if purpose != "predict":
            rows["labels"] = self.label_ids(columns, setup)
        return Encoded(rows, np.arange(len(texts[0])), truncation=truncation)

    def label_ids(self, columns: Mapping[str, Sequence[str]], setup: Setup) -> list[int]:
        """Return the index into `label_names` of each label."""
        index = {name: number for number, name in enumerate(setup.label_names)}
        return [index[label] for label in columns["label"]]

    def collator(self, setup: Setup, model: Any = None) -> Callable[[list[dict[str, Any]]], Batch]:
        """Pad to the longest text of the batch."""
        from transformers import DataCollatorWithPadding

        return DataCollatorWithPadding(setup.tokenizer)

    def decode(self, outputs: Outputs, encoded: Encoded, setup: Setup) -> pd.DataFrame:
        """Turn logits (n, labels) into `predicted`, and a probability `p_<label>` for each label."""
        import torch

        logits = outputs["logits"]
        names = np.array(setup.label_names, dtype=object)
        probabilities = torch.from_numpy(logits).softmax(-1).numpy()  # (n, labels)
        columns = {f"p_{name}": probabilities[:, number] for number, name in enumerate(names)}
        return pd.DataFrame({"predicted": names[logits.argmax(-1)], **columns})

    def score_examples(self, split: Split, answers: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return 1 for the right label, else 0."""
        right = answers["predicted"].to_numpy() == np.array(split["label"], dtype=object)
        return np.asarray(right, dtype=np.float64)

    def summarise(self, split: Split, answers: pd.DataFrame) -> dict[str, float]:
        """Return accuracy, macro F1 and weighted F1, each in [0, 1]; a class never predicted has F1 0."""
        from sklearn.metrics import accuracy_score, f1_score

        labels, predicted = list(split["label"]), list(answers["predicted"])
        return {
            "accuracy": float(accuracy_score(labels, predicted)),
            "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
            "weighted_f1": float(f1_score(labels, predicted, average="weighted", zero_division=0)),
        }

    def baseline(self, train: Split, split: Split) -> tuple[str, pd.DataFrame] | None:
        """Answer every example with the most frequent label of the training examples."""
        label = Counter(train["label"]).most_common(1)[0][0]
        return "majority", pd.DataFrame({"predicted": [label] * len(split)})

    def summarise_classes(self, split: Split, answers: pd.DataFrame) -> dict[str, dict[str, float]]:
        """Return precision, recall, F1 and the number of examples (`support`) of each label."""
        from sklearn.metrics import precision_recall_fscore_support

        labels = sorted(set(split["label"]) | set(answers["predicted"]))
        values = precision_recall_fscore_support(
            list(split["label"]), list(answers["predicted"]), labels=labels, zero_division=0
        )
        names = ("precision", "recall", "f1", "support")
        return {
            label: {name: float(column[number]) for name, column in zip(names, values, strict=True)}
            for number, label in enumerate(labels)
        }

    def remarks(self, split: Split, answers: pd.DataFrame) -> Sequence[str]:
        """Warn if the model gives the same label to all examples, although they have several."""
        predicted, labels = set(answers["predicted"]), set(split["label"])
        if len(predicted) > 1 or len(labels) == 1 or len(split) < FEW:
            return ()
        return [
            f"the prediction for every example is '{predicted.pop()}': the model has not learned to distinguish the"
            " labels. Try a higher lr or more epochs, and see whether the rarer labels have enough examples"
        ]

    def read_tables(self, fields: TaskFields) -> tuple[pd.DataFrame, str]:
        """Return the table that the fields ask for, and its source.

        Raises:
            Mistake: if the fields do not go together, or a file cannot be read.
        """
        return read_tables(self.read, self.fetch, fields, self.own_task)


class TableClassification(Classification):
    """Classification of a user's own table."""

    fields: ClassVar[type[TaskFields]] = TableFields


def read_own_table(path: Path, fields: TaskFields) -> pd.DataFrame:
    """Read a user's table with the columns that the fields name."""
    assert isinstance(fields, TableFields)
    return read_own(path, fields, {"text": fields.text_column})


def read_own(path: Path, fields: OwnTableFields, texts: Mapping[str, str]) -> pd.DataFrame:
    """Read a user's table of texts with labels.

    Args:
        path: the file.
        fields: the names of the other columns, and the form of the file.
        texts: name in the file of each input column.
    """
    roles = {**texts, "label": fields.label_column, "split": fields.split_column}
    return read_table(path, roles, separator=fields.separator, header=not fields.no_header)
