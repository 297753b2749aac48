"""Blocks rendered to Markdown. Oracle: a Markdown parser of regular expressions, in `tables`."""

from __future__ import annotations

import pandas as pd
import pytest

from lowland.report.blocks import Bullets, Paragraph, Quoted, Section, Table
from lowland.report.markdown import escape, render
from lowland.report.wording import quoted
from tests.report.test_study import tables


def test_blocks_are_separated_by_empty_lines():
    assert render([Paragraph("One."), Bullets(("two", "three")), Paragraph("Four.")]) == (
        "One.\n\n- two\n- three\n\nFour."
    )


def test_sections_within_sections_have_headings_of_the_next_level():
    inner = Section("Inner", (Paragraph("text"),))
    text = render([Section("Outer", (Paragraph("first"), inner))], level=1)
    assert text == "# Outer\n\nfirst\n\n## Inner\n\ntext"


def test_a_table_keeps_its_entries_as_they_are():
    rows = (("a", "007"), ("", "1.50"), ("long entry", "5e-4"))
    assert tables(render([Table(("", "number"), rows)])) == [[["", "number"], *[list(row) for row in rows]]]


def test_only_quotations_are_escaped():
    (_, row) = tables(render([Table(("mine", "theirs"), ((r"<0.001", Quoted("<b>*x*")),))]))[0]
    assert row == ["<0.001", r"\<b\>\*x\*"]
    assert escape("a|b") == r"a\|b"


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, "", "  \n"])
def test_missing_text_is_marked(missing):
    assert quoted(missing) == Quoted("(nothing)")
