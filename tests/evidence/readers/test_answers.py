"""Predictions of runs, aligned by example. Oracle: the tables that the runs left."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lowland.evidence.readers.answers import read_answers
from lowland.evidence.readers.runs import finished
from lowland.ground.mistakes import Mistake
from tests.evidence.test_study import NAMES, answers_of, leave_run, record_of


def with_probabilities(method: str, seed: int):
    """Answers with a text, and with probabilities that are largest for the predicted class."""
    table = answers_of(method, seed)
    rng = np.random.default_rng([seed, len(method)])
    raw = rng.uniform(0, 1, (len(table), 3)) + 2 * (table["predicted"].to_numpy()[:, None] == NAMES)
    shares = raw / raw.sum(axis=1, keepdims=True)
    table["text"] = [f"text {n}" for n in table["example"]]
    return table.assign(**{f"p_{name}": shares[:, n] for n, name in enumerate(NAMES)})


def study_of(root, *pairs, tables=with_probabilities, labels=tuple(NAMES)):
    data = {**record_of("lora", 1).data, "labels": list(labels)}
    return finished([leave_run(root, *pair, tables(*pair), data=data) for pair in pairs])


def test_predictions_are_aligned_by_example_and_seed(tmp_path):
    runs = study_of(tmp_path, ("lora", 2), ("full", 1), ("lora", 1))
    answers = read_answers(runs)
    assert list(answers.methods) == ["lora", "full"]
    assert answers.methods["lora"].seeds == (1, 2)
    for row, seed in enumerate((1, 2)):
        table = with_probabilities("lora", seed)
        table = table[table["split"] == "test"].sort_values("example")
        assert list(answers.examples["example"]) == list(table["example"])
        assert list(answers.examples["text"]) == list(table["text"])
        assert list(answers.methods["lora"].predicted[row]) == list(table["predicted"])
        assert answers.methods["lora"].scores[row] == pytest.approx(table["score"].to_numpy())
        shares = table[[f"p_{name}" for name in NAMES]].to_numpy()
        assert answers.methods["lora"].probabilities[row] == pytest.approx(shares)
        assert answers.methods["lora"].confidence[row] == pytest.approx(shares.max(axis=1))


def test_what_older_runs_lack_is_empty(tmp_path):
    runs = study_of(tmp_path, ("lora", 1), tables=answers_of)
    path = next(iter(runs)) / "predictions.parquet"
    pd.read_parquet(path).drop(columns="text").to_parquet(path)
    answers = read_answers(runs)
    assert not answers.has_texts
    assert answers.methods["lora"].probabilities is None
    assert answers.methods["lora"].confidence is None


def test_another_test_set_can_be_named(tmp_path):
    runs = study_of(tmp_path, ("lora", 1))
    assert len(read_answers(runs, "shifted").examples) == 20
    with pytest.raises(Mistake, match="unknown test set 'shift'; did you mean 'shifted'"):
        read_answers(runs, "shift")


def test_runs_of_several_studies_are_refused(tmp_path):
    runs = study_of(tmp_path, ("lora", 1), ("full", 1))
    other = leave_run(tmp_path, "dora", 1, with_probabilities("dora", 1).assign(group="g"))
    with pytest.raises(Mistake, match="tested on different examples; give the runs of one study"):
        read_answers({**runs, **finished([other])})


def test_two_runs_of_one_method_and_seed_are_refused(tmp_path):
    runs = study_of(tmp_path, ("lora", 1))
    (tmp_path / "again").mkdir()
    again = study_of(tmp_path / "again", ("lora", 1))
    with pytest.raises(Mistake, match="several runs of lora have one seed"):
        read_answers({**runs, **again})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table[table["split"] != "test"], "it holds no predictions for the test set"),
        (lambda table: table.assign(score=float("nan")), "a score is no finite number"),
        (
            lambda table: table.assign(predicted="zzz"),
            "predicted holds 'zzz', which is none of the record's labels",
        ),
        (
            lambda table: table.assign(score=1 - table["score"]),
            "a score disagrees with its label and prediction",
        ),
        (lambda table: table.drop(columns="p_neutral"), "it lacks the column p_neutral"),
        (lambda table: table.assign(p_neutral=7.0), "a probability is not between 0 and 1"),
        (lambda table: table.assign(p_neutral=float("nan")), "a probability is not between 0 and 1"),
    ],
)
def test_predictions_that_cannot_be_right_are_refused_by_name(tmp_path, change, sentence):
    study_of(tmp_path, ("full", 1))
    bad = leave_run(
        tmp_path,
        "lora",
        1,
        change(with_probabilities("lora", 1)),
        data={**record_of("lora", 1).data, "labels": list(NAMES)},
    )
    runs = finished([tmp_path / "full-1", bad])
    with pytest.raises(Mistake, match=f"lora-1/predictions.parquet is damaged: {sentence}"):
        read_answers(runs)


def test_predictions_of_another_run_are_refused(tmp_path):
    runs = study_of(tmp_path, ("full", 1), ("lora", 1))
    first, second = (folder / "predictions.parquet" for folder in runs)
    second.write_bytes(first.read_bytes())
    with pytest.raises(
        Mistake, match=r"lora-1: the predictions have an accuracy of .* they are not of one run"
    ):
        read_answers(runs)


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("completion", "Stockholm", "Stockholm"),
        ("target", "Hej", "Hej"),
        (
            "answers",
            '[{"text": "a b", "answer_start": 3}, {"text": "b", "answer_start": 5}, {"text": "b"}]',
            "a b / b",
        ),
        ("answers", "[]", "no answer"),
        ("answers", "not JSON", "not JSON"),
        ("answers", "[1]", "[1]"),
    ],
)
def test_the_right_answer_is_known_for_every_kind_of_task(tmp_path, column, cell, expected):
    table = answers_of("lora", 1).drop(columns=["label", "predicted"]).assign(**{column: cell})
    folder = leave_run(tmp_path, "lora", 1, table)
    answers = read_answers(finished([folder]))
    assert set(answers.examples["label"]) == {expected}
    assert answers.labels == ()
