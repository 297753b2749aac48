"""Reader of results in tables: a row for each score."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path

import pandas as pd

from lowland.evidence.readers.runs import TEST
from lowland.evidence.results import Results, as_results
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.names import nearest

SPLIT = "split"
"""Column of exported predictions that names the test set of a row."""


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a table. Only `score`, and `example` or `text`, must be there."""

    example: str = "example"
    score: str = "score"
    seed: str = "seed"
    group: str = "group"
    method: str = "method"
    text: str = "text"


def with_groups(
    table: pd.DataFrame, about: Sequence[Mapping[str, object]], source: str, name: str
) -> pd.DataFrame:
    """Return a table of scores with the column `group`, if what is known of the examples has an entry of that name.

    Args:
        table: a row for each score.
        about: what is known of the example of each row, such as the metadata of a sample.
        source: where it is from, in words.
        name: name of the entry that says which examples are alike.

    Raises:
        Mistake: if the user names an entry that no example has.
    """
    if any(name in each for each in about):
        return table.assign(
            group=pd.Series([each.get(name) for each in about], index=table.index, dtype=object)
        )
    if name != Columns.group:
        entries = ", ".join(dict.fromkeys(str(entry) for each in about for entry in each)) or "no entries"
        raise Mistake(
            f"{source} has no entry {name}, which --group-column names; its examples have {entries}"
        )
    return table


def _delimited(separator: str) -> Callable[[Path], pd.DataFrame]:
    def read(path: Path) -> pd.DataFrame:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        used = next((other for other in ";\t" if separator not in header and other in header), separator)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # of rows that are longer than the header
            return pd.read_csv(
                path,
                sep=used,
                encoding="utf-8-sig",
                dtype=str,  # 01 is not 1, and 1e5 not 100000
                keep_default_na=False,  # NA is a country
                na_values=[""],
                index_col=False,
            )

    return read


def _read_json(path: Path, lines: bool) -> pd.DataFrame:
    text = path.read_text("utf-8-sig")
    return pd.read_json(StringIO(text), orient="records", lines=lines, dtype=False)


FORMS: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": lambda path: _read_json(path, lines=True),
    ".json": lambda path: _read_json(path, lines=False),
    ".parquet": pd.read_parquet,
}
"""Functions that read a table, by the ending of the file's name."""


def is_table(path: Path) -> bool:
    """Return whether a file is a table by its name."""
    return path.is_file() and path.suffix.lower() in FORMS


def read_table(path: Path, metric: str | None, columns: Columns) -> list[Results]:
    """Read a table; if it has a column for methods, one result for each. Of exported runs, read the test set alone.

    Raises:
        Mistake: if it cannot be read, or lacks a column.
    """
    try:
        table = FORMS[path.suffix.lower()](path)
    except Exception as error:
        raise Mistake(
            f"{path} cannot be read as a {path.suffix} table ({reason_of(error)}); expected a row for each score, in"
            " UTF-8"
        ) from error
    if SPLIT in table and TEST in set(table[SPLIT]):  # an export of runs, which have further test sets
        table = table[table[SPLIT] == TEST].reset_index(drop=True)
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
    found = ", ".join(map(str, table.columns))
    for field in fields(Columns):
        name_of_column = getattr(columns, field.name)
        if name_of_column != field.default and name_of_column not in table:
            raise Mistake(
                f"{source} has no column {name_of_column}, which --{field.name}-column names; its columns are {found}"
            )
    if metric is not None:
        if columns.score != Columns().score:
            raise Mistake("--metric and --score-column both name the column with the scores; leave one out")
        if metric not in table:
            raise Mistake(f"{source} has no column {metric}, which --metric names; its columns are {found}")
        columns = Columns(**{**vars(columns), "score": metric})
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
