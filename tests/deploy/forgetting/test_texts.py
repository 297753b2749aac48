"""Texts of a user's file: each once, with labels if there are any, and mistakes in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lowland.deploy.forgetting.settings import ColumnsOfTexts
from lowland.deploy.forgetting.texts import read_other_texts
from lowland.ground.mistakes import Mistake

MANY = "".join(f"text {number},{'up' if number % 2 else 'down'}\n" for number in range(20))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "other.csv"


def test_labels_are_read_if_they_are_there(path: Path) -> None:
    path.write_text(f"text,label\n{MANY}")
    texts = read_other_texts(path, ColumnsOfTexts())
    assert texts.texts[:2] == ("text 0", "text 1")
    assert texts.examples == tuple(range(20))
    assert texts.labels is not None
    assert texts.labels[:3] == ("down", "up", "down")
    assert texts.majority == 0.5
    path.write_text("sentence\nhere\nthere\n")
    texts = read_other_texts(path, ColumnsOfTexts(text_column="sentence"))
    assert (texts.texts, texts.labels, texts.majority) == (("here", "there"), None, None)


def test_a_text_counts_once(path: Path) -> None:
    path.write_text("text\nhere\nthere\nhere\nnowhere\n")
    said: list[str] = []
    texts = read_other_texts(path, ColumnsOfTexts(), said.append)
    assert (texts.texts, texts.examples) == (("here", "there", "nowhere"), (0, 1, 3))
    assert said == [f"1 row of {path} repeats an earlier text, and is left out"]


def test_a_limit_draws_the_same_texts_each_time(path: Path) -> None:
    path.write_text("text\n" + "".join(f"text {number}\n" for number in range(50)))
    drawn = [read_other_texts(path, ColumnsOfTexts(limit=10)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 10
    assert list(drawn[0].examples) == sorted(drawn[0].examples) != list(range(10))
    assert [f"text {number}" for number in drawn[0].examples] == list(drawn[0].texts)


@pytest.mark.parametrize(
    ("content", "columns", "problem"),
    [
        (f"text,label\n{MANY}", {"text_column": "words"}, "unknown text column 'words'"),
        (f"text,label\n{MANY}", {"label_column": "topic"}, "unknown label column 'topic'"),
        ("text,label\n,up\nhere,\n", {}, "without a text"),
        ("text,label\nhere,up\nthere,up\n", {}, "one label only, 'up'"),
        (f"text,label\n{MANY}rare,flat\n", {}, r"5 different texts of each label, .* \('flat' 1\)"),
        ("text\nhere\nhere\n", {}, "1 different text; at least two"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    path: Path, content: str, columns: dict[str, Any], problem: str
) -> None:
    path.write_text(content)
    with pytest.raises(Mistake, match=problem):
        read_other_texts(path, ColumnsOfTexts(**columns))


def test_all_problems_of_the_cells_are_told_at_once(path: Path) -> None:
    path.write_text("text,label\n,up\nhere,\n")
    with pytest.raises(Mistake) as caught:
        read_other_texts(path, ColumnsOfTexts())
    assert len(caught.value.problems) == 2
