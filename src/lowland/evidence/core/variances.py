"""From the parts of a mean difference's variance to its half-width, its p-value, and what the design can detect."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from lowland.evidence.core.arrays import check_level
from lowland.evidence.core.metrics import Floats
from lowland.ground.mistakes import Mistake

LEAST = 0.25
"""Least share of the interaction that counts, where the seeds happen to agree more closely than it lets them."""


@dataclass(frozen=True)
class Variances:
    """Parts of the variance of a mean difference: numbers, or arrays of one shape.

    Attributes:
        seeds: A, the variance of the S differences, over S. It contains the interaction.
        examples: B, the variance of the mean over seeds by the choice of the G groups of examples. It contains the
            interaction, too.
        interaction: C, the part of the interaction of seeds and examples; 0 with one seed.
    """

    seeds: Floats
    examples: Floats
    interaction: Floats

    @property
    def examples_alone(self) -> Floats:
        """B without the interaction."""
        return np.maximum(self.examples - self.interaction, 0.0)

    @property
    def total(self) -> Floats:
        """Variance of the mean difference, in which the interaction counts once."""
        return np.asarray(self.seeds + self.examples_alone)

    @property
    def least(self) -> Floats:
        """Least variance of the mean difference: without effects of seeds, and with a share of the interaction."""
        return np.asarray(self.examples_alone + LEAST * self.interaction)

    @property
    def used(self) -> Floats:
        """Variance that the standard error stands for: the total, but not below the least."""
        return np.maximum(self.total, self.least)


def half_width(variances: Variances, seeds: float, groups: int, level: float) -> Floats:
    """Compute half the interval's width; see :func:`lowland.evidence.paired_interval`.

    Args:
        variances: parts of the variance.
        seeds: S.
        groups: G.
        level: 0 to 1, both exclusive.
    """
    t_a, t_b = _quantiles(seeds, groups, level)
    total = variances.total
    share = np.where(total > 0, variances.seeds / np.where(total > 0, total, 1.0), 0.0)
    quantile = t_b + (t_a - t_b) * share ** (2 - 1 / (seeds - 1) if seeds > 1 else 1)
    return np.asarray(np.maximum(quantile * np.sqrt(total), t_b * np.sqrt(variances.least)))


def p_value(difference: float, variances: Variances, seeds: float, groups: int) -> float:
    """Compute the two-sided p-value that belongs to the interval: 1 less the level at which it just reaches 0.

    If all differences are equal, their variance says nothing. p is then that of a sign test, 2 / 2^G.

    Args:
        difference: mean difference.
        variances: parts of its variance.
        seeds: S.
        groups: G.

    Returns:
        p; values below 1e-12 are given as 0.
    """
    used = float(variances.used)
    smallest = 1e-12
    if difference == 0:
        return 1.0
    if used <= 0 or not math.isfinite(used):
        return 2.0 ** (1 - groups)
    error = math.sqrt(used)
    scaled = Variances(
        *(part / used for part in (variances.seeds, variances.examples, variances.interaction))
    )

    def reach(p: float) -> float:
        return float(half_width(scaled, seeds, groups, 1 - p)) - abs(difference) / error

    if reach(smallest) < 0:
        return 0.0
    return float(optimize.brentq(reach, smallest, 1.0, xtol=1e-15, rtol=1e-10))


def equivalent_df(quantile: float, seeds: float, groups: int, level: float) -> float:
    """Return the degrees of freedom at which Student's quantile is this one; groups - 1 if nothing varies."""
    t_a, t_b = _quantiles(seeds, groups, level)
    if seeds == 1 or quantile == 0:
        return float(groups - 1)
    few, many = sorted([float(seeds - 1), float(groups - 1)])
    if quantile <= min(t_a, t_b):
        return many
    if quantile >= max(t_a, t_b):
        return few
    upper = (1 + level) / 2
    return float(optimize.brentq(lambda df: float(stats.t.ppf(upper, df)) - quantile, few, many))


def detectable_difference(
    standard_error: float, df: float, *, level: float = 0.95, power: float = 0.8
) -> float:
    """Compute the smallest true difference that the design detects with this power.

    A difference is detected if the interval excludes 0 on the right side. The estimate over its standard error follows
    Student's noncentral t; the result is d, the solution of::

        P(T > t[df]) = power,    T ~ noncentral t with df and noncentrality d / SE

    Both numbers come from the same :class:`PairedInterval`, so that the result is an estimate, too: with few seeds it
    is as uncertain as the standard error. It is a property of the design, and does not depend on the observed
    difference.

    Args:
        standard_error: standard error of the difference, 0 or more.
        df: degrees of freedom, more than 0.
        level: level of the interval; 0.95 is a test at 5 %.
        power: probability of detection, more than 1 - level and less than 1.

    Raises:
        Mistake: if an argument is out of range.
    """
    check_level(level)
    if not standard_error >= 0 or not np.isfinite(standard_error):
        raise Mistake(f"standard_error is {standard_error}; expected 0 or more, finite")
    if not df > 0:
        raise Mistake(f"df is {df}; expected more than 0")
    if not 1 - level < power < 1:
        raise Mistake(f"power is {power}; expected more than {1 - level:g} and less than 1")
    if standard_error == 0:
        return 0.0
    critical = float(stats.t.ppf((1 + level) / 2, df))

    def shortfall(noncentrality: float) -> float:
        return float(stats.nct.sf(critical, df, noncentrality)) - power

    top = critical + 1.0
    while shortfall(top) < 0:
        top *= 2
    return standard_error * float(optimize.brentq(shortfall, 0.0, top))


def _quantiles(seeds: float, groups: int, level: float) -> tuple[float, float]:
    """Return Student's quantiles for A and for B; with one seed A has none and counts 0."""
    upper = (1 + level) / 2
    t_a = float(stats.t.ppf(upper, seeds - 1)) if seeds > 1 else 0.0
    return t_a, float(stats.t.ppf(upper, groups - 1))
