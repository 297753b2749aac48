"""Confidence of predicted classes: is it right as often as it says, and what is gained by leaving out unsure answers?

The confidence of a prediction is the largest of its classes' probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowland.evidence.core.intervals import resampled_interval
from lowland.evidence.core.metrics import Floats, Ints

BINS = 15
"""Number of bins of equal width, as in Guo et al., 2017."""
SIMULATIONS = 500
"""Number of simulated models that are calibrated perfectly."""


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error of S runs, and what chance alone would give.

    Attributes:
        value: mean over runs, 0 to 1.
        low: lower end of its interval.
        high: upper end of its interval.
        by_chance: mean error of models with the same confidences that are calibrated perfectly, if examples of a group
            and runs come out alike.
        by_chance_high: 95th percentile of their errors.
    """

    value: float
    low: float
    high: float
    by_chance: float
    by_chance_high: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions whose confidence is in one bin, all runs together.

    Attributes:
        low: lower end of the bin.
        high: upper end of the bin.
        count: number of predictions.
        confidence: their mean confidence; NaN if there are none.
        accuracy: their share of right ones; NaN if there are none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def expected_calibration_error(
    confidence: Floats, right: Floats, weights: Floats, bins: int = BINS
) -> Floats:
    """Compute ``ECE = sum_b n_b / n · |accuracy_b - confidence_b|`` over bins of equal width.

    Bin b holds confidences in ``(b / B, (b + 1) / B]``.

    Source: C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks", 2017, equation 3.

    Args:
        confidence: (S, N) of S runs, 0 to 1.
        right: (S, N) 1 where the prediction is right, else 0.
        weights: (R, N) how often each example counts, in R resamples; each row sums to more than 0.
        bins: B, the number of bins.

    Returns:
        (R, S) errors, 0 to 1.
    """
    number = _bin_numbers(confidence, bins)  # (S, N)
    errors = np.zeros((len(weights), len(confidence)))  # (R, S)
    for run, (numbers, surplus) in enumerate(zip(number, right - confidence, strict=True)):
        for b in np.unique(numbers):
            inside = numbers == b
            errors[:, run] += np.abs(weights[:, inside] @ surplus[inside])
    return np.asarray(errors / weights.sum(axis=1, keepdims=True))


def calibration_error(confidence: Floats, right: Floats, member: Ints, *, seed: int = 0) -> CalibrationError:
    """Compute the expected calibration error, its interval over runs and examples, and the error by chance alone.

    The error cannot be negative, so even a model that is calibrated perfectly has some. How much is simulated: the
    confidences stay, and each prediction is right with the probability that its confidence states. The examples of a
    group, and the runs, come out alike as far as their confidences allow, so that this is the most that chance gives.

    Source: J. Bröcker, L. A. Smith, "Increasing the Reliability of Reliability Diagrams", 2007: consistency resampling.

    Args:
        confidence: (S, N) of S runs, 0 to 1.
        right: (S, N) 1 where the prediction is right, else 0.
        member: (N,) number of each example's group.
        seed: seed of the resampling and the simulation.
    """
    interval = resampled_interval(
        lambda weights: expected_calibration_error(confidence, right, weights),
        member,
        resamples=500,
        seed=seed,
    )
    rng, everything = np.random.default_rng(seed), np.ones((1, confidence.shape[1]))
    chance = []
    for _ in range(SIMULATIONS):
        luck = rng.random(int(member.max()) + 1)[member]  # (N,) the same for a group, and for all runs
        simulated = (luck < confidence).astype(np.float64)
        chance.append(float(expected_calibration_error(confidence, simulated, everything).mean()))
    return CalibrationError(
        value=interval.difference,
        low=max(interval.low, 0.0),
        high=interval.high,
        by_chance=float(np.mean(chance)),
        by_chance_high=float(np.quantile(chance, 0.95)),
    )


def reliability(confidence: Floats, right: Floats, bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Compute confidence and accuracy of the predictions in each bin, all runs together.

    Args:
        confidence: (S, N) of S runs, 0 to 1.
        right: (S, N) 1 where the prediction is right, else 0.
        bins: number of bins of equal width.
    """
    number = _bin_numbers(confidence, bins)
    return tuple(
        ReliabilityBin(
            low=b / bins,
            high=(b + 1) / bins,
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()) if inside.any() else np.nan,
            accuracy=float(right[inside].mean()) if inside.any() else np.nan,
        )
        for b in range(bins)
        for inside in [number == b]
    )


def selective_accuracy(confidence: Floats, right: Floats) -> Floats:
    """Compute the accuracy on the n most confident predictions, for n of 1 to N.

    Among predictions of equal confidence the order is chance: each counts as their mean.

    Source: Y. Geifman, R. El-Yaniv, "Selective Classification for Deep Neural Networks", 2017 (risk and coverage).

    Args:
        confidence: (N,) of one run.
        right: (N,) 1 where the prediction is right, else 0.

    Returns:
        (N,) accuracies at the coverages 1/N, 2/N, … 1.
    """
    _, tied = np.unique(-confidence, return_inverse=True)  # (N,) rank of the confidence, the largest first
    means = np.bincount(tied, right) / np.bincount(tied)
    ordered = means[np.sort(tied)]
    return np.asarray(np.cumsum(ordered) / np.arange(1, len(ordered) + 1))


def accuracy_at(coverage: float, confidence: Floats, right: Floats) -> float:
    """Return the mean over runs of the accuracy on the most confident predictions.

    Args:
        coverage: share of the examples that are answered, above 0 and at most 1.
        confidence: (S, N) of S runs, 0 to 1.
        right: (S, N) 1 where the prediction is right, else 0.
    """
    answered = max(round(coverage * confidence.shape[1]), 1)
    return float(
        np.mean([selective_accuracy(*run)[answered - 1] for run in zip(confidence, right, strict=True)])
    )


def risk_area(confidence: Floats, right: Floats) -> float:
    """Return the mean over runs and coverages of the risk, 1 less the selective accuracy: the area under the curve.

    Args:
        confidence: (S, N) of S runs, 0 to 1.
        right: (S, N) 1 where the prediction is right, else 0.
    """
    return float(
        np.mean([1 - selective_accuracy(*run).mean() for run in zip(confidence, right, strict=True)])
    )


def _bin_numbers(confidence: Floats, bins: int) -> Ints:
    """Return the bin of each confidence; 0 falls into the first."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
