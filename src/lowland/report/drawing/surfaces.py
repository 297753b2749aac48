"""Pictures of the loss on slices: curves along a line, and a map in colours of a plane."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lowland.report.drawing.svg import BLUE, GREEN, GREY, INK, ORANGE, PALE, Axis, Drawing, Point

COLOURS = (ORANGE, BLUE, GREEN)
"""Colours of curves, in turn."""
RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Colours from the lowest loss to the highest, in equal steps: five of viridis, which grow lighter."""
CELLS = 36
"""Number of cells along each side of a map; between the measured points the loss is interpolated."""
LETTER = 6.6
"""Width of a letter of the labels, in pixels, about."""
HEADROOM = 1.0
"""Losses more than so many nats above the highest place have the last colour, so that the valley can be seen."""


def curves(title: str, by_name: Mapping[str, Sequence[Point]], places: Mapping[str, float]) -> Drawing:
    """Draw curves of loss along a line, with marks at places on it.

    Args:
        title: what is shown.
        by_name: points (x, loss) of each curve from left to right; a loss that is not finite is left out.
        places: x of the runs and the base model.
    """
    shown = {name: [p for p in points if math.isfinite(p[1])] for name, points in by_name.items()}
    every = [point for points in shown.values() for point in points]
    out = Drawing(620, 330, title)
    low, high = min(y for _, y in every), max(y for _, y in every)
    room = 0.06 * (high - low) or 0.05
    x = Axis(min(x for x, _ in every), max(x for x, _ in every), 70, 470)
    y = Axis(low - room, high + room, 255, 45)
    out.text((16, 24), title, bold=True)
    out.ticks_left(y, 60, _ticks(low, high))
    out.ticks_below(x, 262, _ticks(x.low, x.high))
    for name, at in places.items():
        out.line((x(at), 45), (x(at), 262), GREY, 1, dashed=True)
        anchor = "start" if at == x.low else "end" if at == x.high else "middle"
        out.text((x(at), 305), name, INK, anchor=anchor, size=13)
    taken: list[float] = []
    for (name, points), colour in zip(shown.items(), COLOURS * len(shown), strict=False):
        out.curve([(x(across), y(loss)) for across, loss in points], colour)
        for across, loss in points:
            out.dot((x(across), y(loss)), colour, 3)
        label = y(points[-1][1]) + 5
        while any(abs(label - other) < 16 for other in taken):
            label += 4
        taken.append(label)
        out.text((482, label), name, colour, bold=True)
    out.text((16, 42), "loss", GREY, size=12)
    return out


def surface_map(title: str, losses: Mapping[Point, float], places: Mapping[str, Point]) -> Drawing:
    """Draw the loss on a plane in colours, with its places.

    Args:
        title: what is shown.
        losses: loss at each point (x, y) of a grid.
        places: coordinates of the runs and the base model.
    """
    xs, ys = sorted({x for x, _ in losses}), sorted({y for _, y in losses})
    x, y = Axis(xs[0], xs[-1], 70, 430), Axis(ys[0], ys[-1], 410, 50)
    scale, is_cut = loss_scale(losses, places)
    out = Drawing(620, 460, title)
    out.text((16, 24), title, bold=True)
    size = 360 / CELLS
    for row in range(CELLS):
        for column in range(CELLS):
            corner = (70 + size * column, 50 + size * row)
            at = (number_at(x, corner[0] + size / 2), number_at(y, corner[1] + size / 2))
            colour = colour_of(scale(interpolated(losses, xs, ys, at)))
            out.box(corner, (size + 0.4, size + 0.4), colour)
    out.ticks_left(y, 62, _ticks(ys[0], ys[-1]))
    out.ticks_below(x, 418, _ticks(xs[0], xs[-1]))
    for name, (across, up) in places.items():
        _place(out, (x(across), y(up)), name)
    _legend(out, scale, is_cut=is_cut)
    return out


def loss_scale(losses: Mapping[Point, float], places: Mapping[str, Point]) -> tuple[Axis, bool]:
    """Return an axis from losses to 0 to 1 of the colours, and whether some losses are beyond it.

    Args:
        losses: loss at each point (x, y) of a grid; one at least is finite.
        places: coordinates of the runs and the base model; the scale ends `HEADROOM` above the highest of them.
    """
    xs, ys = sorted({x for x, _ in losses}), sorted({y for _, y in losses})
    finite = [loss for loss in losses.values() if math.isfinite(loss)]
    near = [interpolated(losses, xs, ys, place) for place in places.values()]
    low = min(finite)
    high = min(max(finite), max((loss for loss in near if math.isfinite(loss)), default=low) + HEADROOM)
    scale = Axis(low, high if high > low else low + 1, 0, 1)
    return scale, max(finite) > high or len(finite) < len(losses)


def _place(out: Drawing, spot: Point, name: str) -> None:
    """Draw a place with its name on a white label, at its right in the left half of the map, else at its left."""
    out.dot(spot, "#fff", 5, edge=INK)
    width, right = LETTER * len(name) + 8, spot[0] < 280
    left = spot[0] + 10 if right else spot[0] - 10 - width
    out.box((left, spot[1] - 9), (width, 18), "#fff", edge=PALE)
    out.text((left + width / 2, spot[1] + 4.5), name, INK, anchor="middle", size=12)


def _legend(out: Drawing, scale: Axis, *, is_cut: bool) -> None:
    """Draw the colours with their losses."""
    height = Axis(scale.low, scale.high, 410, 50)
    for step in range(60):
        share = (step + 0.5) / 60
        out.box((470, 404 - 6 * step), (18, 6.4), colour_of(share))
    for value, label in _ticks(scale.low, scale.high).items():
        out.text((494, height(value) + 4.5), label, GREY, size=13)
    out.text((470, 42), "loss" + (" (lightest: more)" if is_cut else ""), GREY, size=12)


def interpolated(losses: Mapping[Point, float], xs: Sequence[float], ys: Sequence[float], at: Point) -> float:
    """Return the loss between four points of the grid, in proportion to how near they are."""
    (left, right, across), (below, above, up) = _between(xs, at[0]), _between(ys, at[1])
    lower = (1 - across) * losses[left, below] + across * losses[right, below]
    upper = (1 - across) * losses[left, above] + across * losses[right, above]
    return (1 - up) * lower + up * upper


def _between(values: Sequence[float], at: float) -> tuple[float, float, float]:
    """Return the two neighbours of a number among rising values, and its place between them from 0 to 1."""
    place = min(max(sum(value <= at for value in values), 1), len(values) - 1)
    low, high = values[place - 1], values[place]
    return low, high, min(max((at - low) / (high - low), 0.0), 1.0)


def number_at(axis: Axis, place: float) -> float:
    """Return the number at a place of an axis."""
    return axis.low + (axis.high - axis.low) * (place - axis.start) / (axis.end - axis.start)


def colour_of(share: float) -> str:
    """Return the colour of a share of the scale; beyond its ends, and for NaN, that of the end."""
    place = min(max(share if math.isfinite(share) else 1.0, 0.0), 1.0) * (len(RAMP) - 1)
    first = min(int(place), len(RAMP) - 2)
    mixed = (
        round(start + (end - start) * (place - first))
        for start, end in zip(RAMP[first], RAMP[first + 1], strict=True)
    )
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _ticks(low: float, high: float) -> dict[float, str]:
    """Return about five round numbers between two, each with its text."""
    if not high > low:
        return {low: f"{low:.3g}"}
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return {number * step: f"{number * step:.6g}" for number in numbers}
