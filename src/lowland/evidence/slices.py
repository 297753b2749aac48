"""Slices of the loss: means at each point, and the barrier on a line between two runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lowland.evidence.core.intervals import PairedInterval, paired_interval
from lowland.evidence.core.metrics import Floats

NEGLIGIBLE = 1e-6
"""Height in nats that rounding in float32 can make; it counts as none."""


@dataclass(frozen=True)
class Barrier:
    """Largest rise of the loss over the straight line between the losses of two ends.

    Attributes:
        x: where on the line it is, from 0 to 1; 0 if the loss is nowhere above the straight line.
        height: L(x) - ((1 - x) · L(0) + x · L(1)), the mean over examples, in nats; 0 without a barrier, infinite if a
            loss on the line is not finite.
        interval: its interval over examples; None without a barrier, or if all examples are in one group.
    """

    x: float
    height: float
    interval: PairedInterval | None


def mean_losses(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the mean loss over examples at each point: columns `x`, `y` and `loss`, in the order of the points."""
    by_point = rows.groupby(["x", "y"], sort=False)["loss"]
    return by_point.agg(lambda losses: losses.to_numpy().mean()).reset_index()  # NaN if one is


def barrier_on(rows: pd.DataFrame, level: float = 0.95) -> Barrier:
    """Compute the barrier on a line whose ends are at x = 0 and x = 1.

    Frankle et al., 2020 (arXiv 1912.05671) measure how far the loss rises on the line between two solutions, above the
    mean of the ends' losses. Here it is above the straight line between them, as in Entezari et al., 2022 (arXiv
    2110.06296): then a convex loss has no barrier, even if the ends' losses differ. The place is that of the highest
    mean on these examples, so the height tends to be too large rather than too small.

    Args:
        rows: losses with the columns `x`, `example`, `group` and `loss`.
        level: level of the interval, 0 to 1.
    """
    losses = rows.groupby(["x", "example"])["loss"].mean().unstack()
    x, values = losses.index.to_numpy(np.float64), losses.to_numpy(np.float64)
    straight: Floats = (1 - x)[:, None] * values[0] + x[:, None] * values[-1]
    heights = (values - straight)[1:-1].mean(axis=1)
    heights = np.where(np.isfinite(heights), heights, np.inf)
    highest = int(heights.argmax()) + 1
    if heights[highest - 1] <= NEGLIGIBLE:
        return Barrier(0.0, 0.0, None)
    groups = rows.drop_duplicates("example").set_index("example")["group"].loc[losses.columns]
    interval = None
    if groups.nunique() > 1 and np.isfinite(values[highest]).all():
        interval = paired_interval(values[[highest]], straight[[highest]], groups=groups, level=level)
    return Barrier(float(x[highest]), float(heights[highest - 1]), interval)
