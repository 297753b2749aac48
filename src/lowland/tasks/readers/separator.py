"""Separators of the fields of a .csv file, as a user writes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _one_character(separator: str) -> str:
    """Return the character that a separator means."""
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    if len(separator) != 1 or separator in '"\r\n\0':
        raise ValueError("be one character, such as ; or |, or tab; no quote and no line end")
    return separator


Separator = Annotated[str, AfterValidator(_one_character)]
"""A separator: one character, or the word tab."""
