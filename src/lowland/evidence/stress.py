"""What a stress test shows: accuracy by condition, what damage costs, what a mitigation gives back.

Rows are a table with a row a question asked (`lowland.ground.records.ROW_COLUMNS`). Every number is a mean over
items, of each item's mean over its epochs; every interval resamples items, the same resamples for all.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lowland.evidence.cells import (
    CELL,
    Cell,
    CellScores,
    Difference,
    cell_of,
    check_columns,
    checked,
    differences,
    in_order,
    rates_of,
    scores_of,
    shares,
)
from lowland.evidence.core.by_item import RESAMPLES, draw
from lowland.evidence.damage import Dose, Flips, WorstCase, doses, flips, worst_cases

REFERENCES = {"messy": "clean", "multilingual": "english"}
"""For each eval the condition that the others are held against."""


@dataclass(frozen=True)
class StressEvidence:
    """All that the rows of one eval and model show.

    Attributes:
        eval: "messy" or "multilingual".
        model: its name.
        items: how many different ones.
        epochs: how often each was asked.
        asked: number of rows.
        failed: rows without an answer.
        resamples: of the items.
        level: of the intervals.
        reference: name of the undamaged condition.
        cells: scores, the undamaged first.
        to_reference: each cell minus the undamaged one of the same mitigation.
        mitigated: each cell minus the one without mitigation, the undamaged included.
        flips: for each of `to_reference`.
        worst: by level, protection and mitigation.
        doses: of conditions that were asked at several rates.
        categories: rows by category, for each cell; failed ones under "failed".
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
    to_reference: tuple[Difference, ...]
    mitigated: tuple[Difference, ...]
    flips: tuple[Flips, ...]
    worst: tuple[WorstCase, ...]
    doses: tuple[Dose, ...]
    categories: dict[Cell, dict[str, int]]


def stress_evidence(
    rows: pd.DataFrame, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> StressEvidence:
    """All numbers of one eval and one model; the order of the rows does not matter.

    Args:
        rows: with the columns `cells.NEEDED`, of one eval and one model.
        resamples: of the items.
        level: of the intervals, 0 to 1.
        seed: of the resampling.

    Raises:
        Mistake: no rows, columns that lack, rows of several evals or models, scored rows without a score.
    """
    kind = str(rows["eval"].iloc[0]) if "eval" in rows and len(rows) else ""
    reference = REFERENCES.get(kind, "clean")
    rows = checked(rows, reference)
    items = sorted(rows["item"].unique())
    drawn = draw(len(items), resamples=resamples, level=level, seed=seed)
    cells, rates, found = in_order(rows, reference), rates_of(rows), shares(rows, items)
    blocks = {cell_of(key): block for key, block in rows.groupby(CELL)}
    right = {cell: found[cell]["right"] for cell in cells}
    damaged = [(cell, Cell(reference, "", False, cell.mitigation)) for cell in cells]
    helped = [(cell, Cell(cell.condition, cell.level, cell.protected, "none")) for cell in cells]
    to_reference = [(a, b) for a, b in damaged if a != b and b in right]
    mitigated = [(a, b) for a, b in helped if a != b and b in right]
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
        cells=tuple(scores_of(drawn, cell, rates[cell], blocks[cell], found[cell]) for cell in cells),
        to_reference=differences(drawn, right, to_reference),
        mitigated=differences(drawn, right, mitigated),
        flips=tuple(flips(drawn, right, blocks[b], items, a, b) for a, b in to_reference),
        worst=worst_cases(rows, drawn, right, items, None if kind == "multilingual" else reference),
        doses=doses(rows, drawn, right, reference),
        categories={cell: _categories(blocks[cell]) for cell in cells},
    )


def split_rows(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each eval and model, in order of these names.

    Raises:
        Mistake: columns that lack.
    """
    check_columns(rows)
    return [block for _, block in rows.groupby(["eval", "model"], sort=True)]


def _categories(rows: pd.DataFrame) -> dict[str, int]:
    named = rows["category"].where(rows["status"] == "scored", "failed")
    return {str(name): int(count) for name, count in named.value_counts().sort_index().items()}
