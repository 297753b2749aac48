"""Questions with short answers: the matcher decides, and the packaged ones are none of the stress tests'."""

from __future__ import annotations

import numpy as np
import pandas as pd
from rapidfuzz import fuzz

from lowland.items import messy_items, multilingual_items
from lowland.tasks.examples import Split
from lowland.tasks.instruction import packaged_facts
from lowland.tasks.table import TASKS

NEAR = 85
"""Similarity, of 100, at which two questions may ask the same."""


def test_the_packaged_questions_are_near_no_item_of_the_stress_tests() -> None:
    table, _ = packaged_facts()
    asked = [item.question.casefold() for item in (*messy_items(), *multilingual_items())]
    assert len(table) > 900
    for question in table["prompt"]:
        nearest = max(asked, key=lambda text: fuzz.token_sort_ratio(question.casefold(), text))
        assert fuzz.token_sort_ratio(question.casefold(), nearest) < NEAR, (question, nearest)


def test_a_reply_is_right_if_it_gives_the_answer() -> None:
    replies = ["It is Ankara.", "Istanbul", "forty-five", "54", ""]
    answers = ["Ankara", "Ankara", "45", "45", "45"]
    columns = {"prompt": ("q",) * 5, "history": ("",) * 5, "completion": tuple(answers)}
    split = Split(columns, np.arange(5), tuple("abcde"), ("",) * 5)
    table = pd.DataFrame({"predicted": replies, "nll": [1.0] * 5, "count": [2.0] * 5})
    task = TASKS["short-answers"]
    np.testing.assert_array_equal(task.score_examples(split, table), [1, 0, 1, 0, 0])
    assert task.summarise(split, table) == {
        "accuracy": 0.4,
        "exact_match": 0.0,
        "perplexity": float(np.exp(0.5)),
    }
