"""Ticks are round, inside, and told apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.report.drawing.scales import powers, round_ticks, short, widened

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(NUMBERS, st.floats(1e-3, 1e6))
def test_ticks_are_inside_and_have_texts_of_their_own(low: float, width: float):
    ticks = round_ticks(low, low + width)
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-6 * width <= value <= low + width * (1 + 1e-6) for value in ticks)
    assert len(set(ticks.values())) == len(ticks)
    for value, text in ticks.items():
        assert float(text.replace(",", "")) == pytest.approx(value, abs=1e-9 + 1e-6 * width)


def test_ticks_are_those_that_a_person_would_choose():
    assert list(round_ticks(0, 1).values()) == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert round_ticks(-1.2, 2.9, 4) == {-1: "-1", 0: "0", 1: "1", 2: "2"}
    assert round_ticks(3, 3) == {3: "3"}


def test_ticks_of_a_log_axis_are_powers():
    assert list(powers(1, 1000)) == [1, 10, 100, 1000]
    assert list(powers(2, 30)) == [2, 5, 10, 20]


@pytest.mark.parametrize(
    ("value", "text"), [(22713986, "22.7M"), (1500, "1.5k"), (0.25, "0.25"), (2e9, "2G")]
)
def test_large_numbers_are_short(value, text):
    assert short(value) == text


def test_an_axis_has_room_also_for_equal_values():
    assert widened([2.0, 4.0], 0.1) == pytest.approx((1.8, 4.2))
    low, high = widened([3.0, 3.0])
    assert low < 3 < high
    low, high = widened([0.0])
    assert low < 0 < high
