"""Lists of names, as the command line, recipe files and Inspect's option `-T` pass them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import BeforeValidator

from lowland.ground.mistakes import Mistake, one_of
from lowland.text.corruptions import ALL


def word(value: object) -> str:
    """Return a value as text. YAML reads an unquoted yes or no as a truth value; turn it back."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).strip()


def words(value: object) -> tuple[str, ...]:
    """Return a list of words from a list, from text with commas between the words, or from one value."""
    if isinstance(value, str):
        value = value.split(",")
    return tuple(word(item) for item in (value if isinstance(value, list | tuple) else [value]))


def chosen(kind: str, names: Sequence[str], allowed: Collection[str]) -> tuple[str, ...]:
    """Return each name once, or all allowed names for "all" and for an empty list.

    Raises:
        Mistake: with one sentence for each name that does not exist.
    """
    if not names or ALL in names:
        return tuple(allowed)
    if problems := [one_of(kind, name, [*allowed, ALL]) for name in names if name not in allowed]:
        raise Mistake(*problems)
    return tuple(dict.fromkeys(names))


Words = Annotated[tuple[str, ...], BeforeValidator(words)]
"""Names in a list, or in one text with commas between them, as Inspect's option `-T` passes them."""
