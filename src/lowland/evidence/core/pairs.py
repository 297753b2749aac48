"""Comparison of one method with a reference that was trained with the same seeds and tested on the same examples."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.arrays import (
    are_binary,
    are_shares,
    check_groups,
    check_predictions,
    check_scores,
    count_groups,
)
from lowland.evidence.core.exact import (
    McNemar,
    Permutation,
    Truths,
    mcnemar_of_correct,
    permutation_p,
)
from lowland.evidence.core.intervals import PairedInterval, paired_interval, paired_metric_interval
from lowland.evidence.core.metrics import Ints
from lowland.evidence.core.variances import detectable_difference
from lowland.evidence.core.wording import (
    examples_words,
    identical_words,
    points,
    quantities,
    score_name,
    seeds_words,
)
from lowland.ground.mistakes import Mistake


@dataclass(frozen=True)
class PairedComparison(PairedInterval):
    """Difference of one method from a reference in one score: interval, tests, and what the design can detect.

    Beside the interval and its attributes:

    Attributes:
        method: name of the method.
        reference: name of the reference.
        metric: name of the score.
        seeds: the S seeds, in the order of ``per_seed`` and ``mcnemar``.
        n_examples: number of test examples.
        n_groups: number of groups they fall into, the units of the interval; ``n_examples`` if each example is its
            own group.
        permutation: sign-flip test over seeds.
        mcnemar: one exact test for each seed, of right and wrong, whatever the metric and the groups; empty if scores
            are not 0 or 1.
        detectable: smallest true difference that 80 % of such studies would detect.
        identical: True if both have the same predictions (or scores) for every example and seed.
        compared: "predictions" or "scores": what `identical` speaks of.
        is_share: True if every score is in [0, 1], so that differences are written in points.
    """

    method: str
    reference: str
    metric: str
    seeds: tuple[int, ...]
    n_examples: int
    n_groups: int
    permutation: Permutation
    mcnemar: tuple[McNemar, ...]
    detectable: float
    identical: bool
    compared: str
    is_share: bool

    def sentence(self) -> str:
        """Return one or two plain sentences that claim what the interval allows, and no more.

        With one seed, they speak of the two runs. Runs of one method differ from seed to seed, so that one run of each
        says nothing of the methods.
        """
        if self.identical:
            words = identical_words(
                self.compared,
                self.method,
                self.reference,
                examples=self.n_examples,
                groups=self.n_groups,
                seeds=len(self.seeds),
            )
            return f"The {words}.{self._caveat()}"
        name = score_name(self.metric)
        if self.low == self.high == 0:
            return (
                f"{self.method} and {self.reference} have the same {name}{self._of_seeds()}, "
                f"though not the same {self.compared}; these {self._examples()} do not show what other "
                f"examples would.{self._caveat()}"
            )
        if not self.over_seeds:
            return self._of_two_runs(name)
        if self.low <= 0 <= self.high:
            return self._undecided(name)
        sign = 1.0 if self.difference > 0 else -1.0
        ends = sorted([sign * self.low, sign * self.high])
        difference, low, high = self._numbers([abs(self.difference), *ends])
        return (
            f"{self.method} is {'better' if sign > 0 else 'worse'} than {self.reference} in {name} "
            f"by {difference}{self._unit()} ({self._basis(low, high)})."
        )

    def _of_two_runs(self, name: str) -> str:
        difference, low, high = self._numbers([self.difference, self.low, self.high])
        sign = "" if difference.startswith("-") else "+"
        verdict = "could differ by that much by chance" if self.low <= 0 <= self.high else "differ"
        return (
            f"With seed {self.seeds[0]}, the run of {self.method} scores {sign}{difference}{self._unit()} in {name} "
            f"against the run of {self.reference} ({self._basis(low, high)}): the two runs {verdict}."
            f"{self._caveat()}"
        )

    def _undecided(self, name: str) -> str:
        difference, low, high = self._numbers([self.difference, self.low, self.high])
        sign = "" if difference.startswith("-") else "+"
        return (
            f"These runs do not show a difference in {name} between {self.method} and {self.reference}: "
            f"{sign}{difference}{self._unit()} ({self._basis(low, high)}). {self._power()}."
        )

    def _power(self) -> str:
        if self.is_share and self.detectable >= 1:
            return "With this design no difference, however large, would be detected reliably"
        return (
            f"A true difference of about {self._numbers([self.detectable])[0]}{self._unit()} would be detected in "
            "80 % of such studies; a smaller one may go undetected"
        )

    def _numbers(self, values: list[float]) -> list[str]:
        return points(values) if self.is_share else quantities(values)

    def _unit(self) -> str:
        return " points" if self.is_share else ""

    def _basis(self, low: str, high: str) -> str:
        over = "" if self.over_seeds else " over test examples alone"
        count = f"{len(self.seeds)} seeds" if self.over_seeds else "1 seed"
        return f"{100 * self.level:g} % interval {low} to {high}{over}, {count}, {self._examples()}"

    def _examples(self) -> str:
        return examples_words(self.n_examples, self.n_groups)

    def _caveat(self) -> str:
        return (
            "" if self.over_seeds else " One seed says nothing of the methods; train several to compare them."
        )

    def _of_seeds(self) -> str:
        return seeds_words(len(self.seeds))


def compare_scores(
    scores: npt.ArrayLike,
    scores_reference: npt.ArrayLike,
    *,
    method: str,
    reference: str,
    seeds: Sequence[int],
    metric: str = "accuracy",
    groups: Iterable[Hashable] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison:
    """Compare a method with a reference by their mean scores: interval, tests and detectable difference.

    Args:
        scores: (S, N) the method's score for each example, one row per seed; any finite numbers, higher is better.
        scores_reference: (S, N) the reference's scores, rows in the same order.
        method: name of the method, for the sentence.
        reference: name of the reference, for the sentence.
        seeds: the S different seeds of the runs, in the order of the rows.
        metric: name of the mean score, for the sentence.
        groups: (N,) the group of each example, as for :func:`paired_interval`. None: each example is its own group.
        level: level of the interval, 0 to 1.
        seed: seed of the permutations that are drawn where there are more than 14 seeds (not of the runs).

    Raises:
        Mistake: as :func:`paired_interval`, or if there are not S different seeds.
    """
    ours, theirs = check_scores(scores, scores_reference)
    member = check_groups(groups, ours.shape[1])
    interval = paired_interval(ours, theirs, groups=member, level=level)
    return _comparison(
        interval,
        member,
        (ours == 1, theirs == 1) if are_binary(ours, theirs) else None,
        method=method,
        reference=reference,
        metric=metric,
        seeds=_check_run_seeds(seeds, len(ours)),
        identical=bool(np.array_equal(ours, theirs)),
        compared="scores",
        is_share=are_shares(ours, theirs),
        seed=seed,
    )


def compare_predictions(
    labels: npt.ArrayLike,
    predicted: npt.ArrayLike,
    predicted_reference: npt.ArrayLike,
    *,
    method: str,
    reference: str,
    seeds: Sequence[int],
    metric: str = "accuracy",
    groups: Iterable[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedComparison:
    """Compare a method with a reference by a metric of their predicted classes.

    Args:
        labels: (N,) true classes.
        predicted: (S, N) the method's predicted classes, one row per seed.
        predicted_reference: (S, N) the reference's, rows in the same order.
        method: name of the method, for the sentence.
        reference: name of the reference, for the sentence.
        seeds: the S different seeds of the runs, in the order of the rows.
        metric: ``accuracy``, ``macro_f1`` or ``weighted_f1``.
        groups: (N,) the group of each example, as for :func:`paired_interval`. None: each example is its own group.
        level: level of the interval, 0 to 1.
        resamples: number of resamples of the groups.
        seed: seed of the resampling (not of the runs).

    Raises:
        Mistake: as :func:`paired_metric_interval`, or if there are not S different seeds.
    """
    truth, ours, theirs = check_predictions(labels, predicted, predicted_reference)
    member = check_groups(groups, truth.size)
    interval = paired_metric_interval(
        truth, ours, theirs, metric=metric, groups=member, level=level, resamples=resamples, seed=seed
    )
    return _comparison(
        interval,
        member,
        (ours == truth, theirs == truth),
        method=method,
        reference=reference,
        metric=metric,
        seeds=_check_run_seeds(seeds, len(ours)),
        identical=bool(np.array_equal(ours, theirs)),
        compared="predictions",
        is_share=True,
        seed=seed,
    )


def _comparison(
    interval: PairedInterval,
    member: Ints,
    correct: tuple[Truths, Truths] | None,
    *,
    method: str,
    reference: str,
    metric: str,
    seeds: tuple[int, ...],
    identical: bool,
    compared: str,
    is_share: bool,
    seed: int,
) -> PairedComparison:
    """Add the tests to an interval; `correct` says what each run (S, N) got right, None if scores are not 0 or 1."""
    return PairedComparison(
        **vars(interval),
        method=method,
        reference=reference,
        metric=metric,
        seeds=seeds,
        n_examples=member.size,
        n_groups=count_groups(member),
        permutation=permutation_p(interval.per_seed, seed=seed),
        mcnemar=tuple(mcnemar_of_correct(*rows) for rows in zip(*correct, strict=True)) if correct else (),
        detectable=detectable_difference(interval.standard_error, interval.df, level=interval.level),
        identical=identical,
        compared=compared,
        is_share=is_share,
    )


def _check_run_seeds(seeds: Sequence[int], rows: int) -> tuple[int, ...]:
    """Return the seeds of the runs, which must be different and one for each row."""
    run_seeds = tuple(int(s) for s in seeds)
    if len(run_seeds) != rows or len(set(run_seeds)) != len(run_seeds):
        raise Mistake(f"seeds is {run_seeds}; expected {rows} different ones, one for each row")
    return run_seeds
