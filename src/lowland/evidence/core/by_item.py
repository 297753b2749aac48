"""Shares by item: intervals from one set of resamples, an exact sign-flip test, and Holm's correction.

An item that is asked several times (epochs) or in several forms is one piece of evidence, not several. Everything here
starts from one number for each item, and items are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.arrays import check_level
from lowland.evidence.core.exact import permutation_p
from lowland.evidence.core.metrics import Floats, resample_counts
from lowland.ground.mistakes import Mistake

RESAMPLES = 1000
_FINEST = 420  # the least common multiple of 1 to 7: differences of means over up to 7 epochs
_MAX_REACH = 200_000


@dataclass(frozen=True)
class Estimate:
    """A mean over items with its interval; all NaN if every item's value is missing.

    Attributes:
        value: the mean.
        low: lower end of the interval.
        high: upper end of the interval.
        items: number of items that the mean is over.
    """

    value: float
    low: float
    high: float
    items: int


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of G items, shared by all statistics that are estimated from the items.

    Attributes:
        counts: (R, G) how often each item was drawn; each row sums to G.
        level: level of the intervals, 0 to 1.
    """

    counts: Floats
    level: float


def draw(items: int, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0) -> Resamples:
    """Draw resamples of the items, with replacement.

    Args:
        items: G, the number of items.
        resamples: R, the number of resamples.
        level: level of the intervals, 0 to 1.
        seed: seed of the resampling.

    Raises:
        Mistake: if there is no item, there are fewer than 2 resamples, or the level is out of range.
    """
    check_level(level)
    if items < 1 or resamples < 2:
        raise Mistake(f"{items} items and {resamples} resamples; expected 1 or more, and 2 or more")
    return Resamples(resample_counts(np.random.default_rng(seed), resamples, items), level)


def means(drawn: Resamples, values: Floats) -> Floats:
    """Compute the mean of each row of values on each resample.

    Args:
        drawn: R resamples of G items.
        values: (C, G) one number for each item, NaN if missing.

    Returns:
        (R, C) means; NaN if every value in a resample is missing.
    """
    present = np.isfinite(values)  # (C, G)
    weight = drawn.counts @ present.T.astype(np.float64)  # (R, C)
    total = drawn.counts @ np.where(present, values, 0.0).T
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def estimate(drawn: Resamples, values: Floats) -> Estimate:
    """Compute the mean of the values over items, with the percentile interval of its resampled means.

    Two estimates from the same resamples move together, so that the interval of a difference is that of the items'
    differences. If all items agree, the interval has no width, since resamples repeat what the items show. (Of n items
    alike, up to about 3 in n of all items may still differ.)

    Source: A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application", 1997, sections 3.8 and 5.3.

    Args:
        drawn: R resamples of G items.
        values: (G,) one number for each item, NaN if missing.
    """
    present = np.isfinite(values)
    if not present.any():
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = percentiles(drawn, means(drawn, values[None])[:, 0])
    return Estimate(float(values[present].mean()), low, high, int(present.sum()))


def percentiles(drawn: Resamples, resampled: Floats) -> tuple[float, float]:
    """Return the ends of the percentile interval of a statistic.

    Args:
        drawn: R resamples, for the level.
        resampled: (R,) the statistic on each resample; NaN is left out.
    """
    present = resampled[np.isfinite(resampled)]
    if not present.size:
        return np.nan, np.nan
    low, high = np.quantile(present, [(1 - drawn.level) / 2, (1 + drawn.level) / 2])
    return float(low), float(high)


def sign_flip_p(differences: npt.ArrayLike) -> float:
    """Test differences by item by flipping their signs: two-sided, about their mean.

    If an item's two conditions were exchangeable, its difference would be as likely to have the other sign. Differences
    of shares of a few epochs are whole multiples of a common unit. The distribution of the sum over all 2^n patterns of
    signs is then a convolution, and p its two tails. This is exact for any number n of items that differ, with 2 / 2^n
    as the smallest p-value. Without a common unit of at least 1/420, or with more than 200,000 units in all,
    :func:`lowland.evidence.permutation_p` counts the patterns, or samples them if n is above 14. Sampled patterns give
    no p-value below 1 / 2^14, which can be too large for a correction over many comparisons.

    Args:
        differences: (n,) one for each item; NaN (an item that lacks one of its conditions) is left out.

    Returns:
        The p-value; 1 if no item differs, NaN if there is no item.
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[np.isfinite(d)]
    moved = d[np.abs(d) > 1e-9]  # an item without a difference adds nothing under any sign
    if not moved.size:
        return 1.0 if d.size else np.nan
    steps = _whole_multiples(moved)
    if steps is None:
        return permutation_p(moved).p
    reach = int(np.abs(steps).sum())
    chance = np.zeros(2 * reach + 1)
    chance[reach] = 1.0
    for step in np.abs(steps):
        chance = (np.roll(chance, step) + np.roll(chance, -step)) / 2  # the ends are 0 until the last step
    observed = abs(int(steps.sum()))
    return min(1.0, float(chance[np.abs(np.arange(-reach, reach + 1)) >= observed].sum()))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Apply Holm's step-down correction: return p-values that hold for all comparisons at once, in the order given.

    With the m p-values in rising order, ``p'_(k) = max over j <= k of min(1, (m - j + 1) p_(j))``. NaN is not a
    comparison: it stays NaN, and does not count in m.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2),
    1979. ``multipletests`` of statsmodels gives the same, but collects garbage at each call, which takes 0.4 s in a
    process that holds a model.
    """
    corrected = np.array(p, dtype=np.float64)
    present = np.flatnonzero(np.isfinite(corrected))
    rising = present[np.argsort(corrected[present], kind="stable")]
    factors = np.arange(len(rising), 0, -1)
    corrected[rising] = np.minimum(np.maximum.accumulate(factors * corrected[rising]), 1)
    return tuple(corrected.tolist())


def _whole_multiples(values: Floats) -> npt.NDArray[np.int64] | None:
    """Return the values as whole multiples of their largest common unit 1/n, or None if there is none."""
    for parts in range(1, _FINEST + 1):
        scaled = values * parts
        near = np.round(scaled)
        if np.abs(scaled - near).max() < 1e-6:
            return near.astype(np.int64) if np.abs(near).sum() <= _MAX_REACH else None
    return None
