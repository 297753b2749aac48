"""Reader of questions about contexts: from SQuAD's own files, a user's tables, and the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.models.hub import hub_reachable
from lowland.tasks.readers.forms import RawTable, read_form
from lowland.tasks.readers.originals import hub_errors
from lowland.tasks.readers.squad import Answers, NoAnswers, read_answers
from lowland.tasks.readers.tables import CellMistake, pick_columns

COLUMNS: Mapping[str, str] = {"question": "question", "context": "context", "answers": "answers"}
"""Columns that a table of questions has, by their usual names."""
TITLE, IMPOSSIBLE = "title", "is_impossible"
"""Columns that a file may have, too."""


def read_questions(
    path: Path, columns: Mapping[str, str] = COLUMNS, *, title: str | None = None, split: str | None = None
) -> pd.DataFrame:
    """Read a file of questions about contexts, in SQuAD's form or as a table.

    Args:
        path: the file.
        columns: name in the file of each of `COLUMNS`.
        title: name of the column with the title of each context's document; None: `title`, if there is one.
        split: name of the column that says the split.

    Returns:
        The columns `question`, `context`, `answers` (as `Answers.as_text` writes them), `title` ("" without one),
        `searched` (`Answers.searched`), and `split` if it is asked for.

    Raises:
        Mistake: if the file cannot be read or a column is missing, or with a sentence for each problem of the cells.
    """
    table = read_form(path)
    if title is None and TITLE in table.rows.columns and TITLE not in columns.values():
        title = TITLE
    return question_table(table, {**columns, "split": split}, title)


def question_table(table: RawTable, columns: Mapping[str, str | None], title: str | None) -> pd.DataFrame:
    """Return the questions of a file's cells; see `read_questions`."""
    problems: Sequence[str] = ()
    try:
        picked = pick_columns(table, {**columns, TITLE: title}, unchecked=("answers", TITLE))
    except CellMistake as mistake:
        problems = mistake.problems
    answers, further = answers_of(table, str(columns["answers"]), str(columns["context"]))
    if problems or further:
        raise Mistake(*problems, *further)
    titles = picked[TITLE] if title is not None else [None] * len(picked)
    return picked.assign(
        answers=[answer.as_text() for answer in answers],
        title=["" if pd.isna(name) else str(name) for name in titles],
        searched=[answer.searched for answer in answers],
    )


def answers_of(table: RawTable, column: str, context: str) -> tuple[list[Answers], list[str]]:
    """Return the answers in a column, and a sentence for each kind of problem.

    Args:
        table: cells of a file.
        column: name of the column with the answers.
        context: name of the column with the contexts.
    """
    cells, contexts = table.rows[column], table.rows[context]
    flags = table.rows.get(IMPOSSIBLE, pd.Series([None] * len(cells), dtype=object))
    answers: list[Answers] = []
    first: dict[str, str] = {}
    counts: dict[str, int] = {}
    for row, (cell, text, impossible) in enumerate(zip(cells, contexts, flags, strict=True)):
        if not isinstance(text, str):
            continue  # a mistake of its own
        try:
            answers.append(read_answers(cell, text, _flag(impossible)))
        except NoAnswers as error:
            first.setdefault(error.kind, f"{table.path}, {table.place(row)}: {error.detail}")
            counts[error.kind] = counts.get(error.kind, 0) + 1
    return answers, [f"{sentence} ({counts[kind]} of the kind)" for kind, sentence in first.items()]


def _flag(cell: Any) -> bool | None:
    """Return the truth value in a cell; None if it holds none."""
    if isinstance(cell, str):
        return {"true": True, "false": False}.get(cell.strip().casefold())
    return None if pd.isna(cell) else bool(cell)


def squad_from_hub() -> tuple[pd.DataFrame, str]:
    """Return SQuAD 2.0 of the hub, with its validation set as the test set, and its source."""
    from datasets import DownloadConfig, load_dataset  # type: ignore[attr-defined]

    repository = "rajpurkar/squad_v2"
    with hub_errors("squad-v2", repository, "dev-v2.0.json"):
        offline = DownloadConfig(local_files_only=not hub_reachable())
        parts = []
        for split, name in (("train", "train"), ("validation", "test")):
            loaded = load_dataset(repository, split=split, download_config=offline).to_pandas()
            raw = RawTable(Path(repository), loaded.astype(object), "row", list(range(1, len(loaded) + 1)))
            parts.append(question_table(raw, COLUMNS, TITLE).assign(split=name))
        return pd.concat(parts, ignore_index=True), f"hub, {repository}"
