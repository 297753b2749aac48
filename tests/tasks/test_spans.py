"""Best spans and thresholds, compared with a search of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.tasks.spans import Span, best_span, best_threshold, candidate_of
from lowland.tasks.windows import Window

LOGITS = st.floats(-9, 9, width=16)


def window_of(tokens: int, first: int = 3, null: int = 0) -> Window:
    """A window whose context has tokens of two characters, with a space between them."""
    offsets = np.array([(3 * k, 3 * k + 2) for k in range(tokens)], dtype=np.int64).reshape(-1, 2)
    return Window({}, null, first, offsets)


@given(st.data(), st.integers(0, 7), st.integers(1, 9))
@settings(max_examples=200)
def test_the_best_span_is_that_of_a_search_of_all(data: st.DataObject, tokens: int, most: int) -> None:
    size = 3 + tokens + 2  # the question before it, and padding behind it
    start, end = (np.array(data.draw(st.lists(LOGITS, min_size=size, max_size=size))) for _ in range(2))
    span = best_span(start, end, window_of(tokens), most)
    allowed = [(i, j) for i in range(tokens) for j in range(i, min(i + most, tokens))]
    scores = {(i, j): start[3 + i] + end[3 + j] for i, j in allowed}
    assert span.null == start[0] + end[0]
    assert span.score == max(scores.values(), default=-np.inf)
    if allowed:
        i, j = span.start // 3, (span.end - 2) // 3
        assert scores[i, j] == span.score


def test_neither_the_question_nor_padding_is_an_answer() -> None:
    start = np.array([0, 9, 9, 1, 2, 9.0])
    span = best_span(start, start, window_of(2), 30)
    assert (span.start, span.end, span.score) == (3, 5, 4)


def test_the_best_window_answers_and_the_least_sure_one_says_no_answer() -> None:
    spans = [Span(5, 3, 0, 3), Span(7, 6, 4, 9), Span(-np.inf, 1, 0, 0)]
    best = candidate_of(spans, "the  old mill")
    assert (best.text, best.start, best.end, best.margin) == ("old", 5, 8, 1 - 7)
    empty = candidate_of(spans[2:], "")
    assert (empty.text, empty.margin) == ("", np.inf)


def total(threshold: float, margins: np.ndarray, answered: np.ndarray, unanswered: np.ndarray) -> float:
    return float(np.where(margins > threshold, unanswered, answered).sum())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([-3.0, -1.5, 0.0, 0.25, 4.0, np.inf]), st.sampled_from([0, 0.5, 1]), st.booleans()
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=300)
def test_the_threshold_is_as_good_as_any(examples: list[tuple[float, float, bool]]) -> None:
    margins, answered, unanswered = (
        np.array(column, dtype=np.float64) for column in zip(*examples, strict=True)
    )
    threshold = best_threshold(margins, answered, unanswered)
    best = max(total(t, margins, answered, unanswered) for t in np.arange(-20, 20, 0.125))
    assert total(threshold, margins, answered, unanswered) == pytest.approx(best)


@pytest.mark.parametrize(
    ("margins", "answered", "unanswered", "expected"),
    [
        ([-1.0, 3.0], [1, 0], [0, 1], 1.0),  # in the middle between them
        ([-1.0, 3.0], [1, 1], [0, 0], 3.0 + 4.0),  # all have an answer: beyond the largest, by the range
        ([-1.0, 3.0], [0, 0], [1, 1], -1.0 - 4.0),
        ([0.0, 2.0, 4.0], [0, 0, 0], [0, 0, 0], 3.0),  # all are as good: the middle one (of four, the third)
        ([np.inf], [0], [1], 0.0),  # nothing depends on it
    ],
)
def test_the_threshold_computed_by_hand(
    margins: list[float], answered: list[float], unanswered: list[float], expected: float
) -> None:
    columns = (np.array(column, dtype=np.float64) for column in (margins, answered, unanswered))
    assert best_threshold(*columns) == expected
