"""The interval of a paired difference, and the least difference that the design could have seen."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from lowland.evidence.core.metrics import Floats, Ints, Metric, find_metric, resample_counts

_BLOCK = 256  # resamples held in memory at once


@dataclass(frozen=True)
class PairedInterval:
    """Method minus reference in a metric, averaged over seeds; a share, so that 0.01 is one point.

    Attributes:
        difference: the mean over seeds.
        low: lower end of the interval, at least -1.
        high: upper end of the interval, at most 1.
        level: what share of such intervals should hold the true difference, 0 to 1.
        per_seed: the S differences.
        standard_error: of ``difference``.
        df: degrees of freedom at which Student's t would give this half-width.
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
    """Method minus reference in a metric, with an interval over seeds and test examples.

    The N examples fall into G groups; examples of one group (copies of a text, sentences of one
    template) are no independent evidence, so that groups are resampled whole: G of the G are drawn
    with replacement, and each example weighs as often as its group was drawn (the cluster
    bootstrap). Without ``groups`` each example is its own, G = N. With ``d_s`` the difference of
    seed s on all N examples, and ``d*`` the mean over seeds of the weighted difference on a
    resample (the same resample for both methods and for all seeds)::

        A = var(d_1 ... d_S) / S           S - 1 degrees of freedom
        B = var(d*) over the resamples     G - 1 degrees of freedom
        SE = sqrt(A + B)
        t  = (A t[S-1] + B t[G-1]) / (A + B)
        interval = mean(d_s) -/+ t SE

    A metric on a resample is divided by the resample's own weight, which differs from N where
    groups differ in size. B falls short by (G - 1) / G, which shows with a handful of groups only.
    A carries the choice of seeds, B the choice of examples; the seed-by-example interaction is in
    both, so SE errs on the wide side (as the pigeonhole bootstrap does, Owen 2007). Seeds are not
    resampled: three seeds have 27 resamples whose variance is short by (S - 1) / S (Rao and Wu
    1988), while A is known without drawing. The quantile is the weighted t of Cochran and Cox,
    which keeps its level where Satterthwaite's does not: with 2 or 3 seeds. With one seed A is
    unknown: the interval is over examples alone, and ``over_seeds`` is False. Coverage is
    measured by ``benchmarks/interval_coverage.py``.

    Sources: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007; J.
    N. K. Rao and C. F. J. Wu, "Resampling inference with complex survey data", JASA 83, 1988; W.
    G. Cochran and G. M. Cox, "Experimental Designs", 1950; F. E. Satterthwaite, "An approximate
    distribution of estimates of variance components", Biometrics Bulletin 2(6), 1946. Groups: A.
    C. Davison and D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8; C.
    A. Field and A. H. Welsh, "Bootstrapping clustered data", JRSS B 69(3), 2007.

    Args:
        labels: (N,) true classes.
        predicted: (S, N) the method's predicted classes, one row a seed.
        predicted_reference: (S, N) the reference's; row s was trained with the seed of the
            method's row s.
        metric: ``accuracy``, ``macro_f1`` or ``weighted_f1``.
        groups: (N,) the group of each example, any hashable labels, at least two different ones;
            None if the examples are independent.
        level: 0 to 1, both exclusive.
        resamples: how many resamples of the groups, 2 or more.
        seed: of the resampling; the same seed gives the same interval.

    Raises:
        ValueError: shapes that do not fit, an empty array, an unknown metric, a single group, an
        impossible level or count.
    """
    measure = find_metric(metric)
    check_share("level", level)
    if resamples < 2:
        raise ValueError(f"resamples is {resamples}; expected 2 or more.")
    truth, ours, theirs = check_predictions(labels, predicted, predicted_reference)
    member = check_groups(groups, truth.size)
    seeds, n_groups = len(ours), count_groups(member)
    whole = np.ones((1, truth.size))
    per_seed = _gap(measure, truth, ours, theirs, whole)[0]  # (S,)
    a = float(per_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    b = _example_variance(measure, truth, ours, theirs, member, resamples, np.random.default_rng(seed))
    half = float(half_width(np.array(a), np.array(b), seeds, n_groups, level))
    mean, error = float(per_seed.mean()), float(np.sqrt(a + b))
    return PairedInterval(
        difference=mean,
        low=max(mean - half, -1.0),
        high=min(mean + half, 1.0),
        level=level,
        per_seed=tuple(per_seed.tolist()),
        standard_error=error,
        df=_df_of(half / error if error > 0 else 0.0, seeds, n_groups, level),
        over_seeds=seeds > 1,
    )


def half_width(a: Floats, b: Floats, seeds: int, groups: int, level: float) -> Floats:
    """Half the interval's width, from A and B of :func:`paired_interval` (of one shape)."""
    t_a, t_b = _quantiles(seeds, groups, level)
    error = np.sqrt(a + b)
    return np.asarray((t_a * a + t_b * b) / np.where(error > 0, error, 1.0))


def detectable_difference(
    standard_error: float, df: float, *, level: float = 0.95, power: float = 0.8
) -> float:
    """Smallest true difference that the design finds with this power.

    Found means: the interval excludes 0, on the right side. The estimate over its standard error
    follows Student's noncentral t; solved for d is::

        P(T > t[df]) = power,    T ~ noncentral t with df and noncentrality d / SE

    Both numbers come from the same :class:`PairedInterval`, so the answer is an estimate too:
    with few seeds it is as unsure as the standard error. It is a property of the design, and does
    not depend on the difference that was seen.

    Args:
        standard_error: of the difference, 0 or more.
        df: degrees of freedom, more than 0.
        level: of the interval; 0.95 is a test at 5 %.
        power: how often such a difference is to be found, more than 1 - level and less than 1.

    Raises:
        ValueError: an argument outside these ranges.
    """
    check_share("level", level)
    if not standard_error >= 0 or not np.isfinite(standard_error):
        raise ValueError(f"standard_error is {standard_error}; expected 0 or more, finite.")
    if not df > 0:
        raise ValueError(f"df is {df}; expected more than 0.")
    if not 1 - level < power < 1:
        raise ValueError(f"power is {power}; expected more than {1 - level:g} and less than 1.")
    if standard_error == 0:
        return 0.0
    critical = float(stats.t.ppf((1 + level) / 2, df))

    def shortfall(noncentrality: float) -> float:
        return float(stats.nct.sf(critical, df, noncentrality)) - power

    top = critical + 1.0
    while shortfall(top) < 0:
        top *= 2
    return standard_error * float(optimize.brentq(shortfall, 0.0, top))


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless the value lies between 0 and 1, both exclusive."""
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; expected a number between 0 and 1, such as 0.95.")


def check_predictions(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, predicted_reference: npt.ArrayLike
) -> tuple[Ints, Ints, Ints]:
    """Return labels (N,) and both predictions (S, N) as integers; ValueError says what is amiss."""
    truth = _as_ints("labels", labels)
    ours = _as_ints("predicted", predicted)
    theirs = _as_ints("predicted_reference", predicted_reference)
    if truth.ndim != 1 or truth.size < 2:
        raise ValueError(f"labels has shape {truth.shape}; expected (N,) with N of 2 or more.")
    for name, array in (("predicted", ours), ("predicted_reference", theirs)):
        if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != truth.size:
            raise ValueError(
                f"{name} has shape {array.shape}; expected (S, {truth.size}) with S of 1 or more: "
                "one row a seed, one column a label."
            )
    if ours.shape != theirs.shape:
        raise ValueError(
            f"predicted has {len(ours)} seeds and predicted_reference has {len(theirs)}; "
            "expected the same seeds in the same order."
        )
    return truth, ours, theirs


def check_groups(groups: Iterable[Hashable] | None, examples: int) -> Ints:
    """Number the groups from 0 in order of appearance: (N,), one number an example.

    Args:
        groups: (N,) labels; None gives each example a group of its own.
        examples: N.

    Raises:
        ValueError: labels that do not number N, are missing or unhashable, or one group alone.
    """
    if groups is None:
        return np.arange(examples)
    labels = list(groups)
    if len(labels) != examples:
        raise ValueError(f"groups has {len(labels)} labels; expected {examples}, one an example.")
    if unfit := [type(label).__name__ for label in labels if not isinstance(label, Hashable)]:
        raise ValueError(f"groups holds one {unfit[0]} an example; expected (N,) hashable labels.")
    if missing := sum(map(_is_missing, labels)):
        raise ValueError(f"groups lacks {missing} of {examples} labels; give each example a group.")
    numbers: dict[Hashable, int] = {}
    member = np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
    if len(numbers) < 2:
        raise ValueError(
            f"groups puts all {examples} examples into one group, {labels[0]!r}; expected 2 groups or more: "
            "what other groups would show cannot be told from one."
        )
    return member


def count_groups(member: Ints) -> int:
    """G, of the numbers that :func:`check_groups` gives."""
    return int(member.max()) + 1


def _is_missing(label: Hashable) -> bool:
    """None, or what does not equal itself: NaN, NaT, pandas' NA."""
    same = label == label
    return label is None or not (isinstance(same, bool | np.bool_) and same)


def _as_ints(name: str, values: npt.ArrayLike) -> Ints:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iub":
        raise ValueError(f"{name} holds {array.dtype}; expected whole numbers (class indices).")
    return array.astype(np.int64)


def _gap(measure: Metric, labels: Ints, ours: Ints, theirs: Ints, weights: Floats) -> Floats:
    """Differences (R, S), without the last digits: two equal F1 summed otherwise are equal."""
    gap = measure(labels, ours, weights) - measure(labels, theirs, weights)
    return np.asarray(np.round(gap, 12))


def _example_variance(
    measure: Metric,
    labels: Ints,
    predicted: Ints,
    reference: Ints,
    member: Ints,
    resamples: int,
    rng: np.random.Generator,
) -> float:
    """B: variance, over resamples of the groups, of the difference averaged over seeds."""
    n_groups = count_groups(member)
    means: list[Floats] = []
    for start in range(0, resamples, _BLOCK):
        counts = resample_counts(rng, min(_BLOCK, resamples - start), n_groups)  # (R, G)
        weights = counts.take(member, axis=1)  # (R, N)
        means.append(_gap(measure, labels, predicted, reference, weights).mean(axis=1))
    return float(np.concatenate(means).var(ddof=1))


def _quantiles(seeds: int, groups: int, level: float) -> tuple[float, float]:
    """Student's quantiles for A and for B; with one seed A has none and counts 0."""
    upper = (1 + level) / 2
    t_a = float(stats.t.ppf(upper, seeds - 1)) if seeds > 1 else 0.0
    return t_a, float(stats.t.ppf(upper, groups - 1))


def _df_of(quantile: float, seeds: int, groups: int, level: float) -> float:
    """Degrees of freedom of that Student quantile; groups - 1 where nothing varies."""
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
