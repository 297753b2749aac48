"""A/A check of a comparison: how often its rule would give a verdict if both methods were equally good."""

from __future__ import annotations

import math

import numpy as np

from lowland.evidence.core.arrays import check_groups, count_groups
from lowland.evidence.core.intervals import variances_of
from lowland.evidence.core.metrics import Floats
from lowland.evidence.core.variances import half_width
from lowland.evidence.pairing import Pairing

STUDIES = 2000
"""Number of studies that are simulated."""


def false_verdicts(pairing: Pairing, level: float = 0.95, studies: int = STUDIES, seed: int = 0) -> float:
    """Return the share of simulated studies without a difference that get a verdict.

    The studies vary as the given one does. Its differences (S, G) of the groups are split into the effects of seeds and
    of groups, and a rest. A simulated study has new effects of seeds (normal, of their estimated variance), and the
    effects of groups and the rest drawn from the given ones with random signs. With one seed there are only effects of
    groups.

    Args:
        pairing: scores of two results.
        level: level of the interval.
        studies: number of studies to simulate.
        seed: seed of the simulation.

    Returns:
        Share of the studies whose interval excludes 0, 0 to 1; it should be near 1 - level.
    """
    member = check_groups(pairing.groups, len(pairing.examples))
    groups = count_groups(member)
    differences = pairing.scores - pairing.scores_reference
    sums = [np.bincount(member, row, groups).astype(np.float64) for row in differences]
    table: Floats = np.stack(sums) * (groups / member.size)  # (S, G)
    variances = variances_of(differences, member)
    rows, columns = table.mean(axis=1, keepdims=True), table.mean(axis=0) - table.mean()
    rest = table - rows - columns
    count = len(table)
    of_seeds = math.sqrt(max(float(variances.seeds - variances.interaction), 0.0) * count)
    if count > 1:  # a mean over seeds contains some of the rest
        share = float(variances.examples_alone / variances.examples) if variances.examples > 0 else 0.0
        columns, rest = columns * np.sqrt(share), rest * np.sqrt(count / (count - 1))
    rng = np.random.default_rng(seed)
    numbered, verdicts = np.arange(groups), 0
    for _ in range(studies):
        effects = rng.permutation(columns) * rng.choice((-1.0, 1.0), groups)
        chance = rng.permuted(rest, axis=1) * rng.choice((-1.0, 1.0), rest.shape)
        study = rng.normal(0, of_seeds, (count, 1)) + effects + chance
        half = half_width(variances_of(study, numbered), count, groups, level)
        verdicts += int(abs(study.mean()) > half)
    return verdicts / studies
