"""Nothing in a text of others moves the cursor, breaks a line or hides."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowland.ground.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("runs", "runs"),
        ("a\nb", "a‹U+000A›b"),
        ("\x1b[31mred", "‹U+001B›[31mred"),
        ("\udc80", "‹U+DC80›"),
        ("क्ष 👩‍🚀 über", "क्ष 👩‍🚀 über"),
    ],
)
def test_invisible_characters_are_written_by_their_number(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in shown)
    shown.encode()  # also half of a character can be printed
