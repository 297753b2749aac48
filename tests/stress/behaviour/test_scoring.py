"""Scores of cases: right labels, same labels, and probabilities within the tolerance."""

from __future__ import annotations

import pandas as pd
import pytest

from lowland.stress.behaviour.cases import Case
from lowland.stress.behaviour.scoring import answers_to_cases

ANSWERS = pd.DataFrame(
    {
        "text": ["a", "b", "c"],
        "predicted": ["good", "good", "bad"],
        "p_good": [0.8, 0.75, 0.3],
        "p_bad": [0.2, 0.25, 0.7],
    }
)


def answered(original: str, text: str, label: str = "", must: str = "", tolerance: float = 0.1) -> pd.Series:
    case = Case("t 1", "t", "kind", "c", "t 1", original, text, "expected", label, must, tolerance)
    return answers_to_cases(pd.DataFrame([vars(case)]), ANSWERS).iloc[0]


@pytest.mark.parametrize(("text", "label", "passed"), [("a", "good", True), ("c", "good", False)])
def test_a_minimum_functionality_passes_with_its_label(text: str, label: str, passed: bool) -> None:
    case = answered("", text, label)
    assert case["passed"] == passed
    assert (case["predicted_original"], pd.isna(case["p_original"])) == ("", True)


@pytest.mark.parametrize(("text", "passed"), [("b", True), ("c", False)])
def test_an_invariance_passes_with_the_label_of_the_original(text: str, passed: bool) -> None:
    case = answered("a", text)
    assert case["passed"] == passed
    assert (case["p_original"], case["p"]) == (0.8, {"b": 0.75, "c": 0.3}[text])


@pytest.mark.parametrize(
    ("original", "text", "label", "must", "tolerance", "passed"),
    [
        ("a", "b", "good", "not fall", 0.1, True),
        ("a", "b", "good", "not fall", 0.04, False),
        ("a", "c", "good", "not fall", 0.1, False),
        ("c", "a", "good", "not fall", 0.0, True),
        ("a", "c", "bad", "not fall", 0.0, True),
        ("a", "b", "bad", "not rise", 0.1, True),
        ("a", "b", "bad", "not rise", 0.04, False),
        ("a", "c", "good", "not rise", 0.0, True),
    ],
)
def test_a_direction_passes_within_its_tolerance(
    original: str, text: str, label: str, must: str, tolerance: float, passed: bool
) -> None:
    assert answered(original, text, label, must, tolerance)["passed"] == passed
