"""Oracle of intervals: mean squares of the table of differences, seeds by examples, by textbook sums."""

import numpy as np
from scipy import stats


def anova_interval(differences, level=0.95):
    """Standard error and half-width for differences (S, N); see `lowland.evidence.paired_interval`."""
    s, n = differences.shape
    rows, columns, mean = differences.mean(axis=1), differences.mean(axis=0), differences.mean()
    of_seeds = n * ((rows - mean) ** 2).sum() / (s - 1)
    of_examples = s * ((columns - mean) ** 2).sum() / (n - 1)
    rest = differences - rows[:, None] - columns + mean
    of_rest = (rest**2).sum() / ((s - 1) * (n - 1))
    seeds, examples = of_seeds / (s * n), max(of_examples - of_rest, 0) / (s * n)
    weight = seeds / (seeds + examples)
    few, many = stats.t.ppf((1 + level) / 2, [s - 1, n - 1])
    quantile = many + (few - many) * weight ** (2 - 1 / (s - 1))
    least = examples + of_rest / (s * n) / 4
    error = np.sqrt(max(seeds + examples, least))
    return error, max(quantile * np.sqrt(seeds + examples), many * np.sqrt(least))
