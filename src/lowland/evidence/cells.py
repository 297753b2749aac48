"""Scores of a stress test by cell, and differences between cells.

Every number is a mean over items, of each item's mean over its epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lowland.evidence.core.by_item import Estimate, Resamples, estimate, holm, sign_flip_p
from lowland.evidence.core.metrics import Floats
from lowland.evidence.readers.stress_rows import QUANTITIES, Cell, ItemMeans


@dataclass(frozen=True)
class CellScores:
    """Scores of one cell; each estimate is a share of the item's epochs, averaged over items.

    Attributes:
        cell: the cell.
        rate: requested damage, as a share of the characters.
        asked: number of rows.
        failed: number of rows without an answer.
        accuracy: right among the scored.
        strict: right among all rows, with failed rows counted as wrong.
        unsure: "UNSURE" among the scored; these count as wrong in the accuracy.
        near: right only by a near miss, among the scored; without these the accuracy is lower by this share.
        kept: replies that keep the language, among those for which this could be decided.
        undecided: replies for which it could not be decided, among the scored.
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
class CellDifference:
    """Accuracy of one cell minus that of a reference cell, over the items scored in both.

    Attributes:
        cell: the cell.
        reference: the cell that it is compared with.
        estimate: the difference.
        p: p-value of the sign-flip test by item.
        p_holm: p-value after Holm's correction over all differences of the same table.
    """

    cell: Cell
    reference: Cell
    estimate: Estimate
    p: float
    p_holm: float


def score_cell(
    drawn: Resamples, cell: Cell, rate: float, rows: pd.DataFrame, by_item: dict[str, Floats]
) -> CellScores:
    """Estimate the scores of one cell from its rows and its items' means."""
    estimates = {name: estimate(drawn, by_item[name]) for name in QUANTITIES}
    failed = int((rows["status"] != "scored").sum())
    return CellScores(cell, rate, len(rows), failed, accuracy=estimates.pop("right"), **estimates)


def cell_differences(
    drawn: Resamples, right: ItemMeans, pairs: Sequence[tuple[Cell, Cell]]
) -> tuple[CellDifference, ...]:
    """Estimate the accuracy of each cell minus that of its reference, with Holm's correction over all pairs.

    Args:
        drawn: resamples of the items.
        right: for each cell, the share of scored epochs in which each item is right.
        pairs: cells and their references.
    """
    gaps = [right[cell] - right[reference] for cell, reference in pairs]
    p = [sign_flip_p(gap) for gap in gaps]
    return tuple(
        CellDifference(cell, reference, estimate(drawn, gap), raw, corrected)
        for (cell, reference), gap, raw, corrected in zip(pairs, gaps, p, holm(p), strict=True)
    )
