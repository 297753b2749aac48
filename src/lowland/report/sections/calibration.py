"""Calibration: is a prediction right as often as its confidence says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.evidence.core.confidence import ReliabilityBin
from lowland.evidence.errors import COVERAGES
from lowland.evidence.study_evidence import StudyEvidence
from lowland.report.blocks import Block, Bullets, Data, Figure
from lowland.report.cells import Column
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.error_sentences import confidence_sentences


def calibration_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build the reliability curves, the calibration errors, and accuracy by coverage; none without confidences."""
    analysis = evidence.analysis
    if analysis is None or not analysis.confidence:
        return []
    confidence, names = analysis.confidence, evidence.names
    bins = {name: [each for each in figures.bins if each.count] for name, figures in confidence.items()}
    words = "; ".join(f"{name}: ECE {100 * each.error.value:.1f} points" for name, each in confidence.items())
    reliability = plot(
        [
            Line(name, names.index(name), tuple((each.confidence, each.accuracy) for each in filled))
            for name, filled in bins.items()
        ],
        Frame("Accuracy by confidence", f"{words}.", "mean confidence of the bin", unit=True),
    )
    coverage = plot(
        [
            Line(
                name,
                names.index(name),
                tuple(zip(reversed(COVERAGES), reversed(each.selective), strict=True)),
            )
            for name, each in confidence.items()
        ],
        Frame(
            "Accuracy if unsure answers are left out", f"{_selective(evidence)}.", "share that is answered"
        ),
    )
    figure = Figure(
        "calibration",
        "Left: on the dashed line, predictions are right as often as their confidence says; below it, methods are"
        " overconfident. Confidence is the largest probability; all seeds together, in ten bins. Right: accuracy of the"
        " most confident predictions.",
        (reliability, coverage),
        _reliability(bins),
        legend={names.index(name): name for name in confidence},
    )
    return [Bullets(tuple(confidence_sentences(analysis))), figure, _errors(evidence), _coverage(evidence)]


def _reliability(bins: Mapping[str, Sequence[ReliabilityBin]]) -> Data:
    """Build the table of the bins that hold predictions, by method."""
    columns = (
        Column("method", "method"),
        Column("from", "confidence from", "number", ".1f"),
        Column("to", "to", "number", ".1f"),
        Column("count", "predictions", "number"),
        Column("confidence", "mean confidence", "number", ".3f"),
        Column("accuracy", "accuracy", "number", ".3f"),
    )
    rows = tuple(
        (name, each.low, each.high, each.count, each.confidence, each.accuracy)
        for name, filled in bins.items()
        for each in filled
    )
    return Data("reliability", "Reliability by bin of confidence", columns, rows)


def _selective(evidence: StudyEvidence) -> str:
    assert evidence.analysis is not None
    return "; ".join(
        f"{name}: {each.selective[-1]:.3f} of the surest half, {each.selective[0]:.3f} of all"
        for name, each in evidence.analysis.confidence.items()
    )


def _errors(evidence: StudyEvidence) -> Data:
    """Build the table of calibration errors, in points."""
    assert evidence.analysis is not None
    columns = (
        Column("method", "method"),
        Column("surplus", "confidence - accuracy", "interval", "+.1f", 100),
        Column("ece", "calibration error (ECE)", "interval", ".1f", 100),
        Column("ece_by_chance", "ECE by chance alone", "number", ".1f", 100),
        Column("ece_by_chance_high", "up to", "number", ".1f", 100),
        Column("risk_area", "area under risk and coverage", "number", ".1f", 100),
    )
    rows = tuple(
        (
            name,
            (each.surplus.difference, each.surplus.low, each.surplus.high),
            (each.error.value, each.error.low, each.error.high),
            each.error.by_chance,
            each.error.by_chance_high,
            each.risk_area,
        )
        for name, each in evidence.analysis.confidence.items()
    )
    return Data("calibration", "Calibration, in points, with 95 % intervals", columns, rows)


def _coverage(evidence: StudyEvidence) -> Data:
    assert evidence.analysis is not None
    confidence = evidence.analysis.confidence
    columns = (
        Column("answered", "answered, %", "number", ".0f", 100),
        *[Column(name, name, "number", ".3f") for name in confidence],
    )
    rows = tuple(
        (coverage, *[each.selective[place] for each in confidence.values()])
        for place, coverage in enumerate(COVERAGES)
    )
    return Data("coverage", "Accuracy of the most confident predictions", columns, rows)
