"""Tables as files: what pandas reads back is what was written, and a failed write changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lowland.ground import store
from lowland.ground.asked import Asked
from lowland.ground.mistakes import Mistake
from lowland.ground.table_files import FORMS, TableFile, write_table

TABLE = pd.DataFrame(
    {
        "text": ['two\nlines, "quoted"', "ünï", "plain"],
        "number": [0.1 + 0.2, 1e-300, np.nan],
        "count": [1, 2, 3],
        "flag": [True, False, True],
    }
)


class Given(Asked):
    out: TableFile


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_read_back_as_it_was(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"table{form}"
    write_table(path, TABLE)
    pd.testing.assert_frame_equal(read(path), TABLE, check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_json_lines_hold_what_json_has(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write_table(
        path, pd.DataFrame({"a": [np.inf, np.nan], "b": [["x"], None], "c": [np.int64(1), np.array([2])]})
    )
    lines = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert lines == [{"a": None, "b": ["x"], "c": 1}, {"a": None, "b": None, "c": [2]}]


def test_the_ending_says_the_form(tmp_path: Path) -> None:
    assert Given(out=tmp_path / "a.CSV").out == tmp_path / "a.CSV"
    for name in ("table.xlsx", "table"):
        with pytest.raises(Mistake, match=r"ends in none of \.csv, \.parquet, \.jsonl"):
            Given(out=tmp_path / name)
    with pytest.raises(Mistake, match=r"nowhere does not exist"):
        Given(out=tmp_path / "nowhere" / "a.csv")


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    path.write_text("earlier")

    def fill(place: Path, content: bytes) -> int:
        with place.open("wb") as file:
            file.write(content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space left"):
        write_table(path, TABLE)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("table.parquet", "earlier")]
