"""Comparison of methods in the curvature of their runs, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from lowland.evidence.core.by_item import holm

COMPARED = (("eigenvalue", 1), ("trace", 1))
"""Quantities that are compared, with their index."""


@dataclass(frozen=True)
class Ratio:
    """Ratio of a method's curvature to that of a reference: the geometric mean over seeds; below 1 is flatter.

    Attributes:
        space: space of weights.
        matrix: the matrix.
        quantity: the quantity.
        method: label of the method.
        reference: label of the reference.
        per_seed: the ratio of each seed that both have.
        ratio: geometric mean of these.
        low: lower end of the interval over seeds; NaN with one seed.
        high: upper end.
        p: p-value of the paired t test of the logarithms; NaN with one seed.
        p_holm: p with Holm's correction over all ratios.
    """

    space: str
    matrix: str
    quantity: str
    method: str
    reference: str
    per_seed: dict[int, float]
    ratio: float
    low: float
    high: float
    p: float
    p_holm: float


def ratios_of(table: pd.DataFrame, reference: str, level: float = 0.95) -> list[Ratio]:
    """Compare the largest eigenvalue and the trace of methods with those of a reference.

    With ``d_s`` the difference of the logarithms for seed s, the interval is that of the paired t test,
    ``exp(mean d -/+ t[S-1] sd(d) / sqrt(S))``. It is over seeds: sample and probes are the same for all runs. Seeds in
    which a value is not positive are left out.

    Args:
        table: the table of `lowland measure spectrum`.
        reference: label of the reference.
        level: level of the intervals, 0 to 1.
    """
    ratios = list(_ratios(table, reference, level))
    corrected = holm([each.p for each in ratios])
    return [replace(each, p_holm=float(p)) for each, p in zip(ratios, corrected, strict=True)]


def _ratios(table: pd.DataFrame, reference: str, level: float) -> Iterator[Ratio]:
    for quantity, index in COMPARED:
        rows = table[(table["quantity"] == quantity) & (table["index"] == index) & (table["value"] > 0)]
        for (space, matrix), group in rows.groupby(["space", "matrix"], sort=False):
            values = {
                str(method): dict(zip(own["seed"], own["value"], strict=True))
                for method, own in group.groupby("method", sort=False)
            }
            theirs = values.pop(reference, {})
            for method, ours in values.items():
                if shared := [seed for seed in ours if seed in theirs]:
                    per_seed = {int(seed): float(ours[seed] / theirs[seed]) for seed in shared}
                    figures = _interval(np.log(list(per_seed.values())), level)
                    yield Ratio(
                        str(space), str(matrix), quantity, method, reference, per_seed, *figures, math.nan
                    )


def _interval(differences: np.ndarray, level: float) -> tuple[float, float, float, float]:
    """Return exp of the mean of differences of logarithms, the ends of its interval, and the p-value."""
    mean = float(differences.mean())
    if len(differences) < 2:
        return math.exp(mean), math.nan, math.nan, math.nan
    if not differences.std() > 0:  # the same ratio in every seed, as of equal runs: no spread to go by
        return math.exp(mean), math.exp(mean), math.exp(mean), math.nan
    test = stats.ttest_1samp(differences, 0.0)
    ends = test.confidence_interval(level)
    return math.exp(mean), math.exp(ends.low), math.exp(ends.high), float(test.pvalue)
