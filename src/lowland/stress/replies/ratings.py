"""Fluency ratings of replies by people: a sheet to fill in, and the way back to the rows.

A sheet is a CSV file with a row a reply. A person writes 1 to 5 into the column `fluency`; all else serves to
find the row again. A judge model's ratings join in the same way, under another name.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.rng import stream

KEYS = ("item", "epoch", "condition", "level", "mitigation", "protected")
"""What tells a row of one eval and model from every other; a ratings file needs the first two at least."""

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
    """Draw replies for people to rate: as many from each condition, level, mitigation and protection as from others.

    Failed rows and empty replies are not drawn. The order is by lot, so that a rater does not see one condition
    after another; the draw depends on the seed and the rows, not on the rows' order.

    Args:
        rows: of stress tests, with `lowland.ground.records.ROW_COLUMNS`.
        count: how many; all that there are, if fewer.
        seed: of the draw.

    Returns:
        A sheet: the columns `SHEET`, with `fluency` empty.

    Raises:
        Mistake: if count is below 1, or no row has a reply.
    """
    if count < 1:
        raise Mistake(f"{count} replies cannot be rated; ask for 1 or more")
    said = rows[(rows["status"] == "scored") & rows["reply"].fillna("").str.strip().ne("")]
    if said.empty:
        raise Mistake("no row has a reply: there is nothing to rate")
    identity = ["eval", "model", *KEYS]
    lot = said.sort_values(identity, kind="stable").sample(
        frac=1, random_state=stream(seed, "ratings", "draw")
    )
    cells = ["eval", "model", "condition", "level", "mitigation", "protected"]
    turn = lot.groupby(cells, sort=False).cumcount()  # 0 for the first of each cell, and so on
    chosen = lot.iloc[turn.to_numpy().argsort(kind="stable")[:count]]
    shuffled = chosen.sample(frac=1, random_state=stream(seed, "ratings", "order"))
    return shuffled.assign(fluency="")[list(SHEET)]


def write_sheet(path: Path, sheet: pd.DataFrame) -> None:
    """Write a sheet as CSV as spreadsheets read it: UTF-8 with its mark, and no text that they take for a formula."""
    safe = sheet.assign(**{name: sheet[name].map(_no_formula) for name in ("prompt", "reply")})
    safe.to_csv(path, index=False, encoding="utf-8-sig", quoting=csv.QUOTE_NONNUMERIC)


def read_ratings(path: Path) -> pd.DataFrame:
    """Ratings from a CSV file, all as text: `item`, `epoch`, `fluency`, and the others of `KEYS` that it has.

    Raises:
        Mistake: if the file cannot be read, or lacks a column.
    """
    try:
        given = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise Mistake(
            f"{path} cannot be read as CSV ({reason_of(error)}); save the sheet as CSV, UTF-8"
        ) from None
    if missing := [name for name in (*KEYS[:2], "fluency") if name not in given.columns]:
        raise Mistake(
            f"{path} lacks the columns {', '.join(missing)}; expected item, epoch and fluency, and"
            f" {', '.join(KEYS[2:])} where an item was asked in several ways"
        )
    return given


def merge_back(rows: pd.DataFrame, ratings: pd.DataFrame, *, column: str = "fluency") -> pd.DataFrame:
    """The rows with ratings beside them: NaN for a row that nobody rated.

    Joined by item and epoch, and by those of eval, model, condition, level, mitigation and protected that the
    ratings have. A rating left blank is none.

    Args:
        rows: of stress tests.
        ratings: as `read_ratings` gives them, or a table like it.
        column: of the ratings, and of the result.

    Raises:
        Mistake: if a rating is no whole number of 1 to 5, fits no row or several, or a row is rated twice.
    """
    keys = [name for name in ("eval", "model", *KEYS) if name in ratings.columns]
    if missing := [name for name in (*KEYS[:2], column) if name not in ratings.columns]:
        raise Mistake(f"the ratings lack the columns {', '.join(missing)}")
    blank = ratings[column].isna() | ratings[column].astype(str).str.strip().eq("")
    filled = ratings[~blank]
    lines = filled.index + 2  # of the file, below its header
    values = pd.to_numeric(filled[column], errors="coerce")
    _refuse(lines[~values.isin(SCALE)], "has a rating that is no whole number of 1 to 5")
    ours, theirs = _identity(rows, keys), _identity(filled, keys)
    _refuse(lines[~theirs.isin(set(ours))], f"fits no row by {', '.join(keys)}")
    several = theirs.isin(set(ours[ours.duplicated()]))
    more = [name for name in ("eval", "model", *KEYS) if name not in keys]
    wish = f"several rows; give the columns {', '.join(more)} as well" if more else "several rows"
    _refuse(lines[several], f"fits {wish}")
    _refuse(lines[theirs.duplicated(keep=False)], "rates a reply that is rated twice")
    found = dict(zip(theirs, values.astype(float), strict=True))
    return rows.assign(**{column: ours.map(found).astype(float)})


def _refuse(lines: pd.Index, what: str) -> None:
    if len(lines):
        shown = ", ".join(str(one) for one in lines[:_SHOWN_LINES])
        more = f" and {len(lines) - _SHOWN_LINES} more" if len(lines) > _SHOWN_LINES else ""
        raise Mistake(f"line {shown}{more} of the ratings {what}; mend it and merge again")


def _identity(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """One text a row, the same for equal rows: numbers as a spreadsheet may have rewritten them."""
    parts = [table[name].map(_plain) for name in keys]
    return pd.Series(list(zip(*parts, strict=True)), index=table.index, dtype=object)


def _plain(value: object) -> str:
    text = "" if value is None or value != value else str(value).strip()
    try:
        return repr(float(text))
    except ValueError:
        return text.casefold()


def _no_formula(text: object) -> str:
    """A leading apostrophe where a spreadsheet would compute; replies come from models, which may say anything."""
    plain = str(text)
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
