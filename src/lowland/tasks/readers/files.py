"""The files that a task's fields name, as one table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from lowland.ground.asked import Text, Truth
from lowland.ground.mistakes import Mistake
from lowland.tasks.examples import TaskFields
from lowland.tasks.readers.forms import FORMS
from lowland.tasks.readers.separator import Separator


class OwnFileFields(TaskFields):
    """A user's own file, which may have splits of its own."""

    split_column: Text | None = None
    """a column that says train, validation or test; rows with another name form a further test set of that name"""


class OwnTextFileFields(OwnFileFields):
    """A user's own file, which may be a text with separated fields."""

    separator: Separator | None = None
    """separator of the fields of a .csv file; by default it is recognised from the first line"""
    no_header: Truth = False
    """the file's first line contains data; its columns are named 1, 2, 3 and so on"""


TablesOfFiles = Callable[[Path, TaskFields], pd.DataFrame]
FetchedTable = Callable[[], tuple[pd.DataFrame, str]]


def read_tables(
    read: TablesOfFiles | None, fetch: FetchedTable | None, fields: TaskFields, own: str
) -> tuple[pd.DataFrame, str]:
    """Return the table that a task's fields ask for, and its source.

    Args:
        read: function that reads a file; None for data that takes no file.
        fetch: function that returns the table and its source if no file is named; None if a file is needed.
        fields: the task's fields.
        own: name of the task for a user's own data of the kind.

    Raises:
        Mistake: if the fields do not go together, or a file cannot be read.
    """
    if read is None and not fields.data == fields.test_data is None:
        raise Mistake(
            f"task {fields.name} brings its own data and takes no data file; for yours use --task {own}"
        )
    if fields.data is not None and read is not None:
        return _read_files(read, fields)
    if fields.test_data is not None:
        raise Mistake("test_data is given without data; name the file to train on with --data")
    if fetch is None:
        raise Mistake(f"task {fields.name} needs a file: --data FILE ({', '.join(FORMS)})")
    return fetch()


def _read_files(read: TablesOfFiles, fields: TaskFields) -> tuple[pd.DataFrame, str]:
    """Return the table of `data`, and of `test_data` if that is given, and their names."""
    assert fields.data is not None
    path = Path(fields.data)
    if fields.test_data is None:
        return read(path, fields), path.name
    if getattr(fields, "split_column", None) is not None:
        raise Mistake("test_data and split_column both say what the test set is; give one of them")
    test_path = Path(fields.test_data)
    if path.exists() and test_path.exists() and path.samefile(test_path):
        raise Mistake(
            f"data and test_data are the same file, {path}; leave test_data out, and a test set is held out"
        )
    parts = [read(path, fields).assign(split="train"), read(test_path, fields).assign(split="test")]
    return pd.concat(parts, ignore_index=True), f"{path.name} + {test_path.name}"
