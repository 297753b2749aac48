"""Statistics of a stress test: accuracy by condition, loss under damage, gain by mitigations.

The input is a table with one row for each question (`lowland.ground.records.ROW_COLUMNS`). Every number is a mean over
items, of each item's mean over its epochs. Every interval resamples items, with the same resamples for all numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lowland.evidence.cells import CellDifference, CellScores, cell_differences, score_cell
from lowland.evidence.core.by_item import RESAMPLES, draw
from lowland.evidence.damage import Dose, Flips, WorstCase, count_flips, doses, worst_cases
from lowland.evidence.readers.stress_rows import (
    CELL,
    Cell,
    cell_of,
    cells_in_order,
    item_means,
    prepare_rows,
    rates_of,
)

REFERENCES = {"messy": "clean", "multilingual": "english"}
"""For each eval the condition that the others are compared with."""


@dataclass(frozen=True)
class StressEvidence:
    """Evidence of one eval and model.

    Attributes:
        eval: "messy" or "multilingual".
        model: name of the model.
        items: number of different items.
        epochs: number of times that each was asked.
        asked: number of rows.
        failed: number of rows without an answer.
        resamples: number of resamples of the items.
        level: level of the intervals.
        reference: name of the undamaged condition.
        cells: scores, the undamaged cell first.
        to_reference: each cell minus the undamaged one of the same mitigation.
        mitigated: each cell minus the one without mitigation, the undamaged included.
        flips: one for each of `to_reference`.
        worst: worst cases, by level, protection and mitigation.
        doses: accuracy by rate of damage, for conditions that were asked at several rates.
        categories: number of rows by category, for each cell; failed rows under "failed".
    """

    eval: str
    model: str
    items: int
    epochs: int
    asked: int
    failed: int
    resamples: int
    level: float
    reference: str
    cells: tuple[CellScores, ...]
    to_reference: tuple[CellDifference, ...]
    mitigated: tuple[CellDifference, ...]
    flips: tuple[Flips, ...]
    worst: tuple[WorstCase, ...]
    doses: tuple[Dose, ...]
    categories: dict[Cell, dict[str, int]]


def stress_evidence(
    rows: pd.DataFrame, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> StressEvidence:
    """Compute all numbers of one eval and one model; the order of the rows does not matter.

    Args:
        rows: rows of one eval and one model, with the columns `readers.stress_rows.NEEDED`.
        resamples: number of resamples of the items.
        level: level of the intervals, 0 to 1.
        seed: seed of the resampling.

    Raises:
        Mistake: if there are no rows, columns are missing, rows are of several evals or models, or scored rows have no
            score.
    """
    kind = str(rows["eval"].iloc[0]) if "eval" in rows and len(rows) else ""
    reference = REFERENCES.get(kind, "clean")
    rows = prepare_rows(rows, reference)
    items = sorted(rows["item"].unique())
    drawn = draw(len(items), resamples=resamples, level=level, seed=seed)
    cells, rates, by_item = cells_in_order(rows, reference), rates_of(rows), item_means(rows, items)
    blocks = {cell_of(key): block for key, block in rows.groupby(CELL)}
    right = {cell: by_item[cell]["right"] for cell in cells}
    to_reference, mitigated = _pairs(cells, reference)
    return StressEvidence(
        eval=kind,
        model=str(rows["model"].iloc[0]),
        items=len(items),
        epochs=int(rows["epoch"].nunique()),
        asked=len(rows),
        failed=int((rows["status"] != "scored").sum()),
        resamples=resamples,
        level=level,
        reference=reference,
        cells=tuple(score_cell(drawn, cell, rates[cell], blocks[cell], by_item[cell]) for cell in cells),
        to_reference=cell_differences(drawn, right, to_reference),
        mitigated=cell_differences(drawn, right, mitigated),
        flips=tuple(
            count_flips(drawn, right, blocks[undamaged], items, cell, undamaged)
            for cell, undamaged in to_reference
        ),
        worst=worst_cases(rows, drawn, right, items, None if kind == "multilingual" else reference),
        doses=doses(rows, drawn, right, reference),
        categories={cell: _count_categories(blocks[cell]) for cell in cells},
    )


def _pairs(cells: list[Cell], reference: str) -> tuple[list[tuple[Cell, Cell]], list[tuple[Cell, Cell]]]:
    """Pair each cell with its undamaged cell, and with its cell without mitigation, if these were asked."""
    undamaged = [(cell, Cell(reference, "", False, cell.mitigation)) for cell in cells]
    unmitigated = [(cell, Cell(cell.condition, cell.level, cell.protected, "none")) for cell in cells]
    to_reference, mitigated = (
        [(cell, other) for cell, other in pairs if cell != other and other in cells]
        for pairs in (undamaged, unmitigated)
    )
    return to_reference, mitigated


def _count_categories(rows: pd.DataFrame) -> dict[str, int]:
    named = rows["category"].where(rows["status"] == "scored", "failed")
    return {str(name): int(count) for name, count in named.value_counts().sort_index().items()}
