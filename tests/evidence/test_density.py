"""Shares of eigenvalues in bins: integrals of the densities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lowland.evidence.density import BINS, density_bins, shares_in


def densities(**means: float) -> pd.DataFrame:
    """Normal densities, by run, each on a grid of its own."""
    grids = {run: np.linspace(mean - 6, mean + 6, 400) for run, mean in means.items()}
    return pd.concat(
        pd.DataFrame({"run": run, "at": grid, "value": stats.norm.pdf(grid, means[run])})
        for run, grid in grids.items()
    )


def test_shares_are_the_means_of_the_integrals() -> None:
    rows = densities(first=0.0, second=3.0)
    bins = density_bins(rows)
    assert (len(bins), bins[0], bins[-1]) == (BINS + 1, -6, 9)
    expected = (np.diff(stats.norm.cdf(bins)) + np.diff(stats.norm.cdf(bins, 3))) / 2
    shares = shares_in(rows, bins)
    assert shares == pytest.approx(expected, abs=1e-4)
    assert shares.sum() == pytest.approx(1)


def test_a_grid_out_of_order_says_the_same() -> None:
    rows = densities(only=1.0)
    bins = density_bins(rows)
    assert shares_in(rows.iloc[::-1], bins) == pytest.approx(shares_in(rows, bins))
