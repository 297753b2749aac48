"""Sign flips over seeds: ties are ties, however the differences are rounded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowland.evidence.core.exact import permutation_p, unseen_share


@given(
    steps=st.lists(st.integers(-9, 9), min_size=2, max_size=10),
    examples=st.sampled_from([97, 100, 200, 250, 500, 972, 1000, 100_003]),
)
@settings(deadline=None, max_examples=200)
def test_patterns_that_are_equally_far_count_as_equal(steps: list[int], examples: int) -> None:
    """The oracle counts in whole numbers; differences of accuracies are these, divided by the number of examples."""
    patterns = np.array(list(itertools.product([1, -1], repeat=len(steps)))) @ np.array(steps)
    exact = (np.abs(patterns) >= abs(sum(steps))).mean()
    for differences in (np.array(steps) / examples, np.round(np.array(steps) / examples, 12)):
        assert permutation_p(differences).p == pytest.approx(exact, abs=1e-12)


def test_sampled_patterns_count_ties_too() -> None:
    differences = np.array([1] * 8 + [-1] * 8) / 97  # the sum is 0: every pattern is at least as far
    result = permutation_p(differences)
    assert (result.p, result.exact) == (1.0, False)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("groups", [1, 7, 400])
def test_unseen_share_is_the_exact_interval_of_none(groups: int, level: float) -> None:
    oracle = stats.binomtest(0, groups).proportion_ci(level, method="exact")
    assert unseen_share(groups, level) == pytest.approx(oracle.high)
