"""Shares by item: intervals from one set of resamples, an exact sign-flip test, and Holm's correction.

An item that is asked several times (epochs) or in several forms is one piece of evidence, not several.
So everything here starts from one number an item, and items are what is resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.exact import permutation_p
from lowland.evidence.core.intervals import check_share
from lowland.evidence.core.metrics import Floats, resample_counts

RESAMPLES = 1000
_FINEST = 420  # the least common multiple of 1 to 7: differences of means over up to 7 epochs
_LONGEST = 200_000


@dataclass(frozen=True)
class Estimate:
    """A mean over items, with its interval; NaN throughout where no item tells anything.

    Attributes:
        value: the mean.
        low: lower end of the interval.
        high: upper end of the interval.
        items: how many items it rests on.
    """

    value: float
    low: float
    high: float
    items: int


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of G items, the same for everything that is estimated from them.

    Attributes:
        counts: (R, G) how often each item was drawn; rows sum to G.
        level: of the intervals, 0 to 1.
    """

    counts: Floats
    level: float


def draw(items: int, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0) -> Resamples:
    """Draw resamples of that many items, with replacement.

    Raises:
        ValueError: no item, fewer than 2 resamples, or an impossible level.
    """
    check_share("level", level)
    if items < 1 or resamples < 2:
        raise ValueError(f"{items} items and {resamples} resamples; expected 1 or more, and 2 or more.")
    return Resamples(resample_counts(np.random.default_rng(seed), resamples, items), level)


def means(drawn: Resamples, values: Floats) -> Floats:
    """The mean of each row of values on each resample.

    Args:
        drawn: R resamples of G items.
        values: (C, G) one number an item; NaN where the item tells nothing.

    Returns:
        (R, C); NaN where a resample holds none of the items that tell something.
    """
    told = np.isfinite(values)  # (C, G)
    weight = drawn.counts @ told.T.astype(np.float64)  # (R, C)
    total = drawn.counts @ np.where(told, values, 0.0).T
    return np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)


def estimate(drawn: Resamples, values: Floats) -> Estimate:
    """The mean of the values over items, with the percentile interval of its resampled means.

    Two estimates from the same resamples move together, so that an interval of a difference is that of
    the items' differences. Where all items agree the interval has no width: the resamples know of nothing
    else. (Of n items alike, up to about 3 in n of all items may still be otherwise.)

    Source: A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application", 1997, sections
    3.8 and 5.3.

    Args:
        drawn: R resamples of G items.
        values: (G,) one number an item; NaN where the item tells nothing.
    """
    told = np.isfinite(values)
    if not told.any():
        return Estimate(np.nan, np.nan, np.nan, 0)
    low, high = percentiles(drawn, means(drawn, values[None])[:, 0])
    return Estimate(float(values[told].mean()), low, high, int(told.sum()))


def percentiles(drawn: Resamples, resampled: Floats) -> tuple[float, float]:
    """The ends of the percentile interval of a statistic: (R,) its values on the resamples, NaN left out."""
    told = resampled[np.isfinite(resampled)]
    if not told.size:
        return np.nan, np.nan
    low, high = np.quantile(told, [(1 - drawn.level) / 2, (1 + drawn.level) / 2])
    return float(low), float(high)


def sign_flip_p(differences: npt.ArrayLike) -> float:
    """Sign-flip test of differences by item, two-sided, about their mean: exact for any number of items.

    If an item's two conditions were exchangeable, its difference would be as likely to have the other
    sign. Differences of shares of a few epochs are whole multiples of a common unit, so the distribution of
    the sum over all 2^n patterns of signs is a convolution, and p its two tails. It has no smallest value
    that sampled patterns would have, which a correction over many comparisons needs. Without a common unit
    the patterns are counted or sampled by :func:`lowland.evidence.permutation_p`.

    Args:
        differences: one an item; NaN (an item that lacks one of its two) is left out.

    Returns:
        p, 1 where no item differs, NaN where there is no item.
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[np.isfinite(d)]
    moved = d[np.abs(d) > 1e-9]  # an item without a difference adds nothing under any sign
    if not moved.size:
        return 1.0 if d.size else np.nan
    steps = _whole(moved)
    if steps is None:
        return permutation_p(moved).p
    reach = int(np.abs(steps).sum())
    chance = np.zeros(2 * reach + 1)
    chance[reach] = 1.0
    for step in np.abs(steps):
        chance = (np.roll(chance, step) + np.roll(chance, -step)) / 2  # the ends are 0 until the last step
    seen = abs(int(steps.sum()))
    return min(1.0, float(chance[np.abs(np.arange(-reach, reach + 1)) >= seen].sum()))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction: p-values that hold for a whole table at once, in the order given.

    With the m p-values in rising order, ``p'_(k) = max over j <= k of min(1, (m - j + 1) p_(j))``. A NaN is
    no comparison: it stays, and does not count in m.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6(2), 1979.
    """
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given)  # NaN last
    told = order[: np.isfinite(given).sum()]
    corrected = given.copy()
    corrected[told] = np.minimum(1.0, np.maximum.accumulate(given[told] * np.arange(told.size, 0, -1)))
    return tuple(corrected.tolist())


def _whole(values: Floats) -> npt.NDArray[np.int64] | None:
    """The values in whole multiples of their largest common unit 1/n, None where there is none."""
    for parts in range(1, _FINEST + 1):
        scaled = values * parts
        near = np.round(scaled)
        if np.abs(scaled - near).max() < 1e-6:
            return near.astype(np.int64) if np.abs(near).sum() <= _LONGEST else None
    return None
