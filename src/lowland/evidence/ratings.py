"""Ratings of replies by people and judge models: means by cell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lowland.evidence.core.by_item import RESAMPLES, Estimate, draw, estimate
from lowland.evidence.readers.stress_rows import CELL, Cell, cell_of


def mean_ratings(
    rated: pd.DataFrame, column: str, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> dict[Cell, Estimate]:
    """Estimate the mean rating of each cell over its items, from each item's mean over its rated replies.

    Args:
        rated: rows of one eval and model with ratings in `column`, NaN if not rated.
        column: such as "fluency" or "judge".
        resamples: number of resamples of the rated items.
        level: level of the intervals, 0 to 1.
        seed: seed of the resampling.

    Returns:
        Estimates in points of the scale, for the cells that were rated.
    """
    present = rated[rated[column].notna()]
    items = sorted(present["item"].unique())
    if not items:
        return {}
    drawn = draw(len(items), resamples=resamples, level=level, seed=seed)
    return {
        cell_of(key): estimate(
            drawn, block.groupby("item")[column].mean().reindex(items).to_numpy(np.float64)
        )
        for key, block in present.groupby(CELL)
    }
