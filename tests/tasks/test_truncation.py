"""Cut inputs are counted, for one text and for pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.models.load import load_tokenizer
from lowland.tasks.examples import Setup
from lowland.tasks.table import task_fields, task_named
from lowland.tasks.truncation import Truncation


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8), max_length=st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_counts_of_texts(tokenizer: Any, lengths: list[int], max_length: int) -> None:
    task, texts = task_named("classification"), {"text": ["again " * length for length in lengths]}
    encoded = task.encode(texts, Setup(task_fields("classification"), tokenizer, max_length), "predict")
    longer = [length for length in lengths if length > max_length]
    lost = sum(longer) - max_length * len(longer)
    assert encoded.truncation == Truncation(len(lengths), len(longer), lost, max(longer, default=0))


def test_both_texts_of_a_pair_count(tokenizer: Any) -> None:
    task = task_named("pairs")
    columns = {"first": ["again " * 6, "again"], "second": ["again " * 7, "again"]}
    encoded = task.encode(columns, Setup(task_fields("pairs"), tokenizer, 10), "predict")
    assert encoded.truncation == Truncation(2, 1, 3, 13)


def test_a_sentence_is_worth_it_above_one_per_cent() -> None:
    assert Truncation(100, 1, 50, 60).sentence(10) is None
    sentence = Truncation(1000, 21, 300, 60).sentence(10)
    assert sentence is not None
    assert "21 of 1,000 inputs (2%) are longer than 10 tokens" in sentence
    assert "the longest has 60" in sentence
    assert Truncation().sentence(10) is None
    assert "A larger max_length reads more of them" in str(Truncation(10, 5, 50, 60).sentence(10, 10))
    assert "The model reads no more, whatever max_length is (50)" in str(
        Truncation(10, 5, 50, 60).sentence(10, 50)
    )
