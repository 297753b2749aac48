"""Slices: the loss on the line between two solutions, with its barrier, and on planes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from lowland.evidence.readers.slices import MeasuredSlice, MeasuredSlices
from lowland.evidence.slices import Barrier, barrier_on, mean_losses
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Data, Figure, Link, Paragraph
from lowland.report.cells import Cell, Column, Row
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.svg import Drawing
from lowland.report.slices import barrier_sentence
from lowland.report.surface import Surface, surfaces_of

Curve = tuple[str, list[tuple[float, float]]]
"""Name of a split, and its points (x, loss)."""


def slice_blocks(slices: Sequence[MeasuredSlices], methods: int, surface: str | None) -> list[Block]:
    """Build the blocks of all lines, then those of all planes.

    Args:
        slices: folders of `lowland measure slices`.
        methods: number of the page's methods; the looks behind theirs are those of the splits.
        surface: name of the file beside the page in which the planes can be turned; None if there is none.
    """
    blocks: list[Block] = [Paragraph(_about(slices))]
    barriers = [
        (each, split, barrier_on(each.losses[each.losses["split"] == split]))
        for measured in slices
        for each in measured.slices
        if each.is_between
        for split in measured.sizes
    ]
    if barriers:
        sentences = tuple(
            barrier_sentence(visible(each.title), split, barrier) for each, split, barrier in barriers
        )
        blocks.append(Bullets(sentences))
    lines = [(each, measured.sizes) for measured in slices for each in measured.slices if each.is_line]
    if lines:
        blocks.append(_line_figure(lines, methods))
    if barriers:
        blocks.append(_barriers(barriers))
    if surfaces := surfaces_of(slices):
        blocks += _planes(surfaces, surface)
    return blocks


def _about(slices: Sequence[MeasuredSlices]) -> str:
    sizes = {split: size for measured in slices for split, size in measured.sizes.items()}
    examples = ", ".join(f"{plural(size, 'example')} of {visible(split)}" for split, size in sizes.items())
    return (
        f"The mean loss (nats) on {examples}, along lines and planes through the weights. Between places all weights"
        " change, the head, too. A slice shows one or two of millions of directions. A barrier is the largest height of"
        " the loss above the straight line between the losses of the ends."
    )


def _line_figure(lines: Sequence[tuple[MeasuredSlice, object]], methods: int) -> Figure:
    splits: list[str] = list(
        dict.fromkeys(str(split) for each, _ in lines for split in each.losses["split"].unique())
    )
    rows: list[Row] = []
    plots = []
    for each, _ in lines:
        curves = [(split, _points(each, split)) for split in splits]
        plots.append(_line(each, curves, methods))
        rows += [
            (visible(each.title), visible(split), x, loss) for split, points in curves for x, loss in points
        ]
    columns = (
        Column("line", "line"),
        Column("split", "data"),
        Column("x", "x", "number", ".3g"),
        Column("loss", "mean loss", "number", ".4g"),
    )
    return Figure(
        "lines",
        "Mean loss along each line. Between two places, x goes from 0 at the first to 1 at the second; around one run,"
        " 1 is a change as large as the weights.",
        tuple(plots),
        Data("lines", "Mean loss along lines", columns, tuple(rows), heading=2),
        legend={methods + place: f"{visible(split)} data" for place, split in enumerate(splits)},
    )


def _points(line: MeasuredSlice, split: str) -> list[tuple[float, float]]:
    means = mean_losses(line.losses[line.losses["split"] == split]).sort_values("x")
    return [(float(x), float(loss)) for x, loss in zip(means["x"], means["loss"], strict=True)]


def _line(each: MeasuredSlice, curves: Sequence[Curve], methods: int) -> Drawing:
    finite = {split: [point for point in points if math.isfinite(point[1])] for split, points in curves}
    lines = [
        Line(split, methods + place, tuple(points))
        for place, (split, points) in enumerate(finite.items())
        if points
    ]
    words = "; ".join(
        f"{line.name} data: {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}, at most"
        f" {max(y for _, y in line.points):.3g}"
        for line in lines
    )
    title = visible(each.title)
    return plot(lines, Frame(title[:1].upper() + title[1:], f"Loss. {words}.", "x"))


def _barriers(barriers: Sequence[tuple[MeasuredSlice, str, Barrier]]) -> Data:
    columns = (
        Column("line", "line"),
        Column("split", "data"),
        Column("height", "barrier, nats", "interval", ".3g"),
        Column("x", "at x", "number", ".2g"),
    )
    rows: list[Row] = []
    for each, split, barrier in barriers:
        interval = barrier.interval
        height: Cell = barrier.height if interval is None else (barrier.height, interval.low, interval.high)
        rows.append((visible(each.title), visible(split), height, barrier.x if barrier.height else None))
    caption = "Barriers, with 95 % intervals over examples; empty if a loss is not finite"
    return Data("barriers", caption, columns, tuple(rows), heading=2)


def _planes(surfaces: Sequence[Surface], file: str | None) -> list[Block]:
    """Build a figure for each plane, and the link to the file in which they can be turned."""
    blocks: list[Block] = []
    if file is not None:
        blocks.append(Link("Turn these planes as surfaces", file))
    for number, (plane, each) in enumerate(
        groupby(surfaces, lambda surface: (surface.plane, surface.xs)), start=1
    ):
        own = list(each)
        blocks.append(
            Figure(
                f"plane-{number}",
                f"Mean loss on {plane[0]}. Lighter is higher. Each axis has a scale of its own: look at the numbers.",
                tuple(surface.drawing for surface in own),
                _grid(f"plane_{number}", plane[0], own),
            )
        )
    return blocks


def _grid(name: str, plane: str, surfaces: Sequence[Surface]) -> Data:
    columns = (
        Column("split", "data"),
        Column("y", "y \\ x", "number", ".3g"),
        *[Column(f"x={x:.6g}", f"{x:.3g}", "number", ".4g") for x in surfaces[0].xs],
    )
    rows: list[Row] = [
        (surface.split, y, *[surface.losses[x, y] for x in surface.xs])
        for surface in surfaces
        for y in reversed(surface.ys)
    ]
    return Data(name, f"Mean loss on the grid, {plane}", columns, tuple(rows), heading=2)
