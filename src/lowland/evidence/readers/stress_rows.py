"""Reader of a stress test's rows: cells, and the means of each item in each cell.

A cell is one condition, level of damage, protection and mitigation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.evidence.core.metrics import Floats
from lowland.ground.mistakes import Mistake

CELL = ["condition", "level", "protected", "mitigation"]
NEEDED = ("eval", "model", "item", *CELL, "rate", "epoch", "status", "score", "near", "category", "kept")
QUANTITIES = ["right", "strict", "unsure", "near", "kept", "undecided"]


@dataclass(frozen=True)
class Cell:
    """Key of a group of rows: condition, level of damage ("" without damage), protection and mitigation."""

    condition: str
    level: str
    protected: bool
    mitigation: str


ItemMeans = dict[Cell, Floats]
"""For each cell one number for each item (G,), NaN if missing."""


def check_columns(rows: pd.DataFrame) -> None:
    """Raise Mistake unless the rows have the columns `NEEDED`."""
    if missing := [name for name in NEEDED if name not in rows.columns]:
        raise Mistake(f"the table of rows lacks the columns {', '.join(missing)}; read a run's rows.parquet")


def prepare_rows(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return a copy with the columns `QUANTITIES` as numbers, NaN where a row does not count.

    Args:
        rows: rows of one eval and one model, with the columns `NEEDED`.
        reference: name of the undamaged condition; its rows carry no protection.

    Raises:
        Mistake: if there are no rows, columns are missing, rows are of several evals or models, or scored rows have no
            score.
    """
    check_columns(rows)
    if rows.empty:
        raise Mistake("the table of rows is empty; a stress test leaves a row for each question")
    if len(rows[["eval", "model"]].drop_duplicates()) > 1:
        raise Mistake("the rows are of several evals or models; split them first (split_rows)")
    prepared = rows.reset_index(drop=True)
    scored = prepared["status"] == "scored"
    kept = prepared["kept"].astype(object).map({True: 1.0, False: 0.0}).astype(float)  # undecided: NaN
    prepared["level"] = prepared["level"].fillna("").astype(str)
    prepared["protected"] = prepared["protected"].eq(True) & (prepared["condition"] != reference)
    prepared["right"] = prepared["score"].astype(float).where(scored)
    if prepared.loc[scored, "right"].isna().any():
        raise Mistake("rows with status 'scored' lack a score; give 1 or 0, or the status 'failed'")
    prepared["strict"] = prepared["right"].fillna(0.0)
    prepared["unsure"] = (prepared["category"] == "unsure").astype(float).where(scored)
    prepared["near"] = prepared["near"].eq(True).astype(float).where(scored)
    prepared["kept"] = kept.where(scored)
    prepared["undecided"] = kept.isna().astype(float).where(scored)
    return prepared


def split_rows(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Split rows by eval and model, in order of these names.

    Raises:
        Mistake: if columns are missing.
    """
    check_columns(rows)
    return [block for _, block in rows.groupby(["eval", "model"], sort=True)]


def item_means(rows: pd.DataFrame, items: list[str]) -> dict[Cell, dict[str, Floats]]:
    """Compute for each cell and each of `QUANTITIES` the mean of each item (G,), NaN if it has no value.

    Args:
        rows: rows as :func:`prepare_rows` returns them.
        items: the G items, in the order of the resamples' columns.
    """
    by_item = rows.groupby([*CELL, "item"], sort=False)[QUANTITIES].mean()
    return {
        cell: {name: block[name].reindex(items).to_numpy(np.float64) for name in QUANTITIES}
        for cell, block in _blocks(by_item)
    }


def cells_in_order(rows: pd.DataFrame, reference: str) -> list[Cell]:
    """Return all cells: no mitigation first, the undamaged before the damaged, then by name and rate."""
    rates = rates_of(rows)

    def place(cell: Cell) -> tuple[object, ...]:
        damaged = cell.condition != reference
        mitigated = cell.mitigation != "none"
        return mitigated, cell.mitigation, damaged, cell.condition, rates[cell], cell.level, cell.protected

    return sorted(rates, key=place)


def rates_of(rows: pd.DataFrame) -> dict[Cell, float]:
    """Return the requested rate of damage of each cell."""
    return {cell_of(key): float(rate) for key, rate in rows.groupby(CELL)["rate"].first().items()}


def cell_of(key: object) -> Cell:
    """Return the cell of a pandas group key."""
    assert isinstance(key, tuple)
    condition, level, protected, mitigation = key
    return Cell(str(condition), str(level), bool(protected), str(mitigation))


def _blocks(by_item: pd.DataFrame) -> list[tuple[Cell, pd.DataFrame]]:
    return [(cell_of(key), block.droplevel(list(CELL))) for key, block in by_item.groupby(level=CELL)]
