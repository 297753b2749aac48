"""Metrics of many runs on many bootstrap resamples at once.

A bootstrap resample of N examples is a vector of N counts: how often each example, or its group, was drawn. Every
metric here takes such counts as weights, so that R resamples of S runs are a few matrix products without a Python loop
over resamples.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from lowland.ground.mistakes import Mistake, one_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Metric = Callable[[Ints, Ints, Floats], Floats]


def mean_score(scores: Floats, weights: Floats) -> Floats:
    """Compute the weighted mean of the examples' scores.

    Args:
        scores: (S, N) scores of S runs.
        weights: (R, N) how often each example counts, in R resamples; each row sums to more than 0.

    Returns:
        (R, S) means.
    """
    return np.asarray(weights @ scores.T / weights.sum(axis=1, keepdims=True))


def accuracy(labels: Ints, predicted: Ints, weights: Floats) -> Floats:
    """Compute the share of the weight that is on correct predictions.

    Args:
        labels: (N,) true classes.
        predicted: (S, N) predicted classes of S runs.
        weights: (R, N) how often each example counts, in R resamples; each row sums to more than 0.

    Returns:
        (R, S) accuracies, 0 to 1.
    """
    return mean_score((predicted == labels).astype(np.float64), weights)


def macro_f1(labels: Ints, predicted: Ints, weights: Floats) -> Floats:
    """Compute the mean over classes of ``F1_k = 2 TP_k / (predicted_k + true_k)``.

    The classes are those that occur, in a resample, among the labels or the run's predictions. A class without a true
    positive scores 0. This is ``sklearn.metrics.f1_score(average="macro", zero_division=0)``. Arguments and result are
    those of :func:`accuracy`.
    """
    total = np.zeros((len(weights), len(predicted)))  # (R, S)
    classes = np.zeros_like(total)
    for f1, _, occurs in _f1_by_class(labels, predicted, weights):
        total += f1
        classes += occurs
    return total / classes


def weighted_f1(labels: Ints, predicted: Ints, weights: Floats) -> Floats:
    """Compute the mean over classes of ``F1_k``, weighted by the number of examples of the class.

    This is ``sklearn.metrics.f1_score(average="weighted", zero_division=0)``. Arguments and result are those of
    :func:`accuracy`.
    """
    total = np.zeros((len(weights), len(predicted)))  # (R, S)
    for f1, true, _ in _f1_by_class(labels, predicted, weights):
        total += f1 * true
    return np.asarray(total / weights.sum(axis=1, keepdims=True))


def _f1_by_class(
    labels: Ints, predicted: Ints, weights: Floats
) -> Iterator[tuple[Floats, Floats, npt.NDArray[np.bool_]]]:
    """Yield for each class its F1 (R, S), its true count (R, 1), and whether it occurs at all (R, S)."""
    for k in np.union1d(labels, predicted):
        is_true, is_predicted = labels == k, predicted == k  # (N,), (S, N)
        hits = weights @ (is_predicted & is_true).T.astype(np.float64)  # (R, S)
        true = weights @ is_true[:, None].astype(np.float64)  # (R, 1)
        marked = true + weights @ is_predicted.T.astype(np.float64)  # (R, S)
        occurs = marked > 0
        yield 2 * hits / np.where(occurs, marked, 1.0), true, occurs


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
}
"""Metrics of predicted classes, by name."""


def find_metric(name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        Mistake: if no metric has this name; the message lists the names, and the nearest one.
    """
    if name not in METRICS:
        raise Mistake(one_of("metric", name, METRICS))
    return METRICS[name]


def resample_counts(rng: np.random.Generator, resamples: int, units: int) -> Floats:
    """Draw bootstrap resamples of N units (examples, groups or items), as counts (R, N); each row sums to N."""
    drawn = rng.integers(units, size=(resamples, units))  # (R, N) unit numbers
    drawn += units * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * units)
    return counts.reshape(resamples, units).astype(np.float64)
