"""Ratings of replies by people and judge models: means by condition, and whether two raters agree."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lowland.evidence.cells import CELL, Cell, cell_of
from lowland.evidence.core.by_item import RESAMPLES, Estimate, draw, estimate, percentiles
from lowland.evidence.core.intervals import check_groups, count_groups
from lowland.evidence.core.metrics import Floats

SCALE = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Agreement:
    """Result of :func:`weighted_kappa`.

    Attributes:
        kappa: 1 if the two always agree, 0 if no more than by chance; NaN if both give one rating only.
        low: lower end of the interval.
        high: upper end of the interval.
        level: of the interval, 0 to 1.
        ratings: how many replies both rated.
        items: how many items these replies answer.
        same: share of replies with the same rating.
        shift: the second's mean rating minus the first's, in points of the scale.
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
    """Cohen's kappa with quadratic weights, and its percentile interval over resampled items.

    With ``O`` the share of replies in each pair of ratings and ``E`` the product of its margins::

        kappa = 1 - sum (a - b)^2 O_ab / sum (a - b)^2 E_ab

    Replies to one item (its epochs and conditions) are no independent evidence, so that items are
    resampled whole. Resamples on which both gave one rating only are left out.

    Source: J. Cohen, "Weighted kappa", Psychological Bulletin 70(4), 1968;
    ``sklearn.metrics.cohen_kappa_score(weights="quadratic")``.

    Args:
        first: (N,) ratings, such as a person's.
        second: (N,) ratings of the same replies, such as a judge model's.
        items: (N,) which item each reply answers, at least two different ones.
        scale: the ratings that exist.
        level: of the interval, 0 to 1.
        resamples: how many resamples of the items.
        seed: of the resampling.

    Raises:
        ValueError: shapes that do not fit, ratings off the scale, or a single item.
    """
    ours, theirs = np.asarray(first), np.asarray(second)
    if ours.ndim != 1 or ours.shape != theirs.shape or ours.size < 2:
        raise ValueError(
            f"ratings have shapes {ours.shape} and {theirs.shape}; expected (N,) twice, N over 1."
        )
    if not np.isin(np.concatenate([ours, theirs]), scale).all():
        raise ValueError(f"ratings are off the scale {tuple(scale)}.")
    member = check_groups(items, ours.size)
    groups = count_groups(member)
    points = np.asarray(scale, dtype=np.float64)
    pairs = (ours[:, None] == points)[:, :, None] & (theirs[:, None] == points)[:, None, :]  # (N, K, K)
    tables = np.zeros((groups, len(points), len(points)))  # how often each pair of ratings, by item
    np.add.at(tables, member, pairs.astype(np.float64))
    drawn = draw(groups, resamples=resamples, level=level, seed=seed)
    low, high = percentiles(drawn, _kappa(np.tensordot(drawn.counts, tables, axes=1), points))
    return Agreement(
        kappa=float(_kappa(tables.sum(axis=0)[None], points)[0]),
        low=low,
        high=high,
        level=level,
        ratings=ours.size,
        items=groups,
        same=float((ours == theirs).mean()),
        shift=float(theirs.mean() - ours.mean()),
    )


def mean_ratings(
    rated: pd.DataFrame, column: str, *, resamples: int = RESAMPLES, level: float = 0.95, seed: int = 0
) -> dict[Cell, Estimate]:
    """The mean rating of each cell over its items, of each item's mean over its rated replies.

    Args:
        rated: rows of one eval and model with ratings in `column`, NaN where there is none.
        column: such as "fluency" or "judge".
        resamples: of the items that were rated.
        level: of the intervals, 0 to 1.
        seed: of the resampling.

    Returns:
        In points of the scale; the cells that were rated, by name.
    """
    told = rated[rated[column].notna()]
    items = sorted(told["item"].unique())
    if not items:
        return {}
    drawn = draw(len(items), resamples=resamples, level=level, seed=seed)
    blocks = told.groupby(CELL)
    return {
        cell_of(key): estimate(
            drawn, block.groupby("item")[column].mean().reindex(items).to_numpy(np.float64)
        )
        for key, block in blocks
    }


def _kappa(tables: Floats, points: Floats) -> Floats:
    """(R,) of (R, K, K) counts; NaN where chance leaves nothing to disagree on."""
    apart = (points[:, None] - points) ** 2  # (K, K)
    total = tables.sum(axis=(1, 2))
    chance = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :]  # (R, K, K)
    expected = (apart * chance).sum(axis=(1, 2)) / total
    seen = (apart * tables).sum(axis=(1, 2))
    return np.asarray(1 - np.divide(seen, expected, out=np.full_like(seen, np.nan), where=expected > 0))
