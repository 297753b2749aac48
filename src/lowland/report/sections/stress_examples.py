"""Examples of damaged texts in a page: their edits, and who answers them right."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lowland.evidence.damaged_examples import AnswersTo, DamagedExample, damaged_examples
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Data, EditedExample, EditList
from lowland.report.cells import Column, Row
from lowland.report.edits import Edit, edits_between, plain_edits
from lowland.report.wording import cell_name

EDITED = ("messy", "adapter")
"""Stress tests whose texts are edits of others; questions in other languages are not."""
LONGEST = 140
"""Number of characters of an answer that are shown."""
ANSWERS = 3
"""Largest number of accepted answers that are shown."""
MODELS = 6
"""Largest number of models whose answers are shown with an example; all of them are in the table."""


def damaged_example_blocks(rows: pd.DataFrame, suffix: str) -> list[Block]:
    """Build the list of examples, with the table of their texts and answers; none if no text was damaged by edits.

    Args:
        rows: rows of a stress test: of several models, or of the runs of several methods.
        suffix: end of the table's name.
    """
    examples = damaged_examples(rows) if str(rows["eval"].iloc[0]) in EDITED else []
    if not examples:
        return []
    caption = (
        f"{plural(len(examples), 'example')} of damaged texts. Those that are answered right when clean, and wrong when"
        " damaged, come first, so that they are no fair sample. Deleted characters are struck out, inserted ones"
        " underlined; ␣ is a space, and what cannot be seen has its number"
    )
    shown = tuple(map(_shown, examples))
    return [EditList(caption, shown, _table(examples, [each.edits for each in shown], suffix))]


def _shown(example: DamagedExample) -> EditedExample:
    facts = [_sentence(each) for each in example.answers[:MODELS]]
    if len(example.answers) > MODELS:
        facts.append(f"and {len(example.answers) - MODELS} more")
    return EditedExample(
        heading=cell_name(example.cell),
        about=f"right answer: {_gold(example)}" if example.gold else "",
        edits=edits_between(example.clean, example.damaged),
        answers=tuple(facts),
    )


def _sentence(answers: AnswersTo) -> str:
    """Write who is right on the clean text and on the damaged one, and what the answers are."""
    clean, damaged = (_right(right, asked) for right, asked in zip(answers.right, answers.asked, strict=True))
    name, reply = visible(answers.model), _short(answers.reply)
    if answers.asked[0] == 0:
        return f"{name}: {damaged} when damaged (“{reply}”)"
    same = "the same answer, " if answers.reply == answers.reply_clean else ""
    return f"{name}: {clean} when clean (“{_short(answers.reply_clean)}”), {damaged} when damaged ({same}“{reply}”)"


def _right(right: int, asked: int) -> str:
    if asked == 1:
        return "right" if right else "wrong"
    return f"right in {right} of {asked}"


def _short(text: str) -> str:
    words = visible(" ".join(text.split()))
    return (words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…") or "no answer"


def _gold(example: DamagedExample) -> str:
    """Write the first accepted answers."""
    answers = example.gold.split(" | ")
    return _short(" | ".join(answers[:ANSWERS])) + (" | …" if len(answers) > ANSWERS else "")


def _table(examples: Sequence[DamagedExample], edits: Sequence[Sequence[Edit]], suffix: str) -> Data:
    """Build the table of the examples, a row for each example and model."""
    columns = (
        Column("texts", "texts"),
        Column("item", "item"),
        Column("edits", "edits: {-deleted-}, {+inserted+}"),
        Column("gold", "right answer"),
        Column("model", "model"),
        Column("asked", "answers", "number"),
        Column("right_clean", "right when clean", "number"),
        Column("right_damaged", "right when damaged", "number"),
        Column("reply_clean", "answer to the clean text"),
        Column("reply_damaged", "answer to the damaged text"),
    )
    rows: list[Row] = []
    for example, pieces in zip(examples, edits, strict=True):
        text = plain_edits(pieces)
        for each in example.answers:
            rows.append(
                (
                    cell_name(example.cell), visible(example.item), text, _gold(example) if example.gold else "",
                    visible(each.model), each.asked[1], each.right[0], each.right[1], _short(each.reply_clean),
                    _short(each.reply),
                )
            )  # fmt: skip
    return Data(f"damaged_examples_{suffix}", "Examples of damaged texts", columns, tuple(rows), heading=2)
