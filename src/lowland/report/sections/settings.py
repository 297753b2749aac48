"""Settings: the curves of an ablation, and how a search went on."""

from __future__ import annotations

from lowland.evidence.axes import SettingAxis, setting_axes
from lowland.evidence.core.wording import score_name
from lowland.evidence.study_evidence import StudyEvidence
from lowland.report.blocks import Block, Data, Figure
from lowland.report.cells import Column
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.svg import Drawing
from lowland.report.sweep import sweep_blocks

LOG_FROM = 20.0
"""Ratio of the largest value to the smallest from which on an axis is logarithmic."""


def ablation_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build plots of the score along each setting that an ablation varies; none if there is no such setting."""
    score = evidence.first.primary_score
    axes = setting_axes(evidence.records, score)
    if not axes:
        return []
    panels = list(dict.fromkeys((axis.method, axis.setting) for axis in axes))
    plots = tuple(
        _panel([axis for axis in axes if (axis.method, axis.setting) == panel], score) for panel in panels
    )
    columns = (
        Column("setting", "setting"),
        Column("value", "value", "number", ".3g"),
        Column("method", "method"),
        Column("others", "other settings"),
        Column(score, score_name(score), "spread", ".4f"),
        Column("seeds", "seeds", "number"),
    )
    rows = tuple(
        (axis.setting, point.value, point.label, axis.others, (point.score.mean, point.score.sd), point.seeds)
        for axis in axes
        for point in axis.points
    )
    caption = (
        f"Mean {score_name(score)} on the test set along each setting, with the range over seeds. The differences above"
        " say which of them are shown; do not choose a setting by its test score."
    )
    return [
        Figure(
            "ablation", caption, plots, Data("ablation", "Scores along settings", columns, rows, heading=2)
        )
    ]


def _panel(axes: list[SettingAxis], score: str) -> Drawing:
    values = [point.value for axis in axes for point in axis.points]
    lines = [
        Line(
            f"{axis.method} {axis.others}".strip(),
            number,
            tuple((point.value, point.score.mean) for point in axis.points),
            tuple(point.low for point in axis.points),
            tuple(point.high for point in axis.points),
        )
        for number, axis in enumerate(axes)
    ]
    words = "; ".join(f"{point.value:g}: {point.score.mean:.4f}" for axis in axes for point in axis.points)
    setting = axes[0].setting.replace("_", " ")
    frame = Frame(
        f"{score_name(score).capitalize()} of {axes[0].method} by {setting}",
        f"{words}.",
        setting,
        log=min(values) > 0 and max(values) / min(values) >= LOG_FROM,
        whiskers=True,
    )
    return plot(lines, frame)


def search_blocks(evidence: StudyEvidence) -> list[Block]:
    """Build the report of the search for settings: the best score so far by trial; none without a search."""
    tunings = {record.method: record.tuning for record in evidence.records if record.tuning}
    if not tunings:
        return []
    names = evidence.names
    curves = {
        name: [(trial + 1.0, value) for trial, value in enumerate(tuning["best_so_far"]) if value is not None]
        for name, tuning in tunings.items()
    }
    curves = {name: points for name, points in curves.items() if points}
    others = [name for name in names if name not in tunings]
    blocks = sweep_blocks(tunings, others)
    if not curves:
        return blocks
    words = "; ".join(f"{name}: {points[-1][1]:.4f}" for name, points in curves.items())
    score = score_name(next(iter(tunings.values()))["score"])
    drawing = plot(
        [Line(name, names.index(name), tuple(points)) for name, points in curves.items()],
        Frame(f"Best validation {score} so far", f"{words}.", "trials"),
    )
    columns = (
        Column("method", "method"),
        Column("trial", "trials", "number"),
        Column("best", f"best {score}", "number", ".4f"),
    )
    rows = tuple((name, int(trial), value) for name, points in curves.items() for trial, value in points)
    figure = Figure(
        "search",
        "Best score on validation data after so many trials.",
        (drawing,),
        Data("search", "Search for settings", columns, rows),
        legend={names.index(name): name for name in curves},
    )
    return [figure, *blocks]
