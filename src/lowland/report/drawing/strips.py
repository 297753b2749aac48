"""Strip plot: a marker for each method, or for each of its runs, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowland.report.drawing.lines import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from lowland.report.drawing.looks import FAINT, INK, MUTED, look_of
from lowland.report.drawing.scales import label_size, round_ticks, widened
from lowland.report.drawing.svg import Axis, Drawing

RADIUS = 3.6
"""Radius of the markers, in pixels."""
LABELLED = 38
"""Height that the names of the groups take below the plot, in pixels."""


@dataclass(frozen=True)
class Reading:
    """Values of one method.

    Attributes:
        name: name of the method.
        number: its number, which gives its look.
        values: its value, or those of its runs, each with the ends of its interval.
        tip: what is said of it where the pointer rests on it.
    """

    name: str
    number: int
    values: tuple[tuple[float, float, float], ...]
    tip: str


def strips(
    groups: Mapping[str, Sequence[Reading]], title: str, description: str, *, zero: bool = False
) -> Drawing:
    """Draw readings beside each other, on one vertical axis.

    Args:
        groups: readings by the name of their group, from left to right; "" for a group without a name.
        title: what the plot shows; it stands above it.
        description: what it says, for those who do not see it.
        zero: True to show 0 with a line.
    """
    height = HEIGHT if any(groups) else HEIGHT - LABELLED
    out = Drawing(WIDTH, height, title, description)
    every = [
        end for readings in groups.values() for each in readings for value in each.values for end in value
    ]
    y = Axis(*widened([*every, *([0.0] if zero else [])]), BOTTOM, TOP)
    out.text((2, 16), title, INK, size=13.5, bold=True)
    ticks = round_ticks(y.low, y.high, 5)
    out.grid(y, (LEFT, RIGHT), ticks, FAINT)
    for value, label in ticks.items():
        out.text((LEFT - 8, y(value) + 4.5), label, MUTED, anchor="end", size=label_size(ticks.values()))
    if zero:
        out.line((LEFT, y(0)), (RIGHT, y(0)), INK, 1.25)
    width = (RIGHT - LEFT) / len(groups)
    for place, (name, readings) in enumerate(groups.items()):
        start = LEFT + width * place
        _group(out, readings, y, start, width)
        out.text((start + width / 2, BOTTOM + 22), name, MUTED, anchor="middle", size=12.5)
        if place:
            out.line((start, TOP), (start, BOTTOM), FAINT, 1)
    return out


def _group(out: Drawing, readings: Sequence[Reading], y: Axis, start: float, width: float) -> None:
    """Draw the readings of a group, each in a column of its own."""
    column = width / max(len(readings), 1)
    for place, reading in enumerate(readings):
        look, count = look_of(reading.number), len(reading.values)
        middle = start + column * (place + 0.5)
        step = min(0.7 * column / count, 12)
        spots = [middle + step * (number - (count - 1) / 2) for number in range(count)]
        with out.group(f"s{reading.number}"), out.group("m", reading.tip):
            ends = [(x, y(low), y(high)) for x, (_, low, high) in zip(spots, reading.values, strict=True)]
            if seen := [end for end in ends if end[1] - end[2] > 2 * RADIUS]:  # markers hide the others
                out.whiskers(seen, look.colour, 1.75)
            for x, (value, _, _) in zip(spots, reading.values, strict=True):
                out.mark(look.shape, (x, y(value)), look.colour, RADIUS)
