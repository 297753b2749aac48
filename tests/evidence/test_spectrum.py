"""Ratios of curvature between methods: the paired t test of logarithms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lowland.evidence.spectrum import ratios_of


def table(values: dict[str, list[float]], quantity: str = "trace", index: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "run": f"{method}-{seed}",
                "method": method,
                "seed": seed,
                "space": "full",
                "matrix": "hessian",
                "quantity": quantity,
                "index": index,
                "value": value,
            }
            for method, own in values.items()
            for seed, value in enumerate(own)
        ]
    )


def test_interval_and_p_are_those_of_the_paired_t_test() -> None:
    ours, theirs = [1.0, 2.0, 5.0, 3.0], [2.0, 2.5, 4.0, 9.0]
    (ratio,) = ratios_of(table({"lora": theirs, "flat-lora": ours}), "lora")
    test = stats.ttest_rel(np.log(ours), np.log(theirs))
    interval = test.confidence_interval(0.95)
    assert (ratio.method, ratio.reference) == ("flat-lora", "lora")
    assert ratio.ratio == pytest.approx(math.exp(np.mean(np.log(ours) - np.log(theirs))))
    assert (ratio.low, ratio.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert ratio.p == pytest.approx(test.pvalue) == ratio.p_holm
    assert ratio.per_seed == pytest.approx({0: 0.5, 1: 0.8, 2: 1.25, 3: 1 / 3})


def test_p_values_are_corrected_for_all_comparisons() -> None:
    values = {"lora": [1.0, 1.1, 0.9], "a": [2.0, 2.4, 1.7], "b": [1.5, 1.0, 2.0]}
    both = pd.concat([table(values), table(values, "eigenvalue")])
    ratios = ratios_of(both, "lora")
    assert len(ratios) == 4
    least = min(ratios, key=lambda ratio: ratio.p)
    assert least.p_holm == pytest.approx(4 * least.p)


def test_one_seed_has_a_ratio_and_no_interval() -> None:
    (ratio,) = ratios_of(table({"lora": [4.0], "full": [2.0]}), "lora")
    assert ratio.ratio == pytest.approx(0.5)
    assert all(math.isnan(value) for value in (ratio.low, ratio.high, ratio.p, ratio.p_holm))


def test_seeds_are_paired_and_values_that_are_not_positive_left_out() -> None:
    values = {"lora": [4.0, 1.0, 3.0], "full": [2.0, -1.0]}
    (ratio,) = ratios_of(table(values), "lora")
    assert ratio.per_seed == pytest.approx({0: 0.5})
    assert ratios_of(table({"lora": [-1.0], "full": [2.0]}), "lora") == []


def test_equal_runs_have_ratio_1_and_no_p() -> None:
    (ratio,) = ratios_of(table({"lora": [4.0, 2.0], "full": [4.0, 2.0]}), "lora")
    assert (ratio.ratio, ratio.low, ratio.high) == (1, 1, 1)
    assert math.isnan(ratio.p)


def test_other_eigenvalues_and_quantities_are_not_compared() -> None:
    values = {"lora": [4.0, 2.0], "full": [3.0, 2.5]}
    assert ratios_of(table(values, "eigenvalue", 2), "lora") == []
    assert ratios_of(table(values, "loss"), "lora") == []
