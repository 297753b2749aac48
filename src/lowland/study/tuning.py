"""Outcome of a search for settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowland.study.search import Range


@dataclass(frozen=True)
class Tuning:
    """Outcome of the search for one method.

    Attributes:
        label: label of the method.
        space: range of each searched setting.
        trials: settings and validation score of each trial, in their order; no score for one that diverged.
        best: settings of the best trial.
        examples: number of training examples that all trials saw together.
        score: name of the score.
    """

    label: str
    space: Mapping[str, Range]
    trials: Sequence[Mapping[str, Any]]
    best: Mapping[str, Any]
    examples: int
    score: str

    @property
    def best_so_far(self) -> list[float | None]:
        """Best validation score up to each trial; None before the first that has one."""
        best, curve = -math.inf, []
        for trial in self.trials:
            best = max(best, -math.inf if trial["score"] is None else trial["score"])
            curve.append(None if best == -math.inf else best)
        return curve

    def describe(self) -> dict[str, Any]:
        """Return the entry for a record: plain values."""
        return {
            "space": {name: values.describe() for name, values in self.space.items()},
            "trials": [dict(trial) for trial in self.trials],
            "best": dict(self.best),
            "best_so_far": self.best_so_far,
            "examples": self.examples,
            "score": self.score,
        }
