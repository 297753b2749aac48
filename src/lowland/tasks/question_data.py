"""Data of question answering: the fields of its tasks, and how questions are split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from lowland.ground.asked import Text, Whole
from lowland.ground.mistakes import plural
from lowland.tasks.examples import TRAIN, TaskData, TaskFields
from lowland.tasks.readers.files import OwnFileFields
from lowland.tasks.readers.questions import COLUMNS, read_questions
from lowland.tasks.readers.squad import Answers
from lowland.tasks.splits import Roles, make_splits

LEAST_TITLES = 5
"""Number of different titles from which some can be held out."""
KEPT = (*COLUMNS, "group", "category", "split")
"""Columns of a table of questions that its splits are made from."""
COPIES = ("question", "context")
"""Columns by which rows of a file's own splits are copies; its splits may share a document."""
ROLES = Roles(("question", "context"), label=None, targets=("answers",), together=("group",), copies=COPIES)


class QuestionFields(TaskFields):
    """Options of the search for answers in long contexts."""

    stride: Annotated[Whole, Field(ge=0)] = 64
    """number of tokens that two windows of one long context share"""
    max_answer_tokens: Annotated[Whole, Field(ge=1)] = 30
    """largest number of tokens of an answer"""


class OwnQuestionFields(QuestionFields, OwnFileFields):
    """A user's own file of questions about contexts."""

    question_column: Text = "question"
    """the column with the question"""
    context_column: Text = "context"
    """the column with the text that holds the answer"""
    answers_column: Text = "answers"
    """the column with the answers: texts, or texts with their places; nothing where there is no answer"""
    title_column: Text | None = None
    """a column with the document of each context, which stays in one split (default: title, if there is one)"""


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
    by_title = _has_titles(table)
    answerable = table["answers"] != Answers().as_text()
    table = table.assign(
        group=table["title"] if by_title else _numbered_contexts(table),
        category=answerable.map({True: "answerable", False: "unanswerable"}),
    )
    data = make_splits(table[[name for name in KEPT if name in table]], source, fields, roles=ROLES)
    sentences = [*([] if by_title else _sentences_on_titles(table)), *_sentences_on_places(table)]
    return replace(data, remarks=(*data.remarks, *sentences))


def _has_titles(table: pd.DataFrame) -> bool:
    """Return whether all questions have a title, and those to train on enough different ones to hold some out."""
    trained = table[table["split"].str.casefold() == TRAIN] if "split" in table else table
    return bool((table["title"] != "").all()) and trained["title"].nunique() >= LEAST_TITLES


def _numbered_contexts(table: pd.DataFrame) -> list[str]:
    """Return a name for the context of each question."""
    return [f"context {number}" for number in table.groupby("context", sort=False).ngroup() + 1]


def _sentences_on_titles(table: pd.DataFrame) -> list[str]:
    """Return a sentence if there are titles, but too few; none if there is one only, or none."""
    titles = table["title"].nunique()
    if titles < 2:
        return []
    return [
        f"{plural(titles, 'title')} are too few to hold some of them out; contexts are held out instead, of documents"
        " that are also trained on"
    ]


def _sentences_on_places(table: pd.DataFrame) -> list[str]:
    """Return a sentence if the places of answers are ambiguous."""
    searched = int(table["searched"].sum())
    if not searched:
        return []
    return [
        f"the answers of {plural(searched, 'question')} have no places, and their context holds one of them more than"
        " once; the first place is taken"
    ]
