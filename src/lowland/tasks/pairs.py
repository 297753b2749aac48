"""Classification of sentence pairs: two texts, one label. MRPC and RTE of GLUE, and a user's own table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import pandas as pd

from lowland.ground.asked import Text
from lowland.ground.mistakes import Mistake
from lowland.models.hub import hub_reachable
from lowland.tasks.base import TaskFields
from lowland.tasks.classification import Classification, OwnTableFields, read_own
from lowland.tasks.readers.originals import hub_errors, read_original_table


class PairFields(OwnTableFields):
    """A user's own table of pairs and labels."""

    first_column: Text = "first"
    """the column with the first text of a pair"""
    second_column: Text = "second"
    """the column with the second text of a pair"""


@dataclass(frozen=True)
class Pairs(Classification):
    """Classification of sentence pairs; `files` names a data set's training and test file in its folder."""

    files: tuple[str, str] = ("", "")

    input_columns: ClassVar[tuple[str, ...]] = ("first", "second")

    def read_tables(self, fields: TaskFields) -> tuple[pd.DataFrame, str]:
        """Return the table that the fields ask for; of a folder, the data set's two files in it.

        Raises:
            Mistake: if the fields do not go together, or a file cannot be read.
        """
        if fields.data is not None and any(self.files) and Path(fields.data).is_dir():
            if fields.test_data is not None:
                raise Mistake(
                    f"test_data is given, but the folder {fields.data} holds the test set; leave it out"
                )
            train, test = (str(Path(fields.data) / name) for name in self.files)
            fields = fields.replace(data=train, test_data=test)
        return super().read_tables(fields)


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
    return _with_labels(path, table, {"0": "not_equivalent", "1": "equivalent"})


def read_rte(path: Path, fields: object = None) -> pd.DataFrame:
    """Read a file of RTE as GLUE distributes it (Wang et al., 2019); its test.tsv has no labels.

    Raises:
        Mistake: if it is another file, or a label is unknown.
    """
    columns = {"first": "sentence1", "second": "sentence2", "label": "label"}
    table = read_original_table(path, columns, "RTE with labels (train.tsv or dev.tsv)")
    return _with_labels(path, table, {name: name for name in ("entailment", "not_entailment")})


def _with_labels(path: Path, table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    if not (unknown := table[~table["label"].isin(list(names))]).empty:
        raise Mistake(
            f"{path}, line {unknown.index[0] + 2}: the label is {unknown['label'].iloc[0]!r};"
            f" it must be {' or '.join(names)}"
        )
    return table.assign(label=table["label"].map(names))


def _glue(task: str, names: tuple[str, str], test: str, original: str) -> tuple[pd.DataFrame, str]:
    """Return a task of GLUE from the hub, and its source; `test` is the split that has labels."""
    from datasets import DownloadConfig, load_dataset  # type: ignore[attr-defined]

    with hub_errors(task, "nyu-mll/glue", original):
        offline = DownloadConfig(local_files_only=not hub_reachable())
        parts = []
        for split, name in (("train", "train"), (test, "test")):
            loaded = load_dataset("nyu-mll/glue", task, split=split, download_config=offline)
            columns = {"first": loaded["sentence1"], "second": loaded["sentence2"]}
            labels = [names[number] for number in loaded["label"]]
            parts.append(pd.DataFrame({**columns, "label": labels, "split": name}))
        return pd.concat(parts, ignore_index=True), f"hub, nyu-mll/glue, {task}"


Fetch = Callable[[], tuple[pd.DataFrame, str]]
MRPC_FROM_HUB: Fetch = partial(_glue, "mrpc", ("not_equivalent", "equivalent"), "test", "FOLDER of MRPC")
RTE_FROM_HUB: Fetch = partial(_glue, "rte", ("entailment", "not_entailment"), "validation", "FOLDER of RTE")
