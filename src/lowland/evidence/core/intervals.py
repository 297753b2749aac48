"""The interval of a paired difference between two methods."""

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.arrays import (
    are_shares,
    check_groups,
    check_level,
    check_predictions,
    check_scores,
    count_groups,
)
from lowland.evidence.core.metrics import Floats, Ints, find_metric, resample_counts
from lowland.evidence.core.variances import Variances, equivalent_df, half_width, p_value
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
        p: p-value of the interval: 1 less the level at which it would just reach 0.
        over_seeds: False with one seed: the interval then says nothing about other seeds.
    """

    difference: float
    low: float
    high: float
    level: float
    per_seed: tuple[float, ...]
    standard_error: float
    df: float
    p: float
    over_seeds: bool


def paired_interval(
    scores: npt.ArrayLike,
    scores_reference: npt.ArrayLike,
    *,
    groups: Iterable[Hashable] | None = None,
    level: float = 0.95,
) -> PairedInterval:
    """Compute the mean score of a method minus that of a reference, with an interval over seeds and test examples.

    The N examples fall into G groups. Examples of one group (copies of a text, sentences of one template) are not
    independent evidence, so the group is the unit. Without ``groups`` each example is its own group, G = N. With
    ``d_s`` the difference of seed s, and ``e_sg`` what group g adds to it (the sum over its examples of their
    differences less ``d_s``, over N)::

        A = var(d_1 ... d_S) / S                                    seeds, with the interaction
        B = G / (G - 1) sum_g (mean_s e_sg)²                        examples, with the interaction
        C = G / (G - 1) sum_sg (e_sg - mean_s e_sg)² / (S (S - 1))  the interaction of seeds and examples
        V = A + max(B - C, 0)
        w = A / V
        t = t[G-1] + (t[S-1] - t[G-1]) w^(2 - 1 / (S - 1))
        interval = mean(d_s) -/+ t sqrt(V)

    A contains the interaction once, so that only what is left of B is added to it. A is estimated from S seeds alone:
    if it is most of the variance, the quantile must be that of S - 1 degrees of freedom, and if it is little, that of
    G - 1. The exponent says how fast the one becomes the other. With 1 it is the rule of Cochran and Cox, which errs on
    the safe side; the first term of Welch's series for this quantile is of order w², so with many seeds the exponent is
    2; in between, 2 - 1 / (S - 1) keeps the rate of false verdicts closest to nominal (``benchmarks/calibration.py``).
    If the seeds agree by chance more closely than C lets them, the interval is at least that of V = max(B - C, 0) + C/4
    with t[G-1]. With one seed A and C are unknown: the interval is over examples alone, and ``over_seeds`` is False.

    Sources: W. G. Cochran and G. M. Cox, "Experimental Designs", 1950; B. L. Welch, "The generalization of 'Student's'
    problem when several different population variances are involved", Biometrika 34, 1947. Variance components of a
    crossed design: S. R. Searle, G. Casella and C. E. McCulloch, "Variance Components", 1992, chapter 4. Groups: the
    linearised variance of a mean over clusters, W. G. Cochran, "Sampling Techniques", 1977, chapter 9.

    Args:
        scores: (S, N) the method's score for each example, one row per seed; any finite numbers, higher is better.
        scores_reference: (S, N) the reference's scores; row s was trained with the seed of the method's row s.
        groups: (N,) the group of each example, any hashable labels, at least two different ones; None if the examples
            are independent.
        level: 0 to 1, both exclusive.

    Raises:
        Mistake: if shapes do not fit, an array is empty, a score is not finite, there is only one group, or level is
            out of range.

    Examples:
        >>> paired_interval([[1, 1, 0, 1]], [[1, 0, 0, 1]]).difference
        0.25
    """
    ours, theirs = check_scores(scores, scores_reference)
    member = check_groups(groups, ours.shape[1])
    per_seed = np.round(ours.mean(axis=1) - theirs.mean(axis=1), _decimals(ours, theirs))
    return _interval_of(
        per_seed, variances_of(ours - theirs, member), count_groups(member), are_shares(ours, theirs), level
    )


def variances_of(differences: Floats, member: Ints) -> Variances:
    """Compute the parts of the variance of a mean difference; see :func:`paired_interval`.

    Args:
        differences: (S, N) differences of the examples' scores.
        member: (N,) number of each example's group.
    """
    return _variances(differences.mean(axis=1), *spread_of_means(differences, member))


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

    The interval is that of :func:`paired_interval`. For metrics that are not a mean over examples, such as F1, B and C
    come from the cluster bootstrap: G of the G groups are drawn with replacement, the same for both methods and all
    seeds; with ``d*_s`` the difference of seed s on a resample, B is the variance of ``mean_s d*_s`` over the
    resamples, and C that of ``d*_s - mean_s d*_s``, summed over s, over S (S - 1).

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

    check_level(level)
    if resamples < 2:
        raise Mistake(f"resamples is {resamples}; expected 2 or more")
    if metric == "accuracy":
        return paired_interval(ours == truth, theirs == truth, groups=member, level=level)

    def gap(weights: Floats) -> Floats:
        return np.asarray(np.round(measure(truth, ours, weights) - measure(truth, theirs, weights), _DIGITS))

    return resampled_interval(gap, member, level=level, resamples=resamples, seed=seed)


def resampled_interval(
    gap: Gap, member: Ints, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> PairedInterval:
    """Compute the interval of a share, or a difference of shares, that is no mean over examples.

    B and C come from the cluster bootstrap, as :func:`paired_metric_interval` says.

    Args:
        gap: function from weights (R, N) to the values (R, S), each in [-1, 1].
        member: (N,) number of each example's group.
        level: 0 to 1, both exclusive.
        resamples: number of resamples of the groups, 2 or more.
        seed: seed of the resampling.
    """
    per_seed = gap(np.ones((1, member.size)))[0]  # (S,)
    variances = _variances(
        per_seed, *_spread_of_resamples(gap, member, resamples, np.random.default_rng(seed))
    )
    return _interval_of(per_seed, variances, count_groups(member), True, level)


def _interval_of(
    per_seed: Floats, variances: Variances, groups: int, bounded: bool, level: float
) -> PairedInterval:
    """Compute the interval of a difference; `bounded` keeps its ends within [-1, 1]."""
    check_level(level)
    seeds = len(per_seed)
    half = float(half_width(variances, seeds, groups, level))
    mean, error = float(per_seed.mean()), float(np.sqrt(variances.used))
    return PairedInterval(
        difference=mean,
        low=max(mean - half, -1.0) if bounded else mean - half,
        high=min(mean + half, 1.0) if bounded else mean + half,
        level=level,
        per_seed=tuple(per_seed.tolist()),
        standard_error=error,
        df=equivalent_df(half / error if error > 0 else 0.0, seeds, groups, level),
        p=p_value(mean, variances, seeds, groups),
        over_seeds=seeds > 1,
    )


def _variances(per_seed: Floats, examples: float, interaction: float) -> Variances:
    seeds = float(per_seed.var(ddof=1)) / len(per_seed) if len(per_seed) > 1 else 0.0
    return Variances(np.array(seeds), np.array(examples), np.array(interaction))


def spread_of_means(differences: Floats, member: Ints) -> tuple[float, float]:
    """Compute B and C of differences (S, N) of examples' scores."""
    seeds, examples = differences.shape
    groups = count_groups(member)
    deviations = differences - differences.mean(axis=1, keepdims=True)
    added = np.stack([np.bincount(member, row, groups) for row in deviations]) / examples  # (S, G)
    together = added.mean(axis=0)
    scale = groups / (groups - 1)
    interaction = ((added - together) ** 2).sum() / (seeds * (seeds - 1)) if seeds > 1 else 0.0
    return scale * float((together**2).sum()), scale * float(interaction)


def _spread_of_resamples(
    gap: Gap, member: Ints, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Compute B and C of a metric from resamples of the groups."""
    groups = count_groups(member)
    blocks: list[Floats] = []
    for start in range(0, resamples, _BLOCK):
        counts = resample_counts(rng, min(_BLOCK, resamples - start), groups)  # (R, G)
        blocks.append(gap(counts.take(member, axis=1)))
    drawn = np.concatenate(blocks)  # (R, S)
    seeds = drawn.shape[1]
    together = drawn.mean(axis=1)
    rest = drawn - together[:, None]
    interaction = rest.var(axis=0, ddof=1).sum() / (seeds * (seeds - 1)) if seeds > 1 else 0.0
    return float(together.var(ddof=1)), float(interaction)


def _decimals(ours: Floats, theirs: Floats) -> int:
    """Return the decimals to keep of a difference: the last digits of a sum depend on the order of its terms."""
    largest = float(max(np.abs(ours).max(), np.abs(theirs).max()))
    return _DIGITS - math.floor(math.log10(largest)) if largest > 0 else _DIGITS
