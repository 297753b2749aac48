"""The items of the messy test: rows of `messy.jsonl` become `Item`s."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from lowland.ground.asked import Asked, Text
from lowland.ground.mistakes import Mistake
from lowland.items.item import AnswerKind, Item
from lowland.items.reading import ITEMS_FOLDER, Gold, Texts, read_rows


class MessyRow(Asked):
    """A line of `messy.jsonl`; `Item` describes the fields."""

    id: Text
    topic: Text = "general"
    kind: AnswerKind
    question: Text
    answers: Gold
    protect: Texts = ()

    @model_validator(mode="after")
    def _check_protected_parts_stand_in_the_question(self) -> Self:
        problems = [
            f"protect {part!r} does not occur in the question; write it exactly as it is there"
            for part in self.protect
            if part not in self.question
        ]
        if problems:
            raise Mistake(*problems)
        return self


def messy_items(path: Path | None = None) -> list[Item]:
    """Return the clean questions of the messy test, in the file's order.

    Args:
        path: path of the user's own file; None for the package's `messy.jsonl`.

    Raises:
        Mistake: if the file is missing or an item cannot be used; a sentence for each problem.
    """
    return [Item(**dict(row)) for row in read_rows(path or ITEMS_FOLDER / "messy.jsonl", MessyRow)]
