"""Hints to another task, for a file that is not one of the task's own."""

from __future__ import annotations

import re
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
    Kind(("messages",), "chats", "--task instruction"),
    Kind(("conversations",), "chats", "--task instruction"),
    Kind(("prompt", "completion"), "prompts with completions", "--task instruction"),
    Kind(("prompt", "chosen", "rejected"), "preferences"),
    Kind(("instruction", "output"), "instructions with replies", "--task instruction"),
    Kind(("context", "question", "answers"), "questions about a context", "--task question-answering"),
    Kind(("source", "target"), "texts with the texts to write", "--task text-to-text"),
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

READERS = {
    "first": "pairs",
    "context": "question-answering",
    "source": "text-to-text",
    "prompt": "instruction",
    "text": "classification",
}
"""Tasks that read a user's own files, by an input column that is theirs alone."""

ORIGINALS = {
    "mrpc": ("MRPC", r"Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"),
    "rte": ("RTE", r"index\tsentence1\tsentence2\tlabel"),
    "sst2": ("SST-2", r"sentence\tlabel"),
    "cola": ("CoLA", r"[^\t]+\t[01]\t[*?#%]*\t[^\t]+"),
    "sms-spam": ("the SMS Spam Collection", r"(ham|spam)\t.*"),
    "financial-phrasebank": ("Financial PhraseBank", r".*@(positive|neutral|negative)"),
}
"""Name of each data set whose original files a task reads, and the pattern of their first line."""


def hint_at_original(line: str) -> str:
    """Return the end of a sentence that names the data set of a file's first line; "" if none is recognised.

    Examples:
        >>> hint_at_original("sentence\\tlabel")
        '; it looks like a file of SST-2, read by --task sst2'
    """
    line = line.strip("\ufeff\r\n ")
    for task, (name, pattern) in ORIGINALS.items():
        if re.fullmatch(pattern, line):
            return f"; it looks like a file of {name}, read by --task {task}"
    if re.match(r"(index|id)\tsentence", line):
        return "; it looks like a test file of GLUE, which has no labels"
    return ""


def task_that_fits(columns: Collection[str], roles: Collection[str]) -> str | None:
    """Return a sentence that names the task for a file with these columns, or None if none is recognised.

    Args:
        columns: the file's columns.
        roles: what the current task reads, such as `text`, or `first` and `second`.
    """
    current = next((task for role, task in READERS.items() if role in roles), None)
    names = {name.casefold(): name for name in columns}
    for kind in KINDS:
        if not all(column in names for column in kind.columns):
            continue
        options = kind.options
        if options and options.split()[1] == current:
            return None  # the current task is the right one, and its columns have other names
        for column in kind.columns:
            options = options.replace(f"-column {column}", f"-column {names[column]}")
        reader = options or "no task of lowland yet (lowland tasks lists them)"
        return f"its columns are those of {kind.what}, read by {reader}"
    return hint_at_original("\t".join(columns)).removeprefix("; ") or None
