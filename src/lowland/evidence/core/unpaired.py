"""Comparison of two methods that were tested on the same examples, and trained with seeds of their own."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.arrays import are_shares, check_groups, check_level, check_scores, count_groups
from lowland.evidence.core.intervals import spread_of_means
from lowland.evidence.core.metrics import Floats
from lowland.evidence.core.variances import (
    Variances,
    detectable_difference,
    equivalent_df,
    half_width,
    p_value,
)
from lowland.evidence.core.wording import examples_words, points, quantities, score_name


@dataclass(frozen=True)
class UnpairedComparison:
    """Difference of one method from a reference that was trained with other seeds: paired by example alone.

    Attributes:
        method: name of the method.
        reference: name of the reference.
        metric: name of the score.
        difference: mean score of the method minus that of the reference.
        low: lower end of the interval.
        high: upper end of the interval.
        level: level of the interval, 0 to 1.
        p: p-value of the interval.
        standard_error: standard error of the difference.
        df: degrees of freedom for which Student's t gives this half-width.
        n_seeds: number of seeds of the method, and of the reference.
        n_examples: number of test examples.
        n_groups: number of groups they fall into.
        detectable: smallest true difference that 80 % of such studies would detect.
        is_share: True if every score is in [0, 1].
    """

    method: str
    reference: str
    metric: str
    difference: float
    low: float
    high: float
    level: float
    p: float
    standard_error: float
    df: float
    n_seeds: tuple[int, int]
    n_examples: int
    n_groups: int
    detectable: float
    is_share: bool

    @property
    def over_seeds(self) -> bool:
        """Whether both have several seeds: otherwise the interval says nothing of other seeds."""
        return min(self.n_seeds) > 1

    def sentence(self) -> str:
        """Return one or two plain sentences that claim what the interval allows, and no more."""
        name = score_name(self.metric)
        difference, low, high = self._numbers([self.difference, self.low, self.high])
        signed = difference if difference.startswith("-") else f"+{difference}"
        unit = " points" if self.is_share else ""
        ours, theirs = self.n_seeds
        seeds = f"unpaired over {ours} and {theirs} seeds" if self.over_seeds else "over test examples alone"
        examples = examples_words(self.n_examples, self.n_groups)
        basis = f"{100 * self.level:g} % interval {low} to {high}, {seeds}, {examples}"
        if not self.over_seeds:
            return (
                f"{self.method} scores {signed}{unit} in {name} against {self.reference} ({basis}). One seed says"
                " nothing of other seeds; train several to compare them."
            )
        if self.low <= 0 <= self.high:
            return (
                f"These runs do not show a difference in {name} between {self.method} and {self.reference}:"
                f" {signed}{unit} ({basis}). A true difference of about {self._numbers([self.detectable])[0]}{unit}"
                " would be detected in 80 % of such studies; a smaller one may go undetected."
            )
        word = "better" if self.difference > 0 else "worse"
        return f"{self.method} is {word} than {self.reference} in {name} by {difference.lstrip('-')}{unit} ({basis})."

    def _numbers(self, values: list[float]) -> list[str]:
        return points(values) if self.is_share else quantities(values)


def compare_unpaired(
    scores: npt.ArrayLike,
    scores_reference: npt.ArrayLike,
    *,
    method: str,
    reference: str,
    metric: str = "accuracy",
    groups: Iterable[Hashable] | None = None,
    level: float = 0.95,
) -> UnpairedComparison:
    """Compare the mean scores of two methods that share the test examples, and no seeds.

    The parts of the variance are those of :func:`lowland.evidence.paired_interval`, but that the seeds of the two are
    independent. With ``a_s`` and ``b_s`` the means of their runs, and e_g what group g adds to the difference of
    the mean scores over seeds::

        A = var(a_1 ... a_S) / S + var(b_1 ... b_T) / T
        B = G / (G - 1) sum_g e_g²
        C = C of the one + C of the other
        V = A + max(B - C, 0)

    Instead of S - 1, the seeds have the degrees of freedom of Welch and Satterthwaite.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34, 1947.

    Args:
        scores: (S, N) the method's score for each example, one row per seed; finite numbers, higher is better.
        scores_reference: (T, N) the reference's scores.
        method: name of the method, for the sentence.
        reference: name of the reference, for the sentence.
        metric: name of the mean score, for the sentence.
        groups: (N,) the group of each example; None: each example is its own group.
        level: level of the interval, 0 to 1.

    Raises:
        Mistake: if shapes do not fit, a score is not finite, there is only one group, or level is out of range.
    """
    check_level(level)
    ours, theirs = (check_scores(each, each)[0] for each in (scores, scores_reference))
    check_scores(ours[:1], theirs[:1])
    member = check_groups(groups, ours.shape[1])
    together = ours.mean(axis=0) - theirs.mean(axis=0)  # (N,)
    examples, _ = spread_of_means(together[None], member)
    variances = Variances(
        np.array(sum(map(_over_seeds, (ours, theirs)))),
        np.array(examples),
        np.array(sum(spread_of_means(each, member)[1] for each in (ours, theirs))),
    )
    n_groups, is_share, seeds = count_groups(member), are_shares(ours, theirs), 1.0
    if min(len(ours), len(theirs)) > 1:
        seeds = _welch_df(ours, theirs) + 1
    else:  # what varies over seeds is unknown, so the interval is over examples alone
        variances = Variances(np.array(0.0), np.array(examples), np.array(0.0))
    half, error = float(half_width(variances, seeds, n_groups, level)), float(np.sqrt(variances.used))
    mean = float(together.mean())
    df = equivalent_df(half / error if error > 0 else 0.0, seeds, n_groups, level)
    return UnpairedComparison(
        method=method,
        reference=reference,
        metric=metric,
        difference=mean,
        low=max(mean - half, -1.0) if is_share else mean - half,
        high=min(mean + half, 1.0) if is_share else mean + half,
        level=level,
        p=p_value(mean, variances, seeds, n_groups),
        standard_error=error,
        df=df,
        n_seeds=(len(ours), len(theirs)),
        n_examples=member.size,
        n_groups=n_groups,
        detectable=detectable_difference(error, df, level=level),
        is_share=is_share,
    )


def _over_seeds(scores: Floats) -> float:
    """Return the variance of a mean over seeds; 0 with one seed."""
    return float(scores.mean(axis=1).var(ddof=1)) / len(scores) if len(scores) > 1 else 0.0


def _welch_df(ours: Floats, theirs: Floats) -> float:
    """Return the degrees of freedom of a difference of two means over seeds, after Welch and Satterthwaite."""
    parts = [(_over_seeds(each), len(each) - 1) for each in (ours, theirs)]
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return float(min(df for _, df in parts))
    return total**2 / sum(variance**2 / df for variance, df in parts)
