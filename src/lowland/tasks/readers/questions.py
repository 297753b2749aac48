"""Reader of questions about contexts: from SQuAD's own files, a user's tables, and the hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.models.hub import hub_reachable
from lowland.tasks.readers.cells import MISSING, problem_with_label
from lowland.tasks.readers.forms import read_form
from lowland.tasks.readers.originals import hub_errors
from lowland.tasks.readers.raw_table import RawTable
from lowland.tasks.readers.squad import Answers, NoAnswers, read_answers
from lowland.tasks.readers.tables import CellMistake, pick_columns

COLUMNS: Mapping[str, str] = {"question": "question", "context": "context", "answers": "answers"}
"""Columns that a table of questions has, by their usual names."""
TRUTHS: Mapping[str, bool] = {"true": True, "false": False, "1": True, "0": False}
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
    problems: list[str] = []
    try:
        picked = pick_columns(table, {**columns, TITLE: title}, unchecked=("answers", TITLE))
    except CellMistake as mistake:
        problems += mistake.problems
    titles, of_titles = _titles_in(table, title)
    problems += of_titles
    answers, further = _answers_in(table, str(columns["answers"]), str(columns["context"]))
    if problems or further:
        raise Mistake(*problems, *further)
    return picked.assign(
        answers=[answer.as_text() for answer in answers],
        title=titles,
        searched=[answer.searched for answer in answers],
    )


def _titles_in(table: RawTable, title: str | None) -> tuple[list[str], list[str]]:
    """Return the title of each row, "" without one, and a sentence if a cell holds no title."""
    cells = [None] * len(table.rows) if title is None else list(table.rows[title])
    problems = {row: problem_with_label(cell) for row, cell in enumerate(cells)}
    wrong = [row for row, problem in problems.items() if problem not in (None, MISSING)]
    sentences = [f"{table.path}, {table.place(row)}: the title {problems[row]}" for row in wrong[:1]]
    return ["" if problems[row] == MISSING else str(cell) for row, cell in enumerate(cells)], sentences


def _answers_in(table: RawTable, column: str, context: str) -> tuple[list[Answers], list[str]]:
    """Return the answers in a column of a file, and its problems; cells with a mistake in the context are left out."""
    rows = [row for row, text in enumerate(table.rows[context]) if isinstance(text, str)]
    flags = table.rows[IMPOSSIBLE] if IMPOSSIBLE in table.rows else [None] * len(table.rows)
    cells, texts, impossible = (list(values) for values in (table.rows[column], table.rows[context], flags))
    return answers_of(
        [cells[row] for row in rows],
        [texts[row] for row in rows],
        [impossible[row] for row in rows],
        [f"{table.path}, {table.place(row)}" for row in rows],
    )


def answers_of(
    cells: Sequence[Any], contexts: Sequence[str], impossible: Sequence[Any], places: Sequence[str]
) -> tuple[list[Answers], list[str]]:
    """Return the answers in cells, and a sentence for each kind of problem.

    Args:
        cells: n cells; see `read_answers`.
        contexts: the context of each.
        impossible: cells that say whether there is no answer; None if the file does not say.
        places: the place of each cell, for the sentences.
    """
    answers: list[Answers] = []
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for cell, context, none, place in zip(cells, contexts, impossible, places, strict=True):
        try:
            answers.append(read_answers(cell, context, _flag(none)))
        except NoAnswers as error:
            first.setdefault(error.kind, f"{place}: {error.detail}")
            counts[error.kind] += 1
    return answers, [f"{sentence} ({counts[kind]} of the kind)" for kind, sentence in first.items()]


def _flag(cell: Any) -> bool | None:
    """Return the truth value in a cell; None if it is empty."""
    problem = problem_with_label(cell)
    if problem == MISSING:
        return None
    word = str(cell).strip().casefold()
    if problem is not None or word not in TRUTHS:
        raise NoAnswers("flag", f"is_impossible is {cell!r:.60}; it must be true or false")
    return TRUTHS[word]


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
