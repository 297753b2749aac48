"""Spectral densities of methods: the share of eigenvalues in each of some bins, the mean over seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lowland.evidence.core.metrics import Floats

BINS = 20
"""Number of bins over all eigenvalues that were seen."""


def density_bins(rows: pd.DataFrame) -> Floats:
    """Return the ends of bins (BINS + 1,) over the densities of some runs.

    Args:
        rows: the densities: columns `run`, `at` and `value`.
    """
    return np.linspace(rows["at"].min(), rows["at"].max(), BINS + 1)


def shares_in(rows: pd.DataFrame, bins: Floats) -> Floats:
    """Return the share of eigenvalues in each bin, the mean over runs; the shares of all bins sum to 1.

    A density is integrated by the trapezoidal rule on its grid. Its smoothing stays: an eigenvalue near the end of a
    bin is shared with the next.

    Args:
        rows: the densities of runs: columns `run`, `at` and `value`.
        bins: (bins + 1,) ends of the bins, which cover the grids.
    """
    shares = [_shares(run, bins) for _, run in rows.groupby("run", sort=False)]
    return np.asarray(np.mean(shares, axis=0))


def _shares(run: pd.DataFrame, bins: Floats) -> Floats:
    ordered = run.sort_values("at")
    at, density = ordered["at"].to_numpy(np.float64), ordered["value"].to_numpy(np.float64)
    steps = np.diff(at) * (density[1:] + density[:-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(np.diff(np.interp(bins, at, below / (below[-1] or 1.0))))
