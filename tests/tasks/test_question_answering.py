"""Question answering, end to end: from a file to a study, predictions, a merged model, and a stress test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lowland.deploy.predict import load
from lowland.ground.record_files import read_predictions, read_record
from lowland.tasks.span_scores import f1
from tests.tasks.questions import question_rows, save_tiny_model, write_squad

Run = Callable[..., tuple[int, str, str]]
SCORES = ["f1", "exact_match", "no_answer_accuracy"]
OWN = ["answers", "predicted", "start", "end", "p_no_answer"]


@pytest.fixture(scope="module")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny-reader")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    return write_squad(tmp_path / "questions.json")


def options(questions: Path, model: Path, out: Path, *more: str) -> list[str]:
    return [
        "--task", "question-answering", "--data", str(questions), "--model", str(model), "--out", str(out),
        "--dtype", "fp32", "--max-length", "32", "--stride", "4", "--lr", "0.02", "--rank", "4", "--seeds", "1",
        "--batch-size", "8", *more,
    ]  # fmt: skip


def test_a_study_of_questions_and_what_its_runs_are_for(
    lowland: Run, questions: Path, tiny_reader: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    methods = ("full", "lora", "flat-lora")
    words = options(questions, tiny_reader, out, "--epochs", "5", "--methods", *methods)
    code, report, err = lowland("compare", *words, small=False)
    assert code == 0, err
    assert "no answer" in report  # the baseline
    runs = {read_record(folder).method: folder for folder in out.glob("question-answering-*")}
    assert set(runs) == set(methods)
    for folder in runs.values():
        _check_record(folder)
        _check_answers(folder, questions)
    _check_predict(lowland, runs["lora"], questions, tmp_path)
    _check_merge(lowland, runs["lora"], questions, tmp_path)
    for path in (runs["flat-lora"], runs["lora"] / "adapter"):
        code, report, err = lowland("check", "--adapter", str(path))
        assert code == 0, report + err
        assert "FAIL" not in report
    _check_stress(lowland, out, tmp_path)


def _check_record(folder: Path) -> None:
    record, predictions = read_record(folder), read_predictions(folder)
    assert record.status == "finished", record.failure
    assert list(record.scores["test"]) == SCORES
    assert set(record.chosen) == {"no_answer_threshold"}
    assert list(predictions) == ["split", "example", "group", "category", "score", *OWN]
    assert predictions["score"].mean() == pytest.approx(record.scores["test"]["f1"])
    assert set(predictions["category"]) == {"answerable", "unanswerable"}
    assert record.baseline["no answer"]["test"]["f1"] == pytest.approx(
        (predictions["answers"] == "[]").mean()
    )
    for row in predictions.itertuples():
        gold = [answer["text"] for answer in json.loads(row.answers)]
        assert row.score == f1(row.predicted, gold)


def _check_answers(folder: Path, questions: Path) -> None:
    """A run answers as it was tested, and every answer stands at its place."""
    tested = read_predictions(folder)
    rows = [question_rows()[number] for number in tested["example"]]
    answers = load(folder).predict([(row["question"], row["context"]) for row in rows])
    assert list(answers["predicted"]) == list(tested["predicted"])
    np.testing.assert_allclose(answers["p_no_answer"], tested["p_no_answer"], atol=1e-5)
    for row in answers.itertuples():
        place = (row.start, row.end)
        assert row.predicted == ("" if place == (-1, -1) else row.context[row.start : row.end])
        assert (row.predicted == "") == (row.p_no_answer > 0.5)


def _check_predict(lowland: Run, run: Path, questions: Path, tmp_path: Path) -> None:
    row = question_rows()[0]
    code, out, err = lowland("predict", str(run), "--text", row["question"], row["context"])
    assert code == 0, err
    assert out.splitlines()[0] == "question,context,predicted,start,end,p_no_answer"
    code, out, err = lowland(
        "predict", str(run), "--data", str(questions), "--label-column", "answers", "--out", str(tmp_path / "out.jsonl")
    )  # fmt: skip
    assert code == 0, err
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(lines) == len(question_rows())
    assert [line["id"] for line in lines] == [
        row["id"] for row in question_rows()
    ]  # the file's columns are kept
    assert "f1 " in err
    gold = [row["answers"]["text"] for row in question_rows()]
    mean = np.mean([f1(line["predicted"], texts) for line, texts in zip(lines, gold, strict=True)])
    assert f"f1 {mean:.4f}" in err


def _check_merge(lowland: Run, run: Path, questions: Path, tmp_path: Path) -> None:
    code, out, err = lowland("merge", str(run), "--out", str(tmp_path / "merged"))
    assert code == 0, err
    assert "validation texts of the run's task question-answering" in out
    report = (tmp_path / "merged" / "merge_report.json").read_text()
    assert str(questions) not in report
    assert json.loads(report)["setup"]["chosen"] == read_record(run).chosen
    pairs = [(row["question"], row["context"]) for row in question_rows()]
    merged, apart = load(tmp_path / "merged").predict(pairs), load(run).predict(pairs)
    pd.testing.assert_frame_equal(merged, apart, atol=1e-5)


def _check_stress(lowland: Run, runs: Path, tmp_path: Path) -> None:
    words = [str(runs), "--corruptions", "typos", "--limit", "6", "--out", str(tmp_path / "stress")]
    code, _, err = lowland("stress", "adapter", *words)
    assert code == 0, err
    (folder,) = (tmp_path / "stress").glob("adapter-question-answering-*")
    rows = pd.read_parquet(folder / "rows.parquet")
    clean = rows[rows["condition"] == "clean"]
    asked = {row["question"] for row in question_rows()}
    assert set(clean["prompt"]) <= asked  # the context stays as it is
    assert not set(rows[rows["condition"] == "typos"]["prompt"]) <= asked
    assert (clean["gold"] != "").any()
    for run, block in clean.groupby(["model", "seed"]):
        (path,) = (path for path in runs.glob("question-*") if read_record(path).method == run[0])
        tested = read_predictions(path).set_index("example")["score"]
        np.testing.assert_allclose(block["score"], tested.loc[block["item"]])
