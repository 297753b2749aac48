"""Report of behavioural tests as plain values, for `--json`."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from lowland.evidence.behaviour import BehaviourDifference, PassRate, behaviour_evidence
from lowland.evidence.behaviour_failures import Failure, worst_failures
from lowland.ground.records import StressRecord


def behaviour_as_json(
    rows: pd.DataFrame, record: StressRecord, *, reference: str | None = None
) -> dict[str, Any]:
    """Return what the report of a behavioural test says as plain values; rates and differences are shares.

    Args:
        rows: its rows.
        record: its record, which names the suite.
        reference: the method that the others are compared with; None takes LoRA if it took part, else the first.
    """
    evidence = behaviour_evidence(rows, reference=reference)
    return {
        "suite": record.asked.get("suite"),
        "about": record.items.get("about"),
        "reference": evidence.reference,
        "level": evidence.level,
        "seeds": list(evidence.seeds),
        "pass_rates": [_rate(rate) for rate in evidence.rates],
        "differences": [_difference(difference) for difference in evidence.differences],
        "not_compared": list(evidence.unpaired),
        "failures": [_failure(failure) for failure in worst_failures(rows)],
    }


def _rate(rate: PassRate) -> dict[str, Any]:
    return {
        **asdict(rate.scope),
        "method": rate.method,
        "seeds": rate.seeds,
        "pass_rate": rate.value,
        "low": rate.low,
        "high": rate.high,
    }


def _difference(difference: BehaviourDifference) -> dict[str, Any]:
    interval = difference.interval
    return {
        **asdict(difference.scope),
        "method": difference.method,
        "reference": difference.reference,
        "difference": interval.difference,
        "low": interval.low,
        "high": interval.high,
        "per_seed": list(interval.per_seed),
        "p": interval.p,
        "p_holm": difference.p_holm,
        "is_shown": difference.is_shown,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    """Return a failing case; a probability that there is none of is null."""
    values = asdict(failure)
    for run in values["runs"]:
        run["p_original"] = None if math.isnan(run["p_original"]) else run["p_original"]
    return values
