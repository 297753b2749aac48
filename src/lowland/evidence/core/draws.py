"""The interval of a mean over seeds, draws of noise and examples that are all crossed with each other."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np

from lowland.evidence.core.arrays import check_groups, check_level, count_groups
from lowland.evidence.core.intervals import PairedInterval, variances_of
from lowland.evidence.core.metrics import Floats
from lowland.evidence.core.variances import Variances, equivalent_df, half_width, p_value


def crossed_interval(
    values: Floats, *, groups: Iterable[Hashable] | None = None, level: float = 0.95
) -> PairedInterval:
    """Compute the mean of values with an interval over seeds, draws and examples.

    All seeds share the draws, so seeds and draws are two crossed factors, as seeds and examples are in
    :func:`lowland.evidence.paired_interval`. A_s and A_d are the variances of the mean by seeds and by draws, each with
    the other averaged out. B is that by groups of examples, and C_s and C_d are the interactions with examples. Then
    the variance is ``A_s + A_d + max(B - C_s - C_d, 0)``. The interaction of seeds and draws is in A_s and in A_d, so
    it counts twice: the interval is too wide rather than too narrow. Student's quantile is that of the smaller number
    of seeds or draws. A factor with one level adds nothing: the interval then says nothing of other levels.

    Args:
        values: (S, K, N) of S seeds, K draws and N examples; finite.
        groups: (N,) the group of each example, at least two; None if the examples are independent.
        level: 0 to 1, both exclusive.

    Raises:
        Mistake: if there is only one group, or the level is out of range.
    """
    check_level(level)
    member = check_groups(groups, values.shape[2])
    by_seed, by_draw = variances_of(values.mean(axis=1), member), variances_of(values.mean(axis=0), member)
    parts = Variances(
        np.asarray(by_seed.seeds + by_draw.seeds),
        by_seed.examples,
        np.asarray(by_seed.interaction + by_draw.interaction),
    )
    crossed = min((count for count in values.shape[:2] if count > 1), default=1)
    n_groups = count_groups(member)
    mean, error = float(values.mean()), float(np.sqrt(parts.used))
    half = float(half_width(parts, crossed, n_groups, level))
    return PairedInterval(
        difference=mean,
        low=mean - half,
        high=mean + half,
        level=level,
        per_seed=tuple(values.mean(axis=(1, 2)).tolist()),
        standard_error=error,
        df=equivalent_df(half / error if error > 0 else 0.0, crossed, n_groups, level),
        p=p_value(mean, parts, crossed, n_groups),
        over_seeds=values.shape[0] > 1,
    )
