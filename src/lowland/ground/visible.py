"""Texts of others, such as names of files and replies of models, with nothing hidden in them."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # zero-width, but part of how emoji and Devanagari are written


def visible(text: str) -> str:
    """Write each invisible character of a text by its number: line breaks and a terminal's commands have no effect.

    Examples:
        >>> visible("runs\\x1b[2J")
        'runs‹U+001B›[2J'
    """
    return "".join(f"‹U+{ord(char):04X}›" if _hidden(char) else char for char in text)


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Cs") and character not in _JOINERS
