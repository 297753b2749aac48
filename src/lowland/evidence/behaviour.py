"""Evidence of behavioural tests: shares of cases that methods pass, and their differences, paired by case and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from lowland.evidence.core.by_item import holm
from lowland.evidence.core.intervals import PairedInterval, paired_interval
from lowland.evidence.core.metrics import Floats
from lowland.evidence.readers.behaviour_rows import BehaviourScores, read_behaviour
from lowland.evidence.study import reference_of
from lowland.ground.mistakes import Mistake, one_of

By = Literal["test", "kind", "capability", "suite"]


@dataclass(frozen=True)
class Scope:
    """Cases that a number is over.

    Attributes:
        by: what the cases have in common: their "test", "kind" or "capability"; "suite" for all cases.
        name: name of the test, kind or capability; "" for all cases.
        kind: kind of the tests; "" if there are several.
        cases: number of cases.
        templates: number of templates that they were made from.
    """

    by: By
    name: str
    kind: str
    cases: int
    templates: int


@dataclass(frozen=True)
class PassRate:
    """Share of the cases that a method's runs pass.

    Attributes:
        method: label of the method.
        scope: the cases.
        seeds: number of seeds.
        value: mean over cases and seeds.
        low: lower end of the interval; None if there is none: all cases came out alike, or are of one template.
        high: upper end of the interval; None if there is none.
    """

    method: str
    scope: Scope
    seeds: int
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class BehaviourDifference:
    """Pass rate of a method minus that of the reference.

    Attributes:
        method: label of the method.
        reference: label of the reference.
        scope: the cases.
        interval: interval of the difference, over templates and seeds.
        p_holm: p-value after Holm's correction over all differences by the same property (test, kind, capability).
    """

    method: str
    reference: str
    scope: Scope
    interval: PairedInterval
    p_holm: float

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes 0, and p, without a correction, agrees."""
        low, high = self.interval.low, self.interval.high
        return (low > 0 or high < 0) and self.interval.p <= 1 - self.interval.level


@dataclass(frozen=True)
class BehaviourEvidence:
    """Evidence of several methods' runs on the cases of one suite.

    Attributes:
        reference: the method that the others are compared with.
        level: level of the intervals.
        seeds: all seeds.
        scopes: the tests, their kinds and capabilities, and the suite.
        rates: pass rates by method and scope.
        differences: each method minus the reference, by scope.
        unpaired: methods that share no seed with the reference, so that they are not compared with it.
    """

    reference: str
    level: float
    seeds: tuple[int, ...]
    scopes: tuple[Scope, ...]
    rates: tuple[PassRate, ...]
    differences: tuple[BehaviourDifference, ...]
    unpaired: tuple[str, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, the reference first."""
        return tuple(dict.fromkeys(rate.method for rate in self.rates))

    def scopes_by(self, by: By) -> tuple[Scope, ...]:
        """Return the scopes of one property of the cases."""
        return tuple(scope for scope in self.scopes if scope.by == by)


def behaviour_evidence(
    rows: pd.DataFrame, *, reference: str | None = None, level: float = 0.95
) -> BehaviourEvidence:
    """Compute pass rates and their differences.

    The cases of one template are alike, so that the template is the unit of the intervals (`paired_interval`). The
    interval of a pass rate is that of the difference from 0.

    Args:
        rows: rows of one behavioural test.
        reference: a method; None takes LoRA if it took part, else the first by name.
        level: level of the intervals, 0 to 1.

    Raises:
        Mistake: if the rows do not fit together, the reference is unknown, or `level` is out of its range.
    """
    scores = read_behaviour(rows)
    methods = sorted(scores.passed)
    chosen = reference if reference is not None else reference_of(methods)
    if chosen not in methods:
        raise Mistake(one_of("method", chosen, methods))
    methods.sort(key=lambda name: name != chosen)
    unpaired = [name for name in methods if not _shared_seeds(scores, name, chosen)]
    parts = _scopes(scores)
    differences = {
        by: _corrected(
            [
                difference
                for name in methods
                if name not in (chosen, *unpaired)
                for scope, mask in parts
                if scope.by == by and (difference := _difference(scores, name, chosen, scope, mask, level))
            ]
        )
        for by in dict.fromkeys(scope.by for scope, _ in parts)
    }
    return BehaviourEvidence(
        reference=chosen,
        level=level,
        seeds=tuple(sorted(int(seed) for seed in rows["seed"].unique())),
        scopes=tuple(scope for scope, _ in parts),
        rates=tuple(_rate(scores, name, scope, mask, level) for name in methods for scope, mask in parts),
        differences=tuple(difference for each in differences.values() for difference in each),
        unpaired=tuple(unpaired),
    )


def _scopes(scores: BehaviourScores) -> list[tuple[Scope, pd.Series]]:
    """Return all scopes, each with a mask (N,) of its cases."""
    cases = scores.cases
    masks: list[tuple[By, str, pd.Series]] = []
    columns: tuple[By, ...] = ("test", "kind", "capability")
    for by in columns:
        masks += [(by, str(name), cases[by] == name) for name in cases[by].unique()]
    masks.append(("suite", "", pd.Series(True, index=cases.index)))
    scopes = []
    for by, name, mask in masks:
        kinds = cases.loc[mask, "kind"].unique()
        kind = str(kinds[0]) if len(kinds) == 1 else ""
        scopes.append((Scope(by, name, kind, int(mask.sum()), cases.loc[mask, "group"].nunique()), mask))
    return scopes


def _shared_seeds(scores: BehaviourScores, method: str, reference: str) -> list[int]:
    ours, theirs = (scores.passed[name].columns for name in (method, reference))
    return [int(seed) for seed in ours if seed in theirs]


def _passed(scores: BehaviourScores, method: str, mask: pd.Series, seeds: Sequence[int]) -> Floats:
    """Return the passed cases (S, N) of a method."""
    return scores.passed[method].loc[mask, list(seeds)].to_numpy(np.float64).T


def _rate(scores: BehaviourScores, method: str, scope: Scope, mask: pd.Series, level: float) -> PassRate:
    """Compute a pass rate with its interval, which is that of the difference from 0, within 0 and 1."""
    seeds = _shared_seeds(scores, method, method)
    passed = _passed(scores, method, mask, seeds)
    value = float(passed.mean())
    if scope.templates < 2 or passed.min() == passed.max():
        return PassRate(method, scope, len(seeds), value, None, None)
    interval = paired_interval(passed, np.zeros_like(passed), groups=scores.groups(mask), level=level)
    return PassRate(method, scope, len(seeds), value, max(interval.low, 0.0), interval.high)


def _difference(
    scores: BehaviourScores, method: str, reference: str, scope: Scope, mask: pd.Series, level: float
) -> BehaviourDifference | None:
    """Compare a method with the reference; None if the cases are of one template, which says nothing of others."""
    if scope.templates < 2:
        return None
    seeds = _shared_seeds(scores, method, reference)
    ours, theirs = (_passed(scores, name, mask, seeds) for name in (method, reference))
    interval = paired_interval(ours, theirs, groups=scores.groups(mask), level=level)
    return BehaviourDifference(method, reference, scope, interval, interval.p)


def _corrected(differences: Sequence[BehaviourDifference]) -> tuple[BehaviourDifference, ...]:
    """Return the differences with Holm's correction over all of them."""
    corrected = holm([difference.interval.p for difference in differences])
    return tuple(replace(difference, p_holm=p) for difference, p in zip(differences, corrected, strict=True))
