"""Calibration and selective accuracy. Oracles: loops, scikit-learn, simulations of calibrated models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from lowland.evidence.core.confidence import (
    BINS,
    accuracy_at,
    calibration_error,
    expected_calibration_error,
    reliability,
    risk_area,
    selective_accuracy,
)


def runs(seed=0, *, seeds=3, examples=200, overconfidence=0.0):
    """Confidences (S, N), and whether predictions are right; without overconfidence they are calibrated."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.34, 1.0, (seeds, examples))
    right = rng.random((seeds, examples)) < confidence * (1 - overconfidence)
    return confidence, right.astype(float)


def looped_error(confidence, right, bins=BINS):
    """The error by its definition, example by example."""
    total = 0.0
    for b in range(bins):
        inside = [n for n, c in enumerate(confidence) if b / bins < c <= (b + 1) / bins or (b == 0 == c)]
        if inside:
            gap = np.mean([right[n] for n in inside]) - np.mean([confidence[n] for n in inside])
            total += len(inside) / len(confidence) * abs(gap)
    return total


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), bins=st.sampled_from([1, 5, 15]))
def test_the_error_is_that_of_its_definition(seed, bins):
    confidence, right = runs(seed, examples=60)
    errors = expected_calibration_error(confidence, right, np.ones((1, 60)), bins)
    loops = [looped_error(*run, bins) for run in zip(confidence, right, strict=True)]
    assert errors[0] == pytest.approx(loops)


def test_weights_count_examples_several_times():
    confidence, right = runs(1, examples=40)
    weights = np.random.default_rng(0).integers(0, 4, (5, 40)).astype(float)
    errors = expected_calibration_error(confidence, right, weights)
    for row, expected in zip(weights.astype(int), errors, strict=True):
        repeated = np.repeat(np.arange(40), row)
        again = expected_calibration_error(
            confidence[:, repeated], right[:, repeated], np.ones((1, len(repeated)))
        )
        assert again[0] == pytest.approx(expected)


def test_bins_are_those_of_scikit_learn():
    confidence, right = runs(2, seeds=1, examples=500)
    accuracy, mean = calibration_curve(right[0], confidence[0], n_bins=10)
    filled = [each for each in reliability(confidence, right) if each.count]
    assert [each.accuracy for each in filled] == pytest.approx(list(accuracy))
    assert [each.confidence for each in filled] == pytest.approx(list(mean))
    assert sum(each.count for each in filled) == 500


def test_a_calibrated_model_is_within_chance_and_an_overconfident_one_is_not():
    within = [calibration_error(*runs(seed, seeds=1), np.arange(200), seed=seed) for seed in range(40)]
    assert (
        sum(each.value <= each.by_chance_high for each in within) >= 34
    )  # 95 % of 40, less four standard errors
    assert np.mean([each.value for each in within]) == pytest.approx(
        np.mean([each.by_chance for each in within]), rel=0.1
    )
    beyond = calibration_error(*runs(0, overconfidence=0.3), np.arange(200))
    assert beyond.value > beyond.by_chance_high
    assert beyond.low <= beyond.value <= beyond.high


def test_groups_widen_the_interval():
    confidence, right = (
        np.repeat(values, 5, axis=1) for values in runs(3, seeds=1, examples=60, overconfidence=0.3)
    )
    alone, grouped = (
        calibration_error(confidence, right, member)
        for member in (np.arange(300), np.repeat(np.arange(60), 5))
    )
    assert grouped.high - grouped.low > 1.3 * (alone.high - alone.low)


def test_selective_accuracy_is_that_of_the_most_confident():
    confidence, right = (values[0] for values in runs(4, seeds=1, examples=50))
    order = np.argsort(-confidence)
    expected = [right[order[:n]].mean() for n in range(1, 51)]
    assert selective_accuracy(confidence, right) == pytest.approx(expected)


def test_equal_confidences_count_as_their_mean_whatever_their_order():
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.4])
    for right in ([1, 1, 0, 0, 1], [1, 0, 0, 1, 1]):
        curve = selective_accuracy(confidence, np.array(right, dtype=float))
        assert curve == pytest.approx([1, (1 + 1 / 3) / 2, (1 + 2 / 3) / 3, 2 / 4, 3 / 5])


def test_coverage_of_all_is_the_accuracy_and_the_area_is_the_mean_risk():
    confidence, right = runs(5)
    assert accuracy_at(1.0, confidence, right) == pytest.approx(right.mean())
    assert accuracy_at(0.5, confidence, right) > accuracy_at(1.0, confidence, right)
    areas = [1 - selective_accuracy(*run).mean() for run in zip(confidence, right, strict=True)]
    assert risk_area(confidence, right) == pytest.approx(np.mean(areas))


def test_confidences_of_0_and_1_fall_into_the_outer_bins():
    bins = reliability(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]))
    assert [each.count for each in bins] == [1, *[0] * 8, 1]


def test_a_bin_holds_its_upper_edge_and_not_its_lower():
    confidence = np.array([[0.2, 0.21, 0.3, 0.95]])
    bins = {
        round(each.high, 1): each.count for each in reliability(confidence, np.ones((1, 4))) if each.count
    }
    assert bins == {0.2: 1, 0.3: 2, 1.0: 1}


def test_chance_gives_more_where_examples_of_a_group_come_out_alike():
    confidence = (
        np.random.default_rng(0).uniform(0.4, 1, (3, 50)).mean(axis=0).repeat(4)[None].repeat(3, axis=0)
    )
    member = np.arange(50).repeat(4)
    beyond = 0
    for seed in range(20):
        luck = np.random.default_rng(seed + 1).random(50)[member]
        error = calibration_error(confidence, (luck < confidence).astype(float), member, seed=seed)
        beyond += error.value > error.by_chance_high
    assert beyond <= 4  # 5 % of 20, and three standard errors
