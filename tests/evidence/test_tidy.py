"""Tidy tables hold every score and every prediction of every run once."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lowland.evidence.readers.tidy import SCORE_COLUMNS, prediction_rows, score_rows
from lowland.ground.listing import finished_runs, list_folder
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions
from lowland.ground.records import RunRecord
from tests.evidence.test_study import answers_of
from tests.folders_of_runs import put_failure, put_run

ENVIRONMENT = {"python": "3.12", "torch": "2.6", "transformers": "5.2", "dtype": "fp32", "cores": 2}


@pytest.fixture
def runs(tmp_path: Path) -> dict[Path, RunRecord]:
    for method, seed in (("lora", 1), ("full", 1), ("lora", 2)):
        put_run(tmp_path, method, seed, validation={"accuracy": 0.5, "loss": 0.25}, environment=ENVIRONMENT)
    put_failure(tmp_path, seed=3)
    return finished_runs(list_folder(tmp_path))


def test_there_is_a_row_for_each_run_split_and_score(runs: dict[Path, RunRecord]) -> None:
    table = score_rows(runs)
    assert list(table.columns) == list(SCORE_COLUMNS)
    assert len(table) == 3 * (2 * 3 + 2)
    for folder, record in runs.items():
        own = table[table["run"] == folder.name].set_index(["split", "metric"])
        expected = {**record.scores, "validation": record.validation}
        assert own["value"].to_dict() == {
            (split, metric): value for split, scores in expected.items() for metric, value in scores.items()
        }
        assert set(own["key"]) == {record.key}
        assert set(own["trainable"]) == {record.parameters["trainable"]}
        assert set(own["train_seconds"]) == {record.cost["train_seconds"]}
        assert set(own["peak_bytes"]) == {record.cost["peak_bytes"]}
        assert set(zip(own["method"], own["seed"], strict=True)) == {(record.method, record.seed)}
        assert set(own["torch"]) == {"2.6"}


def test_there_is_a_row_for_each_run_and_example(runs: dict[Path, RunRecord]) -> None:
    table = prediction_rows(runs)
    assert len(table) == 3 * 60
    for folder, record in runs.items():
        own = table[table["run"] == folder.name].reset_index(drop=True)
        pd.testing.assert_frame_equal(own[list(read_predictions(folder))], read_predictions(folder))
        assert set(own["key"]) == {record.key}
        accuracy = own[own["split"] == "test"]["score"].mean()
        assert accuracy == pytest.approx(record.scores["test"]["accuracy"])


def test_tasks_with_other_columns_stand_in_one_table(tmp_path: Path) -> None:
    put_run(tmp_path, "lora", 1)
    put_run(tmp_path, "full", 1, answers=answers_of("full", 1).assign(p_good=0.5).drop(columns="label"))
    table = prediction_rows(finished_runs(list_folder(tmp_path)))
    assert table["p_good"].notna().sum() == table["label"].notna().sum() == 60


def test_names_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    path = put_run(tmp_path) / "record.json"
    path.write_text(path.read_text().replace('"label": "lora"', '"label": "half\\udc80"'))
    runs = finished_runs(list_folder(tmp_path))
    assert [record.method for record in runs.values()] == ["half\udc80"]
    for rows in (score_rows, prediction_rows):
        assert set(rows(runs)["method"]) == {"half‹U+DC80›"}


def test_missing_predictions_are_a_sentence(runs: dict[Path, RunRecord]) -> None:
    (next(iter(runs)) / "predictions.parquet").unlink()
    with pytest.raises(Mistake, match=r"predictions\.parquet is missing or damaged"):
        prediction_rows(runs)
    assert len(score_rows(runs)) == 24
