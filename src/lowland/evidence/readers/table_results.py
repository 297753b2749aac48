"""Reader of results in tables: a row for each score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from lowland.evidence.results import Results, as_results
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.names import nearest


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table. Only `score`, and `example` or `text`, must be there."""

    example: str = "example"
    score: str = "score"
    seed: str = "seed"
    group: str = "group"
    method: str = "method"
    text: str = "text"


def _delimited(separator: str) -> Callable[[Path], pd.DataFrame]:
    def read(path: Path) -> pd.DataFrame:
        return pd.read_csv(path, sep=separator, encoding="utf-8-sig")

    return read


FORMS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
    ".json": lambda path: pd.read_json(path, orient="records", dtype=False),
    ".parquet": pd.read_parquet,
}
"""Functions that read a table, by the ending of the file's name."""


def is_table(path: Path) -> bool:
    """Return whether a file is a table by its name."""
    return path.is_file() and path.suffix.lower() in FORMS


def read_table(path: Path, metric: str | None, columns: Columns) -> list[Results]:
    """Read a table; if it has a column for methods, one result for each.

    Raises:
        Mistake: if it cannot be read, or lacks a column.
    """
    try:
        table = FORMS[path.suffix.lower()](path)
    except Exception as error:
        raise Mistake(f"{path} cannot be read as a {path.suffix} table ({reason_of(error)})") from error
    return results_of(table, str(path), columns, path.stem, metric)


def results_of(
    table: pd.DataFrame, source: str, columns: Columns, name: str, metric: str | None = None
) -> list[Results]:
    """Return the results in a table.

    Args:
        table: the table.
        source: where it is from, in words.
        columns: names of its columns.
        name: name of what is scored, if there is no column for methods.
        metric: name of the score; if there is a column of that name, it holds the scores.

    Raises:
        Mistake: if a column is missing.
    """
    if metric is not None and metric in table:
        columns = Columns(**{**vars(columns), "score": metric})
    found = ", ".join(map(str, table.columns))
    if columns.score not in table:
        near = nearest(columns.score, [str(column) for column in table.columns])
        raise Mistake(
            f"{source} has no column {columns.score}; name the column with the scores by --score-column"
            f"{f' ({near}?)' if near else ''}; its columns are {found}"
        )
    key = columns.example if columns.example in table else columns.text
    if key not in table:
        raise Mistake(
            f"{source} has no column {columns.example}, and none with a text; results are paired by it, so name the"
            f" column that says which example a row is by --example-column; its columns are {found}"
        )
    names = {getattr(columns, field.name): field.name for field in fields(Columns)}
    chosen = table[[column for column in names if column in table]].rename(columns=names)
    chosen["example"] = table[key]
    title = metric or ("mean score" if columns.score == "score" else columns.score)
    if "method" not in chosen:
        return [as_results(chosen, name, title, source)]
    if chosen["method"].isna().any():
        raise Mistake(f"{source} lacks {columns.method} in some rows; give it in each row")
    return [
        as_results(rows, str(method), title, source) for method, rows in chosen.groupby("method", sort=False)
    ]
