"""The bag of words as a method: a row of every study, compared, saved and asked like the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import lowland as package
from lowland.ground.mistakes import Mistake
from lowland.ground.record_files import read_predictions, read_record
from lowland.models.source import ModelSource
from lowland.tasks.examples import TRAIN, VALIDATION, TaskData
from lowland.tasks.table import load_data, task_fields
from lowland.train.bag_of_words import STRENGTHS
from lowland.train.check_fit import check_methods_fit
from lowland.train.fit import fit
from lowland.train.test import test as answer_test_sets
from tests.conftest import job_of

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def count_words(lowland: Command, texts: Path, tiny_model: Path, tmp_path: Path) -> Callable[[], Path]:
    """Trains the method alone, and returns the folder of the run."""

    def train() -> Path:
        options = (
            "--task",
            "classification",
            "--data",
            texts,
            "--model",
            tiny_model,
            "--out",
            tmp_path / "runs",
        )
        code, _, err = lowland("train", "--method", "bag-of-words", *map(str, options), small=False)
        assert code == 0, err
        (folder,) = (tmp_path / "runs").glob("classification-bag-of-words-*")
        return folder

    return train


def test_it_is_scikit_learns_with_the_best_strength_on_validation_data(source: ModelSource) -> None:
    data = load_data(task_fields("financial-demo"))

    def accuracy(strength: float, name: str) -> tuple[float, list[str]]:
        words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
        model = make_pipeline(words, LogisticRegression(C=strength, max_iter=5000))
        model.fit(data.splits[TRAIN]["text"], data.splits[TRAIN]["label"])
        predicted = list(model.predict(data.splits[name]["text"]))
        return float(np.mean(np.array(predicted) == data.splits[name]["label"])), predicted

    fitted = fit(job_of("bag-of-words", data, source, task="financial-demo"))
    assert len({accuracy(strength, VALIDATION)[0] for strength in STRENGTHS}) > 1
    best = max(STRENGTHS, key=lambda strength: accuracy(strength, VALIDATION)[0])
    assert fitted.setup.chosen == {"C": best}
    assert fitted.validation["accuracy"] == accuracy(best, VALIDATION)[0]
    tested = answer_test_sets(fitted)
    predictions = tested.predictions
    assert list(predictions["predicted"][predictions["split"] == "test"]) == accuracy(best, "test")[1]
    assert tested.scores["test"]["accuracy"] == accuracy(best, "test")[0]


def test_it_stands_in_a_study_is_compared_and_predicts(lowland: Command, texts: Path, tmp_path: Path) -> None:
    code, out, err = lowland("compare", "--methods", "lora", "bag-of-words", "--seeds", "1", "2")
    assert code == 0, err
    assert "| bag-of-words |" in " ".join(out.split())
    assert (
        "between bag-of-words and lora" in out
        or "bag-of-words is " in out
        or "of bag-of-words and lora" in out
    )
    folders = sorted((tmp_path / "runs").glob("classification-bag-of-words-*"))
    tables = [read_predictions(folder) for folder in folders]
    assert tables[0].equals(tables[1])  # nothing is random
    record = read_record(folders[0])
    assert record.model["class"] == "LogisticRegression"
    assert record.parameters["trainable"] > 0
    answers = package.load(folders[0]).predict(list(pd.read_csv(texts)["text"].iloc[tables[0]["example"]]))
    assert list(answers["predicted"]) == list(tables[0]["predicted"])
    assert np.allclose(answers["p_good"], tables[0]["p_good"])
    code, out, err = lowland("predict", str(folders[0]), "--data", str(texts), "--label-column", "label")
    assert code == 0, err
    assert "accuracy" in err


def test_its_texts_can_be_damaged(lowland: Command, count_words: Callable[[], Path], tmp_path: Path) -> None:
    out = str(tmp_path / "stress")
    code, printed, err = lowland(
        "stress", "adapter", str(count_words()), "--corruptions", "casing", "--out", out
    )
    assert code == 0, err
    assert "bag-of-words" in printed


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--epochs", "2"), "--epochs is given, but bag-of-words does not use it"),
        (("--task", "repeat"), "bag-of-words classifies texts, and the task repeat does not"),
    ],
)
def test_what_it_cannot_do_is_said(lowland: Command, options: tuple[str, ...], problem: str) -> None:
    code, _, err = lowland("compare", "--methods", "bag-of-words", "--seeds", "1", *options, small=False)
    assert code == 2
    assert problem in err


def test_noise_cannot_be_added_to_it(lowland: Command) -> None:
    code, _, err = lowland("compare", "--methods", "neftune+bag-of-words", "--seeds", "1", small=False)
    assert code == 2
    assert "bag-of-words trains no network that neftune could change" in err


def test_altered_weights_are_refused(count_words: Callable[[], Path]) -> None:
    folder = count_words()
    (folder / "model" / "vocabulary.json").write_text("[]")
    with pytest.raises(Mistake, match="missing, or changed since the run saved it"):
        package.load(folder)


def test_a_check_needs_no_model(data: TaskData, source: ModelSource) -> None:
    check_methods_fit([job_of("bag-of-words", data, source)])
