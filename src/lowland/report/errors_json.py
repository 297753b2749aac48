"""Error analysis as plain values for other programs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from lowland.evidence.categories import CategoryScores
from lowland.evidence.errors import ErrorAnalysis
from lowland.evidence.wrong_examples import confusion


def analysis_as_json(analysis: ErrorAnalysis) -> dict[str, Any]:
    """Return everything that an analysis shows; rows of examples refer to the list `examples`."""
    answers = analysis.answers
    has_classes = bool(answers.labels) and all(
        each.predicted is not None for each in answers.methods.values()
    )
    values = {
        "task": answers.task,
        "method": analysis.method,
        "reference": analysis.reference,
        "labels": list(answers.labels),
        "seeds": {method: list(each.seeds) for method, each in answers.methods.items()},
        "examples": answers.examples.to_dict(orient="records"),
        "confusion": {method: confusion(answers, method).tolist() for method in answers.methods}
        if has_classes
        else {},
        "categories": [_category(each) for each in analysis.categories],
        "rules": [_category(each) for each in analysis.rules],
        "never_right": [asdict(each) for each in analysis.never_right],
        "changes": [
            {
                **asdict(each),
                "fixed": each.fixed.tolist(),
                "broken": each.broken.tolist(),
                "share": each.share,
            }
            for each in analysis.changes
        ],
        "churn": dict(analysis.churn),
        "confident_mistakes": [asdict(each) for each in analysis.mistakes],
        "confidence": {method: asdict(each) for method, each in analysis.confidence.items()},
    }
    return {name: _finite(value) for name, value in values.items()}


def _category(scores: CategoryScores) -> dict[str, Any]:
    gap = None if scores.gap is None else asdict(scores.gap)
    return {
        "name": scores.name,
        "count": scores.count,
        "accuracy": dict(scores.accuracy),
        "gap": gap,
        "p_holm": scores.p_holm,
        "is_harder": scores.is_harder,
    }


def _finite(value: Any) -> Any:
    """Return a value without infinity and NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
