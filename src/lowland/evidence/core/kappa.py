"""Agreement of two raters: Cohen's kappa with quadratic weights."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.arrays import check_groups, count_groups
from lowland.evidence.core.by_item import RESAMPLES, draw, percentiles
from lowland.evidence.core.metrics import Floats
from lowland.ground.mistakes import Mistake

SCALE = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Agreement:
    """Result of :func:`weighted_kappa`.

    Attributes:
        kappa: 1 if the raters always agree, 0 if no more than by chance; NaN if both gave the same single rating.
        low: lower end of the interval.
        high: upper end of the interval.
        level: level of the interval, 0 to 1.
        ratings: number of replies that both rated.
        items: number of items that these replies answer.
        same: share of replies with the same rating.
        shift: the second rater's mean rating minus the first's, in points of the scale.
    """

    kappa: float
    low: float
    high: float
    level: float
    ratings: int
    items: int
    same: float
    shift: float


def weighted_kappa(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    items: Iterable[Hashable],
    *,
    scale: Sequence[int] = SCALE,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Agreement:
    """Compute Cohen's kappa with quadratic weights, and its percentile interval over resampled items.

    With ``O`` the share of replies in each pair of ratings and ``E`` the product of its margins::

        kappa = 1 - sum (a - b)^2 O_ab / sum (a - b)^2 E_ab

    Replies to one item (its epochs and conditions) are not independent evidence, so that items are resampled whole.
    Resamples on which both raters gave the same single rating are left out.

    Source: J. Cohen, "Weighted kappa", Psychological Bulletin 70(4), 1968;
    ``sklearn.metrics.cohen_kappa_score(weights="quadratic")``.

    Args:
        first: (N,) ratings, such as a person's.
        second: (N,) ratings of the same replies, such as a judge model's.
        items: (N,) the item that each reply answers, at least two different ones.
        scale: the ratings that exist.
        level: level of the interval, 0 to 1.
        resamples: number of resamples of the items.
        seed: seed of the resampling.

    Raises:
        Mistake: if shapes do not fit, there are fewer than two ratings or items, ratings are off the scale, a reply has
            no item, or `level` or `resamples` is out of its range.
    """
    ours, theirs = _check_ratings(first, second, scale)
    member = check_groups(items, ours.size)
    groups = count_groups(member)
    values = np.asarray(scale, dtype=np.float64)
    pairs = (ours[:, None] == values)[:, :, None] & (theirs[:, None] == values)[:, None, :]  # (N, K, K)
    tables = np.zeros((groups, len(values), len(values)))  # how often each pair of ratings occurs, by item
    np.add.at(tables, member, pairs.astype(np.float64))
    drawn = draw(groups, resamples=resamples, level=level, seed=seed)
    low, high = percentiles(drawn, _kappa(np.tensordot(drawn.counts, tables, axes=1), values))
    return Agreement(
        kappa=float(_kappa(tables.sum(axis=0)[None], values)[0]),
        low=low,
        high=high,
        level=level,
        ratings=ours.size,
        items=groups,
        same=float((ours == theirs).mean()),
        shift=float(theirs.mean() - ours.mean()),
    )


def _check_ratings(
    first: npt.ArrayLike, second: npt.ArrayLike, scale: Sequence[int]
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    ours, theirs = np.asarray(first), np.asarray(second)
    if ours.ndim != 1 or ours.shape != theirs.shape or ours.size < 2:
        raise Mistake(
            f"ratings have shapes {ours.shape} and {theirs.shape}; expected (N,) twice, N of 2 or more"
        )
    if not np.isin(np.concatenate([ours, theirs]), scale).all():
        raise Mistake(f"ratings are off the scale {tuple(scale)}")
    return ours, theirs


def _kappa(tables: Floats, values: Floats) -> Floats:
    """Return kappa (R,) of tables of counts (R, K, K); NaN where both gave the same single rating."""
    apart = (values[:, None] - values) ** 2  # (K, K)
    total = tables.sum(axis=(1, 2))
    chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]  # (R, K, K)
    expected = (apart * chance).sum(axis=(1, 2)) / total
    seen = (apart * tables).sum(axis=(1, 2))
    return np.asarray(1 - np.divide(seen, expected, out=np.full_like(seen, np.nan), where=expected > 0))
