"""Error analysis of a study's runs: which examples they get wrong, of which kinds, how surely, and in how many runs.

A prediction is right if its score is 0.5 or more; scores of classes are 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.evidence.categories import (
    LEAST_GROUPS,
    CategoryScores,
    category_scores,
    recorded_categories,
    rule_categories,
)
from lowland.evidence.core.arrays import check_groups
from lowland.evidence.core.confidence import (
    CalibrationError,
    ReliabilityBin,
    accuracy_at,
    calibration_error,
    reliability,
    risk_area,
)
from lowland.evidence.core.intervals import PairedInterval, paired_interval
from lowland.evidence.readers.answers import Answers
from lowland.evidence.wrong_examples import (
    Changes,
    ConfidentMistake,
    NeverRight,
    changes,
    churn,
    confident_mistakes,
    never_right,
)

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
"""Shares of the examples for which the accuracy of the most confident predictions is computed."""


@dataclass(frozen=True)
class Confidence:
    """Calibration of a method's confidence, and accuracy on its surest answers.

    Attributes:
        error: expected calibration error.
        surplus: mean confidence minus accuracy, with its interval: above 0, the method is overconfident.
        bins: confidence and accuracy by bin, all seeds together.
        selective: accuracy on the most confident share of the examples, for each of `COVERAGES`.
        risk_area: area under the curve of risk over coverage.
    """

    error: CalibrationError
    surplus: PairedInterval
    bins: tuple[ReliabilityBin, ...]
    selective: tuple[float, ...]
    risk_area: float


@dataclass(frozen=True)
class ErrorAnalysis:
    """Results of an error analysis.

    Attributes:
        answers: predictions of the runs.
        method: method that is shown in detail.
        reference: method that the others are compared with.
        categories: accuracy by category of the data.
        rules: accuracy by rule for texts.
        never_right: examples that every run gets wrong.
        confidence: how far confidences can be relied on, for methods with probabilities.
        changes: examples that each other method fixes and breaks against the reference.
        churn: share of predictions that are right in one of two seeds only, for each method.
        mistakes: most confident mistakes of the method.
    """

    answers: Answers
    method: str
    reference: str
    categories: Sequence[CategoryScores]
    rules: Sequence[CategoryScores]
    never_right: Sequence[NeverRight]
    confidence: Mapping[str, Confidence]
    changes: Sequence[Changes]
    churn: Mapping[str, float]
    mistakes: Sequence[ConfidentMistake]


def analyse(answers: Answers, *, method: str, reference: str, rules: bool = True) -> ErrorAnalysis:
    """Analyse the errors of runs.

    Args:
        answers: predictions of the runs.
        method: method to show in detail.
        reference: method to compare the others with.
        rules: sort English texts by `TEXT_RULES`, too.
    """
    confidence = {name: confidence_of(answers, name) for name in answers.methods}
    changed = [changes(answers, name, reference) for name in answers.methods if name != reference]
    return ErrorAnalysis(
        answers=answers,
        method=method,
        reference=reference,
        categories=category_scores(answers, recorded_categories(answers)),
        rules=category_scores(answers, rule_categories(answers)) if rules else (),
        never_right=never_right(answers),
        confidence={name: each for name, each in confidence.items() if each is not None},
        changes=[each for each in changed if each is not None],
        churn={name: churn(each) for name, each in answers.methods.items()},
        mistakes=confident_mistakes(answers.methods[method]),
    )


def confidence_of(answers: Answers, method: str) -> Confidence | None:
    """Measure how far a method's confidence can be relied on.

    Returns:
        None if its probabilities are not known, or there are fewer than `LEAST_GROUPS` groups of examples.
    """
    each = answers.methods[method]
    if each.confidence is None or answers.examples["group"].nunique() < LEAST_GROUPS:
        return None
    member = check_groups(answers.examples["group"], len(answers.examples))
    return Confidence(
        error=calibration_error(each.confidence, each.right, member),
        surplus=paired_interval(each.confidence, each.right, groups=member),
        bins=reliability(each.confidence, each.right),
        selective=tuple(accuracy_at(coverage, each.confidence, each.right) for coverage in COVERAGES),
        risk_area=risk_area(each.confidence, each.right),
    )
