"""Hints to another task, for a file whose columns are not those that the task reads."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple


class Kind(NamedTuple):
    """Data of one kind, recognised by its columns.

    Attributes:
        columns: names of the columns, in lower case; a file of this kind has all of them.
        what: what the file seems to hold.
        options: options of the task that reads it; empty if there is no such task.
    """

    columns: tuple[str, ...]
    what: str
    options: str = ""


def _pairs(first: str, second: str) -> Kind:
    return Kind(
        (first, second), "sentence pairs", f"--task pairs --first-column {first} --second-column {second}"
    )


KINDS = (
    Kind(("messages",), "chats"),
    Kind(("conversations",), "chats"),
    Kind(("prompt", "completion"), "prompts with completions"),
    Kind(("prompt", "chosen", "rejected"), "preferences"),
    Kind(("instruction", "output"), "instructions with replies"),
    Kind(("context", "question", "answers"), "questions about a context", "--task question-answering"),
    Kind(("source", "target"), "texts with the texts to write"),
    _pairs("sentence1", "sentence2"),
    _pairs("premise", "hypothesis"),
    _pairs("question1", "question2"),
    _pairs("text_a", "text_b"),
    _pairs("text1", "text2"),
    _pairs("query", "passage"),
    _pairs("first", "second"),
    Kind(("sentence",), "single texts", "--task classification --text-column sentence"),
    Kind(("review",), "single texts", "--task classification --text-column review"),
    Kind(("text",), "single texts", "--task classification"),
)
"""Kinds of data, by the names of columns that the field uses. The first that fits is taken."""

READERS = {"first": "pairs", "context": "question-answering", "text": "classification"}
"""Tasks that read a user's own files, by an input column that is theirs alone."""


def task_that_fits(columns: Collection[str], roles: Collection[str]) -> str | None:
    """Return a sentence that names the task for a file with these columns, or None if none is recognised.

    Args:
        columns: the file's columns.
        roles: what the current task reads, such as `text`, or `first` and `second`.
    """
    names = {name.casefold(): name for name in columns}
    for kind in KINDS:
        if not all(column in names for column in kind.columns):
            continue
        options = kind.options
        current = next((task for role, task in READERS.items() if role in roles), None)
        if options and options.split()[1] == current:
            return None  # the current task is the right one, and its columns have other names
        for column in kind.columns:
            options = options.replace(f"-column {column}", f"-column {names[column]}")
        reader = options or "no task of lowland yet (lowland tasks lists them)"
        return f"its columns are those of {kind.what}, read by {reader}"
    return None
