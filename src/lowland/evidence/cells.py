"""Rows of a stress test by cell: one condition, level of damage, protection and mitigation.

Every number is a mean over items, of each item's mean over its epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.evidence.core.by_item import Estimate, Resamples, estimate, holm, sign_flip_p
from lowland.evidence.core.metrics import Floats
from lowland.ground.mistakes import Mistake

CELL = ["condition", "level", "protected", "mitigation"]
NEEDED = ("eval", "model", "item", *CELL, "rate", "epoch", "status", "score", "near", "category", "kept")
QUANTITIES = ["right", "strict", "unsure", "near", "kept", "undecided"]


@dataclass(frozen=True)
class Cell:
    """The rows of one condition, level of damage, protection and mitigation; level is "" where there is none."""

    condition: str
    level: str
    protected: bool
    mitigation: str


Table = dict[Cell, Floats]
"""For each cell one number an item (G,), NaN for an item that tells nothing."""


@dataclass(frozen=True)
class CellScores:
    """What came out in one cell; each estimate is a share of the item's epochs, averaged over items.

    Attributes:
        cell: which.
        rate: damage that was asked for, as a share of the characters.
        asked: number of rows.
        failed: rows without an answer.
        accuracy: right among the scored.
        strict: right among all, the failed counted as wrong.
        unsure: "UNSURE" among the scored; they count as wrong in the accuracy.
        near: right by a near miss only, among the scored; without them the accuracy is so much less.
        kept: replies that keep the language, among those of which that could be told.
        undecided: replies of which it could not, among the scored.
    """

    cell: Cell
    rate: float
    asked: int
    failed: int
    accuracy: Estimate
    strict: Estimate
    unsure: Estimate
    near: Estimate
    kept: Estimate
    undecided: Estimate


@dataclass(frozen=True)
class Difference:
    """Accuracy of one cell minus another's, over the items scored in both; p by `sign_flip_p`.

    `p_holm` is corrected over all differences of the same table.
    """

    cell: Cell
    against: Cell
    estimate: Estimate
    p: float
    p_holm: float


def checked(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """A copy with what the statistics need as numbers: NaN where a row tells nothing.

    Args:
        rows: with the columns `NEEDED`, of one eval and one model.
        reference: the undamaged condition, in which there is nothing to protect.

    Raises:
        Mistake: no rows, columns that lack, rows of several evals or models, or scored ones without a score.
    """
    check_columns(rows)
    if rows.empty:
        raise Mistake("the table of rows is empty; a stress test leaves a row for each question asked")
    if len(rows[["eval", "model"]].drop_duplicates()) > 1:
        raise Mistake("the rows are of several evals or models; hand them over one by one (split_rows)")
    made = rows.reset_index(drop=True)
    scored = made["status"] == "scored"
    kept = made["kept"].astype(object).map({True: 1.0, False: 0.0}).astype(float)  # nobody knows: NaN
    made["level"] = made["level"].fillna("").astype(str)
    made["protected"] = made["protected"].eq(True) & (made["condition"] != reference)
    made["right"] = made["score"].astype(float).where(scored)
    if made.loc[scored, "right"].isna().any():
        raise Mistake("rows that say 'scored' lack a score; give 1 or 0, or the status 'failed'")
    made["strict"] = made["right"].fillna(0.0)
    made["unsure"] = (made["category"] == "unsure").astype(float).where(scored)
    made["near"] = made["near"].eq(True).astype(float).where(scored)
    made["kept"] = kept.where(scored)
    made["undecided"] = kept.isna().astype(float).where(scored)
    return made


def check_columns(rows: pd.DataFrame) -> None:
    """Raise Mistake unless the columns `NEEDED` are there."""
    if missing := [name for name in NEEDED if name not in rows.columns]:
        raise Mistake(f"the table of rows lacks the columns {', '.join(missing)}; read a run's rows.parquet")


def shares(rows: pd.DataFrame, items: list[str]) -> dict[Cell, dict[str, Floats]]:
    """For each cell and each of `QUANTITIES` one mean an item (G,), NaN for an item that tells nothing.

    Args:
        rows: as :func:`checked` gives them.
        items: the G items, in the order of the resamples' columns.
    """
    by_item = rows.groupby([*CELL, "item"], sort=False)[QUANTITIES].mean()
    return {
        cell: {name: block[name].reindex(items).to_numpy(np.float64) for name in QUANTITIES}
        for cell, block in _blocks(by_item)
    }


def in_order(rows: pd.DataFrame, reference: str) -> list[Cell]:
    """All cells: no mitigation first, the undamaged before the damaged, then by name and rate."""
    rates = rates_of(rows)

    def place(cell: Cell) -> tuple[object, ...]:
        damaged = cell.condition != reference
        plain = cell.mitigation != "none"
        return plain, cell.mitigation, damaged, cell.condition, rates[cell], cell.level, cell.protected

    return sorted(rates, key=place)


def rates_of(rows: pd.DataFrame) -> dict[Cell, float]:
    """The rate of damage that was asked for in each cell."""
    return {cell_of(key): float(rate) for key, rate in rows.groupby(CELL)["rate"].first().items()}


def cell_of(key: object) -> Cell:
    """The cell of a pandas group key."""
    assert isinstance(key, tuple)
    condition, level, protected, mitigation = key
    return Cell(str(condition), str(level), bool(protected), str(mitigation))


def scores_of(
    drawn: Resamples, cell: Cell, rate: float, rows: pd.DataFrame, found: dict[str, Floats]
) -> CellScores:
    """The scores of one cell, from its rows and its items' shares."""
    told = {name: estimate(drawn, found[name]) for name in QUANTITIES}
    failed = int((rows["status"] != "scored").sum())
    return CellScores(cell, rate, len(rows), failed, accuracy=told.pop("right"), **told)


def differences(drawn: Resamples, right: Table, pairs: Sequence[tuple[Cell, Cell]]) -> tuple[Difference, ...]:
    """Accuracy of the first of each pair minus the second's; Holm's correction is over all of them."""
    gaps = [right[cell] - right[against] for cell, against in pairs]
    p = [sign_flip_p(gap) for gap in gaps]
    return tuple(
        Difference(cell, against, estimate(drawn, gap), raw, corrected)
        for (cell, against), gap, raw, corrected in zip(pairs, gaps, p, holm(p), strict=True)
    )


def _blocks(by_item: pd.DataFrame) -> list[tuple[Cell, pd.DataFrame]]:
    return [(cell_of(key), block.droplevel(list(CELL))) for key, block in by_item.groupby(level=CELL)]
