"""Replies by which a model declines to answer: UNSURE, as the mitigation "pin" asks for."""

from __future__ import annotations

import re

_UNSURE = re.compile(r"\bUNSURE\b")


def is_unsure(reply: str) -> bool:
    """Return whether a reply says UNSURE: in capitals, as in the prompt, or as its only word.

    Examples:
        >>> is_unsure("**Unsure.**"), is_unsure("Rajdhani: UNSURE"), is_unsure("I was unsure, but Delhi.")
        (True, True, False)
    """
    return bool(_UNSURE.search(reply)) or reply.strip(" \t\r\n.!*_\"'`।").casefold() == "unsure"
