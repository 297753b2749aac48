"""Line plot: a line for each method, with a band around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowland.report.drawing.looks import FAINT, INK, MUTED, Look, look_of
from lowland.report.drawing.scales import label_size, powers, round_ticks, widened
from lowland.report.drawing.svg import Axis, Drawing

WIDTH, HEIGHT = 340, 264
LEFT, RIGHT, TOP, BOTTOM = 46, 334, 34, 212
MARKERS = 9
"""Largest number of points of a line that all have markers; of longer lines, about so many have."""


@dataclass(frozen=True)
class Line:
    """A line with a band.

    Attributes:
        name: name of the method.
        number: its number, which gives its look.
        points: x and y, from left to right.
        low: lower ends of the band, for each point; empty without a band.
        high: its upper ends.
    """

    name: str
    number: int
    points: tuple[tuple[float, float], ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Frame:
    """Axes of a plot.

    Attributes:
        title: what the plot shows; it stands above it.
        description: what it says, for those who do not see it.
        x: name of the horizontal axis.
        log: whether equal ratios have equal lengths on the horizontal axis.
        unit: True if both axes go from 0 to 1, with their diagonal.
        whiskers: True to draw the bands as a vertical line at each point.
        aside: pixels from each line's points to those of the next, so that whiskers at one x do not hide each other.
        zero: True to show 0 on the vertical axis, with a line.
    """

    title: str
    description: str
    x: str
    log: bool = False
    unit: bool = False
    whiskers: bool = False
    aside: float = 0.0
    zero: bool = False


def plot(lines: Sequence[Line], frame: Frame) -> Drawing:
    """Draw lines on common axes."""
    out = Drawing(WIDTH, HEIGHT, frame.title, frame.description)
    x, y = _axes(lines, frame)
    x_ticks = powers(x.low, x.high) if frame.log else round_ticks(x.low, x.high, 4)
    y_ticks = round_ticks(y.low, y.high, 5)
    out.text((2, 16), frame.title, INK, size=13.5, bold=True)
    out.grid(y, (LEFT, RIGHT), y_ticks, FAINT)
    if frame.unit:
        out.line((x(0), y(0)), (x(1), y(1)), MUTED, 1, dashed=True)
    if frame.zero:
        out.line((LEFT, y(0)), (RIGHT, y(0)), INK, 1.25)
    for place, line in enumerate(lines):
        _draw(out, line, x, y, frame, frame.aside * (place - (len(lines) - 1) / 2))
    size = label_size(y_ticks.values())
    for value, label in y_ticks.items():
        out.text((LEFT - 8, y(value) + 4.5), label, MUTED, anchor="end", size=size)
    out.ticks_below(x, BOTTOM, x_ticks, MUTED)
    out.text(((LEFT + RIGHT) / 2, BOTTOM + 40), frame.x, MUTED, anchor="middle", size=13)
    return out


def _axes(lines: Sequence[Line], frame: Frame) -> tuple[Axis, Axis]:
    across = [x for line in lines for x, _ in line.points]
    up = [y for line in lines for y in (*(y for _, y in line.points), *line.low, *line.high)]
    up += [0.0] if frame.zero else []
    low, high = (0.0, 1.0) if frame.unit else (min(across), max(across))
    if low == high:
        low, high = (low / 1.5, high * 1.5) if frame.log else widened(across)
    bottom, top = (0.0, 1.0) if frame.unit else widened(up)
    room = 8 + frame.aside * (len(lines) - 1) / 2
    start = LEFT + (room if frame.aside else 0)
    return Axis(low, high, start, RIGHT - room, log=frame.log), Axis(bottom, top, BOTTOM, TOP)


def _draw(out: Drawing, line: Line, x: Axis, y: Axis, frame: Frame, aside: float) -> None:
    look = look_of(line.number)
    places = [(x(across) + aside, y(up)) for across, up in line.points]
    with out.group(f"s{line.number}"):
        if line.low and not frame.whiskers:
            ends = [
                [(place[0], y(end)) for place, end in zip(places, bounds, strict=True)]
                for bounds in (line.low, line.high)
            ]
            out.area(ends[0], ends[1], look.colour)
        elif line.low:
            bounds = zip(places, line.low, line.high, strict=True)
            out.whiskers([(place[0], y(low), y(high)) for place, low, high in bounds], look.colour)
        out.curve(places, look.colour, 2, dashed=look.dashed)
        _markers(out, line, places, look)


def _markers(out: Drawing, line: Line, places: Sequence[tuple[float, float]], look: Look) -> None:
    """Draw markers along a line, each with the numbers that it stands for."""
    step = 1 if len(places) <= MARKERS else -(-len(places) // MARKERS)
    offset = (
        line.number % step if step > 1 else 0
    )  # so that markers of lines that agree do not hide each other
    for number in range(offset, len(places), step):
        across, up = line.points[number]
        words = f"{line.name}: {up:.4g} at {across:.3g}"
        if line.low:
            words += f" ({line.low[number]:.3g} to {line.high[number]:.3g})"
        with out.group("m", words):
            out.mark(look.shape, places[number], look.colour, 3.6)
