"""The files that a task's fields name, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lowland.ground.mistakes import Mistake
from lowland.tasks.examples import TaskFields
from lowland.tasks.readers.files import read_tables
from lowland.tasks.table import task_fields


def read(path: Path, fields: TaskFields) -> pd.DataFrame:
    return pd.DataFrame({"text": path.read_text().split()})


def fetch() -> tuple[pd.DataFrame, str]:
    return pd.DataFrame({"text": ["own"]}), "the hub"


@pytest.fixture
def paths(tmp_path: Path) -> tuple[str, str]:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("x y")
    second.write_text("z")
    return str(first), str(second)


def fields(**values: Any) -> TaskFields:
    return task_fields("instruction", **values)


def test_one_file_two_files_or_none(paths: tuple[str, str]) -> None:
    table, source = read_tables(read, fetch, fields(data=paths[0]), "own")
    assert (list(table["text"]), list(table), source) == (["x", "y"], ["text"], "a.csv")
    table, source = read_tables(read, fetch, fields(data=paths[0], test_data=paths[1]), "own")
    assert table.to_dict("list") == {"text": ["x", "y", "z"], "split": ["train", "train", "test"]}
    assert source == "a.csv + b.csv"
    assert read_tables(read, fetch, fields(), "own")[1] == "the hub"
    assert read_tables(None, fetch, fields(), "own")[1] == "the hub"


def test_fields_that_do_not_go_together(paths: tuple[str, str]) -> None:
    data, test_data = paths
    for functions, values, message in (
        (
            (None, fetch),
            {"data": data},
            "brings its own data and takes no data file; for yours use --task own",
        ),
        ((None, fetch), {"test_data": data}, "brings its own data"),
        ((read, fetch), {"test_data": data}, "test_data is given without data"),
        ((read, None), {}, "task instruction needs a file: --data FILE"),
        (
            (read, None),
            {"data": data, "test_data": test_data, "split_column": "part"},
            "both say what the test set is",
        ),
        ((read, None), {"data": data, "test_data": data}, "data and test_data are the same file"),
    ):
        with pytest.raises(Mistake, match=message) as caught:
            read_tables(*functions, fields(**values), "own")
        assert len(caught.value.problems) == 1
