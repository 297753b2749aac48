"""Exact match and F1 by SQuAD's rules: computed by hand, and compared with another implementation."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.tasks.span_scores import exact_match, f1, normalised


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The  Norman-French", "normanfrench"),  # punctuation leaves no space
        ("an apple a day", "apple day"),
        ("A", ""),  # articles only
        ("theatre and another", "theatre and another"),  # an article is a whole word
        ("U.S. Army's 1,000", "us armys 1000"),
        ("the\tOld\u00a0mill", "old mill"),
        ("“Café”", "“café”"),  # only ASCII punctuation is removed
        ("a.b", "ab"),  # punctuation goes first: no article is left
        ("", ""),
    ],
)
def test_normalisation(answer: str, expected: str) -> None:
    assert normalised(answer) == expected


@pytest.mark.parametrize(
    ("predicted", "gold", "exact", "overlap"),
    [
        ("the Normans", ["Normans"], 1, 1),
        ("Normans in France", ["Normans"], 0, 2 * 1 / (3 + 1)),  # P 1/3, R 1
        ("10th century", ["in the 10th and 11th centuries", "10th century AD"], 0, 2 * 2 / (2 + 3)),
        ("to be or not to be", ["to be"], 0, 2 * 2 / (6 + 2)),  # a bag of words: "to" counts once
        ("be to", ["to be"], 0, 1),  # the order does not matter to F1
        ("France", ["Germany"], 0, 0),
        ("", [], 1, 1),  # right: no answer
        ("France", [], 0, 0),
        ("", ["France"], 0, 0),
        ("the", [], 1, 1),  # nothing is left of it
        ("", ["the"], 1, 1),  # an accepted answer of which nothing is left is none
        ("", ["the", "France"], 0, 0),  # but the others count
        ("France", ["", "france!"], 1, 1),
    ],
)
def test_scores_computed_by_hand(predicted: str, gold: list[str], exact: float, overlap: float) -> None:
    assert exact_match(predicted, gold) == exact
    assert f1(predicted, gold) == pytest.approx(overlap)


WORDS = st.lists(st.sampled_from(["the", "A", "old", "mill", "mill,", "1,000", "é", "-", "\n"]), max_size=6)
ANSWERS = WORDS.map(" ".join)


@given(predicted=ANSWERS, gold=st.lists(ANSWERS, min_size=1, max_size=3))
def test_they_are_those_of_torchmetrics(predicted: str, gold: list[str]) -> None:
    """TorchMetrics has version 1.1's rules, which know no question without an answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        squad = pytest.importorskip("torchmetrics.functional.text").squad
    gold = [answer for answer in gold if normalised(answer)] or ["x"]
    target = {"id": "1", "answers": {"text": gold, "answer_start": [0] * len(gold)}}
    theirs = squad({"id": "1", "prediction_text": predicted}, target)
    assert 100 * exact_match(predicted, gold) == pytest.approx(float(theirs["exact_match"]))
    assert 100 * f1(predicted, gold) == pytest.approx(float(theirs["f1"]), abs=1e-4)
    assert exact_match(predicted, gold) <= f1(predicted, gold) <= 1
