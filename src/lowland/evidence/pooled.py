"""Pooled difference of a method from a reference over several tasks, each of which counts the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import stats

from lowland.evidence.core.by_item import holm
from lowland.evidence.results import Results
from lowland.evidence.verdict import Verdict, compare_results
from lowland.ground.mistakes import Mistake


@dataclass(frozen=True)
class Pooled:
    """Mean over tasks of a method's difference from the reference.

    Attributes:
        method: name of the method.
        reference: name of the reference.
        difference: mean of the T tasks' differences, each with the same weight.
        standard_error: sqrt(Σ se_t²) / T: tasks are fixed, so that it speaks of other examples and seeds of these
            tasks, and not of other tasks.
        df: degrees of freedom by Welch and Satterthwaite: (Σ se_t²)² / Σ (se_t⁴ / df_t).
        level: level of the interval.
        low: lower end of the interval.
        high: upper end.
        p: two-sided p-value of a t test; 1 if nothing varies.
        p_holm: p-value with Holm's correction over all methods of the call.
        tasks: the verdict in each task, by its name.
    """

    method: str
    reference: str
    difference: float
    standard_error: float
    df: float
    level: float
    low: float
    high: float
    p: float
    p_holm: float
    tasks: Mapping[str, Verdict]


def compare_over_tasks(
    results: Mapping[str, Sequence[Results]], *, level: float = 0.95, partial: bool = False
) -> list[Pooled]:
    """Compare each method with the reference in each task, and pool the differences.

    Args:
        results: by task, the results of the same methods; the first of each task is the reference.
        level: level of the intervals, 0 to 1.
        partial: compare however few examples pair.

    Raises:
        Mistake: if there is one task only, the tasks have other methods, their scores are shares in one and not in
            another, or results cannot be paired.
    """
    if len(results) < 2:
        raise Mistake(
            f"there is one task only, {', '.join(results)}; give the results of two or more, to pool them"
        )
    methods = {task: [each.name for each in rows] for task, rows in results.items()}
    first, *rest = methods
    for task in rest:
        if set(methods[task]) != set(methods[first]) or methods[task][0] != methods[first][0]:
            raise Mistake(
                f"{first} has the results {', '.join(methods[first])}, and {task} has {', '.join(methods[task])}; pool"
                " tasks with the same methods and the same reference"
            )
    verdicts = {
        task: {each.comparison.method: each for each in compare_results(rows, level=level, partial=partial)}
        for task, rows in results.items()
    }
    if len({each.comparison.is_share for rows in verdicts.values() for each in rows.values()}) > 1:
        raise Mistake(
            "some scores are between 0 and 1 and others are not; pool tasks whose scores have one unit"
        )
    pooled = [
        _pool(method, {task: rows[method] for task, rows in verdicts.items()}, level)
        for method in methods[first][1:]
    ]
    corrected = holm([each.p for each in pooled])
    return [replace(each, p_holm=p) for each, p in zip(pooled, corrected, strict=True)]


def _pool(method: str, tasks: Mapping[str, Verdict], level: float) -> Pooled:
    comparisons = [verdict.comparison for verdict in tasks.values()]
    count = len(comparisons)
    difference = math.fsum(each.difference for each in comparisons) / count
    squares = [each.standard_error**2 for each in comparisons]
    total = math.fsum(squares)
    error, df, reach, p = math.sqrt(total) / count, math.inf, 0.0, 1.0
    if total > 0:
        parts = [square**2 / each.df for square, each in zip(squares, comparisons, strict=True)]
        df = total**2 / math.fsum(parts)
        reach = float(stats.t.ppf((1 + level) / 2, df)) * error
        p = float(2 * stats.t.sf(abs(difference) / error, df))
    reference = comparisons[0].reference
    low, high = difference - reach, difference + reach
    return Pooled(method, reference, difference, error, df, level, low, high, p, p, tasks)
