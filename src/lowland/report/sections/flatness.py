"""Flatness: how much the loss rises near the weights of each method, by noise and in the worst direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import pandas as pd

from lowland.evidence.core.intervals import PairedInterval
from lowland.evidence.sharpness import MeanRise, RiseDifference, SharpnessAt, sharpness_of
from lowland.ground.mistakes import plural
from lowland.ground.visible import visible
from lowland.report.blocks import Block, Bullets, Data, Figure, Paragraph, Section
from lowland.report.cells import Cell, Column, Row
from lowland.report.drawing.lines import Frame, Line, plot
from lowland.report.drawing.strips import Reading, strips
from lowland.report.drawing.svg import Drawing
from lowland.report.sharpness import MEASURES, SPACES, sharpness_sentences

EXPECTED = "expected"
"""The measure that has several strengths."""
SHORT = {"sam": "SAM's step", "worst": "worst case", "adaptive": "adaptive"}
"""Names of the measures with one strength, below a plot."""
TEST = "test"
ADAPTER = "adapter"
"""The space of A and B."""
ABOUT_ADAPTERS = (
    "Figures in this space depend on the scale of A and B: compare only methods that share rank, alpha and"
    " initialisation."
)


def flatness_blocks(table: pd.DataFrame, reference: str, names: Sequence[str]) -> list[Block]:
    """Build a section for each space of weights.

    Args:
        table: the table of `lowland measure sharpness`.
        reference: method that the others are compared with.
        names: names of the page's methods, whose places give their looks.
    """
    figures = sharpness_of(table, reference)
    blocks: list[Block] = [Paragraph(_about(table))]
    spaces: dict[str, list[SharpnessAt]] = {}
    for at in figures:
        spaces.setdefault(at.space, []).append(at)
    for space, each in spaces.items():
        blocks.append(Section(_capitalised(SPACES[space]), tuple(_of_space(space, each, reference, names))))
    if ended := _ended(table):
        blocks.append(Bullets(tuple(ended)))
    return blocks


def _about(table: pd.DataFrame) -> str:
    sizes = {str(split): int(rows["example"].nunique()) for split, rows in table.groupby("split", sort=False)}
    examples = ", ".join(f"{plural(count, 'example')} of {visible(split)}" for split, count in sizes.items())
    draws = int(table.loc[table["measure"] == EXPECTED, "draw"].nunique())
    noise = (
        f" Expected sharpness has {plural(draws, 'draw')} of noise, each with both signs." if draws else ""
    )
    return (
        f"How much the loss (nats) rises near the trained weights, on {examples}; less is flatter.{noise} Intervals are"
        " 95 % intervals. Those of the differences are paired by seed, draw and example, so they say more than those of"
        " the rises. A flat run need not generalise."
    )


def _of_space(
    space: str, figures: Sequence[SharpnessAt], reference: str, names: Sequence[str]
) -> list[Block]:
    """Build sentences, the plots of one split, and the tables of all splits."""
    splits = {split: list(each) for split, each in groupby(figures, lambda at: at.split)}
    drawn = TEST if TEST in splits else list(splits)[-1]
    blocks: list[Block] = [Paragraph(ABOUT_ADAPTERS)] if space == ADAPTER else []
    for split, each in splits.items():
        sentences = tuple(sharpness_sentences(each))
        if sentences:
            named = f"{_capitalised(visible(split))} data: " if len(splits) > 1 else ""
            blocks.append(Bullets(tuple(f"{named}{sentence}" for sentence in sentences)))
    blocks.append(_figure(space, drawn, splits[drawn], reference, names, differences=False))
    if any(at.differences for at in splits[drawn]):
        blocks.append(_figure(space, drawn, splits[drawn], reference, names, differences=True))
    for split, each in splits.items():
        if split != drawn:
            blocks.append(_rises(space, split, each, names))
            if any(at.differences for at in each):
                blocks.append(_differences(space, split, each, reference, names))
    return blocks


def _figure(
    space: str,
    split: str,
    figures: Sequence[SharpnessAt],
    reference: str,
    names: Sequence[str],
    *,
    differences: bool,
) -> Figure:
    """Build the plots of the rises, or of their differences, and the table of their values."""
    ladder = [at for at in figures if at.measure == EXPECTED and (at.differences or not differences)]
    climbs = [at for at in figures if at.measure != EXPECTED and (at.differences or not differences)]
    title = "Difference" if differences else "Rise"
    plots: list[Drawing] = []
    if ladder:
        plots.append(_ladder(f"{title} by noise", ladder, names, differences=differences))
    if climbs:
        plots.append(_climbs(f"{title} in the worst direction", climbs, names, differences=differences))
    strengths = "; ".join(f"{MEASURES[at.measure]}, radius {at.strength:g}" for at in climbs)
    where = f"on {visible(split)} data, in nats with 95 % intervals{f' ({strengths})' if strengths else ''}"
    if differences:
        caption = f"Difference from {reference} in the rise of the loss {where}; below 0 is flatter."
        data = _differences(space, split, figures, reference, names)
    else:
        caption, data = f"Rise of the loss {where}.", _rises(space, split, figures, names)
    drawn = {each.method for at in figures for each in (at.differences if differences else at.rises)}
    return Figure(
        f"flatness-{space}{'-differences' if differences else ''}",
        caption,
        tuple(plots),
        data,
        legend={number: name for number, name in enumerate(names) if name in drawn},
    )


def _ladder(title: str, ladder: Sequence[SharpnessAt], names: Sequence[str], *, differences: bool) -> Drawing:
    """Draw rises, or differences, by the strength of the noise."""
    points: dict[str, list[tuple[float, float, float, float]]] = {}
    for at in ladder:
        for each in at.differences if differences else at.rises:
            points.setdefault(each.method, []).append((at.strength, *_ends(each)))
    lines = [
        Line(
            name,
            number,
            tuple((strength, value) for strength, value, _, _ in points[name]),
            tuple(low for *_, low, _ in points[name]),
            tuple(high for *_, high in points[name]),
        )
        for number, name in enumerate(names)
        if name in points
    ]
    words = "; ".join(
        f"{line.name}: {line.points[0][1]:.3g} at {line.points[0][0]:g} to {line.points[-1][1]:.3g} at"
        f" {line.points[-1][0]:g}"
        for line in lines
    )
    frame = Frame(
        title, f"{words}.", "sigma of the noise", log=True, whiskers=True, aside=5, zero=differences
    )
    return plot(lines, frame)


def _climbs(title: str, climbs: Sequence[SharpnessAt], names: Sequence[str], *, differences: bool) -> Drawing:
    """Draw rises, or differences, of the measures with one strength."""
    groups: dict[str, list[Reading]] = {}
    for at in climbs:
        named = {each.method: each for each in (at.differences if differences else at.rises)}
        groups[SHORT[at.measure]] = [
            Reading(
                name, number, (_ends(named[name]),), f"{name}, {MEASURES[at.measure]}: {_words(named[name])}"
            )
            for number, name in enumerate(names)
            if name in named
        ]
    words = "; ".join(
        f"{group}: {', '.join(f'{each.name} {each.values[0][0]:.3g}' for each in readings)}"
        for group, readings in groups.items()
    )
    return strips(groups, title, f"{words}.", zero=differences)


def _rises(space: str, split: str, figures: Sequence[SharpnessAt], names: Sequence[str]) -> Data:
    measured = {rise.method for at in figures for rise in at.rises}
    methods = [name for name in names if name in measured]
    columns = (
        Column("measure", "rise of the loss"),
        Column("strength", "strength", "number", "g"),
        *[Column(method, method, "interval", ".3g") for method in methods],
    )
    rows: list[Row] = []
    for at in figures:
        rises: Mapping[str, MeanRise] = {rise.method: rise for rise in at.rises}
        cells: list[Cell] = [_cell(rises[name]) if name in rises else None for name in methods]
        rows.append((MEASURES[at.measure], at.strength, *cells))
    caption = f"Rise of the loss, {visible(split)} data, nats; strength is sigma or the radius"
    return Data(f"sharpness_{space}_{split}", caption, columns, tuple(rows))


def _differences(
    space: str, split: str, figures: Sequence[SharpnessAt], reference: str, names: Sequence[str]
) -> Data:
    compared = {each.method for at in figures for each in at.differences}
    methods = [name for name in names if name in compared]
    columns = [Column("measure", "rise of the loss"), Column("strength", "strength", "number", "g")]
    for method in methods:
        columns += [
            Column(method, method, "interval", "+.3g"),
            Column(f"{method}: p_holm", "p (Holm)", "number", ".2g"),
        ]
    rows: list[Row] = []
    for at in figures:
        named = {each.method: each for each in at.differences}
        cells: list[Cell] = []
        for method in methods:
            each = named.get(method)
            cells += [None, None] if each is None else [_cell(each), each.p_holm]
        rows.append((MEASURES[at.measure], at.strength, *cells))
    caption = f"Difference from {reference}, {visible(split)} data, nats"
    return Data(f"sharpness_differences_{space}_{split}", caption, tuple(columns), tuple(rows))


def _mean_of(each: MeanRise | RiseDifference) -> tuple[float, PairedInterval | None]:
    return (each.mean if isinstance(each, MeanRise) else each.interval.difference), each.interval


def _ends(each: MeanRise | RiseDifference) -> tuple[float, float, float]:
    """Return a value and the ends of its interval; without an interval, the value for each."""
    value, interval = _mean_of(each)
    return (value, value, value) if interval is None else (value, interval.low, interval.high)


def _cell(each: MeanRise | RiseDifference) -> Cell:
    value, interval = _mean_of(each)
    return value if interval is None else (value, interval.low, interval.high)


def _words(each: MeanRise | RiseDifference) -> str:
    value, interval = _mean_of(each)
    return f"{value:.3g}" + (f" ({interval.low:.3g} to {interval.high:.3g})" if interval is not None else "")


def _ended(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each run whose loss is not finite at a strength that others have."""
    strengths = {measure: sorted(rows["strength"].unique()) for measure, rows in table.groupby("measure")}
    sentences = []
    for (split, space, method, seed), rows in table.groupby(["split", "space", "method", "seed"], sort=False):
        run = f"{visible(str(method))}, seed {seed}"
        for measure, wanted in strengths.items():
            own = set(rows.loc[rows["measure"] == measure, "strength"])
            if missing := [strength for strength in wanted if strength not in own]:
                sentences.append(
                    f"The loss of {run} is not finite in the {space} space on {visible(str(split))} data"
                    f" ({MEASURES[str(measure)]}, {missing[0]:g}); its method has no figure there, nor for more."
                )
    return sentences


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]
