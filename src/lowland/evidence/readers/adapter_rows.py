"""Reader of an adapter stress test's rows: scores of each method and cell by seed and test example.

Rows are those of a stress test (`lowland.ground.records.ROW_COLUMNS`) with the columns `seed` and `group`. The model is
the method, the item a test example, the score that of the run's prediction.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.evidence.core.metrics import Floats
from lowland.evidence.readers.stress_rows import CELL, Cell, cell_of, check_columns
from lowland.ground.mistakes import Mistake

CLEAN = "clean"

MethodCell = tuple[str, Cell]


@dataclass(frozen=True)
class AdapterScores:
    """Scores of several methods on the same test examples.

    Attributes:
        scores: for each method and cell a table with one row for each of N examples and one column for each seed.
        predictions: the same tables with what the runs predicted; None if the rows do not hold it.
        groups: (N,) the groups of the examples.
    """

    scores: dict[MethodCell, pd.DataFrame]
    predictions: dict[MethodCell, pd.DataFrame] | None
    groups: list[Hashable]

    @property
    def compared(self) -> str:
        """Name of what `agree` compares: "predictions", or "scores" if the predictions are not known."""
        return "scores" if self.predictions is None else "predictions"

    def agree(self, first: MethodCell, second: MethodCell) -> bool:
        """Return whether two methods or cells have the same predictions for every text, in the seeds that both have."""
        tables = self.scores if self.predictions is None else self.predictions
        ours, theirs = tables[first], tables[second]
        seeds = [seed for seed in ours.columns if seed in theirs.columns]
        return bool((ours[seeds].to_numpy() == theirs[seeds].to_numpy()).all())

    def pair(self, first: MethodCell, second: MethodCell) -> tuple[Floats, Floats]:
        """Return the scores (S, N) of two methods or cells, for the seeds that both have.

        Raises:
            Mistake: if one of the two was not asked, or they share no seed.
        """
        if missing := [place for place in (first, second) if place not in self.scores]:
            (method, cell), *_ = missing
            raise Mistake(
                f"{method} was not asked under {cell.condition} {cell.level}; ask all methods the same questions"
            )
        ours, theirs = self.scores[first], self.scores[second]
        seeds = [seed for seed in ours.columns if seed in theirs.columns]
        if not seeds:
            raise Mistake(f"{first[0]} and {second[0]} share no seed; run both with the same seeds")
        return ours[seeds].to_numpy(np.float64).T, theirs[seeds].to_numpy(np.float64).T

    def clean_cell(self, method: str, cell: Cell) -> Cell:
        """Return the clean cell of the same mitigation, and of the same protection if clean texts have any.

        Raises:
            Mistake: if the method was not asked the clean texts with that mitigation.
        """
        clean = [c for name, c in self.scores if name == method and c.condition == CLEAN]
        fitting = [c for c in clean if c.mitigation == cell.mitigation]
        if not fitting:
            raise Mistake(f"{method} was not asked the clean texts with the mitigation '{cell.mitigation}'")
        return min(fitting, key=lambda c: (c.protected != cell.protected, c.protected))


def read_adapter_scores(rows: pd.DataFrame) -> AdapterScores:
    """Return the scores by method and cell.

    Args:
        rows: rows of one task and test set.

    Raises:
        Mistake: if columns or clean rows are missing, a run answered a text twice, or runs were asked different texts.
    """
    check_columns(rows)
    if missing := [name for name in ("seed", "group") if name not in rows.columns]:
        raise Mistake(f"the table of rows lacks the columns {', '.join(missing)}; rows of adapters have them")
    if not (rows["condition"] == CLEAN).any():
        raise Mistake("no row is of the condition 'clean'; ask the undamaged texts as well")
    if rows.duplicated(["model", "seed", *CELL, "item"]).any():
        raise Mistake("texts are answered twice by one run; give rows of one task and test set at a time")
    texts = rows.drop_duplicates("item").sort_values("item").set_index("item")["group"]
    scores, predictions = {}, {}
    known = "predicted" in rows.columns and bool(rows["predicted"].notna().all())
    for (method, *key), block in rows.groupby(["model", *CELL]):
        place = str(method), cell_of(tuple(key))
        table = block.pivot(index="item", columns="seed", values="score").reindex(texts.index)
        if table.isna().to_numpy().any():
            raise Mistake(f"{method} lacks answers under {key[0]} {key[1]}; its runs were asked other texts")
        scores[place] = table
        if known:
            predictions[place] = block.pivot(index="item", columns="seed", values="predicted").reindex(
                texts.index
            )
    return AdapterScores(scores, predictions if known else None, texts.tolist())
