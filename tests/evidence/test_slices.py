"""Tests of the barrier on a line, and of the means at its points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from lowland.evidence.slices import barrier_on, mean_losses

X = np.linspace(0, 1, 11)


def line(loss: Callable[[float], float], spread: float = 0.2) -> pd.DataFrame:
    """Losses of 30 examples on a line, each with a height of its own."""
    rng = np.random.default_rng(0)
    heights = rng.normal(1, spread, 30)
    return pd.DataFrame(
        [
            {"x": x, "y": 0.0, "example": n, "group": str(n), "loss": heights[n] * loss(x)}
            for x in X
            for n in range(30)
        ]
    )


@pytest.mark.parametrize(
    "loss",
    [lambda x: 1 + 3 * (x - 0.3) ** 2, lambda x: 1 + x, lambda x: np.exp(2 * x), lambda x: 0.5],
    ids=["parabola", "straight", "exponential", "flat"],
)
def test_convex_loss_has_no_barrier(loss: Callable[[float], float]) -> None:
    barrier = barrier_on(line(loss))
    assert (barrier.x, barrier.height, barrier.interval) == (0.0, 0.0, None)


def test_height_is_above_the_straight_line_between_the_ends() -> None:
    rows = line(lambda x: 1 + x + 0.5 * np.sin(np.pi * x))
    barrier = barrier_on(rows)
    assert barrier.x == pytest.approx(0.5)
    mean = rows.query("x == 0")["loss"].mean()
    assert barrier.height == pytest.approx(0.5 * mean)
    assert barrier.interval is not None
    assert barrier.interval.difference == pytest.approx(barrier.height)
    assert 0 < barrier.interval.low < barrier.height < barrier.interval.high


def test_interval_is_over_groups() -> None:
    rows = line(lambda x: 1 + np.sin(np.pi * x))
    alone = barrier_on(rows).interval
    paired = barrier_on(rows.assign(group=(rows["example"] // 10).astype(str))).interval
    assert alone is not None
    assert paired is not None
    assert paired.high - paired.low > alone.high - alone.low
    assert barrier_on(rows.assign(group="all")).interval is None


def test_order_of_the_rows_does_not_matter() -> None:
    rows = line(lambda x: 1 + np.sin(np.pi * x))
    assert barrier_on(rows.sample(frac=1, random_state=1)) == barrier_on(rows)


def test_loss_that_is_not_finite_is_an_infinite_barrier() -> None:
    rows = line(lambda x: np.inf if x == X[4] else 1.0)
    barrier = barrier_on(rows)
    assert (barrier.x, barrier.height, barrier.interval) == (X[4], np.inf, None)


def test_example_in_several_windows_has_their_mean() -> None:
    rows = line(lambda x: 1 + np.sin(np.pi * x))
    apart = pd.concat([rows.assign(loss=rows["loss"] + shift) for shift in (-0.5, 0.5)])
    whole, split = barrier_on(rows), barrier_on(apart)
    assert split.height == pytest.approx(whole.height)
    assert mean_losses(apart)["loss"].tolist() == pytest.approx(mean_losses(rows)["loss"].tolist())


def test_mean_with_a_loss_that_is_not_a_number_is_none() -> None:
    rows = line(lambda x: 1 + x)
    rows.loc[rows.index[0], "loss"] = np.nan
    assert mean_losses(rows)["loss"].isna().tolist() == [True, *[False] * 10]


def test_means_are_in_the_order_of_the_points() -> None:
    rows = line(lambda x: 1 + x)
    means = mean_losses(rows)
    assert list(means["x"]) == list(X)
    assert list(means["loss"]) == pytest.approx([rows.loc[rows["x"] == x, "loss"].mean() for x in X])
