"""Results of any evaluation: a score for each example, and maybe for several seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lowland.ground.mistakes import Mistake, plural
from lowland.ground.visible import visible

NO_SEED = ""
"""Seed of results that name none."""
WHOLE = r"^(-?\d+)\.0$"
"""A whole number as pandas writes it in a column with decimal points."""
LARGEST = 1e100
"""Largest size of a score: sums of squares of larger ones overflow."""
COLUMNS = ("example", "seed", "group", "score", "text")


@dataclass(frozen=True)
class Results:
    """Scores of one method, one model or one prompt.

    Attributes:
        name: what is scored, for sentences.
        metric: name of the score.
        rows: a row for each score, with the columns `example` (text), `seed` (text, `NO_SEED` where there is none),
            `group` (text), `score` (finite number, higher is better) and `text` (shown with flips; may be empty).
            Several rows of an example and a seed are repeats.
        source: file or folder that they were read from, in words.
        data: what the examples' names refer to, such as the SHA-256 of the data; "" if they speak for themselves.
    """

    name: str
    metric: str
    rows: pd.DataFrame
    source: str
    data: str = ""

    @property
    def seeds(self) -> tuple[str, ...]:
        """The seeds, in order; empty if the results name none."""
        seeds = [seed for seed in dict.fromkeys(self.rows["seed"]) if seed != NO_SEED]
        return tuple(sorted(seeds, key=lambda seed: (not seed.lstrip("-").isdigit(), _number(seed), seed)))


def _number(seed: str) -> int:
    return int(seed) if seed.lstrip("-").isdigit() else 0


def as_results(table: pd.DataFrame, name: str, metric: str, source: str, data: str = "") -> Results:
    """Check a table with some of the `COLUMNS`, and return its results.

    Args:
        table: with `example` and `score`, and maybe `seed`, `group` and `text`.
        name: what is scored.
        metric: name of the score.
        source: where the table is from, in words.
        data: what the examples' names refer to.

    Raises:
        Mistake: if there is no row, a score is not a finite number, or an example or a seed is missing.
    """
    if table.empty:
        raise Mistake(f"{source} holds no scores; expected a row for each example")
    rows = pd.DataFrame({"example": _texts(table["example"], "example", source)})
    rows["seed"] = _texts(table["seed"], "seed", source) if "seed" in table else NO_SEED
    rows["group"] = _texts(table["group"], "group", source) if "group" in table else rows["example"]
    rows["score"] = _scores(table["score"], source)
    rows["text"] = table["text"].fillna("").astype(str).to_numpy() if "text" in table else ""
    groups = rows.groupby("example", sort=False)["group"].nunique()
    if (groups > 1).any():
        raise Mistake(
            f"{source} puts example {groups.idxmax()!r} into several groups; expected one for each example"
        )
    return Results(visible(name), metric, rows, source, data)


def _texts(column: pd.Series, what: str, source: str) -> pd.Series:
    """Return the values as texts; a whole number has no decimal point."""
    if missing := int(column.isna().sum()):
        raise Mistake(
            f"{source} lacks {what} in {plural(missing, 'row')} of {len(column)}; give it in each row"
        )
    return column.astype(str).str.replace(WHOLE, r"\1", regex=True).reset_index(drop=True)


def _scores(column: pd.Series, source: str) -> pd.Series:
    """Return the scores as numbers: true and false count 1 and 0."""
    column = column.reset_index(drop=True)
    if column.dtype == object or pd.api.types.is_string_dtype(column):
        words = {"true": 1.0, "false": 0.0}
        column = column.map(lambda value: words.get(str(value).strip().lower(), value))
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    unfit = ~(numbers.abs() <= LARGEST)
    if unfit.any():
        row, count = int(np.flatnonzero(unfit)[0]), int(unfit.sum())
        comma = " with a point, not a comma" if re.fullmatch(r"\s*-?\d+,\d+\s*", str(column[row])) else ""
        raise Mistake(
            f"{source}: the score in row {row + 1} is {visible(str(column[row]))!r}, and"
            f" {plural(count, 'score')} of {len(column)} {'is' if count == 1 else 'are'} no finite number; write"
            f" numbers such as 0.5{comma}, or leave such examples out of all results"
        )
    return numbers


def with_different_names(results: Sequence[Results]) -> list[Results]:
    """Return results whose names differ: equal ones are told apart by their source, or by their number."""
    names = [each.name for each in results]
    renamed = []
    for number, each in enumerate(results, start=1):
        name = each.name
        if names.count(name) > 1:
            others = [other.source for other in results if other.name == name]
            place = Path(each.source).name
            name = f"{name} ({place if [Path(other).name for other in others].count(place) == 1 else number})"
        renamed.append(replace(each, name=name))
    return renamed
