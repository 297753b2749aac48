"""Tests of the interval over seeds, draws and examples: its parts, and its rate of false alarms in simulations."""

from __future__ import annotations

import numpy as np
import pytest

from lowland.evidence.core.draws import crossed_interval
from lowland.evidence.core.intervals import paired_interval
from lowland.ground.mistakes import Mistake


def simulated(
    rng: np.random.Generator, seeds: int, draws: int, examples: int, *, of_seeds: float, of_draws: float
) -> np.ndarray:
    """Values (seeds, draws, examples) with mean 0: effects of seeds, draws and examples, and of each pair."""
    s, k, n = (rng.normal(size=shape) for shape in ((seeds, 1, 1), (1, draws, 1), (1, 1, examples)))
    pairs = [(seeds, draws, 1), (seeds, 1, examples), (1, draws, examples)]
    return of_seeds * s + of_draws * k + n + sum(0.3 * rng.normal(size=shape) for shape in pairs)


@pytest.mark.parametrize(
    ("seeds", "draws", "of_seeds", "of_draws", "least"),
    [(1, 4, 0, 0.3, 0.02), (3, 3, 0.3, 0.3, 0.002), (5, 4, 0.2, 0.02, 0.005), (3, 4, 0.0, 0.3, 0.002)],
)
def test_false_alarms_are_at_most_as_many_as_the_level_allows(
    seeds: int, draws: int, of_seeds: float, of_draws: float, least: float
) -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        values = simulated(rng, seeds, draws, 48, of_seeds=of_seeds, of_draws=of_draws)
        interval = crossed_interval(values)
        alarms += interval.low > 0 or interval.high < 0
    assert least <= alarms / 200 <= 0.08


def test_with_one_draw_it_is_the_interval_of_seeds_and_examples() -> None:
    values = np.random.default_rng(1).normal(0.2, 1, (4, 1, 30))
    groups = np.arange(30) // 2
    crossed = crossed_interval(values, groups=groups)
    paired = paired_interval(values[:, 0], np.zeros((4, 30)), groups=groups)
    assert vars(crossed) == {name: pytest.approx(value) for name, value in vars(paired).items()}


def test_with_one_seed_draws_take_the_seeds_place() -> None:
    values = np.random.default_rng(2).normal(0.2, 1, (1, 5, 30))
    crossed = crossed_interval(values)
    paired = paired_interval(values[0], np.zeros((5, 30)))
    assert (crossed.low, crossed.high, crossed.p) == pytest.approx((paired.low, paired.high, paired.p))
    assert not crossed.over_seeds
    assert crossed.per_seed == pytest.approx((float(values.mean()),))


def test_draws_that_differ_make_it_wider() -> None:
    values = simulated(np.random.default_rng(3), 4, 4, 40, of_seeds=0.1, of_draws=0.0)
    apart = values + np.array([-1.0, 1.0, -1.0, 1.0])[None, :, None]
    narrow, wide = (crossed_interval(each) for each in (values, apart))
    assert wide.difference == pytest.approx(narrow.difference)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_groups_of_alike_examples_are_the_unit() -> None:
    one_each = np.random.default_rng(4).normal(size=(2, 3, 20))
    copies = np.repeat(one_each, 4, axis=2)
    grouped = crossed_interval(copies, groups=np.repeat(np.arange(20), 4))
    assert (grouped.low, grouped.high) == pytest.approx(
        (crossed_interval(one_each).low, crossed_interval(one_each).high)
    )
    assert crossed_interval(copies[:1, :1]).high < crossed_interval(one_each[:1, :1]).high


def test_equal_values_have_no_width_and_one_group_is_refused() -> None:
    interval = crossed_interval(np.full((2, 3, 6), 0.5))
    assert (interval.low, interval.difference, interval.high) == (0.5, 0.5, 0.5)
    assert interval.p == 2.0 ** (1 - 6)
    with pytest.raises(Mistake, match="into one group"):
        crossed_interval(np.ones((1, 2, 3)), groups=["a"] * 3)
