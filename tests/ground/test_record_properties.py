"""Properties of records: what is written comes back, and a changed file is refused or gives the same numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from lowland.ground.json_text import NotJSON, parse_json
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import (
    read_predictions,
    read_record,
    read_rows,
    read_stress_record,
    write_predictions,
    write_record,
    write_rows,
    write_stress_record,
)
from lowland.ground.records import RunRecord, StressRecord
from tests.ground.test_record_files import predictions, record_of, rows, stress_record
from tests.strategies import TEXTS, VALUES, mutated

SHARED = settings(max_examples=50, suppress_health_check=list(HealthCheck))


@SHARED
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**200), 2**200)
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_comes_back_as_it_was_written(value: Any) -> None:
    assert parse_json(json.dumps(value), finite=True) == value


@SHARED
@given(text=TEXTS | st.text("[]{}:,\"'0123456789eE+-.ntfNI \\u", max_size=30))
def test_any_text_is_json_or_one_kind_of_error(text: str) -> None:
    try:
        value = parse_json(text)
    except (NotJSON, Mistake):
        return
    assert json.loads(text) == value or value != value  # NaN


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1" + "0" * 5000, "too many digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "key 'a' occurs twice"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": -Infinity}', "-Infinity is not a finite number"),
        ('{"a": 1e400}', "1e400 is not a finite number"),
        ('{"a"', "delimiter, line 1, character 5"),
    ],
)
def test_json_that_is_half_read_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_json(text, finite=True)


@SHARED
@given(name=st.sampled_from([field.name for field in dataclasses.fields(RunRecord)]), value=VALUES)
def test_a_record_with_another_value_is_that_record_or_refused(tmp_path: Path, name: str, value: Any) -> None:
    write_record(tmp_path, record_of())
    content = {**json.loads((tmp_path / "record.json").read_text()), name: value}
    (tmp_path / "record.json").write_text(json.dumps(content))
    try:
        record = read_record(tmp_path)
    except Mistake:
        return
    assert getattr(record, name) == value
    assert type(getattr(record, name)) is type(getattr(record_of(), name)) or name == "failure"
    assert (record.task, record.method) == ("toy", "lora") or name == "asked"


@SHARED
@given(data=st.data())
def test_changed_bytes_of_a_record_are_refused_or_a_record(tmp_path: Path, data: st.DataObject) -> None:
    for write, read, record in (
        (write_record, read_record, record_of(data={"source": "pörssi", "sizes": {"test": 3}})),
        (write_stress_record, read_stress_record, stress_record()),
    ):
        write(tmp_path, record)  # type: ignore[operator]
        path = tmp_path / "record.json"
        path.write_bytes(data.draw(mutated(path.read_bytes())))
        try:
            again = read(tmp_path)
        except Mistake:
            continue
        assert isinstance(again, RunRecord | StressRecord)
        assert isinstance(again.asked, dict)


@SHARED
@given(data=st.data())
def test_changed_bytes_of_a_table_never_become_other_numbers(tmp_path: Path, data: st.DataObject) -> None:
    for write, read, table, name in (
        (write_predictions, read_predictions, predictions(40), "predictions.parquet"),
        (write_rows, read_rows, rows(), "rows.parquet"),
    ):
        write(tmp_path, table)
        path = tmp_path / name
        path.write_bytes(data.draw(mutated(path.read_bytes())))
        try:
            again = read(tmp_path)
        except Mistake:
            continue
        again = again.set_axis(table.columns, axis=1)  # Parquet has no checksum of names and types
        pd.testing.assert_frame_equal(again, table, check_dtype=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": 3},
        {"scores": {"test": {"accuracy": "0.9"}}},
        {"cost": None},
        {"status": 1},
        {"remarks": "all is well"},
        {"asked": {}},
        {"asked": {"task": "toy", "method": "lora", "seed": 1}},
        {"asked": {"task": {"name": "toy"}, "method": {"label": "lora"}, "seed": True}},
        {"version": 2.0},
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_record(tmp_path, record_of())
    content = {**json.loads((tmp_path / "record.json").read_text()), **changes}
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(Mistake, match=r"is damaged: it holds|is a record of version 2\.0"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"asked": {"questionnaire": [False]}},
        {"model": {"requested": 3}},
        {"model": {"sent": "a"}},
        {"model": {"requested": {"extra_body": [1]}}},
        {"counts": {"expected": "3"}},
    ],
)
def test_a_stress_record_with_a_value_of_another_type_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    write_stress_record(tmp_path, stress_record())
    content = {**json.loads((tmp_path / "record.json").read_text()), **changes}
    (tmp_path / "record.json").write_text(json.dumps(content))
    with pytest.raises(Mistake, match="is damaged: it holds"):
        read_stress_record(tmp_path)


def test_damaged_metadata_of_a_table_are_refused(tmp_path: Path) -> None:
    write_predictions(tmp_path, predictions())
    path = tmp_path / "predictions.parquet"
    table = parquet.read_table(path)
    metadata = table.schema.metadata[b"pandas"].replace(b'"pandas_type"', b'"pandas_tape"')
    parquet.write_table(table.replace_schema_metadata({b"pandas": metadata}), path)
    with pytest.raises(Mistake, match=r"predictions\.parquet is missing or damaged"):
        read_predictions(tmp_path)


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    predictions().drop(columns="score").to_parquet(tmp_path / "predictions.parquet")
    with pytest.raises(Mistake, match=r"predictions\.parquet is missing or damaged"):
        read_predictions(tmp_path)


def test_a_folder_in_the_place_of_a_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()
    with pytest.raises(Mistake, match=r"record\.json cannot be read"):
        read_record(tmp_path)
