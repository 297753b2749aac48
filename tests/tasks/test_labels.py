"""One class has one spelling; what looks like a mistake in labels is said."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.tasks.examples import TaskFields
from lowland.tasks.labels import canonical_labels, case_remarks, label_problems
from lowland.tasks.splits import make_splits


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (["pos", "pos ", "\tpos\n", "pos\u00a0"], ["pos"] * 4),
        ([1, 1.0, "1", "1.0", np.int64(1), np.float32(1)], ["1"] * 6),
        ([0, 0.0, "-0"], ["0"] * 3),
        ([2.5, "2.50"], ["2.5"] * 2),
        (["true", True, "TRUE", "true"], ["true"] * 4),
        ([False, np.bool_(False), "false"], ["False"] * 3),
        (["gru\u0308n", "grün"], ["grün"] * 2),
        (["01", "1", "1."], ["01", "1", "1"]),
        (["1e3", "1000", "1,000"], ["1e3", "1000", "1,000"]),
        (["Pos", "pos"], ["Pos", "pos"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (["1.5.2", "NaN", "inf", "-", "+1"], ["1.5.2", "NaN", "inf", "-", "+1"]),
    ],
)
def test_spellings_of_a_class(cells: list[object], labels: list[str]) -> None:
    assert canonical_labels(cells) == labels


@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False), st.booleans()), max_size=20))
def test_labels_stay_labels(cells: list[object]) -> None:
    labels = canonical_labels(cells)
    assert len(labels) == len(cells)
    assert canonical_labels(labels) == labels
    assert all(label == unicodedata.normalize("NFC", label).strip() for label in labels)


def test_labels_that_differ_in_case_alone_are_named_with_their_counts() -> None:
    (remark,) = case_remarks(["Pos"] * 3 + ["pos"] * 1200 + ["neg"])
    assert "'Pos' (3 rows) and 'pos' (1,200 rows) differ in case alone" in remark
    assert case_remarks(["Pos", "neg"]) == []


def test_labels_that_differ_in_invisible_characters_are_named() -> None:
    (remark,) = case_remarks(["yes", "yes\u200b", "no"])
    assert r"'yes' (1 row) and 'yes\u200b' (1 row) differ in invisible characters alone" in remark


def test_numbers_to_be_predicted_are_not_labels() -> None:
    (problem,) = label_problems([f"{i / 7:.3f}" for i in range(100)], "prices.csv")
    assert problem.startswith("prices.csv has 100 labels in 100 rows")
    assert "'0.000', '0.143', '0.286', …" in problem
    assert label_problems(["a"] * 10, "x.csv") == [
        "x.csv has one label only, 'a'; a classifier needs at least two"
    ]
    assert label_problems(list("abcde") * 5, "x.csv") == []


def table(labels: list[str], split: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"text": [f"{split} text {i}" for i in range(len(labels))], "label": labels, "split": split}
    )


def test_a_label_of_one_row_is_a_mistake() -> None:
    parts = [
        table(["a", "b"] * 20 + ["c"], "train"),
        table(["a", "b"] * 5, "validation"),
        table(["a", "b"] * 5, "test"),
    ]
    with pytest.raises(Mistake, match="'c' has one row only"):
        make_splits(pd.concat(parts), "x.csv", TaskFields(name="classification"))


def test_one_text_with_two_labels_is_remarked_on() -> None:
    parts = pd.concat(
        [table(["a", "b"] * 30, "train"), table(["a", "b"] * 5, "validation"), table(["a", "b"] * 5, "test")]
    )
    clean = make_splits(parts, "x.csv", TaskFields(name="classification"))
    assert clean.remarks == ()
    twice = pd.concat([parts, pd.DataFrame({"text": ["Train  text 0"], "label": ["b"], "split": ["train"]})])
    (remark,) = make_splits(twice, "x.csv", TaskFields(name="classification")).remarks
    assert "1 example with different labels (2 rows), such as 'train text 0' with a and b" in remark


def test_spaces_of_all_kinds_are_one_space() -> None:
    assert canonical_labels(["my label", "my\u00a0label", "my  label", " my\nlabel\t"]) == ["my label"] * 4
