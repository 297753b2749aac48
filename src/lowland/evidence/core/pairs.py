"""One method against a reference, trained with the same seeds and asked the same test examples."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowland.evidence.core.exact import McNemar, Permutation, mcnemar, permutation_p
from lowland.evidence.core.intervals import (
    check_groups,
    check_predictions,
    count_groups,
    detectable_difference,
    paired_interval,
)

_METRIC_WORDS = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}


@dataclass(frozen=True)
class PairedComparison:
    """All that the records show about one method against a reference, in one metric.

    Differences are method minus reference, as shares (0.01 is one percentage point).

    Attributes:
        method: name of the method.
        reference: name of the reference.
        metric: ``accuracy``, ``macro_f1`` or ``weighted_f1``.
        seeds: the S seeds, in the order of ``per_seed`` and ``mcnemar``.
        n_examples: number of test examples.
        n_groups: number of groups they fall into, which the interval resamples; ``n_examples`` where
            each example stands for itself.
        difference: mean over seeds.
        low: lower end of the interval.
        high: upper end of the interval.
        level: of the interval, 0 to 1.
        per_seed: the S differences.
        standard_error: of ``difference``.
        df: degrees of freedom that belong to the interval.
        over_seeds: False with one seed: the interval is over examples alone.
        permutation: the sign-flip test over seeds.
        mcnemar: one exact test a seed, of correctness whatever the metric and the groups.
        detectable: the smallest true difference that would be found four times in five.
        identical: True if both predicted the same class for every example and seed.
    """

    method: str
    reference: str
    metric: str
    seeds: tuple[int, ...]
    n_examples: int
    n_groups: int
    difference: float
    low: float
    high: float
    level: float
    per_seed: tuple[float, ...]
    standard_error: float
    df: float
    over_seeds: bool
    permutation: Permutation
    mcnemar: tuple[McNemar, ...]
    detectable: float
    identical: bool

    def sentence(self) -> str:
        """Say in one or two plain sentences what the interval allows, and no more."""
        if self.identical:
            return (
                f"The predictions of {self.method} and {self.reference} are identical on all "
                f"{self._examples()}{self._of_seeds()}.{self._caveat()}"
            )
        word = _METRIC_WORDS[self.metric]
        if self.low == self.high == 0:
            return (
                f"{self.method} and {self.reference} have the same {word}{self._of_seeds()}, "
                "though not the same predictions; what other examples would show cannot be told "
                f"from these {self._examples()}.{self._caveat()}"
            )
        if self.low <= 0 <= self.high:
            return self._undecided(word)
        sign = 1.0 if self.difference > 0 else -1.0
        ends = sorted([sign * self.low, sign * self.high])
        told = _points([abs(self.difference), *ends])
        return (
            f"{self.method} is {'better' if sign > 0 else 'worse'} than {self.reference} in {word} "
            f"by {told[0]} points ({self._basis(told[1], told[2])})."
            f"{self._caveat()}"
        )

    def _undecided(self, word: str) -> str:
        told = _points([self.difference, self.low, self.high])
        sign = "" if told[0].startswith("-") else "+"
        runs = "these runs" if self.over_seeds else "this run of each"
        return (
            f"No difference in {word} between {self.method} and {self.reference} can be told from "
            f"{runs}: {sign}{told[0]} points ({self._basis(told[1], told[2])}). {self._power()}"
            f"{'' if self.over_seeds else '; other seeds may differ'}."
        )

    def _power(self) -> str:
        if self.detectable >= 1:
            return "No true difference, however large, could be relied on to show"
        return (
            f"A true difference of about {_points([self.detectable])[0]} points would be found four times in "
            "five, and a smaller one may well go unseen"
        )

    def _basis(self, low: str, high: str) -> str:
        over = "" if self.over_seeds else " over test examples alone"
        count = f"{len(self.seeds)} seeds" if self.over_seeds else "1 seed"
        return f"{100 * self.level:g} % interval {low} to {high}{over}, {count}, {self._examples()}"

    def _examples(self) -> str:
        groups = "" if self.n_groups == self.n_examples else f" in {self.n_groups} groups"
        return f"{self.n_examples} test examples{groups}"

    def _caveat(self) -> str:
        return "" if self.over_seeds else " Other seeds may differ."

    def _of_seeds(self) -> str:
        return f" in all {len(self.seeds)} seeds" if self.over_seeds else " with 1 seed"


def compare_pairs(
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
    """Gather interval, tests and detectable difference of one method against a reference.

    Args:
        labels: (N,) true classes.
        predicted: (S, N) the method's predicted classes, one row a seed.
        predicted_reference: (S, N) the reference's, rows in the same order.
        method: name of the method, for the sentence.
        reference: name of the reference, for the sentence.
        seeds: the S different seeds of the runs, in the order of the rows.
        metric: ``accuracy``, ``macro_f1`` or ``weighted_f1``.
        groups: (N,) the group of each example, as :func:`paired_interval` takes it; examples of one
            group are no independent evidence. None: each example is its own.
        level: of the interval, 0 to 1.
        resamples: how many resamples of the groups.
        seed: of the resampling (not of the runs).

    Raises:
        ValueError: as :func:`paired_interval`, or seeds that do not number S or repeat.
    """
    truth, ours, theirs = check_predictions(labels, predicted, predicted_reference)
    run_seeds = tuple(int(s) for s in seeds)
    if len(run_seeds) != len(ours) or len(set(run_seeds)) != len(run_seeds):
        raise ValueError(f"seeds is {run_seeds}; expected {len(ours)} different ones, one a row.")
    member = check_groups(groups, truth.size)
    interval = paired_interval(
        truth, ours, theirs, metric=metric, groups=member, level=level, resamples=resamples, seed=seed
    )
    return PairedComparison(
        method=method,
        reference=reference,
        metric=metric,
        seeds=run_seeds,
        n_examples=truth.size,
        n_groups=count_groups(member),
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        level=level,
        per_seed=interval.per_seed,
        standard_error=interval.standard_error,
        df=interval.df,
        over_seeds=interval.over_seeds,
        permutation=permutation_p(interval.per_seed, seed=seed),
        mcnemar=tuple(mcnemar(truth, a, b) for a, b in zip(ours, theirs, strict=True)),
        detectable=detectable_difference(interval.standard_error, interval.df, level=level),
        identical=bool(np.array_equal(ours, theirs)),
    )


def _points(shares: list[float]) -> list[str]:
    """Write shares as points: one decimal, or as many as keep the smallest from reading 0."""
    smallest = min((abs(100 * x) for x in shares if abs(x) > 1e-9), default=1.0)
    decimals = max(1, -math.floor(math.log10(smallest)))
    texts = [f"{100 * x:.{decimals}f}" for x in shares]
    return [t.lstrip("-") if float(t) == 0 else t for t in texts]
