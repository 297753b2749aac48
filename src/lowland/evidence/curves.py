"""Learning curves: what training logs say by epoch, as the mean and the range over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lowland.evidence.core.metrics import Floats
from lowland.evidence.readers.history import Entries

POINTS = 14
"""Largest number of points of a curve; of longer ones, neighbours are averaged."""


@dataclass(frozen=True)
class Curve:
    """A quantity along the training of one method.

    Attributes:
        method: label of the method.
        seeds: number of seeds.
        epochs: where it was logged.
        mean: mean over seeds.
        low: lowest value of a seed.
        high: highest value of a seed.
    """

    method: str
    seeds: int
    epochs: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def learning_curve(method: str, histories: Iterable[Entries], quantity: str) -> Curve | None:
    """Return the curve of a quantity, at the epochs at which every seed has logged a finite value.

    A run that went on from a checkpoint may have logged an epoch twice; the later value counts.

    Args:
        method: label of the method.
        histories: training logs of its runs.
        quantity: name of the quantity in the log: "loss", "eval_accuracy".

    Returns:
        None if there are no such epochs.
    """
    logged = [
        {
            round(float(entry["epoch"]), 6): float(entry[quantity])
            for entry in entries
            if _is_number(entry.get("epoch")) and _is_number(entry.get(quantity))
        }
        for entries in histories
    ]
    shared = sorted(set.intersection(*map(set, logged))) if logged else []
    if not shared:
        return None
    values = np.array([[each[epoch] for epoch in shared] for each in logged])  # (S, T)
    parts = np.array_split(np.arange(len(shared)), min(len(shared), POINTS))
    thinned: Floats = np.stack([values[:, part].mean(axis=1) for part in parts], axis=1)  # (S, P)
    epochs = [float(np.mean([shared[place] for place in part])) for part in parts]
    return Curve(
        method=method,
        seeds=len(logged),
        epochs=tuple(epochs),
        mean=tuple(thinned.mean(axis=0).tolist()),
        low=tuple(thinned.min(axis=0).tolist()),
        high=tuple(thinned.max(axis=0).tolist()),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
