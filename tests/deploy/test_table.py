"""Prediction for a user's file: its columns are kept, it is scored on request, and mistakes are told before loading."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from lowland.deploy.predict import load
from lowland.deploy.settings import PredictSettings
from lowland.deploy.table import Predictions, predict
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from tests.conftest import table_of


@pytest.fixture(params=["fp32", "bf16"])
def run(request: pytest.FixtureRequest, lowland: Callable[..., tuple], tmp_path: Path) -> Path:
    code, _, err = lowland("train", "--method", "lora", "--dtype", request.param)
    assert code == 0, err
    (folder,) = (tmp_path / "runs").glob("classification-*")
    return folder


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    table_of(2).rename(columns={"text": "review", "label": "stars"}).assign(id=range(36)).to_csv(
        path, index=False
    )
    return path


def test_a_run_predicts_in_its_own_number_format_as_it_was_tested(run: Path, texts: Path) -> None:
    tested = read_predictions(run)
    inputs = pd.read_csv(texts)["text"].iloc[tested["example"]]
    answers = load(run).predict(list(inputs))
    assert load(run).dtype == read_record(run).environment["dtype"]
    assert list(answers["predicted"]) == list(tested["predicted"])
    assert list(answers["p_good"]) == list(tested["p_good"])  # to the bit


def test_the_columns_of_the_file_are_kept_and_it_is_scored(run: Path, reviews: Path) -> None:
    settings = PredictSettings(run=run, data=reviews, text_column="review", label_column="stars")
    predictions = predict(settings)
    table = predictions.table
    assert list(table.columns) == ["review", "stars", "id", "predicted", "p_bad", "p_good"]
    assert list(table["id"]) == [str(number) for number in range(36)]
    assert predictions.scores is not None
    assert predictions.scores["accuracy"] == (table["predicted"] == table["stars"]).mean()
    assert predict(settings.replace(label_column=None)).scores is None


@pytest.mark.parametrize(
    ("change", "options", "problem"),
    [
        (
            {"stars": "so-so"},
            {"label_column": "stars"},
            "the label 'so-so' is none of the model's, which are bad, good",
        ),
        ({"predicted": "x"}, {}, "has a column 'predicted' already, as the predictions have; rename it"),
        ({"review": " "}, {}, "has 36 rows without a text, the first is line 2"),
        ({}, {"label_column": "star"}, "unknown label column 'star'; did you mean 'stars'?"),
        ({}, {"text_column": ["review", "stars"]}, "text_column names 2 columns; the task reads 1: text"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    lowland: Callable[..., tuple], tmp_path: Path, reviews: Path, change: dict, options: dict, problem: str
) -> None:
    assert lowland("train", "--method", "lora")[0] == 0
    (folder,) = (tmp_path / "runs").glob("classification-*")
    pd.read_csv(reviews).assign(**change).to_csv(reviews, index=False)
    with pytest.raises(Mistake) as caught:
        predict(PredictSettings(**{"run": folder, "data": reviews, "text_column": "review", **options}))
    assert problem in str(caught.value)


def test_a_merged_model_knows_the_columns_of_its_run(
    lowland: Callable[..., tuple], tmp_path: Path, reviews: Path
) -> None:
    columns = ("--data", str(reviews), "--text-column", "review", "--label-column", "stars")
    assert lowland("train", "--method", "lora", *columns)[0] == 0
    (folder,) = (tmp_path / "runs").glob("classification-*")
    code, _, err = lowland("merge", str(folder), "--out", str(tmp_path / "merged"))
    assert code == 0, err
    report = json.loads((tmp_path / "merged" / "merge_report.json").read_text())
    assert report["input_names"] == {"text": "review"}
    for model in (folder, tmp_path / "merged"):
        code, out, err = lowland("predict", str(model), "--data", str(reviews), "--label-column", "stars")
        assert code == 0, err
        assert out.startswith("review,stars,id,predicted,p_bad,p_good\n")
        assert "36 rows: accuracy" in err


def test_long_texts_are_remarked_on(run: Path) -> None:
    remarks: list[str] = []
    predict(PredictSettings(run=run, text=["again " * 60, "again"]), remarks.append)
    assert remarks == [
        "1 of 2 inputs (50%) are longer than 40 tokens and were cut; the longest has 60. A larger max_length reads"
        " more of them"
    ]


def test_options_of_a_file_need_a_file(run: Path) -> None:
    for option in ({"text_column": "a"}, {"label_column": "a"}, {"separator": ";"}, {"no_header": True}):
        with pytest.raises(Mistake, match=f"{next(iter(option))} speaks of a file"):
            PredictSettings(run=run, text=["a"], **option)


def test_a_file_without_a_header_and_with_another_separator(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("7~the firm gains\n8~its unit, it fails\n")
    settings = PredictSettings(run=run, data=path, text_column="2", separator="~", no_header=True)
    assert list(predict(settings).table.columns)[:3] == ["1", "2", "predicted"]


def test_json_lines_hold_what_csv_holds() -> None:
    table = pd.DataFrame(
        {"text": ["a, b", "ü"], "tags": [["x"], []], "predicted": ["", "good"], "p": [0.25, 1 / 3]}
    )
    predictions = Predictions(table)
    lines = [json.loads(line) for line in predictions.as_text(Path("out.JSONL")).splitlines()]
    assert [line["tags"] for line in lines] == [["x"], []]
    assert [line["p"] for line in lines] == [0.25, 0.3333]
    assert "ü" in predictions.as_text(Path("out.jsonl"))
    assert predictions.as_text(Path("out.csv")) == predictions.as_text()
    read = pd.read_csv(io.StringIO(predictions.as_text()), keep_default_na=False)
    assert list(read["predicted"]) == [line["predicted"] for line in lines]
