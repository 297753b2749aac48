"""The t tests that people expect beside a verdict, with what each takes for granted."""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lowland.evidence.core.metrics import Floats


@dataclass(frozen=True)
class TTest:
    """A t test that people expect, beside the interval.

    Attributes:
        name: what it is.
        assumes: what it assumes, in words.
        t: statistic.
        df: degrees of freedom.
        p: two-sided p-value.
    """

    name: str
    assumes: str
    t: float
    df: float
    p: float


def t_tests(scores: Floats, scores_reference: Floats) -> tuple[TTest, ...]:
    """Compute the t tests that people expect, over seeds where there are several, else over examples.

    Args:
        scores: (S, N) scores of a method.
        scores_reference: (S, N) scores of the reference.

    Returns:
        The paired t test and Welch's; a test is left out where scores do not vary.
    """
    over_seeds = len(scores) > 1
    ours, theirs = (each.mean(axis=1 if over_seeds else 0) for each in (scores, scores_reference))
    unit = "seeds" if over_seeds else "examples"
    fixed = "test examples" if over_seeds else "runs"
    tests = (
        (stats.ttest_rel, f"paired t over {unit}", f"takes the {fixed} for the only ones"),
        (
            functools.partial(stats.ttest_ind, equal_var=False),
            f"Welch's t over {unit}",
            f"also takes the two for unrelated, though they share their {unit}",
        ),
    )
    results = []
    for test, name, assumes in tests:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of scores that hardly vary
            outcome = test(ours, theirs)
        if math.isfinite(outcome.pvalue) and math.isfinite(outcome.statistic):
            results.append(
                TTest(name, assumes, float(outcome.statistic), float(outcome.df), float(outcome.pvalue))
            )
    return tuple(results)
