"""Oracle: scikit-learn's kappa, on all ratings and on every resample by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from lowland.evidence.core.by_item import draw
from lowland.evidence.core.kappa import weighted_kappa


def ratings(
    items: int = 40, epochs: int = 3, noise: float = 0.8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ratings of replies by two raters, who see the fluency of each item with noise."""
    rng = np.random.default_rng(2)
    truth = np.repeat(rng.normal(3.5, 1, items), epochs)
    seen = [np.clip(np.round(truth + rng.normal(0, noise, truth.size)), 1, 5).astype(int) for _ in range(2)]
    return seen[0], seen[1], np.repeat(np.arange(items), epochs)


def test_kappa_is_sklearns_on_the_whole_and_on_every_resample():
    first, second, items = ratings()
    agreement = weighted_kappa(first, second, items, resamples=200, seed=7)
    assert agreement.kappa == pytest.approx(cohen_kappa_score(first, second, weights="quadratic"))
    resampled = []
    for counts in draw(40, resamples=200, seed=7).counts:
        weight = counts[items]
        resampled.append(cohen_kappa_score(first, second, weights="quadratic", sample_weight=weight))
    assert (agreement.low, agreement.high) == pytest.approx(tuple(np.quantile(resampled, [0.025, 0.975])))
    assert agreement.same == pytest.approx((first == second).mean())
    assert agreement.shift == pytest.approx(second.mean() - first.mean())
    assert (agreement.ratings, agreement.items) == (120, 40)


def test_copies_of_a_reply_do_not_narrow_the_interval():
    first, second, items = ratings(epochs=1)
    once = weighted_kappa(first, second, items, seed=1)
    thrice = weighted_kappa(np.repeat(first, 3), np.repeat(second, 3), np.repeat(items, 3), seed=1)
    assert (thrice.kappa, thrice.low, thrice.high) == pytest.approx((once.kappa, once.low, once.high))


def test_raters_who_agree_have_kappa_one_and_a_shift_is_seen():
    first, _, items = ratings()
    assert weighted_kappa(first, first, items).kappa == 1.0
    kind = weighted_kappa(np.clip(first, 1, 4), np.clip(first, 1, 4) + 1, items)
    assert kind.shift == 1.0
    assert kind.kappa < 1.0
    assert np.isnan(weighted_kappa([4, 4], [4, 4], ["a", "b"]).kappa)


@pytest.mark.parametrize(
    ("first", "second", "items", "message"),
    [
        ([1, 2], [1, 6], ["a", "b"], "off the scale"),
        ([1, 2], [1], ["a", "b"], "shapes"),
        ([1, 2], [1, 2], ["a", "a"], "one group"),
    ],
)
def test_bad_ratings_are_refused(first, second, items, message):
    with pytest.raises(ValueError, match=message):
        weighted_kappa(first, second, items)
