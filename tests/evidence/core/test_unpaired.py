"""Difference of two methods with seeds of their own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lowland.evidence.core.pairs import compare_scores
from lowland.evidence.core.unpaired import UnpairedComparison, compare_unpaired
from lowland.ground.mistakes import Mistake


def compare(scores: np.ndarray, reference: np.ndarray, **options: object) -> UnpairedComparison:
    return compare_unpaired(scores, reference, method="a", reference="b", **options)  # type: ignore[arg-type]


def test_without_differences_between_examples_it_is_welchs_test() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(1, 1, 6), rng.normal(0, 3, 4)
    compared = compare(np.repeat(ours[:, None], 50, axis=1), np.repeat(theirs[:, None], 50, axis=1))
    expected = stats.ttest_ind(ours, theirs, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert (compared.low, compared.high, compared.p) == pytest.approx((low, high, expected.pvalue))


def test_with_one_seed_it_is_the_paired_interval_over_examples() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = (rng.integers(0, 2, (1, 60)).astype(float) for _ in range(2))
    compared = compare(ours, theirs)
    paired = compare_scores(ours, theirs, method="a", reference="b", seeds=[1])
    assert (compared.difference, compared.low, compared.high) == pytest.approx(
        (paired.difference, paired.low, paired.high)
    )
    assert not compared.over_seeds
    assert "One seed says nothing" in compared.sentence()


def test_groups_count_and_not_copies() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = (rng.integers(0, 2, (3, 40)).astype(float) for _ in range(2))
    copied = [np.repeat(each, 4, axis=1) for each in (ours, theirs)]
    once, groups = compare(ours, theirs), compare(*copied, groups=np.repeat(np.arange(40), 4).tolist())
    assert (groups.low, groups.high) == pytest.approx((once.low, once.high))
    assert groups.n_groups == 40
    assert groups.n_examples == 160


def test_the_order_of_seeds_does_not_matter_and_signs_turn() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(0, 1, (3, 30)), rng.normal(0.5, 1, (5, 30))
    first, second = compare(ours, theirs), compare(theirs[::-1], ours[[2, 0, 1]])
    assert (first.low, first.high, first.p) == pytest.approx((-second.high, -second.low, second.p))
    assert first.n_seeds == (3, 5)


@pytest.mark.parametrize(("seeds", "others", "seed_sd"), [(2, 3, 0.2), (3, 3, 0.0), (5, 5, 0.2)])
def test_few_verdicts_are_false(seeds: int, others: int, seed_sd: float) -> None:
    """Of studies without a difference, about 5 % get a verdict: more than 8 % of 300 would be a fault (p < 0.02)."""
    rng, false = np.random.default_rng([seeds, others]), 0
    for _ in range(300):
        difficulty = 1 + rng.normal(0, 0.8, 200)

        def runs(count: int, base: np.ndarray = difficulty) -> np.ndarray:
            taste = rng.normal(0, 0.2, base.size)
            luck = rng.normal(0, seed_sd, (count, 1))
            return (base + taste + luck + rng.normal(0, 0.4, (count, base.size)) > 0).astype(float)

        compared = compare(runs(seeds), runs(others))
        false += not compared.low <= 0 <= compared.high
    assert false <= 24


def test_sentences_claim_what_the_interval_allows() -> None:
    base = np.random.default_rng(4).integers(0, 2, (4, 200)).astype(float)
    same = compare(base[:2], base[2:])
    assert same.sentence().startswith("These runs do not show a difference in accuracy between a and b")
    assert "unpaired over 2 and 2 seeds" in same.sentence()
    better = np.ones((3, 200))
    better[:, ::7] = 0
    better[0, :3] = 0
    worse = 1 - better
    assert compare(better, worse).sentence().startswith("a is better than b in accuracy by 7")
    assert compare(worse, better).sentence().startswith("a is worse than b in accuracy by 7")


def test_arrays_that_do_not_fit_are_mistakes() -> None:
    with pytest.raises(Mistake, match="shape"):
        compare(np.ones((2, 5)), np.ones((2, 6)))
    with pytest.raises(Mistake, match="one group"):
        compare(np.ones((2, 5)), np.ones((2, 5)), groups=["g"] * 5)
    with pytest.raises(Mistake, match="level"):
        compare(np.ones((2, 5)), np.ones((2, 5)), level=2.0)
