"""A fact of the embedded retriever, and the reader of a file of facts."""

from __future__ import annotations

from pathlib import Path

from lowland.ground.asked import Asked, Text
from lowland.items.reading import ITEMS_FOLDER, read_rows


class Fact(Asked):
    """A fact that the retriever knows; a line of `facts.jsonl`."""

    id: Text
    """Unique name, a single word."""
    fact: Text
    """The fact as a sentence."""
    question: Text
    """A question that the fact answers; worded differently from the question of an item."""
    answer: Text
    """The answer alone, which is the retriever's reply."""
    item: Text = ""
    """The ids of the items that the fact is behind, with spaces between; empty for a distractor."""


def facts(path: Path | None = None) -> list[Fact]:
    """Return the facts that the retriever knows, in the file's order.

    Args:
        path: path of the user's own file; None for the package's `facts.jsonl`.

    Raises:
        Mistake: if the file is missing or a fact cannot be used; a sentence for each problem.
    """
    return read_rows(path or ITEMS_FOLDER / "facts.jsonl", Fact)
