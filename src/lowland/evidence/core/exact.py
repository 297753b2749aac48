"""Exact tests of paired results: sign flips over seeds, and McNemar's test over examples."""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lowland.ground.mistakes import Mistake

Truths = npt.NDArray[np.bool_]

_EXACT_SEEDS = 14  # 2^14 sign patterns take well under a second; beyond that they are sampled
_SAMPLED_PATTERNS = 2**_EXACT_SEEDS - 1
_TIE = 1e-10
"""Difference of two sums, as a share of 1 plus the sum of all sizes, that rounding can make."""


@dataclass(frozen=True)
class Permutation:
    """Result of :func:`permutation_p`.

    Attributes:
        p: two-sided p-value.
        smallest_p: smallest p-value that the exact test can give with S seeds, 2 / 2^S. A sampled test gives no p-value
            below 1 / 2^14.
        exact: True if all 2^S sign patterns were counted, False if they were sampled.
    """

    p: float
    smallest_p: float
    exact: bool


def permutation_p(differences: npt.ArrayLike, *, seed: int = 0) -> Permutation:
    """Test S paired differences by flipping their signs: two-sided, about their mean.

    If method and reference were exchangeable within each seed, every pattern of signs would be equally likely. p is the
    share of the 2^S patterns whose mean is at least as far from 0. Three seeds cannot give less than 0.25. For more
    than 14 seeds, 2^14 - 1 random patterns are drawn instead of all. The test is about the seeds on this test set, and
    not about other examples.

    Patterns whose means differ only by rounding count as equally far. Differences of a score over N examples are
    multiples of 1/N, so unequal means of S seeds differ by at least 1/(N S), which is far above `_TIE`.

    Source: R. A. Fisher, "The Design of Experiments", 1935, section 21.

    Args:
        differences: (S,) method minus reference, one for each seed.
        seed: seed of the sampling, used only for more than 14 seeds.

    Raises:
        Mistake: if differences is not a vector of one or more finite numbers.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or d.size == 0 or not np.isfinite(d).all():
        raise Mistake(f"differences has shape {d.shape}; expected (S,) with S of 1 or more, all finite")
    smallest = 2.0 / 2.0**d.size
    if d.size == 1:
        return Permutation(p=1.0, smallest_p=smallest, exact=True)
    exact = d.size <= _EXACT_SEEDS
    if exact:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=d.size)))  # (2^S, S)
    else:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), (_SAMPLED_PATTERNS, d.size))
    far = np.abs(signs @ d) >= np.abs(d.sum()) - _TIE * (1 + np.abs(d).sum())
    own = 0 if exact else 1  # the observed pattern is one of the sampled ones
    return Permutation(p=float((far.sum() + own) / (far.size + own)), smallest_p=smallest, exact=exact)


@dataclass(frozen=True)
class McNemar:
    """Result of :func:`mcnemar`.

    Attributes:
        only_method: number of examples that only the method got right.
        only_reference: number of examples that only the reference got right.
        p: exact two-sided p-value.
    """

    only_method: int
    only_reference: int
    p: float


def mcnemar(labels: npt.ArrayLike, predicted: npt.ArrayLike, predicted_reference: npt.ArrayLike) -> McNemar:
    """Apply McNemar's exact test to two runs: of the examples that only one run got right, did each get half?

    ``p = P(|X - n/2| >= |b - n/2|)`` with X binomial(n, 1/2), n the examples that exactly one run got right, and b
    those that only the method got right; p is 1 if n is 0. The test compares two trained models, not two methods: it
    knows nothing of other seeds. It assumes independent examples: if some are alike (copies, or sentences of one
    template) its p is too small, and this is not corrected.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 1947; ``scipy.stats.binomtest``.

    Args:
        labels: (N,) true classes.
        predicted: (N,) classes that the method's run predicted.
        predicted_reference: (N,) classes that the reference's run predicted.

    Raises:
        Mistake: if the shapes do not fit, or an array is empty.
    """
    shapes = [np.shape(labels), np.shape(predicted), np.shape(predicted_reference)]
    if len(shapes[0]) != 1 or shapes[0][0] == 0 or len(set(shapes)) != 1:
        raise Mistake(
            "labels, predicted and predicted_reference have shapes "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}; expected (N,) thrice, N of 1 or more"
        )
    truth = np.asarray(labels)
    return mcnemar_of_correct(np.asarray(predicted) == truth, np.asarray(predicted_reference) == truth)


def mcnemar_of_correct(correct: Truths, correct_reference: Truths) -> McNemar:
    """Apply :func:`mcnemar` to two arrays (N,) that say which examples each run got right."""
    b = int((correct & ~correct_reference).sum())
    c = int((correct_reference & ~correct).sum())
    p = float(stats.binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0
    return McNemar(only_method=b, only_reference=c, p=p)


def unseen_share(groups: int, level: float = 0.95) -> float:
    """Return the largest share of groups that could differ although none of G does: 1 - ((1 - level) / 2)^(1 / G).

    It is the upper end of the exact interval for 0 of G (Clopper & Pearson, 1934); about 3.7 / G at a level of 95 %.

    Args:
        groups: G, the number of groups that were seen, 1 or more.
        level: level of the interval, 0 to 1.
    """
    return float(1 - ((1 - level) / 2) ** (1 / groups))
