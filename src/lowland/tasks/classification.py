"""Text classification: one text, one label of several, a head with one output for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import AfterValidator, ValidationInfo, field_validator

from lowland.ground.asked import Text
from lowland.ground.mistakes import Mistake
from lowland.models.language import load_language_model, outline_language_model
from lowland.models.load import LoadedModel, load_classifier, outline_classifier
from lowland.models.verbalizer import answer_with_words
from lowland.tasks.base import Task
from lowland.tasks.decoder_batches import DecoderCollator
from lowland.tasks.examples import Batch, Encoded, Outputs, Purpose, Setup, Split, TaskData, TaskFields
from lowland.tasks.labels import canonical_labels
from lowland.tasks.readers.files import FetchedTable, OwnTextFileFields, TablesOfFiles, read_tables
from lowland.tasks.readers.tables import CellMistake, read_table
from lowland.tasks.splits import Roles, make_splits
from lowland.tasks.template import with_line_breaks
from lowland.tasks.truncation import Truncation, count_truncated
from lowland.tasks.verbalizer import by_words, encode_for_words, template_of, words_of

FEW = 10
"""Number of examples below which equal predictions for all of them mean little."""


class ClassificationFields(TaskFields):
    """Data and head of a classification."""

    head: Literal["classifier", "verbalizer"] = "classifier"
    """classifier: a new output layer, on a decoder's last token; verbalizer: a decoder's own logits for the words that
    name the labels"""
    template: Annotated[Text, AfterValidator(with_line_breaks)] | None = None
    """how a decoder reads an example: a text with the input columns in braces, such as "{text} Sentiment:" for --head
    verbalizer and "Q: {prompt} A:" for instructions, which also take a chat template in Jinja (docs/tasks.md says what
    is the default)"""

    @field_validator("template")
    @classmethod
    def _needs_the_verbalizer(cls, template: str | None, info: ValidationInfo) -> str | None:
        if template is not None and info.data.get("head") == "classifier":
            raise Mistake("template is given, and only the verbalizer reads it; add --head verbalizer")
        return template


class OwnTableFields(ClassificationFields, OwnTextFileFields):
    """A user's own table with labels."""

    label_column: Text = "label"
    """the column with the label"""


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

    fields: ClassVar[type[TaskFields]] = ClassificationFields
    scores: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "weighted_f1")
    has_classes: ClassVar[bool] = True
    own_task: ClassVar[str] = "classification"

    def peft_task_type(self, fields: TaskFields) -> str:
        """Return PEFT's name for classifiers of sequences, or for decoders that classify by label words."""
        return "CAUSAL_LM" if by_words(fields) else "SEQ_CLS"

    def load(self, fields: TaskFields) -> TaskData:
        """Read a table and split it, stratified by label."""
        if by_words(fields):
            template_of(fields, self.input_columns)  # a mistake in it need not wait for the model
        try:
            table, source = self.read_tables(fields)
        except CellMistake as mistake:
            further = () if mistake.rest.empty else self._problems_of_splits(mistake.rest, fields)
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
        """Load a sequence classifier with one output for each label, or a decoder that has words for them."""
        if by_words(setup.fields):
            loaded = load_language_model(folder, "CAUSAL_LM")
            return replace(loaded, model=self.with_head(loaded.model, setup))
        return load_classifier(folder, setup.label_names, setup.tokenizer)

    def with_head(self, model: Any, setup: Setup) -> Any:
        """Return a decoder that answers with label words, if the fields ask for it; else the model as it is."""
        if not by_words(setup.fields):
            return model
        return answer_with_words(model, words_of(setup, self.input_columns).tokens)

    def outline(self, folder: Path, fields: TaskFields) -> LoadedModel:
        """Build the model on the meta device, without weights."""
        if by_words(fields):
            return outline_language_model(folder, "CAUSAL_LM")
        return outline_classifier(folder)

    def encode(self, columns: Mapping[str, Sequence[str]], setup: Setup, purpose: Purpose) -> Encoded:
        """Tokenize the input columns together: one text, or a pair. A label (n,) is an index into `label_names`."""
        texts = [list(columns[name]) for name in self.input_columns]
        if by_words(setup.fields):
            rows, truncation = encode_for_words(texts, self.input_columns, setup)
        else:
            rows, truncation = _tokens(texts, setup)
        if purpose != "predict":
            rows["labels"] = self.label_ids(columns, setup)
        return Encoded(rows, np.arange(len(texts[0])), truncation=truncation)

    def label_ids(self, columns: Mapping[str, Sequence[str]], setup: Setup) -> list[int]:
        """Return the index into `label_names` of each label."""
        index = {name: number for number, name in enumerate(setup.label_names)}
        return [index[label] for label in columns["label"]]

    def collator(self, setup: Setup, model: Any = None) -> Callable[[list[dict[str, Any]]], Batch]:
        """Pad to the longest text of the batch; at the left for a decoder that answers with label words."""
        from transformers import DataCollatorWithPadding

        if by_words(setup.fields):
            return DecoderCollator(setup.tokenizer.pad_token_id, model)
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

    def targets(
        self, cells: Sequence[Any], columns: Mapping[str, Sequence[str]], setup: Setup
    ) -> dict[str, tuple[str, ...]]:
        """Return the labels in the cells of a user's file.

        Raises:
            Mistake: if a label is none of the model's.
        """
        names = canonical_labels(cells)
        if unknown := sorted(set(names) - set(setup.label_names)):
            raise Mistake(
                f"the label {unknown[0]!r} is none of the model's, which are {', '.join(setup.label_names)}; name"
                " another column with --label-column, or leave it out"
            )
        return {"label": tuple(names)}

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


def _tokens(texts: Sequence[list[str]], setup: Setup) -> tuple[dict[str, list[Any]], Truncation]:
    """Return the tokens of texts or pairs, cut off after `max_length`, and how many were cut."""
    rows = dict(setup.tokenizer(*texts, truncation=True, max_length=setup.max_length))

    def whole(positions: list[int]) -> list[int]:
        chosen = [[column[position] for position in positions] for column in texts]
        return [len(ids) for ids in setup.tokenizer(*chosen, truncation=False, verbose=False)["input_ids"]]

    return rows, count_truncated([len(ids) for ids in rows["input_ids"]], setup.max_length, whole)


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
