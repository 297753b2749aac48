"""Replies that say UNSURE, and replies that do not."""

from __future__ import annotations

import pytest

from lowland.replies.unsure import is_unsure


@pytest.mark.parametrize(
    "reply", ["UNSURE", "unsure.", "**Unsure**", " UNSURE\n", "Uska naam UNSURE hai", "UNSURE।"]
)
def test_unsure_is_recognised(reply: str) -> None:
    assert is_unsure(reply)


@pytest.mark.parametrize("reply", ["", "Tokyo", "I was unsure, but it is Tokyo.", "UNSUREly", "पक्का नहीं"])
def test_other_replies_are_not_unsure(reply: str) -> None:
    assert not is_unsure(reply)
