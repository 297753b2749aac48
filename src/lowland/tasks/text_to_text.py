"""Text to text with an encoder-decoder: it reads a source, and writes the target. Also the toy task `repeat`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from lowland.ground.asked import Text
from lowland.ground.mistakes import Mistake
from lowland.models.language import load_language_model, outline_language_model
from lowland.models.load import LoadedModel
from lowland.tasks.examples import Batch, Encoded, Purpose, Setup, TaskData, TaskFields
from lowland.tasks.generation import Generation, GenerationFields, with_end
from lowland.tasks.readers.files import FetchedTable, TablesOfFiles, read_tables
from lowland.tasks.readers.originals import read_embedded
from lowland.tasks.readers.tables import read_table
from lowland.tasks.splits import Roles, make_splits
from lowland.tasks.truncation import Truncation, count_truncated

ROLES = Roles(inputs=("source",), label=None, targets=("target",))
REPEATED = 400
"""Largest number of words of the toy task."""


class TextToTextFields(GenerationFields):
    """A user's own table of sources and targets."""

    source_column: Text = "source"
    """the column with the text to read"""
    target_column: Text = "target"
    """the column with the text to write"""


@dataclass(frozen=True)
class TextToText(Generation):
    """Text to text, by encoder-decoders such as T5 and BART.

    Args:
        name: name of the data set.
        summary: one line for `lowland tasks`.
        read: function that reads a file into a table with the columns `source` and `target`; None if it takes no file.
        fetch: function that returns the table and its source if no file is named; None if a file is needed.
    """

    read: TablesOfFiles | None = None
    fetch: FetchedTable | None = None

    fields: ClassVar[type[TaskFields]] = TextToTextFields
    input_columns: ClassVar[tuple[str, ...]] = ("source",)
    target_column: ClassVar[str] = "target"

    def peft_task_type(self, fields: TaskFields) -> str:
        """Return PEFT's name for encoder-decoders."""
        return "SEQ_2_SEQ_LM"

    def load(self, fields: TaskFields) -> TaskData:
        """Read a table and split it; copies of a source stay in one split."""
        table, source = read_tables(self.read, self.fetch, fields, "text-to-text")
        return make_splits(table, source, fields, roles=ROLES)

    def load_model(self, folder: Path, setup: Setup) -> LoadedModel:
        """Load an encoder-decoder with its language-model head."""
        return load_language_model(folder, "SEQ_2_SEQ_LM")

    def outline(self, folder: Path, fields: TaskFields) -> LoadedModel:
        """Build an encoder-decoder on the meta device, without weights."""
        return outline_language_model(folder, "SEQ_2_SEQ_LM")

    def encode(self, columns: Mapping[str, Sequence[str]], setup: Setup, purpose: Purpose) -> Encoded:
        """Tokenize the sources, and the targets as `labels`, which end with the tokenizer's end of text."""
        rows, truncation = _cut(list(columns["source"]), setup)
        if purpose != "predict":
            targets, of_targets = _cut_targets(list(columns["target"]), setup)
            rows, truncation = {**rows, "labels": targets}, truncation + of_targets
        return Encoded(rows, np.arange(len(columns["source"])), truncation=truncation)

    def collator(self, setup: Setup, model: Any = None) -> Callable[[list[dict[str, Any]]], Batch]:
        """Pad sources and targets to the longest of the batch."""
        from transformers import DataCollatorForSeq2Seq

        pad = DataCollatorForSeq2Seq(setup.tokenizer)

        def collate(rows: list[dict[str, Any]]) -> Batch:
            batch = pad(rows)  # without targets, its labels are None
            return {name: values for name, values in batch.items() if values is not None}

        return collate


def _cut(texts: list[str], setup: Setup) -> tuple[dict[str, list[list[int]]], Truncation]:
    """Return the tokens of texts, cut off after `max_length`, and how many were cut."""
    tokenizer = setup.tokenizer
    rows = tokenizer(texts, truncation=True, max_length=setup.max_length)
    kept = {name: rows[name] for name in ("input_ids", "attention_mask")}

    def whole(positions: list[int]) -> list[int]:
        chosen = [texts[position] for position in positions]
        return [len(ids) for ids in tokenizer(chosen, verbose=False)["input_ids"]]

    return kept, count_truncated([len(ids) for ids in kept["input_ids"]], setup.max_length, whole)


def _cut_targets(texts: list[str], setup: Setup) -> tuple[list[list[int]], Truncation]:
    """Return the targets' tokens, each with an end of text, and how many were cut."""
    whole = [
        with_end(ids, setup.tokenizer)
        for ids in setup.tokenizer(text_target=texts, verbose=False)["input_ids"]
    ]
    cut = [ids[: setup.max_length] for ids in whole]
    lengths = [len(ids) for ids in whole]
    return cut, count_truncated(
        [len(ids) for ids in cut], setup.max_length, lambda places: [lengths[i] for i in places]
    )


def read_own_texts(path: Path, fields: TaskFields) -> pd.DataFrame:
    """Read a user's table with the columns that the fields name."""
    assert isinstance(fields, TextToTextFields)
    roles = {"source": fields.source_column, "target": fields.target_column, "split": fields.split_column}
    return read_table(path, roles, separator=fields.separator, header=not fields.no_header)


def repeated_words() -> tuple[pd.DataFrame, str]:
    """Return the toy task of the Flat-LoRA paper's sanity check: "repeat: hello" -> "hello hello".

    The words are those of the embedded financial sentences, in alphabetical order.
    """
    texts, source = read_embedded("financial_demo.csv")
    words = sorted({word for text in texts["text"] for word in text.lower().split() if word.isalpha()})
    words = words[:: -(-len(words) // REPEATED)]
    if len(words) < 100:
        raise Mistake(f"{source} has only {len(words)} different words")
    table = {"source": [f"repeat: {word}" for word in words], "target": [f"{word} {word}" for word in words]}
    return pd.DataFrame(table), f"the words of {source}"
