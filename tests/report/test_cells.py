"""Cells as people and programs read them."""

from __future__ import annotations

import math

import pytest

from lowland.report.cells import Column, cell_text, plain_cells


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [
        (Column("a", "a"), "x", "x"),
        (Column("a", "a"), None, ""),
        (Column("a", "a", "number"), 22713986, "22,713,986"),
        (Column("a", "a", "number", "d"), 1337, "1337"),
        (Column("a", "a", "number", ".2f", 100), 0.98765, "98.77"),
        (Column("a", "a", "number", ".2f"), math.nan, ""),
        (Column("a", "a", "number", ".1f", unit=" s"), 2, "2.0 s"),
        (Column("a", "a", "spread", ".4f"), (0.78376, 0.00712), "0.7838 ± 0.0071"),
        (Column("a", "a", "spread", ".4f"), (0.78376, math.nan), "0.7838"),
        (Column("a", "a", "interval", "+.1f", 100), (0.012, -0.001, 0.0251), "+1.2 (-0.1 to +2.5)"),
        (Column("a", "a", "interval", "+.1f", 100), (0.0001, -0.0001, 0.02), "0.0 (0.0 to +2.0)"),
        (Column("a", "a", "interval", ".1f", 100), 0.5, "50.0"),
        (Column("a", "a", "interval", ".1f", 100), None, ""),
    ],
)
def test_people_read_the_digits_that_matter(column, cell, text):
    assert cell_text(column, cell) == text


def test_programs_read_every_part_in_its_own_unit():
    assert Column("a", "A", "interval", "+.1f", 100).names == ["a", "a_low", "a_high"]
    assert Column("a", "A", "spread").names == ["a", "a_sd"]
    interval = Column("a", "A", "interval", "+.1f", 100)
    assert plain_cells(interval, (0.0123456789, -0.5, math.inf)) == [0.0123457, -0.5, None]
    assert plain_cells(interval, None) == [None, None, None]
    assert plain_cells(interval, 0.5) == [0.5, None, None]
    assert plain_cells(Column("a", "A", "number"), 22713986) == [22713986]
    assert plain_cells(Column("a", "A"), "text") == ["text"]
