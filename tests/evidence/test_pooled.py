"""Tests of differences that are pooled over tasks: against scipy's test by Welch, and by what they should ignore."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lowland.evidence.pooled import compare_over_tasks
from lowland.evidence.results import Results, as_results
from lowland.evidence.verdict import compare_results
from lowland.ground.mistakes import Mistake
from lowland.report.pooled import pooled_sentence

SIZES = {"long": 80, "short": 12}


def results_of(scores: np.ndarray, name: str) -> Results:
    """Results of S seeds and N examples."""
    seeds, examples = scores.shape
    table = pd.DataFrame(
        {
            "example": np.tile(np.arange(examples), seeds),
            "seed": np.repeat(np.arange(seeds), examples),
            "score": scores.ravel(),
        }
    )
    return as_results(table, name, "score", name)


def tasks_of(seed: int, seeds: int = 1, shift: float = 0.0) -> dict[str, list[Results]]:
    """Two tasks of normal scores with a reference `a` and a method `b`."""
    rng = np.random.default_rng(seed)
    return {
        task: [
            results_of(rng.normal(5 + shift * (name == "b"), 1 + 2 * (task == "short"), (seeds, size)), name)
            for name in "ab"
        ]
        for task, size in SIZES.items()
    }


def differences(results: list[Results]) -> np.ndarray:
    a, b = (each.rows["score"].to_numpy() for each in results)
    return b - a


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_tasks_without_seeds_are_a_test_by_welch(seed: int) -> None:
    tasks = tasks_of(seed, shift=0.5)
    (pooled,) = compare_over_tasks(tasks)
    long, short = (differences(rows) for rows in tasks.values())
    oracle = stats.ttest_ind(long, -short, equal_var=False)  # their means add up in the numerator
    interval = oracle.confidence_interval(0.95)
    assert pooled.difference == pytest.approx((long.mean() + short.mean()) / 2)
    assert pooled.df == pytest.approx(oracle.df)
    assert pooled.p == pytest.approx(oracle.pvalue)
    assert (pooled.low, pooled.high) == pytest.approx((interval.low / 2, interval.high / 2))


def test_each_task_counts_the_same_whatever_its_size() -> None:
    tasks = tasks_of(3, seeds=3, shift=1.0)
    (pooled,) = compare_over_tasks(tasks)
    verdicts = {task: compare_results(rows)[0] for task, rows in tasks.items()}
    assert pooled.difference == pytest.approx(
        np.mean([each.comparison.difference for each in verdicts.values()])
    )
    errors = [each.comparison.standard_error for each in verdicts.values()]
    assert pooled.standard_error == pytest.approx(np.hypot(*errors) / 2)
    assert min(each.comparison.df for each in verdicts.values()) <= pooled.df
    assert pooled.tasks.keys() == verdicts.keys()


def test_interval_holds_the_truth_in_about_95_of_100_studies() -> None:
    held = 0
    for seed in range(150):
        (pooled,) = compare_over_tasks(tasks_of(100 + seed, seeds=2, shift=0.3))
        held += pooled.low <= 0.3 <= pooled.high
    assert 0.9 <= held / 150 <= 0.995


def test_methods_are_corrected_together() -> None:
    tasks = {task: [*rows, replace(rows[1], name="c")] for task, rows in tasks_of(4, shift=0.4).items()}
    first, second = compare_over_tasks(tasks)
    assert first.p == second.p
    assert first.p_holm == second.p_holm == pytest.approx(min(1.0, 2 * first.p))
    assert "by Holm" in pooled_sentence(first, 2)


def test_results_that_do_not_vary_show_nothing() -> None:
    tasks = {task: [rows[0], replace(rows[0], name="b")] for task, rows in tasks_of(5).items()}
    (pooled,) = compare_over_tasks(tasks)
    assert (pooled.difference, pooled.p, pooled.low, pooled.high) == (0.0, 1.0, 0.0, 0.0)
    assert "do not show a difference" in pooled_sentence(pooled)


def test_one_task_is_refused() -> None:
    with pytest.raises(Mistake, match="one task only, long"):
        compare_over_tasks({"long": tasks_of(0)["long"]})


def test_tasks_with_other_methods_are_refused() -> None:
    tasks = tasks_of(0)
    tasks["short"][1] = replace(tasks["short"][1], name="z")
    with pytest.raises(Mistake, match="long has the results a, b, and short has a, z"):
        compare_over_tasks(tasks)


def test_scores_of_different_units_are_refused() -> None:
    tasks = tasks_of(0)
    for place, each in enumerate(tasks["long"]):
        shares = each.rows.assign(score=(each.rows["score"] > 5).astype(float))
        tasks["long"][place] = replace(each, rows=shares)
    with pytest.raises(Mistake, match="some scores are between 0 and 1"):
        compare_over_tasks(tasks)
