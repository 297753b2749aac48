"""A/A check of a comparison: how often its rule would give a verdict if both methods were equally good."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import numpy as np

from lowland.evidence.core.arrays import check_groups, count_groups
from lowland.evidence.core.intervals import variances_of
from lowland.evidence.core.metrics import Floats
from lowland.evidence.core.variances import Variances, half_width

STUDIES = 2000
"""Number of studies that are simulated."""

_CELLS = 2_000_000  # differences held in memory at once


def false_verdicts(
    scores: Floats,
    scores_reference: Floats,
    groups: Iterable[Hashable],
    *,
    level: float = 0.95,
    studies: int = STUDIES,
    seed: int = 0,
) -> float:
    """Return the share of simulated studies without a difference that get a verdict.

    The studies vary as the given study does. Its differences (S, G) of the groups are split into the effects of seeds
    and of groups, and a rest. A simulated study has new effects of seeds (normal, of their estimated variance); its
    effects of groups and its rest are drawn from those of the study, with random signs. With one seed there are only
    effects of groups.

    Args:
        scores: (S, N) scores of a method.
        scores_reference: (S, N) scores of the reference.
        groups: (N,) groups of the examples.
        level: level of the interval.
        studies: number of studies to simulate.
        seed: seed of the simulation.

    Returns:
        Share of the studies whose interval excludes 0, 0 to 1; it should be near 1 - level.
    """
    member = check_groups(groups, scores.shape[1])
    of_seeds, columns, rest = _effects(scores - scores_reference, np.asarray(member))
    seeds, width = rest.shape
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // rest.size)
    verdicts = 0
    for start in range(0, studies, block):
        count = min(block, studies - start)
        drawn = _signed_draws(rng, columns, (count, width))[:, None]  # (B, 1, G)
        chance = np.stack([_signed_draws(rng, row, (count, width)) for row in rest], axis=1)  # (B, S, G)
        simulated = rng.normal(0, of_seeds, (count, seeds, 1)) + drawn + chance
        half = half_width(_variances_of_each(simulated), seeds, width, level)
        verdicts += int((np.abs(simulated.mean(axis=(1, 2))) > half).sum())
    return verdicts / studies


def _effects(differences: Floats, member: np.ndarray) -> tuple[float, Floats, Floats]:
    """Split differences (S, N): standard deviation of the seeds' effects, effects of groups (G,), and rest (S, G)."""
    groups = count_groups(member)
    sums = [np.bincount(member, row, groups).astype(np.float64) for row in differences]
    table: Floats = np.stack(sums) * (groups / member.size)  # (S, G)
    seeds = len(table)
    variances = variances_of(differences, member)
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0) - table.mean()
    rest = table - rows - columns
    of_seeds = math.sqrt(max(float(variances.seeds - variances.interaction), 0.0) * seeds)
    if seeds > 1:  # a mean over seeds contains some of the rest
        share = float(variances.examples_alone / variances.examples) if variances.examples > 0 else 0.0
        columns, rest = columns * np.sqrt(share), rest * np.sqrt(seeds / (seeds - 1))
    return of_seeds, columns, rest


def _signed_draws(rng: np.random.Generator, values: Floats, shape: tuple[int, int]) -> Floats:
    """Draw values (G,) with replacement, each with a random sign."""
    both = np.concatenate([values, -values])
    return both[rng.integers(len(both), size=shape, dtype=np.uint32)]


def _variances_of_each(differences: Floats) -> Variances:
    """Compute the parts of the variance of each mean difference, as `variances_of` does for one study.

    Args:
        differences: (B, S, G) differences of B studies; each group has one example.
    """
    _, seeds, groups = differences.shape
    added = (differences - differences.mean(axis=2, keepdims=True)) / groups  # (B, S, G)
    together = added.mean(axis=1)  # (B, G)
    scale = groups / (groups - 1)
    examples = scale * (together**2).sum(axis=1)
    if seeds == 1:
        return Variances(np.zeros_like(examples), examples, np.zeros_like(examples))
    squares = (added**2).sum(axis=(1, 2)) - seeds * (together**2).sum(axis=1)
    return Variances(
        seeds=differences.mean(axis=2).var(axis=1, ddof=1) / seeds,
        examples=examples,
        interaction=scale * squares / (seeds * (seeds - 1)),
    )
