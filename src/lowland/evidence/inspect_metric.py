"""Metric for Inspect: the difference from the scores of an earlier log, paired by sample, with its interval."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pandas as pd
from inspect_ai.scorer import Metric, SampleScore, Value, metric

from lowland.evidence.pairing import LEAST_SHARE
from lowland.evidence.readers.inspect_results import number_of, read_inspect
from lowland.evidence.readers.table_results import Columns
from lowland.evidence.results import Results, as_results
from lowland.evidence.verdict import compare_results
from lowland.ground.mistakes import Mistake

NAMES = ("difference", "low", "high", "p")
"""Entries of the metric that a comparison has, too."""

_log = logging.getLogger(__name__)


@metric
def paired_difference(baseline: str, *, score: str | None = None, level: float = 0.95) -> Metric:
    """Return the mean score of this eval minus a baseline's, with the interval and the p of `lowland verdict`.

    Inspect stores the entries `difference`, `low`, `high` (of the interval), `p` and `samples` (the number that pairs)
    with the log. Epochs of a sample count as one, by the reducer of the eval. Inspect computes metrics while an eval
    runs, too: samples that are not scored yet are left out. A metric must not end an eval, so entries are NaN, with
    a warning, if the samples cannot be compared: under 90 % of this eval's are in the baseline, or fewer than two.

    Args:
        baseline: path of a finished log (.eval) of the same samples.
        score: name of the score in the baseline, if it has several.
        level: level of the interval, 0 to 1.

    Raises:
        Mistake: before the eval starts, if the baseline cannot be read.

    Examples:
        >>> Task(dataset, scorer=match(metrics=[accuracy(), paired_difference("logs/before.eval")]))
    """
    reference, *others = read_inspect(Path(baseline), score, Columns())
    if others:
        raise Mistake(f"{baseline} holds logs of several models; name the log of one")

    def compute(scores: list[SampleScore]) -> Value:
        known = set(reference.rows["example"])
        paired = [each for each in scores if str(each.sample_id) in known]
        if len(paired) < max(2, LEAST_SHARE * len(scores)):
            return _nothing(f"{len(paired)} of {len(scores)} samples are in {baseline}", len(paired))
        try:
            return _entries(paired, reference, level)
        except Mistake as mistake:
            return _nothing(str(mistake), len(paired))

    return compute


def _entries(
    scores: list[SampleScore], reference: Results, level: float
) -> dict[str, str | int | float | bool | None]:
    table = pd.DataFrame(
        {
            "example": [str(each.sample_id) for each in scores],
            "score": [number_of(each.score.value) for each in scores],
        }
    )
    results = as_results(table, "this eval", reference.metric, "this eval")
    [verdict] = compare_results([reference, results], level=level, partial=True)
    return {**{name: getattr(verdict.comparison, name) for name in NAMES}, "samples": len(scores)}


def _nothing(reason: str, samples: int) -> dict[str, str | int | float | bool | None]:
    """Return entries without numbers, and warn of the reason unless the eval has just begun."""
    if samples > 1:
        _log.warning("paired_difference is not known: %s", reason)
    return {**dict.fromkeys(NAMES, math.nan), "samples": samples}
