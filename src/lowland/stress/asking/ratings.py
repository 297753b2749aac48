"""Fluency ratings of replies by people: a sheet to fill in, and the merge of ratings into the rows.

A sheet is a CSV file with one row per reply. A person writes a number from 1 to 5 into the column `fluency`; the other
columns identify the row. Ratings by a judge model are merged in the same way, into a column with another name.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from lowland.ground.mistakes import Mistake
from lowland.ground.rng import stream
from lowland.tasks.readers.forms import read_form

KEYS = ("item", "epoch", "condition", "level", "mitigation", "protected")
"""Columns that identify a row of one eval and model; a ratings file needs at least the first two."""

SHEET = ("prompt", "reply", "fluency", "eval", "model", *KEYS)
SCALE = (1, 2, 3, 4, 5)
RUBRIC = (
    "How fluent is the reply, in the language it is written in? 5: as a native writer would put it."
    " 4: a slip that does not disturb. 3: clumsy, but understood at once. 2: hard to read. 1: not language."
    " Rate how it is said, not whether it is true."
)
_FORMULA = ("=", "+", "-", "@")
_SHOWN_LINES = 5


def sample_for_rating(rows: pd.DataFrame, count: int, *, seed: int = 0) -> pd.DataFrame:
    """Draw replies for people to rate, equally many from each condition, level, mitigation and protection.

    Failed rows and empty replies are not drawn. The sheet is shuffled, so that a rater does not see one condition after
    another. The draw depends on the seed and the rows, but not on the order of the rows.

    Args:
        rows: rows of stress tests, with the columns `lowland.ground.records.ROW_COLUMNS`.
        count: number of replies; if there are fewer, all are drawn.
        seed: seed of the draw.

    Returns:
        A sheet with the columns `SHEET`, of which `fluency` is empty.

    Raises:
        Mistake: if count is below 1, or no row has a reply.
    """
    if count < 1:
        raise Mistake(f"count is {count}; it must be at least 1")
    replied = rows[(rows["status"] == "scored") & rows["reply"].fillna("").str.strip().ne("")]
    if replied.empty:
        raise Mistake(
            "no row has a reply, so that there is nothing to rate; give rows of a run with scored replies"
        )
    shuffled = replied.sort_values(["eval", "model", *KEYS], kind="stable").sample(
        frac=1, random_state=stream(seed, "ratings", "draw")
    )
    cells = ["eval", "model", "condition", "level", "mitigation", "protected"]
    rank_in_cell = shuffled.groupby(cells, sort=False).cumcount()  # 0 for the first row of each cell
    drawn = shuffled.iloc[rank_in_cell.to_numpy().argsort(kind="stable")[:count]]
    in_order = drawn.sample(frac=1, random_state=stream(seed, "ratings", "order"))
    return in_order.assign(fluency="")[list(SHEET)]


def write_sheet(path: Path, sheet: pd.DataFrame) -> None:
    """Write a sheet as CSV for spreadsheets: UTF-8 with a byte order mark, and no text that reads as a formula."""
    safe = sheet.assign(**{name: sheet[name].map(_no_formula) for name in ("prompt", "reply")})
    safe.to_csv(path, index=False, encoding="utf-8-sig", quoting=csv.QUOTE_NONNUMERIC)


def read_ratings(path: Path) -> pd.DataFrame:
    """Read ratings from a CSV file, all columns as text: `item`, `epoch`, `fluency`, and the other `KEYS` that it has.

    Raises:
        Mistake: if the file cannot be read, or lacks a column.
    """
    try:
        table = read_form(path)
    except Mistake as mistake:
        raise Mistake(f"{path} cannot be read as CSV ({mistake}); save the sheet as CSV, UTF-8") from None
    ratings = table.rows.map(lambda cell: "" if cell is None or cell != cell else str(cell))
    ratings.index = pd.Index(table.numbers) - 2  # `merge_back` counts lines from the first one below a header
    if missing := [name for name in (*KEYS[:2], "fluency") if name not in ratings.columns]:
        raise Mistake(
            f"{path} lacks the columns {', '.join(missing)}; expected item, epoch and fluency, and"
            f" {', '.join(KEYS[2:])} where an item was asked in several ways"
        )
    return ratings


def merge_back(rows: pd.DataFrame, ratings: pd.DataFrame, *, column: str = "fluency") -> pd.DataFrame:
    """Return the rows with their ratings in an added column, NaN for a row without a rating.

    Rows and ratings are joined by item and epoch, and by the columns eval, model, condition, level, mitigation and
    protected as far as the ratings have them. A blank rating counts as no rating.

    Args:
        rows: rows of stress tests.
        ratings: ratings as `read_ratings` returns them, or a table with the same columns.
        column: name of the ratings' column and of the added one.

    Raises:
        Mistake: if a rating is not a whole number from 1 to 5, fits no row or several rows, or a row has two ratings.
    """
    keys = [name for name in ("eval", "model", *KEYS) if name in ratings.columns]
    if missing := [name for name in (*KEYS[:2], column) if name not in ratings.columns]:
        raise Mistake(f"the ratings lack the columns {', '.join(missing)}")
    blank = ratings[column].isna() | ratings[column].astype(str).str.strip().eq("")
    filled = ratings[~blank]
    lines = filled.index + 2  # of the file, below its header
    values = pd.to_numeric(filled[column], errors="coerce")
    _refuse(lines[~values.isin(SCALE)], "has a rating that is not a whole number from 1 to 5")
    row_ids, rating_ids = _identity(rows, keys), _identity(filled, keys)
    _refuse(lines[~rating_ids.isin(set(row_ids))], f"fits no row by {', '.join(keys)}")
    fits_several = rating_ids.isin(set(row_ids[row_ids.duplicated()]))
    absent = [name for name in ("eval", "model", *KEYS) if name not in keys]
    remedy = f"; give the columns {', '.join(absent)} as well" if absent else ""
    _refuse(lines[fits_several], f"fits several rows{remedy}")
    _refuse(lines[rating_ids.duplicated(keep=False)], "rates a reply that is rated twice")
    rating_of_id = dict(zip(rating_ids, values.astype(float), strict=True))
    return rows.assign(**{column: row_ids.map(rating_of_id).astype(float)})


def _refuse(lines: pd.Index[int], problem: str) -> None:
    """Raise a `Mistake` if the ratings have lines with a problem; name the first of them."""
    if len(lines):
        shown = ", ".join(str(line) for line in lines[:_SHOWN_LINES])
        more = f" and {len(lines) - _SHOWN_LINES} more" if len(lines) > _SHOWN_LINES else ""
        raise Mistake(f"line {shown}{more} of the ratings {problem}; correct it and merge again")


def _identity(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """Return a key for each row, which does not depend on how a spreadsheet writes numbers and case."""
    parts = [table[name].map(_plain) for name in keys]
    return pd.Series(list(zip(*parts, strict=True)), index=table.index, dtype=object)


def _plain(value: object) -> str:
    """Return a cell as text: empty for a missing value, a number in one form, other text in lower case."""
    text = "" if value is None or value != value else str(value).strip()
    try:
        return repr(float(text))
    except ValueError:
        return text.casefold()


def _no_formula(text: object) -> str:
    """Put an apostrophe before text that a spreadsheet would compute; a model's reply may be a harmful formula."""
    cell = str(text)
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
