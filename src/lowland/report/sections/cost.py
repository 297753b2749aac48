"""Cost against quality: seconds, trained parameters and memory, with the Pareto front."""

from __future__ import annotations

from lowland.evidence.core.wording import score_name
from lowland.evidence.study import MethodScores
from lowland.evidence.study_evidence import StudyEvidence
from lowland.report.blocks import Block, Data, Figure, Paragraph
from lowland.report.cells import Column
from lowland.report.drawing.scatter import Spot, scatter
from lowland.report.drawing.svg import Drawing
from lowland.report.study import pareto_sentence


def cost_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build plots of score against each cost; none for one method."""
    if len(evidence.methods) < 2:
        return []
    name = next(iter(evidence.methods[0].scores))
    costs = {
        "seconds of training": [method.seconds.mean for method in evidence.methods],
        "trained parameters": [float(method.trainable) for method in evidence.methods],
        "peak memory, MiB": [method.peak_bytes.mean / 2**20 for method in evidence.methods],
    }
    plots = tuple(
        _plot(evidence, cost, values, name)
        for cost, values in costs.items()
        if min(values) > 0 and len(set(values)) > 1
    )
    if not plots:
        return []
    figure = Figure(
        "cost",
        f"Mean {score_name(name)} with the range over seeds, against the mean cost of one run. Filled: on the Pareto"
        " front of all costs together, where costs that differ by less than 5 % count as equal. Dashed line: the front"
        " of the two axes of its plot.",
        plots,
        _data(evidence, name),
        legend=dict(enumerate(evidence.names)),
    )
    return [Paragraph(pareto_sentence(evidence.methods)), figure]


def _plot(evidence: StudyEvidence, cost: str, values: list[float], score: str) -> Drawing:
    spots = []
    for number, (method, value) in enumerate(zip(evidence.methods, values, strict=True)):
        low, mean, high = _range(evidence, method, score)
        spots.append(
            Spot(method.method, number, value, mean, low, high, method.method not in evidence.dominated)
        )
    words = "; ".join(f"{spot.name}: {spot.value:.4f} for {spot.cost:,.4g}" for spot in spots)
    title = f"{score_name(score)} by {cost.partition(',')[0]}"
    return scatter(spots, title[0].upper() + title[1:], f"{words}.", cost)


def _range(evidence: StudyEvidence, method: MethodScores, score: str) -> tuple[float, float, float]:
    """Return lowest, mean and highest score of a method's seeds."""
    values = [record.scores["test"][score] for record in evidence.records if record.method == method.method]
    return min(values), method.scores[score].mean, max(values)


def _data(evidence: StudyEvidence, score: str) -> Data:
    columns = (
        Column("method", "method"),
        Column(score, f"{score_name(score)} (lowest to highest seed)", "interval", ".4f"),
        Column("train_seconds", "seconds", "number", ".1f"),
        Column("trained_parameters", "trained parameters", "number"),
        Column("peak_mib", "peak memory, MiB", "number", ".0f"),
        Column("dominated_by", "dominated by"),
    )
    rows = []
    for method in evidence.methods:
        low, mean, high = _range(evidence, method, score)
        rows.append(
            (
                method.method, (mean, low, high), method.seconds.mean, method.trainable,
                method.peak_bytes.mean / 2**20 or None, evidence.dominated.get(method.method, ""),
            )
        )  # fmt: skip
    return Data("cost", "Cost and quality", columns, tuple(rows))
