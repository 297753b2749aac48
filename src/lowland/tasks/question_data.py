"""Data of question answering: the fields of its tasks, and how questions are split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from lowland.ground.asked import Text, Whole
from lowland.ground.mistakes import plural
from lowland.tasks.base import TRAIN, TaskData, TaskFields
from lowland.tasks.readers.questions import COLUMNS, read_questions
from lowland.tasks.readers.squad import Answers
from lowland.tasks.splits import Roles, make_splits

LEAST_TITLES = 5
"""Number of different titles from which some can be held out."""
KEPT = (*COLUMNS, "group", "category", "split")
"""Columns of a table of questions that its splits are made from."""
ROLES = Roles(("question", "context"), label=None, targets=("answers",), together=("group",))


class QuestionFields(TaskFields):
    """Options of the search for answers in long contexts."""

    stride: Annotated[Whole, Field(ge=0)] = 64
    """number of tokens that two windows of one long context share"""
    max_answer_tokens: Annotated[Whole, Field(ge=1)] = 30
    """largest number of tokens of an answer"""


class OwnQuestionFields(QuestionFields):
    """A user's own file of questions about contexts."""

    question_column: Text = "question"
    """the column with the question"""
    context_column: Text = "context"
    """the column with the text that holds the answer"""
    answers_column: Text = "answers"
    """the column with the answers: texts, or texts with their places; nothing where there is no answer"""
    title_column: Text | None = None
    """a column with the document of each context, which stays in one split (default: title, if there is one)"""
    split_column: Text | None = None
    """a column that says train, validation or test; rows with another name form a further test set of that name"""


def read_question_file(path: Path, fields: TaskFields) -> pd.DataFrame:
    """Read a file of questions with the columns that the fields name."""
    if not isinstance(fields, OwnQuestionFields):
        return read_questions(path)
    columns = {name: getattr(fields, f"{name}_column") for name in COLUMNS}
    return read_questions(path, columns, title=fields.title_column, split=fields.split_column)


def split_questions(table: pd.DataFrame, source: str, fields: TaskFields) -> TaskData:
    """Split questions by title, so that all questions about a document are in one split.

    Where there are fewer than `LEAST_TITLES` titles, all questions about a context are in one split. The category of an
    example is "answerable" or "unanswerable".

    Args:
        table: the columns of `read_questions`.
        source: where the table came from.
        fields: fields of the task.

    Raises:
        Mistake: if the questions cannot be split.
    """
    table, remarks = _with_groups(table)
    answerable = table["answers"] != Answers().as_text()
    table = table.assign(category=answerable.map({True: "answerable", False: "unanswerable"}))
    if searched := int(table["searched"].sum()):
        remarks.append(
            f"{plural(searched, 'question')} have answers without a place that their context holds more than once; the"
            " first place is taken"
        )
    data = make_splits(table[[name for name in KEPT if name in table]], source, fields, roles=ROLES)
    return replace(data, remarks=(*data.remarks, *remarks))


def _with_groups(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the table with a column `group`, and remarks: the title, or a number for each context."""
    trained = table[table["split"].str.casefold() == TRAIN] if "split" in table else table
    titles = trained["title"].nunique()
    if titles >= LEAST_TITLES and (table["title"] != "").all():
        return table.assign(group=table["title"]), []
    numbers = table.groupby("context", sort=False).ngroup() + 1
    remarks = []
    if titles > 1:
        remarks = [
            f"{plural(titles, 'title')} are too few to hold some of them out; contexts are held out instead, of"
            " documents that are also trained on"
        ]
    return table.assign(group=[f"context {number}" for number in numbers]), remarks
