"""The interval of a paired difference between two methods, and the smallest difference that a design detects."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from lowland.evidence.core.arrays import (
    are_shares,
    check_groups,
    check_level,
    check_predictions,
    check_scores,
    count_groups,
)
from lowland.evidence.core.metrics import Floats, Ints, find_metric, mean_score, resample_counts
from lowland.ground.mistakes import Mistake

Gap = Callable[[Floats], Floats]
"""Function from weights (R, N) to the differences (R, S) of R resamples and S seeds."""

_BLOCK = 256  # resamples held in memory at once
_DIGITS = 12  # decimals kept of a difference of shares


@dataclass(frozen=True)
class PairedInterval:
    """Difference of method minus reference, averaged over seeds, with its interval.

    Numbers are in units of the score. For shares (scores in [0, 1]) 0.01 is one percentage point, and the interval lies
    in [-1, 1].

    Attributes:
        difference: mean over seeds.
        low: lower end of the interval.
        high: upper end of the interval.
        level: share of such intervals that should contain the true difference, 0 to 1.
        per_seed: the S differences.
        standard_error: standard error of ``difference``.
        df: degrees of freedom for which Student's t gives this half-width.
        over_seeds: False with one seed: the interval then says nothing about other seeds.
    """

    difference: float
    low: float
    high: float
    level: float
    per_seed: tuple[float, ...]
    standard_error: float
    df: float
    over_seeds: bool


def paired_interval(
    scores: npt.ArrayLike,
    scores_reference: npt.ArrayLike,
    *,
    groups: Iterable[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedInterval:
    """Compute the mean score of a method minus that of a reference, with an interval over seeds and test examples.

    The N examples fall into G groups. Examples of one group (copies of a text, sentences of one template) are not
    independent evidence, so that groups are resampled whole: G of the G are drawn with replacement, and each example
    weighs as often as its group was drawn (the cluster bootstrap). Without ``groups`` each example is its own group,
    G = N. With ``d_s`` the difference of seed s on all N examples, and ``d*`` the mean over seeds of the weighted
    difference on a resample (the same resample for both methods and for all seeds)::

        A = var(d_1 ... d_S) / S           S - 1 degrees of freedom
        B = var(d*) over the resamples     G - 1 degrees of freedom
        SE = sqrt(A + B)
        t  = (A t[S-1] + B t[G-1]) / (A + B)
        interval = mean(d_s) -/+ t SE

    The mean on a resample is divided by the resample's own weight, which differs from N if groups differ in size. B
    is too small by the factor (G - 1) / G, which matters only with a handful of groups. A carries the choice of seeds,
    B the choice of examples. The seed-by-example interaction is in both, so SE is rather too large (as the pigeonhole
    bootstrap does, Owen 2007). Seeds are not resampled: three seeds have 27 resamples, whose variance is too small by
    the factor (S - 1) / S (Rao and Wu 1988), while A is known without drawing. The quantile is the weighted t of
    Cochran and Cox, which keeps its level with 2 or 3 seeds, where Satterthwaite's does not. With one seed A is
    unknown: the interval is over examples alone, and ``over_seeds`` is False. ``benchmarks/interval_coverage.py``
    measures the coverage.

    Sources: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007; J. N. K. Rao and C. F. J.
    Wu, "Resampling inference with complex survey data", JASA 83, 1988; W. G. Cochran and G. M. Cox, "Experimental
    Designs", 1950; F. E. Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics
    Bulletin 2(6), 1946. Groups: A. C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application", 1997,
    section 3.8; C. A. Field and A. H. Welsh, "Bootstrapping clustered data", JRSS B 69(3), 2007.

    Args:
        scores: (S, N) the method's score for each example, one row per seed; any finite numbers, higher is better.
        scores_reference: (S, N) the reference's scores; row s was trained with the seed of the method's row s.
        groups: (N,) the group of each example, any hashable labels, at least two different ones; None if the examples
            are independent.
        level: 0 to 1, both exclusive.
        resamples: number of resamples of the groups, 2 or more.
        seed: seed of the resampling; the same seed gives the same interval.

    Raises:
        Mistake: if shapes do not fit, an array is empty, a score is not finite, there is only one group, or level or
            resamples is out of range.

    Example:
        >>> paired_interval([[1, 1, 0, 1]], [[1, 0, 0, 1]]).difference
        0.25
    """
    ours, theirs = check_scores(scores, scores_reference)
    member = check_groups(groups, ours.shape[1])
    decimals = _decimals(ours, theirs)

    def gap(weights: Floats) -> Floats:
        return np.asarray(np.round(mean_score(ours, weights) - mean_score(theirs, weights), decimals))

    return _interval_of(gap, len(ours), member, are_shares(ours, theirs), level, resamples, seed)


def paired_metric_interval(
    labels: npt.ArrayLike,
    predicted: npt.ArrayLike,
    predicted_reference: npt.ArrayLike,
    *,
    metric: str = "accuracy",
    groups: Iterable[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedInterval:
    """Compute the difference in a metric of predicted classes, with an interval over seeds and test examples.

    The interval is that of :func:`paired_interval`, with the metric in place of the mean score. It serves metrics that
    are not a mean over examples, such as F1.

    Args:
        labels: (N,) true classes.
        predicted: (S, N) the method's predicted classes, one row per seed.
        predicted_reference: (S, N) the reference's; row s was trained with the seed of the method's row s.
        metric: ``accuracy``, ``macro_f1`` or ``weighted_f1``.
        groups: as for :func:`paired_interval`, like the arguments that follow.
        level: 0 to 1, both exclusive.
        resamples: number of resamples of the groups, 2 or more.
        seed: seed of the resampling.

    Raises:
        Mistake: as :func:`paired_interval`, or if the metric is unknown.
    """
    measure = find_metric(metric)
    truth, ours, theirs = check_predictions(labels, predicted, predicted_reference)
    member = check_groups(groups, truth.size)

    def gap(weights: Floats) -> Floats:
        return np.asarray(np.round(measure(truth, ours, weights) - measure(truth, theirs, weights), _DIGITS))

    return _interval_of(gap, len(ours), member, True, level, resamples, seed)


def half_width(a: Floats, b: Floats, seeds: int, groups: int, level: float) -> Floats:
    """Compute half the interval's width from A and B of :func:`paired_interval` (arrays of one shape)."""
    t_a, t_b = _quantiles(seeds, groups, level)
    error = np.sqrt(a + b)
    return np.asarray((t_a * a + t_b * b) / np.where(error > 0, error, 1.0))


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


def _interval_of(
    gap: Gap, seeds: int, member: Ints, bounded: bool, level: float, resamples: int, seed: int
) -> PairedInterval:
    """Compute the interval of a difference; `bounded` keeps its ends within [-1, 1]."""
    check_level(level)
    if resamples < 2:
        raise Mistake(f"resamples is {resamples}; expected 2 or more")
    n_groups = count_groups(member)
    per_seed = gap(np.ones((1, member.size)))[0]  # (S,)
    a = float(per_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    b = _example_variance(gap, member, resamples, np.random.default_rng(seed))
    half = float(half_width(np.array(a), np.array(b), seeds, n_groups, level))
    mean, error = float(per_seed.mean()), float(np.sqrt(a + b))
    return PairedInterval(
        difference=mean,
        low=max(mean - half, -1.0) if bounded else mean - half,
        high=min(mean + half, 1.0) if bounded else mean + half,
        level=level,
        per_seed=tuple(per_seed.tolist()),
        standard_error=error,
        df=_df_of(half / error if error > 0 else 0.0, seeds, n_groups, level),
        over_seeds=seeds > 1,
    )


def _decimals(ours: Floats, theirs: Floats) -> int:
    """Return the decimals to keep of a difference: the last digits of a sum depend on the order of its terms."""
    largest = float(max(np.abs(ours).max(), np.abs(theirs).max()))
    return _DIGITS - math.floor(math.log10(largest)) if largest > 0 else _DIGITS


def _example_variance(gap: Gap, member: Ints, resamples: int, rng: np.random.Generator) -> float:
    """Compute B: the variance, over resamples of the groups, of the difference averaged over seeds."""
    n_groups = count_groups(member)
    means: list[Floats] = []
    for start in range(0, resamples, _BLOCK):
        counts = resample_counts(rng, min(_BLOCK, resamples - start), n_groups)  # (R, G)
        means.append(gap(counts.take(member, axis=1)).mean(axis=1))
    return float(np.concatenate(means).var(ddof=1))


def _quantiles(seeds: int, groups: int, level: float) -> tuple[float, float]:
    """Return Student's quantiles for A and for B; with one seed A has none and counts 0."""
    upper = (1 + level) / 2
    t_a = float(stats.t.ppf(upper, seeds - 1)) if seeds > 1 else 0.0
    return t_a, float(stats.t.ppf(upper, groups - 1))


def _df_of(quantile: float, seeds: int, groups: int, level: float) -> float:
    """Return the degrees of freedom of that Student quantile; groups - 1 if nothing varies."""
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
