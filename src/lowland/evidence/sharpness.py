"""Sharpness of methods from the rises of the loss by run, draw and example, and its differences between methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lowland.evidence.core.by_item import holm
from lowland.evidence.core.draws import crossed_interval
from lowland.evidence.core.intervals import PairedInterval
from lowland.evidence.core.metrics import Floats

KEYS = ["split", "space", "measure", "strength"]
"""Columns that say what was measured."""
SPACES, MEASURES = ("full", "adapter"), ("expected", "sam", "worst", "adaptive")
"""Names of spaces and measures, in the order of a report."""


@dataclass(frozen=True)
class MeanRise:
    """Mean rise of the loss of one method, over its seeds, the draws and the examples.

    Attributes:
        method: its label.
        seeds: its seeds.
        mean: mean rise, in nats.
        interval: interval of the mean; None if all examples are in one group, which says nothing of others.
    """

    method: str
    seeds: tuple[int, ...]
    mean: float
    interval: PairedInterval | None


@dataclass(frozen=True)
class RiseDifference:
    """Difference of the mean rises of a method and a reference, paired by seed, draw and example; below 0 is flatter.

    Attributes:
        method: label of the method.
        reference: label of the reference.
        seeds: the seeds that both have.
        interval: the difference and its interval.
        p_holm: p-value with Holm's correction over the strengths of the measure and over the methods.
    """

    method: str
    reference: str
    seeds: tuple[int, ...]
    interval: PairedInterval
    p_holm: float


@dataclass(frozen=True)
class SharpnessAt:
    """Sharpness at one strength.

    Attributes:
        split: part of the data.
        space: space of weights.
        measure: name of the measure.
        strength: sigma, or radius.
        rises: mean rise of each method; a method is left out if it has no such space, or one of its seeds has no finite
            loss there.
        differences: differences from the reference.
    """

    split: str
    space: str
    measure: str
    strength: float
    rises: tuple[MeanRise, ...]
    differences: tuple[RiseDifference, ...]


def sharpness_of(table: pd.DataFrame, reference: str, level: float = 0.95) -> list[SharpnessAt]:
    """Compare the sharpness of methods with that of a reference, wherever it was measured.

    Args:
        table: the table of `lowland measure sharpness`; a method has one run for each seed.
        reference: label of the reference.
        level: level of the intervals, 0 to 1.

    Returns:
        The figures by split, space, measure and strength.
    """
    seeds = {str(method): set(rows["seed"]) for method, rows in table.groupby("method", sort=False)}
    splits = list(table["split"].unique())
    measured = [_at(rows, reference, seeds, level) for _, rows in table.groupby(KEYS, sort=False)]

    def place(at: SharpnessAt) -> tuple[int, int, int, float]:
        return (splits.index(at.split), SPACES.index(at.space), MEASURES.index(at.measure), at.strength)

    return _corrected(sorted(measured, key=place))


def _at(rows: pd.DataFrame, reference: str, seeds: Mapping[str, set[int]], level: float) -> SharpnessAt:
    by_method = {
        str(method): {seed: _by_draw(own[own["seed"] == seed]) for seed in sorted(seeds[str(method)])}
        for method, own in rows.groupby("method", sort=False)
        if set(own["seed"]) == seeds[str(method)]
    }
    groups = tuple(_examples(rows)["group"])
    rises = tuple(
        MeanRise(
            method,
            tuple(runs),
            float(np.mean([run.mean() for run in runs.values()])),
            _interval(np.stack(list(runs.values())), groups, level),
        )
        for method, runs in by_method.items()
    )
    split, space, measure, strength = (rows[key].iloc[0] for key in KEYS)
    return SharpnessAt(
        split, space, measure, float(strength), rises, _differences(by_method, reference, groups, level)
    )


def _differences(
    by_method: Mapping[str, Mapping[int, Floats]], reference: str, groups: Sequence[str], level: float
) -> tuple[RiseDifference, ...]:
    differences = []
    theirs = by_method.get(reference, {})
    for method, runs in by_method.items():
        shared = tuple(seed for seed in runs if seed in theirs)
        if method != reference and shared:
            values = np.stack([runs[seed] - theirs[seed] for seed in shared])
            interval = _interval(values, groups, level)
            if interval is not None:
                differences.append(RiseDifference(method, reference, shared, interval, interval.p))
    return tuple(differences)


def _interval(values: Floats, groups: Sequence[str], level: float) -> PairedInterval | None:
    return crossed_interval(values, groups=groups, level=level) if len(set(groups)) > 1 else None


def _by_draw(run: pd.DataFrame) -> Floats:
    """Return the rises (draws, examples) of one run, examples in the order of their numbers.

    An example that was split into several windows has their mean.
    """
    table = run.groupby(["draw", "example"])["rise"].mean().unstack()
    return np.asarray(table.to_numpy(np.float64))


def _examples(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates("example").sort_values("example")


def _corrected(measured: Sequence[SharpnessAt]) -> list[SharpnessAt]:
    """Return the differences with Holm's correction within each split, space and measure."""
    families: dict[tuple[str, str, str], list[int]] = {}
    for place, at in enumerate(measured):
        families.setdefault((at.split, at.space, at.measure), []).append(place)
    corrected = list(measured)
    for places in families.values():
        p = iter(holm([each.interval.p for place in places for each in measured[place].differences]))
        for place in places:
            differences = tuple(replace(each, p_holm=next(p)) for each in measured[place].differences)
            corrected[place] = replace(measured[place], differences=differences)
    return corrected
