"""The files of a run, written and read back."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import (
    read_predictions,
    read_record,
    read_rows,
    read_stress_record,
    write_history,
    write_predictions,
    write_record,
    write_rows,
    write_stress_record,
)
from lowland.ground.records import (
    PREDICTION_COLUMNS,
    RECORD_VERSION,
    ROW_COLUMNS,
    STRESS_RECORD_VERSION,
    RunRecord,
    StressRecord,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLAINS = st.dictionaries(st.text(max_size=6), PLAIN, max_size=4)
SHARED = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def record_of(**changes: Any) -> RunRecord:
    request = {"task": {"name": "toy"}, "method": {"name": "lora", "label": "lora"}, "seed": 42}
    return RunRecord(**{"key": "0" * 16, "asked": request, "status": "finished", **changes})


def change(folder: Path, **changes: Any) -> None:
    """Change fields of a record that was written; a field of value `...` goes."""
    fields = {**json.loads((folder / "record.json").read_text()), **changes}
    remaining = {name: value for name, value in fields.items() if value is not ...}
    (folder / "record.json").write_text(json.dumps(remaining))


@given(asked=PLAINS, data=PLAINS, failure=st.none() | st.text())
@SHARED
def test_a_record_comes_back_as_it_was_written(tmp_path, asked, data, failure):
    asked, scores = {**asked, **record_of().asked}, {"test": {"accuracy": 0.1 + 0.2}}
    record = record_of(asked=asked, data=data, failure=failure, scores=scores)
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_a_record_is_readable_utf8_json_with_every_field(tmp_path):
    write_record(tmp_path, record_of(data={"source": "Tiedote – Nokia €"}))
    text = (tmp_path / "record.json").read_bytes().decode("utf-8")
    assert "Tiedote – Nokia €" in text
    assert text.endswith("}\n")
    assert set(json.loads(text)) == {field.name for field in dataclasses.fields(RunRecord)}


def test_method_and_seed_are_read_from_the_request():
    method = {"name": "flat-lora", "label": "flat-lora-r32", "rank": 32}
    record = record_of(asked={"task": {"name": "toy"}, "method": method, "seed": 7})
    assert (record.task, record.method, record.seed) == ("toy", "flat-lora-r32", 7)


def test_the_primary_score_is_the_first_one_also_after_reading(tmp_path):
    scores = {"test": {"pearson": 0.5, "accuracy": 0.25}, "other": {"pearson": 0.4, "accuracy": 0.3}}
    write_record(tmp_path, record_of(scores=scores))
    assert read_record(tmp_path).primary_score == "pearson"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_record_holds_json_and_no_nan(tmp_path, value):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_record(tmp_path, record_of(scores={"test": {"accuracy": value}}))
    assert not (tmp_path / "record.json").exists()


def test_a_folder_without_a_record_is_reported(tmp_path):
    for folder, what in ((tmp_path, r"holds no record\.json"), (tmp_path / "nowhere", "does not exist")):
        with pytest.raises(Mistake, match=f"{folder} {what}; name the folder of a run"):
            read_record(folder)


def test_a_record_that_is_cut_off_anywhere_is_refused_with_a_sentence(tmp_path):
    write_record(tmp_path, record_of(data={"source": "pörssi"}))
    path = tmp_path / "record.json"
    whole = path.read_bytes()
    for size in range(len(whole) - 2):
        path.write_bytes(whole[:size])
        with pytest.raises(Mistake, match=r"record\.json is damaged"):
            read_record(tmp_path)


@pytest.mark.parametrize("junk", [b"\xff\xfe{", b"{", b"", b"\x00" * 512])
def test_junk_is_refused_with_a_sentence(tmp_path, junk):
    (tmp_path / "record.json").write_bytes(junk)
    with pytest.raises(
        Mistake, match=r"record\.json is damaged.*; remove it with lowland study rm --yes .* and run it again"
    ):
        read_record(tmp_path)


@pytest.mark.parametrize("version", [0, RECORD_VERSION + 1, "1", None, ...])
def test_a_record_of_another_version_is_refused(tmp_path, version):
    write_record(tmp_path, record_of())
    change(tmp_path, version=version)
    with pytest.raises(Mistake, match=rf"version .*, and this lowland reads version {RECORD_VERSION}"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        (1, "run it again with --fresh, or read it with the version of lowland that wrote it"),
        (RECORD_VERSION + 1, "update lowland, or run it again with --fresh"),
        (None, "run it again with --fresh"),
    ],
)
def test_a_record_of_another_version_says_what_to_do(tmp_path, version, advice):
    write_record(tmp_path, record_of())
    change(tmp_path, version=version)
    with pytest.raises(Mistake, match=f"{advice}$"):
        read_record(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"record"'])
def test_json_that_is_not_a_record_is_refused(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(Mistake, match=r"record\.json"):
        read_record(tmp_path)


@pytest.mark.parametrize("changes", [{"key": ...}, {"asked": ...}, {"status": ...}, {"colour": "blue"}])
def test_a_record_with_a_field_too_few_or_too_many_is_refused(tmp_path, changes):
    write_record(tmp_path, record_of())
    change(tmp_path, **changes)
    with pytest.raises(Mistake, match=rf"is damaged: it .*'{next(iter(changes))}'; remove it") as caught:
        read_record(tmp_path)
    assert "__init__" not in str(caught.value)


SEARCH = {
    "space": {"lr": [1e-5, 1e-3], "rank": [4, 8, 16]}, "best": {"lr": 1e-4, "rank": 8}, "trials": [{"lr": 1e-4}],
    "best_so_far": [None], "examples": 300, "score": "accuracy",
}  # fmt: skip


def test_how_settings_were_searched_comes_back(tmp_path):
    write_record(tmp_path, record_of(tuning=SEARCH))
    assert read_record(tmp_path).tuning == SEARCH


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"score": ...}, r"holds a damaged 'tuning' \(score\)"),
        ({"trials": []}, r"holds a damaged 'tuning' \(trials\)"),
        ({"best_so_far": ["0.5"]}, r"holds a damaged 'tuning' \(best_so_far.0"),
        ({"space": {"lr": 3}}, r"holds a damaged 'tuning' \(space.lr"),
        ({"best": {"rank": 8}}, r"lacks the best lr in 'tuning'"),
        ({"colour": "blue"}, r"holds a damaged 'tuning' \(colour\)"),
    ],
)
def test_a_damaged_search_is_refused(tmp_path, changes, sentence):
    write_record(tmp_path, record_of())
    change(tmp_path, tuning={key: value for key, value in {**SEARCH, **changes}.items() if value is not ...})
    with pytest.raises(Mistake, match=rf"record\.json is damaged: it {sentence}"):
        read_record(tmp_path)


def predictions(rows: int = 3) -> pd.DataFrame:
    table = {name: [f"{name} {row}" for row in range(rows)] for name in PREDICTION_COLUMNS}
    table["example"] = list(range(rows))
    return pd.DataFrame({**table, "p_a/b c": [1 / 3] * rows, "p_é": [2 / 3] * rows})


def test_predictions_come_back_as_they_were_written(tmp_path):
    table = predictions()
    write_predictions(tmp_path, table.set_axis([7, 5, 3]))  # without the index
    pd.testing.assert_frame_equal(read_predictions(tmp_path), table)


@pytest.mark.parametrize("name", PREDICTION_COLUMNS)
def test_predictions_without_a_column_are_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ValueError, match=name):
        write_predictions(tmp_path, predictions().drop(columns=name))
    assert list(tmp_path.iterdir()) == []


def test_missing_or_truncated_predictions_are_reported(tmp_path):
    path = tmp_path / "predictions.parquet"
    with pytest.raises(Mistake, match=r"predictions\.parquet is missing or damaged; .*--fresh"):
        read_predictions(tmp_path)
    write_predictions(tmp_path, predictions())
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(Mistake, match=r"predictions\.parquet is missing or damaged; .*--fresh"):
            read_predictions(tmp_path)


def test_the_history_is_a_line_of_json_an_entry(tmp_path):
    history = [{"step": 1, "loss": 0.5}, {"loss": 0.25, "step": 2, "note": "a\nb"}]
    write_history(tmp_path, history)
    lines = (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == history


def test_the_history_is_json_even_where_the_loss_is_nan(tmp_path):
    write_history(tmp_path, [{"loss": math.nan}])

    def refuse(word):
        raise AssertionError(word)

    json.loads((tmp_path / "history.jsonl").read_text(), parse_constant=refuse)


def stress_record(**changes: Any) -> StressRecord:
    fields = {
        "key": "0" * 16,
        "asked": {"model": "a/b", "questionnaire": {"eval": "messy"}},
        "status": "finished",
        "counts": {"expected": 3, "scored": 2, "failed": 1},
    }
    return StressRecord(**{**fields, **changes})


@given(asked=PLAINS, model=PLAINS, failure=st.none() | st.text())
@SHARED
def test_a_stress_record_comes_back_as_it_was_written(tmp_path, asked, model, failure):
    record = stress_record(asked=asked, model=model, failure=failure, cost={"seconds": 0.1 + 0.2})
    write_stress_record(tmp_path, record)
    assert read_stress_record(tmp_path) == record


def test_the_two_kinds_of_record_are_distinguished(tmp_path):
    write_stress_record(tmp_path, stress_record())
    with pytest.raises(Mistake, match="holds a stress test; name the folder of a training run"):
        read_record(tmp_path)
    write_record(tmp_path, record_of())
    with pytest.raises(Mistake, match="holds a training run; name the folder of a stress test"):
        read_stress_record(tmp_path)


@pytest.mark.parametrize("version", [0, STRESS_RECORD_VERSION + 1, None, ...])
def test_a_stress_record_of_another_version_is_refused(tmp_path, version):
    write_stress_record(tmp_path, stress_record())
    change(tmp_path, version=version)
    with pytest.raises(Mistake, match=rf"version .*, and this lowland reads version {STRESS_RECORD_VERSION}"):
        read_stress_record(tmp_path)


def test_a_stress_test_is_complete_where_every_row_is_accounted_for():
    assert stress_record().complete
    assert not stress_record(counts={"expected": 4, "scored": 2, "failed": 1}).complete


def rows() -> pd.DataFrame:
    table: dict[str, Any] = {name: [f"{name} 1", f'"{name}", 2\n'] for name in ROW_COLUMNS}
    table |= {"epoch": [1, 2], "edits": [0, 3], "rate": [0.0, 0.2], "score": [1.0, math.nan]}
    table |= {"protected": [False, True], "near": [False, False]}
    return pd.DataFrame(table | {"kept": pd.array([None, True], dtype="boolean"), "seed": [1, 2]})


def test_rows_come_back_as_they_were_written_with_further_columns_and_as_csv(tmp_path):
    table = rows()
    write_rows(tmp_path, table.set_axis([7, 5]))  # without the index
    pd.testing.assert_frame_equal(read_rows(tmp_path), table)
    read = pd.read_csv(tmp_path / "rows.csv")
    assert list(read.columns) == [*ROW_COLUMNS, "seed"]
    assert list(read["reply"]) == list(table["reply"])


@pytest.mark.parametrize("name", ROW_COLUMNS)
def test_rows_without_a_column_are_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ValueError, match=name):
        write_rows(tmp_path, rows().drop(columns=name))
    assert list(tmp_path.iterdir()) == []


def test_missing_or_truncated_rows_are_reported(tmp_path):
    with pytest.raises(Mistake, match=r"rows\.parquet is missing or damaged; .*--fresh"):
        read_rows(tmp_path)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(Mistake, match=r"rows\.parquet is missing or damaged; .*--fresh"):
        read_rows(tmp_path)
