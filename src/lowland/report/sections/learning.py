"""Learning curves: training loss and validation score by epoch, with the range over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowland.evidence.core.wording import score_name
from lowland.evidence.curves import Curve, learning_curve
from lowland.evidence.readers.history import Entries
from lowland.evidence.study_evidence import StudyEvidence
from lowland.report.blocks import Block, Data, Figure
from lowland.report.cells import Column
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.svg import Drawing


def learning_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build a figure of training loss, validation loss and validation score; none if nothing was logged."""
    histories = {
        name: [
            evidence.histories[folder] for folder, record in evidence.runs.items() if record.method == name
        ]
        for name in evidence.names
    }
    return curve_blocks(histories, dict(enumerate(evidence.names)), evidence.first.primary_score)


def curve_blocks(
    histories: Mapping[str, Sequence[Entries]],
    legend: Mapping[int, str],
    score: str,
    numbers: Mapping[str, int] | None = None,
) -> list[Block]:
    """Build a figure of training loss, validation loss and validation score; none if nothing was logged.

    Args:
        histories: training logs, by the name of their line.
        legend: names of the methods, by the number that gives their look.
        score: name of the primary score.
        numbers: number of the method of each line; default: lines are named as methods are.
    """
    numbers = numbers or {name: number for number, name in legend.items()}
    quantities = {
        "loss": "Training loss",
        "eval_loss": "Validation loss",
        f"eval_{score}": f"Validation {score_name(score)}",
    }
    curves = {
        title: [
            curve
            for name, logs in histories.items()
            if (curve := learning_curve(name, logs, quantity)) is not None
        ]
        for quantity, title in quantities.items()
    }
    curves = {title: each for title, each in curves.items() if each}
    if not curves:
        return []
    drawn = {numbers[curve.method] for each in curves.values() for curve in each}
    return [
        Figure(
            "learning",
            "By epoch: mean over seeds, and the range from the lowest to the highest seed. Of long curves, neighbouring"
            " entries of the log are averaged.",
            tuple(_plot(title, each, numbers) for title, each in curves.items()),
            _data(curves),
            legend={number: name for number, name in legend.items() if number in drawn},
        )
    ]


def _plot(title: str, curves: Sequence[Curve], numbers: Mapping[str, int]) -> Drawing:
    words = "; ".join(f"{curve.method} ends at {curve.mean[-1]:.4g}" for curve in curves)
    lines = [
        Line(
            curve.method,
            numbers[curve.method],
            tuple(zip(curve.epochs, curve.mean, strict=True)),
            curve.low if curve.seeds > 1 else (),
            curve.high if curve.seeds > 1 else (),
        )
        for curve in curves
    ]
    return plot(lines, Frame(title, f"{words}.", "epoch"))


def _data(curves: dict[str, list[Curve]]) -> Data:
    rows = tuple(
        (title, curve.method, epoch, (mean, low, high))
        for title, each in curves.items()
        for curve in each
        for epoch, mean, low, high in zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True)
    )
    columns = (
        Column("quantity", "quantity"),
        Column("method", "method"),
        Column("epoch", "epoch", "number", ".3g"),
        Column("mean", "mean (lowest to highest seed)", "interval", ".4f"),
    )
    return Data("learning_curves", "Learning curves", columns, rows, heading=2)
