"""Mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A mean and a standard deviation over seeds (n - 1 in the denominator; NaN with one seed)."""

    mean: float
    sd: float


def spread_of(values: Sequence[float]) -> Spread:
    """Compute the mean and the standard deviation of the values."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Spread(float(np.mean(values)), sd)
