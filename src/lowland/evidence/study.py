"""Scores of a study's runs: each method over its seeds, and in pairs with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowland.evidence.calibration import false_verdicts
from lowland.evidence.core.pairs import PairedComparison, compare_scores
from lowland.evidence.core.spread import Spread, spread_of
from lowland.evidence.readers.runs import pair_scores
from lowland.ground.mistakes import Mistake
from lowland.ground.records import RunRecord

SAME_COST = 0.05
"""Share by which measured seconds or bytes may differ and still count as equal."""


@dataclass(frozen=True)
class MethodScores:
    """Scores and cost of one method over its runs.

    Attributes:
        method: label of the method.
        seeds: seeds of its finished runs.
        scores: mean and standard deviation of each recorded score, by name, in the order of the records.
        trainable: number of trained parameters.
        share: their share of all parameters.
        seconds: training time of one run.
        peak_bytes: peak memory in training, one run.
    """

    method: str
    seeds: tuple[int, ...]
    scores: dict[str, Spread]
    trainable: int
    share: float
    seconds: Spread
    peak_bytes: Spread


def by_method(records: Sequence[RunRecord], split: str = "test") -> list[MethodScores]:
    """Summarize the scores of each method over its seeds on one test set, in the order of the records.

    Raises:
        Mistake: if the records do not have the same scores on that test set.
    """
    names = list(records[0].scores.get(split, {}))
    if different := [record for record in records if set(record.scores.get(split, {})) != set(names)]:
        raise Mistake(
            f"the runs of {records[0].method} and {different[0].method} have different scores on '{split}';"
            " report runs of one study"
        )
    methods = dict.fromkeys(record.method for record in records)
    return [
        _summarize([record for record in records if record.method == method], names, split)
        for method in methods
    ]


def dominated(methods: Sequence[MethodScores]) -> dict[str, str]:
    """Return the methods that are not on the Pareto front of quality and cost, each with a method that dominates it.

    A method dominates another if its mean is at least as good in the first score (higher is better), trained
    parameters, seconds and peak memory, and better in one of them. Seconds and memory are measured: less than
    `SAME_COST` counts as no difference. Memory counts only if it is known of all. Differences of scores may be chance.

    Args:
        methods: scores and cost of each method.
    """
    is_known = all(method.peak_bytes.mean for method in methods)

    def is_beaten(method: MethodScores, other: MethodScores) -> bool:
        """Return whether the other method dominates."""
        ours, theirs = (next(iter(each.scores.values())).mean for each in (method, other))
        measured = [(method.seconds.mean, other.seconds.mean)]
        measured += [(method.peak_bytes.mean, other.peak_bytes.mean)] if is_known else []
        is_better = [theirs > ours, other.trainable < method.trainable]
        is_better += [cost < (1 - SAME_COST) * own for own, cost in measured]
        is_worse = [theirs < ours, other.trainable > method.trainable]
        is_worse += [(1 - SAME_COST) * cost > own for own, cost in measured]
        return any(is_better) and not any(is_worse)

    return {
        method.method: other.method
        for method in methods
        for other in reversed(methods)
        if is_beaten(method, other)
    }


def compare_with_reference(
    runs: Mapping[Path, RunRecord], reference: str, *, split: str = "test"
) -> list[PairedComparison]:
    """Compare each method with the reference on one test set, paired by seed and test example.

    The predictions say which examples form a group. Seeds that only one of the two has finished are left out. Methods
    that share no seed with the reference are left out, and so are all methods if the test set has only one group:
    nothing can be concluded from it.

    Args:
        runs: records of finished runs, by folder.
        reference: label of the reference method.
        split: name of the test set.

    Raises:
        Mistake: if the runs of a pair have different data or test examples.
    """
    return [
        compare_scores(
            pair.scores,
            pair.scores_reference,
            method=pair.method,
            reference=pair.reference,
            metric=pair.metric,
            groups=pair.groups,
            seeds=pair.seeds,
        )
        for pair in pair_scores(runs, reference, split)
        if len(set(pair.groups)) > 1
    ]


def false_verdicts_of_study(
    runs: Mapping[Path, RunRecord], reference: str, *, split: str = "test"
) -> dict[str, float]:
    """Return how often each comparison with the reference would give a verdict without a difference (A/A), 0 to 1.

    Arguments and what is left out are those of :func:`compare_with_reference`.
    """
    return {
        pair.method: false_verdicts(pair.scores, pair.scores_reference, pair.groups)
        for pair in pair_scores(runs, reference, split)
        if len(set(pair.groups)) > 1 and not np.array_equal(pair.scores, pair.scores_reference)
    }


def reference_of(methods: Sequence[str]) -> str:
    """Return the method that the others are compared with: LoRA if it took part, else the first."""
    return "lora" if "lora" in methods else methods[0]


def reference_among(records: Sequence[RunRecord]) -> str:
    """Return the method that others are compared with; in an ablation, the method as it is.

    An ablation is recognised by its runs: they are all variations of one method, which stands among them.
    """
    names = {str(record.asked["method"].get("name")) for record in records}
    labels = list(dict.fromkeys(record.method for record in records))
    return names.pop() if len(names) == 1 and names <= set(labels) else reference_of(labels)


def _summarize(records: Sequence[RunRecord], names: Sequence[str], split: str) -> MethodScores:
    first = records[0]
    return MethodScores(
        method=first.method,
        seeds=tuple(record.seed for record in records),
        scores={name: spread_of([record.scores[split][name] for record in records]) for name in names},
        trainable=int(first.parameters["trainable"]),
        share=float(first.parameters["share"]),
        seconds=spread_of([record.cost["train_seconds"] for record in records]),
        peak_bytes=spread_of([record.cost["peak_bytes"] for record in records]),
    )
