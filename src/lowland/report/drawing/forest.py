"""Forest plot: differences with their intervals, on one axis with 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowland.report.drawing.looks import FAINT, INK, MUTED, Look, look_of
from lowland.report.drawing.scales import round_ticks, widened
from lowland.report.drawing.svg import Axis, Drawing

ROW = 46
"""Height of a row, in pixels."""
LONGEST = 24
"""Number of characters of a name that are shown."""


@dataclass(frozen=True)
class ForestRow:
    """A difference with its interval.

    Attributes:
        name: what is compared.
        value: the difference.
        low: lower end of its interval.
        high: upper end of its interval.
        numbers: difference and interval as text.
        dots: the differences of the seeds.
        number: number of the method, which gives its look; None for what is no method.
        is_shown: whether the difference is shown by the statistics; the marker is hollow otherwise.
    """

    name: str
    value: float
    low: float
    high: float
    numbers: str
    dots: tuple[float, ...] = ()
    number: int | None = None
    is_shown: bool = False


def forest(
    rows: Sequence[ForestRow],
    title: str,
    description: str,
    *,
    sides: tuple[str, str],
    unit: str,
    narrow: bool = False,
    reach: tuple[float, float] | None = None,
) -> Drawing:
    """Draw a forest plot.

    Args:
        rows: from top to bottom.
        title: what the plot shows.
        description: what it says.
        sides: what differences below and above 0 mean.
        unit: unit of the axis.
        narrow: True for a screen of a phone: names and numbers stand above the intervals.
        reach: values that the axis reaches, for several plots on one scale; default: those of the rows.
    """
    width, left, right = (360, 16, 344) if narrow else (900, 190, 690)
    row_height, top = (64 if narrow else ROW), 40
    bottom = top + row_height * len(rows)
    out = Drawing(width, bottom + 52, title, description)
    ends = [0.0, *(reach or reach_of(rows))]
    x = Axis(*widened(ends), left, right)
    ticks = round_ticks(x.low, x.high, 4 if narrow else 6)
    middles = [top + row_height * (place + 0.5) for place in range(len(rows))]
    spans = [(y - 2, y + 30) for y in middles] if narrow else [(top - 8, bottom)]  # names stand between them
    for start, end in spans:
        for value in ticks:
            out.line((x(value), start), (x(value), end), FAINT, 1)
        out.line((x(0), start), (x(0), end), INK, 1.5)
    _sides(out, x, sides, top - 16)
    for y, row in zip(middles, rows, strict=True):
        _words(out, row, y, narrow)
        _interval(out, row, x, y + (14 if narrow else 0))
    out.ticks_below(x, bottom, ticks, MUTED)
    out.text(((left + right) / 2, bottom + 42), unit, MUTED, anchor="middle", size=13)
    return out


def reach_of(rows: Sequence[ForestRow]) -> tuple[float, float]:
    """Return the smallest and the largest value in rows."""
    values = [value for row in rows for value in (row.low, row.high, *row.dots)]
    return min(values), max(values)


def _sides(out: Drawing, x: Axis, sides: tuple[str, str], y: float) -> None:
    """Write at both sides of 0 what it means, where there is room."""
    below, above = sides
    for words, room, place, anchor in (
        (f"← {below}", x(0) - x.start, x(0) - 8, "end"),
        (f"{above} →", x.end - x(0), x(0) + 8, "start"),
    ):
        if room > 6.6 * len(words):
            out.text((place, y), words, MUTED, anchor=anchor, size=12.5)


def _words(out: Drawing, row: ForestRow, y: float, narrow: bool) -> None:
    """Write name and numbers of a row: beside its interval, or above it."""
    name = row.name if len(row.name) <= LONGEST else f"{row.name[: LONGEST - 1]}…"
    if narrow:
        out.text((16, y - 8), name, INK, size=14, bold=True)
        out.text((344, y - 8), row.numbers, INK, anchor="end", size=13)
    else:
        out.text((172, y + 5), name, INK, anchor="end", size=14.5, bold=True)
        out.text((708, y + 5), row.numbers, INK, size=13.5)


def _interval(out: Drawing, row: ForestRow, x: Axis, y: float) -> None:
    """Draw the interval of a row, its difference, and those of its seeds below it."""
    look = Look(INK, "circle", False) if row.number is None else look_of(row.number)
    with out.group("m", f"{row.name}: {row.numbers}"):
        out.box((x(row.low) - 6, y - 12), (x(row.high) - x(row.low) + 12, 26), "transparent")
        out.line((x(row.low), y), (x(row.high), y), look.colour, 3)
        for end in (row.low, row.high):
            out.line((x(end), y - 5), (x(end), y + 5), look.colour, 2)
        for dot in row.dots:
            out.dot((x(dot), y + 11), look.colour, 2.2)
        out.mark(look.shape, (x(row.value), y), look.colour, 6.5, hollow=not row.is_shown)
