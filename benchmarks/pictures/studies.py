"""Simulated studies that the pictures of docs/statistics.md show.

An answer is right if its latent value is positive:

    level + difficulty(example) + fortune(seed) + start(seed, example)
          + taste(method, example) + luck(method, seed) + chance(method, seed, example)

The first line is the same for both methods, since they share examples, seeds, initial heads and batches. The variances
are those of the grid in `calibration.py`. Fortune is added: it nearly cancels in differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lowland.evidence import PairedComparison, compare_scores

FORTUNE, LUCK = 2.5, 0.5
"""Standard deviations over seeds, in points: of what both methods share, and of the true difference."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """Scores of two methods, 0 or 1: (S, N) each."""

    new: Array
    old: Array

    def of_seeds(self, seeds: int) -> Study:
        """Return the study of the first seeds alone."""
        return Study(self.new[:seeds], self.old[:seeds])

    def compared(self) -> PairedComparison:
        """Compare new with old."""
        return compare_scores(self.new, self.old, method="new", reference="old", seeds=range(len(self.new)))


def simulate(
    rng: np.random.Generator,
    *,
    seeds: int = 5,
    examples: int = 1000,
    effect: float = 2.0,
    accuracy: float = 0.8,
) -> Study:
    """Simulate a study.

    Args:
        rng: source of chance.
        seeds: S.
        examples: N.
        effect: true difference, new less old, in points.
        accuracy: true accuracy of the old method.
    """
    point = 0.01 / float(stats.norm.pdf(stats.norm.ppf(accuracy)))  # latent, of one point of accuracy
    total = 1 + (FORTUNE * point) ** 2 + (LUCK * point) ** 2 / 2
    levels = np.sqrt(total) * stats.norm.ppf([accuracy + effect / 100, accuracy])

    def normal(variance: float, *shape: int) -> Array:
        return rng.normal(0, np.sqrt(variance), shape)

    shared = (
        normal(0.76, 1, examples) + normal((FORTUNE * point) ** 2, seeds, 1) + normal(0.04, seeds, examples)
    )
    new, old = (
        level
        + shared
        + normal(0.04, 1, examples)
        + normal((LUCK * point) ** 2 / 2, seeds, 1)
        + normal(0.16, seeds, examples)
        for level in levels
    )
    return Study((new > 0) * 1.0, (old > 0) * 1.0)


EFFECT = 2.0
"""True difference of the study that the pictures show, in points."""


def shown(seeds: int = 5) -> Study:
    """Return the study that most pictures show, of 1,000 examples, with its first seeds: 10 or fewer."""
    return simulate(np.random.default_rng(15), seeds=10, effect=EFFECT).of_seeds(seeds)
