"""Classification of sentence pairs: two texts, one label. MRPC and RTE of GLUE, and a user's own table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from lowland.ground.asked import Text
from lowland.tasks.classification import OwnTableFields, read_own
from lowland.tasks.examples import TaskFields
from lowland.tasks.folders import FolderClassification
from lowland.tasks.readers.glue import glue_from_hub, name_labels
from lowland.tasks.readers.originals import read_original_table


class PairFields(OwnTableFields):
    """A user's own table of pairs and labels."""

    first_column: Text = "first"
    """the column with the first text of a pair"""
    second_column: Text = "second"
    """the column with the second text of a pair"""


@dataclass(frozen=True)
class Pairs(FolderClassification):
    """Classification of sentence pairs."""

    input_columns: ClassVar[tuple[str, ...]] = ("first", "second")


class TablePairs(Pairs):
    """Classification of a user's own table of pairs."""

    fields: ClassVar[type[TaskFields]] = PairFields


def read_own_pairs(path: Path, fields: TaskFields) -> pd.DataFrame:
    """Read a user's table with the columns that the fields name."""
    assert isinstance(fields, PairFields)
    return read_own(path, fields, {"first": fields.first_column, "second": fields.second_column})


def read_mrpc(path: Path, fields: object = None) -> pd.DataFrame:
    """Read a file of the Microsoft Research Paraphrase Corpus (Dolan & Brockett, 2005).

    Raises:
        Mistake: if it is another file, or a label is neither 0 nor 1.
    """
    columns = {"first": "#1 String", "second": "#2 String", "label": "Quality"}
    table = read_original_table(path, columns, "MRPC")
    return name_labels(path, table, {"0": "not_equivalent", "1": "equivalent"})


def read_rte(path: Path, fields: object = None) -> pd.DataFrame:
    """Read a file of RTE as GLUE distributes it (Wang et al., 2019); its test.tsv has no labels.

    Raises:
        Mistake: if it is another file, or a label is unknown.
    """
    columns = {"first": "sentence1", "second": "sentence2", "label": "label"}
    table = read_original_table(path, columns, "RTE with labels (train.tsv or dev.tsv)")
    return name_labels(path, table, {name: name for name in ("entailment", "not_entailment")})


PAIR = {"first": "sentence1", "second": "sentence2"}
MRPC_FROM_HUB = glue_from_hub("mrpc", PAIR, ("not_equivalent", "equivalent"), "test")
RTE_FROM_HUB = glue_from_hub("rte", PAIR, ("entailment", "not_entailment"), "validation")
