"""Classification: its scores, and its answers from logits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.tasks.examples import Encoded, Setup, Split
from lowland.tasks.table import TASKS, task_fields

TASK = TASKS["classification"]
ANSWERS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=30)


def split_of(labels: str) -> Split:
    """A split with these labels, one letter each."""
    n = len(labels)
    columns = {"text": ("x",) * n, "label": tuple(labels)}
    return Split(columns, np.arange(n), tuple(map(str, range(n))), ("",) * n)


def scores(labels: str, predicted: str) -> dict[str, float]:
    return TASK.summarise(split_of(labels), pd.DataFrame({"predicted": list(predicted)}))


@given(ANSWERS)
@settings(deadline=None, max_examples=50)
def test_scores_are_their_formulas(answers: list[tuple[str, str]]) -> None:
    """F1 = 2 tp / (2 tp + fp + fn), 0 if undefined; macro: its mean; weighted: by true counts."""
    labels, predicted = ("".join(letters) for letters in zip(*answers, strict=True))
    f1 = {
        name: 2 * sum(pair == (name, name) for pair in answers) / (labels.count(name) + predicted.count(name))
        for name in sorted(set(labels + predicted))
    }
    count = Counter(labels)
    result = scores(labels, predicted)
    assert result == pytest.approx(
        {
            "accuracy": sum(label == answer for label, answer in answers) / len(answers),
            "macro_f1": sum(f1.values()) / len(f1),
            "weighted_f1": sum(f1[name] * count[name] for name in f1) / len(answers),
        }
    )
    assert tuple(result) == TASK.scores
    assert all(type(value) is float for value in result.values())


def test_perfect_predictions_score_one_and_a_constant_prediction_does_not_warn() -> None:
    assert set(scores("abc", "abc").values()) == {1.0}
    assert scores("aabb", "aaaa") == pytest.approx({"accuracy": 0.5, "macro_f1": 1 / 3, "weighted_f1": 1 / 3})


def test_predictions_have_a_score_and_a_probability_for_every_label() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    setup = Setup(task_fields("classification"), tokenizer=None, max_length=8, label_names=("a", "b"))
    answers = TASK.decode({"logits": logits}, Encoded({}, np.arange(3)), setup)
    table = TASK.predictions("test", split_of("aba"), answers)
    assert list(table["predicted"]) == ["a", "b", "a"]
    assert list(table["label"]) == ["a", "b", "a"]
    assert list(table["score"]) == [1.0, 1.0, 1.0]
    assert list(table["text"]) == list(split_of("aba")["text"])
    probabilities = table[["p_a", "p_b"]].to_numpy()
    np.testing.assert_allclose(
        probabilities, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-6
    )


@given(ANSWERS)
@settings(deadline=None, max_examples=50)
def test_scores_of_each_class_agree_with_the_macro_score(answers: list[tuple[str, str]]) -> None:
    labels, predicted = ("".join(letters) for letters in zip(*answers, strict=True))
    classes = TASK.summarise_classes(split_of(labels), pd.DataFrame({"predicted": list(predicted)}))
    assert np.mean([values["f1"] for values in classes.values()]) == pytest.approx(
        scores(labels, predicted)["macro_f1"]
    )
    assert {name: values["support"] for name, values in classes.items()} == {
        name: labels.count(name) for name in sorted(set(labels + predicted))
    }


def test_the_baseline_is_the_most_frequent_label_of_the_training_examples() -> None:
    baseline = TASK.baseline(split_of("abbb"), split_of("aaab"))
    assert baseline is not None
    name, answers = baseline
    assert name == "majority"
    assert list(answers["predicted"]) == ["b"] * 4


@pytest.mark.parametrize(
    ("labels", "predicted", "warns"),
    [
        ("ab" * 10, "a" * 20, True),
        ("ab" * 10, "a" * 19 + "b", False),
        ("a" * 20, "a" * 20, False),  # there is nothing else to say
        ("ab" * 4, "a" * 8, False),  # too few examples
    ],
)
def test_a_constant_prediction_is_remarked_on(labels: str, predicted: str, warns: bool) -> None:
    remarks = TASK.remarks(split_of(labels), pd.DataFrame({"predicted": list(predicted)}))
    assert bool(remarks) == warns
    assert all("the prediction for every example is 'a'" in remark for remark in remarks)
