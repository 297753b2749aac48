"""Oracles: all sign patterns listed, scipy's permutation test, simulated items whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lowland.evidence import permutation_p
from lowland.evidence.core.by_item import draw, estimate, holm, means, sign_flip_p


def test_interval_of_a_mean_over_items_has_its_nominal_coverage():
    """Items of unequal difficulty, three epochs each: a bootstrap over answers would fall to about .85."""
    rng = np.random.default_rng(5)
    difficulty = rng.beta(
        0.5, 0.35, (400, 80)
    )  # (trials, items): most items are nearly always right or wrong
    shares = rng.binomial(3, difficulty) / 3
    hits = 0
    for trial in shares:
        interval = estimate(draw(80, resamples=200, seed=1), trial)
        hits += interval.low <= 0.5 / 0.85 <= interval.high
    assert 0.91 <= hits / 400 <= 0.98


def test_interval_is_that_of_scipys_percentile_bootstrap():
    shares = np.random.default_rng(0).binomial(3, 0.7, 90) / 3
    interval = estimate(draw(90, resamples=20_000), shares)
    oracle = stats.bootstrap((shares,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    assert interval.value == pytest.approx(shares.mean())
    assert (interval.low, interval.high) == pytest.approx(tuple(oracle.confidence_interval), abs=0.006)


def test_items_that_tell_nothing_do_not_count():
    values = np.array([1.0, np.nan, 0.0, np.nan, 1.0])
    drawn = draw(5, resamples=50)
    by_hand = [
        np.repeat(values, counts.astype(int))[~np.isnan(np.repeat(values, counts.astype(int)))]
        for counts in drawn.counts
    ]
    expected = [drawn_values.mean() if drawn_values.size else np.nan for drawn_values in by_hand]
    assert means(drawn, values[None])[:, 0] == pytest.approx(expected, nan_ok=True)
    assert (estimate(drawn, values).value, estimate(drawn, values).items) == (pytest.approx(2 / 3), 3)
    empty = estimate(drawn, np.full(5, np.nan))
    assert np.isnan([empty.value, empty.low, empty.high]).all()
    assert empty.items == 0


@settings(max_examples=60, deadline=None)
@given(epochs=st.lists(st.integers(-3, 3), min_size=1, max_size=9), unit=st.sampled_from([1, 2, 3, 6]))
def test_sign_flips_agree_with_all_patterns_listed(epochs, unit):
    d = np.array(epochs) / unit
    signs = np.array(list(itertools.product([-1, 1], repeat=d.size)))
    sums = np.abs(signs @ d)
    assert sign_flip_p(d) == pytest.approx((sums >= abs(d.sum()) - 1e-9).mean())


def test_sign_flips_agree_with_the_permutation_test_of_seeds():
    d = np.random.default_rng(3).normal(0.4, 1, 9)  # no common unit
    assert sign_flip_p(d) == pytest.approx(permutation_p(d).p)
    thirds = np.random.default_rng(4).integers(-2, 4, 12) / 3
    assert sign_flip_p(thirds) == pytest.approx(permutation_p(thirds).p)


def test_sign_flips_of_many_items_are_a_binomial_and_have_no_floor():
    worse = np.r_[-np.ones(70), np.ones(10), np.zeros(40), np.nan]
    assert sign_flip_p(worse) == pytest.approx(stats.binomtest(10, 80).pvalue)
    assert sign_flip_p(-np.ones(60)) == pytest.approx(2.0**-59)
    assert sign_flip_p([0.0, 0.0, np.nan]) == 1.0
    assert np.isnan(sign_flip_p([np.nan]))


def test_sign_flips_find_nothing_in_five_of_a_hundred_where_nothing_is():
    rng = np.random.default_rng(8)
    skill = rng.beta(2, 1, (600, 40))
    gaps = (rng.binomial(3, skill) - rng.binomial(3, skill)) / 3
    assert 0.02 <= np.mean([sign_flip_p(gap) <= 0.05 for gap in gaps]) <= 0.06


@settings(max_examples=100, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(p):
    """Independent oracle: a hypothesis' corrected p is the largest Bonferroni p of all sets that hold it."""
    sets = [some for size in range(1, len(p) + 1) for some in itertools.combinations(range(len(p)), size)]
    expected = [
        max(min(1.0, len(some) * min(p[i] for i in some)) for some in sets if hypothesis in some)
        for hypothesis in range(len(p))
    ]
    assert holm(p) == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_holm_leaves_nan_alone():
    assert holm([0.01, float("nan"), 0.04]) == pytest.approx((0.02, float("nan"), 0.04), nan_ok=True)
    assert holm([]) == ()


@pytest.mark.parametrize("wrong", [{"items": 0}, {"items": 3, "resamples": 1}, {"items": 3, "level": 1.0}])
def test_impossible_resamples_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        draw(**wrong)
